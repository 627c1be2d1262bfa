"""The number of rows that a coarse stage must keep so that the true ones are among them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nestling.tuning.queries import QuerySet

__all__ = ["Curve", "CutoffPoint", "round_up"]

_CAPS: Final = (1.1, 1.25, 1.5, 2.0, 3.0, 5.0)  # bounds of a margin, in keeps without one
_WIDEST: Final = 4.0  # the largest margin tried
_STEPS: Final = 12  # bisections of the range of margins


@dataclass(frozen=True, slots=True)
class CutoffPoint:
    """Where a coarse stage cuts its ranking off.

    Attributes:
        keep: Most rows to keep.
        margin: That of a `Stage`; None for no margin.
        mean: Mean number of rows that a query keeps.

    Example:
        >>> CutoffPoint(keep=100, margin=1.2, mean=61.5).keep
        100
    """

    keep: int
    margin: float | None
    mean: float


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Recall and rows kept at every keep and margin, from one search of the coarse stage alone.

    Attributes:
        positions: (m, k) int64 positions of the true rows among the hits, from 0.
        distances: (m, n) float32, 1 - score of all hits, rising; NaN where there is no hit.
        search_k: Hits of a search, which is the least that a stage keeps.

    Example:
        >>> distances = np.linspace(0, 1, 100, dtype=np.float32)[np.newaxis]
        >>> curve = Curve(np.array([[0, 3]]), distances, 2)
        >>> curve.recall(2), curve.smallest_keep(1.0)
        (0.5, CutoffPoint(keep=4, margin=None, mean=4.0))
    """

    positions: NDArray[np.int64]
    distances: NDArray[np.float32]
    search_k: int

    @classmethod
    def of(cls, query_set: QuerySet, ids: NDArray[np.int64], scores: NDArray[np.float32]) -> Curve:
        """Reads the curve off the (m, n) ids and scores of a coarse stage."""
        return cls(query_set.positions(ids), 1 - scores, query_set.search_k)

    def recall(self, keep: float, margin: float | None = None) -> float:
        """Returns the share of the true rows that are kept."""
        kept = self.positions < keep
        if margin is not None:
            inside = np.minimum(self.positions, self.distances.shape[1] - 1)
            kept &= np.take_along_axis(self.distances, inside, axis=1) <= self._limits(margin)
        return float(kept.mean())

    def smallest_keep(self, target: float) -> CutoffPoint | None:
        """Returns the fewest rows that reach the target; None if no number does."""
        low, high = self.search_k, self.distances.shape[1]
        if high < low or self.recall(high) < target:
            return None
        while low < high:
            middle = (low + high) // 2
            if self.recall(middle) >= target:
                high = middle
            else:
                low = middle + 1
        keep = min(round_up(low), self.distances.shape[1])
        return CutoffPoint(keep, None, float(keep))

    def smallest_margin(self, target: float, keep: int) -> CutoffPoint | None:
        """Returns the margin that keeps the fewest rows on average; None if none keeps fewer.

        Args:
            target: The recall to reach.
            keep: Rows that reach it without a margin.
        """
        best: CutoffPoint | None = None
        for factor in _CAPS:
            cap = round_up(factor * keep)
            if cap > self.distances.shape[1] or self.recall(cap, _WIDEST) < target:
                continue
            low, high = 1.0, _WIDEST
            for _ in range(_STEPS):
                middle = (low + high) / 2
                if self.recall(cap, middle) >= target:
                    high = middle
                else:
                    low = middle
            margin = float(np.ceil(high * 1000) / 1000)
            mean = self._mean_kept(cap, margin)
            if mean < (keep if best is None else best.mean):
                best = CutoffPoint(cap, margin, mean)
        return best

    def _limits(self, margin: float) -> NDArray[np.float32]:
        limits: NDArray[np.float32] = (
            np.float32(margin) * self.distances[:, self.search_k - 1, None]
        )
        return limits

    def _mean_kept(self, keep: int, margin: float) -> float:
        within = (self.distances <= self._limits(margin)).sum(axis=1)
        return float(np.minimum(within, keep).mean())


def round_up(value: float) -> int:
    """Returns the next whole number with two significant digits.

    Example:
        >>> round_up(1234), round_up(7.2)
        (1300, 8)
    """
    whole = math.ceil(value)
    unit: int = 10 ** max(0, len(str(whole)) - 2)
    return -(-whole // unit) * unit
