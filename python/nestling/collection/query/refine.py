"""When the order of hits is in doubt: the margins of searches with a query encoder.

A query encoder gives nearly the embedding that the collection's own encoder would. Where the best
hit stands out from the next, the difference changes little; where it does not, it decides the
order, and the query is better encoded again. So is one of which the query encoder knows too few
words: its best hit may stand out by chance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["UNKNOWN_LIMIT", "Refiner", "margins"]

UNKNOWN_LIMIT: Final = 0.2
"""Share of the tokens of a query from which on it is refined, whatever its margin is.

One in 250 English and one in 1,000 Arabic questions of xquad have so many that `e5-fast` never
learnt, and four of five German ones.
"""


@dataclass(frozen=True, slots=True)
class Refiner:
    """What a search needs to refine queries.

    Attributes:
        encode: Gives the embeddings of texts by the collection's own encoder, (n, dim) float32.
        below: The margin below which a query is refined.
        unknown_share: Gives the share of the tokens of each text that the query encoder never
            learnt, (n,) float64.
    """

    encode: Callable[[list[str]], NDArray[np.float32]]
    below: float
    unknown_share: Callable[[list[str]], NDArray[np.float64]]

    def doubtful(self, texts: list[str], sizes: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Returns which queries are to be refined, (m,), by their margins and their tokens."""
        refined: NDArray[np.bool_] = sizes < self.below
        refined |= self.unknown_share(texts) >= UNKNOWN_LIMIT
        return refined


def margins(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """Returns by how much the best score of each query exceeds the second; infinity without one.

    Of the margins that were tried (to the third, to the eleventh, their spread, the best score
    itself), this one tells best which queries the other encoder would answer better.

    Args:
        scores: (m, k) in falling order; NaN or -inf for empty places.

    Example:
        >>> margins(np.array([[0.75, 0.5, 0.25], [0.75, -np.inf, -np.inf]], np.float32))
        array([0.25,  inf])
    """
    found = scores[:, :2].astype(np.float64)
    sizes = np.full(len(found), np.inf)
    if found.shape[1] == 2:
        both = np.isfinite(found).all(axis=1)
        sizes[both] = found[both, 0] - found[both, 1]
    return sizes
