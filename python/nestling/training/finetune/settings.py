"""The settings of a fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from nestling._util.value import Value
from nestling.errors import ArgumentError
from nestling.evaluation.systems import default_dims

__all__ = ["FineTuneSettings"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class FineTuneSettings(Value):
    """The settings that, with the model and the data, determine the weights of a fine-tuning.

    Attributes:
        dims: Nesting lengths in any order, the whole embedding among them; kept longest first.
            Empty: the whole embedding and its halves.
        weights: Weight of each length's loss, in the order of `dims`. Empty: 1 each.
        epochs: How often every pair is used.
        steps: Number of batches, instead of `epochs`; None for those.
        max_minutes: Minutes of training; fewer steps are planned if they would take longer. None
            for no limit.
        batch_size: Pairs of a batch; each is a negative for the others.
        group_size: Pairs of one group that are put into the same batch, where groups are known; 1
            ignores groups.
        mini_batch: Texts whose activations are in memory at once; None for a whole batch.
        lr: The highest learning rate, after the warm-up; it then falls linearly to zero.
        warmup: Share of the steps in which the rate rises.
        scale: Factor of the cosines in the loss, the inverse of a temperature.
        max_length: Tokens of a text that are read in training. Evaluation uses the model's own.
        seed: Seed of everything random.
        holdout: Pairs to evaluate with; None for a tenth, at most 1,000.
        blend: Share of the trained weights in those that are exported; the rest are the model's
            original ones. The mean keeps most of what was learnt, and what the model knew of other
            fields (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
        bf16: Whether products are computed in bfloat16, which newer CPUs and GPUs do several times
            faster.

    Raises:
        ArgumentError: A setting is out of its range; the message names it.

    Example:
        >>> FineTuneSettings(dims=[64, 384], weights=[1, 2]).dims
        (384, 64)
        >>> FineTuneSettings(lr=0)
        Traceback (most recent call last):
        nestling.errors.ArgumentError: lr must be above 0, not 0
    """

    dims: Sequence[int] = ()
    weights: Sequence[float] = ()
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
                raise ArgumentError(f"{name} must be above 0, not {value}")
        if self.max_minutes is not None and not self.max_minutes > 0:
            raise ArgumentError(f"max_minutes must be above 0, not {self.max_minutes}")
        if not 0 <= self.warmup < 1:
            raise ArgumentError(f"warmup must be at least 0 and below 1, not {self.warmup}")
        if not 0 < self.blend <= 1:
            raise ArgumentError(f"blend must be above 0 and at most 1, not {self.blend}")
        least = {"steps": 1, "batch_size": 2, "group_size": 1, "mini_batch": 1, "max_length": 3}
        for name, low in (least | {"holdout": 0}).items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise ArgumentError(f"{name} must be at least {low}, not {value}")

    def resolve(self, dim: int) -> FineTuneSettings:
        """Returns the same settings with `dims` and `weights` filled in for an embedding.

        Args:
            dim: Dimensions of the whole embedding.

        Raises:
            ArgumentError: The longest of `dims` is not the whole embedding.

        Example:
            >>> FineTuneSettings().resolve(384).dims
            (384, 192, 96, 48)
        """
        if not self.dims:
            return replace(self, dims=default_dims(dim))
        if self.dims[0] != dim:
            raise ArgumentError(
                f"the longest of dims must be the whole embedding, {dim}, not {self.dims[0]}: "
                "searches end with it, and dimensions that are not trained get worse"
            )
        return self

    def as_dict(self) -> dict[str, Any]:
        """Returns the settings as JSON values.

        Example:
            >>> FineTuneSettings(dims=[384, 64]).as_dict()["weights"]
            [1.0, 1.0]
        """
        return {**asdict(self), "dims": list(self.dims), "weights": list(self.weights)}

    def _check_dims(self) -> None:
        """Sorts the lengths, longest first, and their weights with them."""
        if len(set(self.dims)) < len(self.dims) or any(length < 1 for length in self.dims):
            raise ArgumentError(
                f"dims must be different lengths of at least 1, not {list(self.dims)}"
            )
        weights = list(self.weights) or [1.0] * len(self.dims)
        if len(weights) != len(self.dims):
            raise ArgumentError(
                f"{len(weights)} weights for {len(self.dims)} dims: give one weight per length"
            )
        if not all(math.isfinite(weight) and weight > 0 for weight in weights):
            raise ArgumentError(f"weights must be above 0, not {weights}")
        ordered = sorted(zip(self.dims, weights, strict=True), reverse=True)
        object.__setattr__(self, "dims", tuple(int(length) for length, _ in ordered))
        object.__setattr__(self, "weights", tuple(float(weight) for _, weight in ordered))
