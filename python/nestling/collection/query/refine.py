"""When the order of hits is in doubt: the margins of searches with a query encoder.

A query encoder gives nearly the embedding that the collection's own encoder would. Where the best
hit stands out from the next, the difference changes little; where it does not, it decides the
order, and the query is better encoded again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Refiner", "margins"]


@dataclass(frozen=True, slots=True)
class Refiner:
    """What a search needs to refine queries.

    Attributes:
        encode: Gives the embeddings of texts by the collection's own encoder, (n, dim) float32.
        below: The margin below which a query is refined.
    """

    encode: Callable[[list[str]], NDArray[np.float32]]
    below: float


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
