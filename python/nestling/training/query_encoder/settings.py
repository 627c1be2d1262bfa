"""The settings of a query encoder's training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from nestling._util.value import Value
from nestling.errors import ArgumentError, VectorError
from nestling.index.arguments import positive

__all__ = ["DIMS", "QueryEncoderSettings"]

DIMS: Final = (128, 48)
"""Default of `dims` beside the whole embedding, as far as it goes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class QueryEncoderSettings(Value):
    """The settings that, with the encoder and the texts, determine every bit of a query encoder.

    Attributes:
        dims: Prefix lengths at which it should agree with its teacher, kept in rising order; the
            whole embedding is always added. Empty: 48 and 128.
        pieces: Most pieces that the texts are cut into, each of which the teacher encodes.
        vocabulary: Most tokens that have a row. Those of the texts come first, then those with the
            lowest ids, which are the most frequent ones in most vocabularies.
        pairs: Most pairs of neighbouring tokens that have a row as well, the most frequent ones of
            those that two pieces have; 0 for none.
        grams: Most runs of four letters inside words that have a row as well, chosen as
            pairs are; 0 for none.
        dropout: Share of the pairs and runs that a step leaves out, so that tokens do not rely on
            them.
        epochs: How often every piece is used.
        batch_size: Pieces of a step.
        lr: The highest rate of Adam; it falls to zero.
        holdout: Most texts whose pieces are not trained on; a twentieth where that is less.
        seed: Seed of everything random.

    Raises:
        ArgumentError: A setting is out of its range; the message names it.

    Example:
        >>> QueryEncoderSettings(dims=[64, 16]).dims
        (16, 64)
        >>> QueryEncoderSettings(lr=2)
        Traceback (most recent call last):
        nestling.errors.ArgumentError: lr must be above 0 and below 1, not 2
    """

    dims: Sequence[int] = ()
    pieces: int = 30_000
    vocabulary: int = 40_000
    pairs: int = 40_000
    grams: int = 40_000
    dropout: float = 0.5
    epochs: int = 12
    batch_size: int = 256
    lr: float = 2e-3
    holdout: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        try:
            dims = sorted({positive("dims", length) for length in self.dims})
            for name in ("pieces", "vocabulary", "epochs", "batch_size", "holdout"):
                positive(name, getattr(self, name))
            for name in ("pairs", "grams"):
                if getattr(self, name):
                    positive(name, getattr(self, name))
        except ArgumentError:
            raise
        except ValueError as error:
            raise ArgumentError(str(error)) from None
        if not 0 < self.lr < 1:
            raise ArgumentError(f"lr must be above 0 and below 1, not {self.lr}")
        if not 0 <= self.dropout < 1:
            raise ArgumentError(f"dropout must be 0 or more and below 1, not {self.dropout}")
        if self.seed < 0:
            raise ArgumentError(f"seed must be at least 0, not {self.seed}")
        object.__setattr__(self, "dims", tuple(dims))

    def resolve(self, dim: int) -> QueryEncoderSettings:
        """Returns the same settings with `dims` filled in for an embedding.

        Args:
            dim: Dimensions of the whole embedding, which becomes the last of `dims`.

        Raises:
            VectorError: A prefix is longer than the embedding.

        Example:
            >>> QueryEncoderSettings().resolve(384).dims
            (48, 128, 384)
        """
        dims = set(self.dims) or {length for length in DIMS if length < dim}
        if max(dims, default=0) > dim:
            raise VectorError(f"dims must be 1 to {dim}, not {sorted(dims)}")
        return replace(self, dims=(*dims, dim))

    def as_dict(self) -> dict[str, Any]:
        """Returns the settings as JSON values.

        Example:
            >>> QueryEncoderSettings(dims=[64, 16]).as_dict()["dims"]
            [16, 64]
        """
        return asdict(self) | {"dims": list(self.dims)}
