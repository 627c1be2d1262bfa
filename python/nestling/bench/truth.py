"""The exact result, and how much of it a search finds."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nestling.progress import ProgressBar

__all__ = ["exact_top", "recall"]

_CHUNK: Final = 32_768  # rows scored at a time

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]


def exact_top(vectors: Floats, queries: Floats, k: int) -> Ids:
    """Finds the rows nearest by cosine of all dimensions, with float32 products of numpy.

    Args:
        vectors: (n, dim) float32.
        queries: (m, dim) float32.
        k: How many; at most n.

    Returns:
        (m, k) row numbers, in no order.
    """
    unit = _unit(queries)
    scores = np.full((len(unit), k), -np.inf, np.float32)
    rows = np.zeros((len(unit), k), np.int64)
    with ProgressBar("Exact search", total=len(vectors)) as bar:
        for start in range(0, len(vectors), _CHUNK):
            chunk = _unit(vectors[start : start + _CHUNK])
            numbers = np.broadcast_to(np.arange(start, start + len(chunk)), (len(unit), len(chunk)))
            scores = np.hstack([scores, unit @ chunk.T])
            rows = np.hstack([rows, numbers])
            best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
            scores = np.take_along_axis(scores, best, axis=1)
            rows = np.take_along_axis(rows, best, axis=1)
            bar.advance(len(chunk))
    return rows


def recall(found: Ids, truth: Ids) -> float:
    """Returns the share of the true rows that were found: both (m, k).

    Example:
        >>> recall(np.array([[1, 2], [3, 4]]), np.array([[2, 1], [4, 5]]))
        0.75
    """
    shares = [np.isin(row, hits).mean() for row, hits in zip(truth, found, strict=True)]
    return float(np.mean(shares))


def _unit(vectors: Floats) -> Floats:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Floats = vectors / np.maximum(norms, np.finfo(np.float32).tiny)
    return unit
