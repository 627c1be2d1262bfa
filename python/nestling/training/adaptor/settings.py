"""The settings of an adaptor's training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from nestling._util.value import Value
from nestling.errors import ArgumentError, VectorError
from nestling.index.arguments import positive

__all__ = ["DIMS", "STEPS", "STEPS_WITH_PAIRS", "AdaptorSettings"]

STEPS: Final = 300
"""Default of `steps` for texts alone."""
STEPS_WITH_PAIRS: Final = 1500
"""Default of `steps` where there are pairs of questions and answers."""
DIMS: Final = (384, 256, 128, 64, 48, 32, 16)
"""Default of `dims`; lengths beyond the embedding are left out."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class AdaptorSettings(Value):
    """The settings that, with the encoder and the data, determine every bit of an adaptor.

    Attributes:
        dims: Prefix lengths, kept in rising order. Empty: 16, 32, 48, 64, 128, 256 and 384, as far
            as the embedding goes. The whole embedding is always added.
        steps: Most steps. None: 300 for texts alone, 1,500 with pairs. Further steps still improve
            the loss on held-out texts, but questions begin to find less.
        batch_size: Anchors of a step from the texts, and as many from the pairs.
        neighbours: Nearest candidates of each anchor that take part in its step, shared by all
            anchors of the step.
        lr: The highest rate of Adam, roughly in radians per step.
        evaluate_every: Steps between two evaluations on held-out anchors, and two checkpoints.
        patience: Evaluations without an improvement after which training stops.
        anchors: Most texts, and most questions, that are anchors; all texts are candidates.
        holdout: Most anchors that are held out; a tenth where there are fewer.
        text_weight: Weight of the texts' loss beside the pairs', whose weight is 1.
        seed: Seed of everything random.
        threads: Threads of torch; another number of threads sums in another order.

    Raises:
        ArgumentError: A setting is out of its range; the message names it.

    Example:
        >>> AdaptorSettings(dims=[64, 16]).dims
        (16, 64)
        >>> AdaptorSettings(lr=2)
        Traceback (most recent call last):
        nestling.errors.ArgumentError: lr must be above 0 and below 1, not 2
    """

    dims: Sequence[int] = ()
    steps: int | None = None
    batch_size: int = 256
    neighbours: int = 3
    lr: float = 4e-3
    evaluate_every: int = 100
    patience: int = 5
    anchors: int = 40_000
    holdout: int = 1000
    text_weight: float = 1.0
    seed: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        try:
            dims = sorted({positive("dims", length) for length in self.dims})
            for name in ("batch_size", "neighbours", "evaluate_every", "patience"):
                positive(name, getattr(self, name))
            for name in ("anchors", "holdout", "threads"):
                positive(name, getattr(self, name))
            if self.steps is not None:
                positive("steps", self.steps)
        except ArgumentError:
            raise
        except ValueError as error:
            raise ArgumentError(str(error)) from None
        if not 0 < self.lr < 1:
            raise ArgumentError(f"lr must be above 0 and below 1, not {self.lr}")
        if not 0 <= self.text_weight < math.inf:
            raise ArgumentError(f"text_weight must be 0 or more, not {self.text_weight}")
        object.__setattr__(self, "dims", tuple(dims))

    def resolve(self, dim: int, *, with_pairs: bool = False) -> AdaptorSettings:
        """Returns the same settings with `dims` and `steps` filled in for an embedding.

        Args:
            dim: Dimensions of the whole embedding, which becomes the last of `dims`.
            with_pairs: Whether there are pairs beside the texts.

        Raises:
            VectorError: A prefix is longer than the embedding.

        Example:
            >>> AdaptorSettings().resolve(100).dims
            (16, 32, 48, 64, 100)
        """
        dims = set(self.dims) or {length for length in DIMS if length <= dim}
        if max(dims, default=0) > dim:
            raise VectorError(f"dims must be 1 to {dim}, not {sorted(dims)}")
        default = STEPS_WITH_PAIRS if with_pairs else STEPS
        return replace(self, dims=(*(dims | {dim}),), steps=self.steps or default)

    @property
    def prefixes(self) -> Sequence[int]:
        """The lengths to train: a rotation does not change the scores of whole embeddings."""
        return self.dims[:-1]

    def as_dict(self) -> dict[str, Any]:
        """Returns the settings as JSON values.

        Example:
            >>> AdaptorSettings(dims=[64, 16]).as_dict()["dims"]
            [16, 64]
        """
        return asdict(self) | {"dims": list(self.dims)}
