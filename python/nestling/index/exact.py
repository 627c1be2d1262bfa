"""The exact result of a search, computed with numpy, and the share of it that a search finds.

Home-made rather than a flat index of FAISS: the rows come in chunks, so that they need not fit into
memory, and numpy is there anyway, where faiss-cpu is a wheel of 19 MB.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["CHUNK", "Top", "chunks", "exact_top", "recall", "unit_rows"]

CHUNK: Final = 32_768
"""Rows scored at once."""

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Top:
    """The best rows of each query, best first.

    Attributes:
        rows: (m, k) int64 row numbers, counted from 0 in the order of the chunks.
        scores: (m, k) float32.

    Example:
        >>> top = exact_top(chunks(np.eye(3, dtype=np.float32)), np.ones((1, 3), np.float32), 1)
        >>> top.scores.round(3)
        array([[0.577]], dtype=float32)
    """

    rows: Ids
    scores: Floats


def chunks(vectors: Floats) -> Iterator[Floats]:
    """Yields the rows of an (n, dim) array in slices of at most `CHUNK` rows.

    Example:
        >>> [len(chunk) for chunk in chunks(np.zeros((CHUNK + 1, 2), np.float32))]
        [32768, 1]
    """
    for start in range(0, len(vectors), CHUNK):
        yield vectors[start : start + CHUNK]


def exact_top(
    rows: Iterable[Floats],
    queries: Floats,
    k: int,
    *,
    cosine: bool = True,
    leave_out: Ids | None = None,
) -> Top:
    """Finds the best rows by all dimensions, with float32 products of numpy.

    Args:
        rows: (n, dim) float32 in chunks; each chunk is read once.
        queries: (m, dim) float32.
        k: Rows per query: at most n, or n - 1 with `leave_out`.
        cosine: Whether rows and queries are normalised first.
        leave_out: (m,) int64, the number of one row per query that does not count. Default: none.

    Example:
        >>> exact_top([np.eye(3, dtype=np.float32)], np.array([[1, 2, 0]], np.float32), 2).rows
        array([[1, 0]])
    """
    normalised = unit_rows(queries) if cosine else queries
    best = np.full((len(normalised), k), -np.inf, np.float32)
    numbers = np.full((len(normalised), k), -1, np.int64)
    first = 0
    for chunk in rows:
        scores = normalised @ (unit_rows(chunk) if cosine else chunk).T
        if leave_out is not None:
            inside = np.flatnonzero((leave_out >= first) & (leave_out < first + len(chunk)))
            scores[inside, leave_out[inside] - first] = -np.inf
        best, numbers = _merge(best, numbers, scores, first)
        first += len(chunk)
    order = np.argsort(-best, axis=1, kind="stable")
    ranked = np.take_along_axis(best, order, 1)
    # Rounding may put a cosine beyond 1 or -1; -inf marks an empty place.
    scores = np.where(np.isfinite(ranked), np.clip(ranked, -1, 1), ranked) if cosine else ranked
    return Top(np.take_along_axis(numbers, order, 1), scores)


def recall(found: Ids, truth: Ids) -> float:
    """Returns the mean share of the true rows that were found; both arrays are (m, k) int64.

    Example:
        >>> recall(np.array([[1, 2], [3, 4]]), np.array([[2, 1], [4, 5]]))
        0.75
    """
    shares = [np.isin(row, hits).mean() for row, hits in zip(truth, found, strict=True)]
    return float(np.mean(shares))


def _merge(best: Floats, numbers: Ids, scores: Floats, first: int) -> tuple[Floats, Ids]:
    """Merges the scores of a chunk, whose first row is number `first`, into the best so far."""
    k = best.shape[1]
    # Few rows of a late chunk beat the worst so far: only those are merged.
    query, column = np.nonzero(scores > best.min(axis=1, keepdims=True))
    counts = np.bincount(query, minlength=len(best))
    width = int(counts.max(initial=0))
    if width == 0:
        return best, numbers
    column_of = np.arange(len(query)) - np.repeat(np.cumsum(counts) - counts, counts)
    better = np.full((len(best), width), -np.inf, np.float32)
    theirs = np.full((len(best), width), -1, np.int64)
    better[query, column_of] = scores[query, column]
    theirs[query, column_of] = column + first
    best, numbers = np.hstack([best, better]), np.hstack([numbers, theirs])
    kept = np.argpartition(-best, k - 1, axis=1)[:, :k]
    return np.take_along_axis(best, kept, 1), np.take_along_axis(numbers, kept, 1)


def unit_rows(vectors: Floats) -> Floats:
    """Returns vectors at length 1; those of length 0 stay as they are.

    Example:
        >>> unit_rows(np.array([[3, 4], [0, 0]], np.float32))
        array([[0.6, 0.8],
               [0. , 0. ]], dtype=float32)
    """
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Floats = vectors / np.maximum(norms, np.finfo(np.float32).tiny)
    return unit
