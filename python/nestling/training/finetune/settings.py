"""What a fine-tuning is asked to do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings that decide what weights come out; two runs with the same ones agree.

    Attributes:
        dims: Nesting lengths, longest first.
        weights: Of the loss of each.
        epochs: Times that every pair is seen.
        steps: Batches to learn from, in place of `epochs`; None for those.
        max_minutes: Minutes of training; None for no limit.
        batch_size: Pairs of a batch; each is a negative for the others.
        group_size: Pairs of one group that stand together in a batch, as far as groups are known;
            1 for none.
        mini_batch: Texts whose activations are in memory at once; None for a whole batch.
        lr: The highest learning rate, after the warm-up; it then falls to zero in a line.
        warmup: Share of the steps in which the rate rises.
        scale: What cosines are multiplied by in the loss.
        max_length: Tokens of a text that are read in training.
        seed: Of all that is random.
        holdout: Pairs to measure with; None for a tenth, at most 1,000.
        blend: Share of the learnt weights in those that come out; the rest are the first ones.
        bf16: Whether products are in bfloat16, which newer CPUs and GPUs do several times faster.

    Raises:
        ValueError: A setting is out of its range; the message names it.
    """

    dims: tuple[int, ...]
    weights: tuple[float, ...]
    epochs: float = 1.0
    steps: int | None = None
    max_minutes: float | None = None
    batch_size: int = 64
    group_size: int = 16
    mini_batch: int | None = None
    lr: float = 5e-5
    warmup: float = 0.1
    scale: float = 20.0
    max_length: int = 128
    seed: int = 0
    holdout: int | None = None
    blend: float = 0.5
    bf16: bool = False

    def __post_init__(self) -> None:
        self._check_dims()
        for name in ("epochs", "lr", "scale"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be above 0, not {value}")
        if self.max_minutes is not None and not self.max_minutes > 0:
            raise ValueError(f"max_minutes must be above 0, not {self.max_minutes}")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup must be a share from 0 to below 1, not {self.warmup}")
        if not 0 < self.blend <= 1:
            raise ValueError(f"blend must be a share above 0, at most 1, not {self.blend}")
        least = {"steps": 1, "batch_size": 2, "group_size": 1, "mini_batch": 1, "max_length": 3}
        least["holdout"] = 0
        for name, low in least.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise ValueError(f"{name} must be at least {low}, not {value}")

    @classmethod
    def of(
        cls, dims: Sequence[int], weights: Sequence[float] | None = None, **others: Any
    ) -> Settings:
        """Sorts the lengths, longest first, and their weights with them; 1 each unless given."""
        chosen = [1.0] * len(dims) if weights is None else [float(weight) for weight in weights]
        if len(chosen) != len(dims):
            raise ValueError(f"{len(chosen)} weights for {len(dims)} dims: give one for each")
        ordered = sorted(zip(dims, chosen, strict=True), reverse=True)
        return cls(tuple(d for d, _ in ordered), tuple(w for _, w in ordered), **others)

    def as_dict(self) -> dict[str, Any]:
        """Returns the settings as JSON reads them back."""
        return {**asdict(self), "dims": list(self.dims), "weights": list(self.weights)}

    def fit(self, dim: int) -> None:
        """Raises `ValueError` unless the lengths are prefixes of an embedding, and it is one."""
        if self.dims[0] != dim:
            raise ValueError(
                f"the longest of dims must be the whole embedding, {dim}, not {self.dims[0]}: a "
                "search ends there, and what is not trained gets worse"
            )

    def _check_dims(self) -> None:
        if not self.dims or self.dims[-1] < 1 or len(set(self.dims)) < len(self.dims):
            raise ValueError(f"dims must be different lengths of at least 1, not {self.dims}")
        if not all(math.isfinite(weight) and weight > 0 for weight in self.weights):
            raise ValueError(f"weights must be above 0, not {self.weights}")
