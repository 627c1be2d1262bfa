"""What a training of an adaptor is told."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from nestling.errors import VectorError
from nestling.index.arguments import positive

__all__ = ["DIMS", "STEPS_WITH_PAIRS", "AdaptorSettings"]

STEPS_WITH_PAIRS: Final = 1500
"""Steps, unless told, where pairs say what questions are to find."""
DIMS: Final = (384, 256, 128, 64, 48, 32, 16)
"""Prefix lengths, unless told; those beyond the embedding are left out."""


@dataclass(frozen=True, slots=True)
class AdaptorSettings:
    """Settings of a training; they decide, with the data, every bit of the result.

    Attributes:
        dims: Prefix lengths, rising; the whole embedding is the last.
        steps: Most steps: by default 300 for texts alone, 1,500 where there are pairs. With more,
            what is held out of the texts gains still, but what questions find begins to lose.
        batch_size: Anchors of a step, from the texts, and as many from the pairs.
        near: Neighbours of each anchor that are candidates in its step, for all anchors alike.
        lr: The highest rate of Adam, in radians a step or so.
        every: Steps between two looks at what is held out, and two checkpoints.
        patience: Looks without a gain after which training stops.
        anchors: Most texts, and most questions, that are anchors; all texts are candidates.
        holdout: Most of the anchors that are held out; a tenth where there are fewer.
        text_weight: Of the texts in the loss where there are pairs too, whose weight is 1.
        seed: Of all that is random.
        threads: Of the products; other numbers of threads sum in another order.
    """

    dims: tuple[int, ...]
    steps: int = 300
    batch_size: int = 256
    near: int = 3
    lr: float = 4e-3
    every: int = 100
    patience: int = 5
    anchors: int = 40_000
    holdout: int = 1000
    text_weight: float = 1.0
    seed: int = 0
    threads: int = 1

    @classmethod
    def of(cls, dim: int, dims: Sequence[int] | None, **others: Any) -> AdaptorSettings:
        """Checks and completes what a caller gives, for embeddings of `dim`.

        Raises:
            VectorError: A prefix is longer than the embedding.
            ValueError: A setting is out of its range, or unknown.
        """
        if dims is None:
            chosen = {length for length in DIMS if length <= dim}
        else:
            chosen = {positive("dims", length) for length in dims}
        if not chosen or max(chosen) > dim:
            raise VectorError(f"dims must be 1 to {dim}, not {sorted(chosen)}")
        unknown = others.keys() - cls.__dataclass_fields__.keys()
        if unknown:
            raise ValueError(f"no such settings: {', '.join(sorted(unknown))}")
        made = cls(tuple(sorted(chosen | {dim})), **others)
        for name in ("steps", "batch_size", "near", "every", "patience", "anchors", "holdout"):
            positive(name, getattr(made, name))
        if not 0 < made.lr < 1:
            raise ValueError(f"lr must be between 0 and 1, not {made.lr}")
        if not 0 <= made.text_weight < math.inf:
            raise ValueError(f"text_weight must be 0 or more, not {made.text_weight}")
        return made

    @property
    def prefixes(self) -> tuple[int, ...]:
        """The lengths that training is for: a rotation leaves the whole as it is."""
        return self.dims[:-1]

    def as_dict(self) -> dict[str, Any]:
        """Returns the settings as plain values."""
        return asdict(self) | {"dims": list(self.dims)}
