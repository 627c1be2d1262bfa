"""Distances as angles, so that every library searches the same rows for the same neighbours.

The angle needs no more than rows of unit length. Two other distances become angles, exactly, by one
dimension more each (Bachrach et al. 2014, "Speeding Up the Xbox Recommender System Using a
Euclidean Transformation for Inner-Product Spaces"):

* Euclidean: of all rows, the nearest x has the largest `q . x - |x|^2 / 2`, which is the inner
  product of (1, q) and (-|x|^2 / 2, x).
* Inner product: with M the length of the longest row, (sqrt(M^2 - |x|^2), x) has the length M, and
  its inner product with (0, q) is that of x and q.

Rows that already have one length need neither. The new dimensions come first, so that every prefix
has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nestling.errors import VectorError

__all__ = ["Angles"]

Floats = NDArray[np.float32]

_ANGULAR: Final = ("angular", "cosine", "normalized")
_INNER: Final = ("ip",)
_EUCLIDEAN: Final = "euclidean"
_SAME: Final = 1e-5  # lengths that differ by less, relatively, are one length


@dataclass(frozen=True, slots=True)
class Angles:
    """How rows and queries change so that the nearest by a distance are those of least angle.

    Attributes:
        lead: (extra,) the values of a query's new dimensions: none, one or two.
        mean: The mean of |x|^2 / 2; taken off all rows alike, it changes no order.
        longest: The square of the length that all rows then have.

    Example:
        >>> rows = np.array([[2.0], [9.0]], np.float32)
        >>> angles = Angles.of(rows, "euclidean")
        >>> cosines = angles.rows(rows) @ angles.queries(np.array([3.0], np.float32))
        >>> int(cosines.argmax())
        0
    """

    lead: Floats
    mean: float = 0.0
    longest: float = 0.0

    @classmethod
    def of(cls, rows: Floats, distance: str) -> Angles:
        """Finds the change for (n, dim) rows, by the names of ann-benchmarks and VIBE.

        Args:
            rows: At least one.
            distance: "angular", "cosine", "normalized", "ip" or "euclidean".

        Raises:
            VectorError: The distance is another one.
        """
        known = (*_ANGULAR, *_INNER, _EUCLIDEAN)
        if distance not in known:
            raise VectorError(f"unknown distance {distance!r}; known: {', '.join(known)}")
        squares = _squares(rows)
        longest = float(squares.max())
        if distance in _ANGULAR or float(squares.min()) > (1 - _SAME) ** 2 * longest:
            return cls(np.empty(0, np.float32))
        if distance in _INNER:
            return cls(np.zeros(1, np.float32), longest=longest)
        # The new dimension of the rows spreads as much as the others; the query undoes the scale.
        half = squares / 2
        scale = float(half.std() / np.sqrt(squares.mean() / rows.shape[1]))
        mean = float(half.mean())
        lead = np.array([0, scale], np.float32)
        first = (mean - half) / float(lead[1])
        return cls(lead, mean, float((squares + first**2).max()))

    def rows(self, rows: Floats) -> Floats:
        """Returns the rows for which this was made, with the new dimensions."""
        extra = len(self.lead)
        if not extra:
            return rows
        changed = np.empty((len(rows), extra + rows.shape[1]), np.float32)
        changed[:, extra:] = rows
        squares = _squares(rows)
        if extra > 1:
            changed[:, 1] = (self.mean - squares / 2) / float(self.lead[1])
            squares += changed[:, 1].astype(np.float64) ** 2
        changed[:, 0] = np.sqrt(np.maximum(self.longest - squares, 0))
        return changed

    def queries(self, queries: Floats) -> Floats:
        """Returns (m, dim) queries, or one of (dim,), with the new dimensions."""
        if not len(self.lead):
            return queries
        lead = np.broadcast_to(self.lead, (*queries.shape[:-1], len(self.lead)))
        return np.concatenate((lead, queries), axis=-1)

    def __str__(self) -> str:
        """What was done, in words; empty if nothing."""
        extra = len(self.lead)
        return f"an angle of {extra} more dimension{'s' if extra > 1 else ''}" if extra else ""


def _squares(rows: Floats) -> NDArray[np.float64]:
    """Returns (n,) squares of the rows' lengths."""
    squares: NDArray[np.float64] = np.einsum("nd,nd->n", rows, rows, dtype=np.float64)
    return squares
