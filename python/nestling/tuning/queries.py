"""The queries of a tuning, with the exact hits of each."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nestling._util.counted import counted
from nestling.errors import TuningWarning
from nestling.index import Index
from nestling.index.exact import CHUNK, exact_top
from nestling.tuning.target import Clock, TuningTarget

__all__ = ["NOT_FOUND", "QuerySet", "choose_queries", "stored_rows"]

NOT_FOUND: Final = np.iinfo(np.int64).max
"""The position of a row that a search did not return."""

_FEW: Final = 100  # fewer queries say little about others
_LEAST, _MOST = 600, 2000  # queries to use, if there are as many
_TRUTH_SHARE: Final = 0.25  # of the budget, for exact searches
_SPARE: Final = 16  # rows beyond the k-th that may tie with it
_TIE: Final = 1e-6  # scores that differ by less, relative to the k-th, are equal

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class QuerySet:
    """Queries, and what each should find.

    Attributes:
        vectors: (m, dim) float32.
        truth: (m, t) int64, the ids of the best k and of all that tie with the k-th, then -1.
        self_ids: (m,) the id of the row that the query is, which does not count as found; None for
            queries that are not rows.
        k: Rows that each query should find.

    Example:
        >>> queries = QuerySet(np.ones((1, 2), np.float32), np.array([[5, 6, -1]]), None, 2)
        >>> queries.recalls(np.array([[5, 8]])), queries.positions(np.array([[6, 8, 5]]))
        (array([0.5]), array([[0, 2]]))
    """

    vectors: Floats
    truth: Ids
    self_ids: Ids | None
    k: int

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def search_k(self) -> int:
        """Hits to search for, so that k are left without the query's own row."""
        return self.k + (self.self_ids is not None)

    def every(self, step: int, first: int = 0) -> QuerySet:
        """Returns every `step`-th query, from number `first` on."""
        part = slice(first, None, step)
        self_ids = None if self.self_ids is None else self.self_ids[part]
        return QuerySet(self.vectors[part], self.truth[part], self_ids, self.k)

    def recalls(self, ids: Ids) -> NDArray[np.float64]:
        """Returns the share of its k rows that each query found, (m,) float64.

        Args:
            ids: (m, wanted) hits, best first; -1 for none.
        """
        if not self.truth.size:
            return np.ones(len(ids))  # nothing to find
        counted = ids >= 0
        if self.self_ids is not None:
            counted &= ids != self.self_ids[:, np.newaxis]
        counted &= counted.cumsum(axis=1) <= self.k
        hits = np.where(counted, ids, -2)
        found = (hits[:, :, np.newaxis] == self.truth[:, np.newaxis, :]).any(axis=2).sum(axis=1)
        expected = np.minimum((self.truth >= 0).sum(axis=1), self.k)
        shares: NDArray[np.float64] = np.minimum(found, expected) / np.maximum(expected, 1)
        shares[expected == 0] = 1.0
        return shares

    def recalls_of(self, index: Index) -> NDArray[np.float64]:
        """Searches an index with the queries, and returns the share that each of them found.

        Links lead from a row straight to its neighbours, as no other query could go. So queries
        that are rows of a linked index are searched for without these rows, which do not count.
        """
        if self.self_ids is None or index.cells is None or not index.cells.links:
            return self.recalls(index.search(self.vectors, self.search_k).ids)
        others = index.copy()
        others.remove(self.self_ids)
        truth = np.where(np.isin(self.truth, self.self_ids), -1, self.truth)
        held_out = QuerySet(self.vectors, truth, None, self.k)
        return held_out.recalls(others.search(self.vectors, self.k).ids)

    def positions(self, ids: Ids) -> Ids:
        """Returns the positions of the true rows in the ranking of a search.

        Args:
            ids: (m, n) int64 hits, best first; -1 for none.

        Returns:
            (m, k) int64 positions from 0, the lowest first; `NOT_FOUND` for rows not returned.
        """
        positions = np.full(self.truth.shape, NOT_FOUND)
        for column in range(self.truth.shape[1]):
            expected = self.truth[:, column, np.newaxis]
            same = (ids == expected) & (expected >= 0)
            found = same.any(axis=1)
            positions[found, column] = same.argmax(axis=1)[found]
        positions.sort(axis=1)
        return positions[:, : self.k]


def choose_queries(
    index: Index, given: Floats | None, target: TuningTarget, clock: Clock
) -> QuerySet:
    """Chooses queries, and finds their exact hits at the stored precision.

    Args:
        index: More than `target.k` rows.
        given: (m, dim) float32 queries of the user; None to use rows of the index.
        target: The k, the seed, and the budget, which bounds the number of queries.
        clock: Advanced after every chunk.

    Example:
        >>> index = nestling.Index(2, funnel="2@32")
        >>> _ = index.add(np.eye(2))
        >>> target = TuningTarget(0.9, 1, 1.0, "throughput", None, 0)
        >>> from nestling._util.progress import ProgressBar
        >>> with ProgressBar("Tuning", total=1, show=False) as bar:
        ...     choose_queries(index, None, target, Clock(1.0, bar)).search_k
        2
    """
    rng = np.random.default_rng(target.seed)
    ids = index.ids
    most = _affordable(index, ids, target)
    self_ids = None
    if given is None:
        numbers = rng.permutation(len(ids))[:most]
        vectors = index.reconstruct(ids[numbers])
        some = vectors.any(axis=1)
        vectors, self_ids = vectors[some], numbers[some]
    else:
        if len(given) < _FEW:
            warnings.warn(
                f"{counted(len(given), 'query')} cannot stand for all others: give a few hundred",
                TuningWarning,
                stacklevel=4,
            )
        vectors = given[rng.permutation(len(given))[:most]]
        vectors = vectors[vectors.any(axis=1)]
    k = min(target.k, len(ids) - (self_ids is not None))
    top = exact_top(
        stored_rows(index, ids, clock),
        vectors,
        min(k + _SPARE, len(ids) - (self_ids is not None)),
        cosine=False,  # stored rows have unit length, up to the rounding that searches see too
        leave_out=self_ids,
    )
    last = top.scores[:, k - 1 : k]
    truth = np.where(top.scores >= last - _TIE * np.abs(last), ids[top.rows], -1)
    return QuerySet(vectors, truth, None if self_ids is None else ids[self_ids], k)


def stored_rows(index: Index, ids: Ids, clock: Clock) -> Iterator[Floats]:
    """Yields the rows with these ids in (n, dim) float32 chunks, and advances the clock.

    Example:
        >>> index = nestling.Index(2, funnel="2@32")
        >>> from nestling._util.progress import ProgressBar
        >>> with ProgressBar("Reading", total=1, show=False) as bar:
        ...     [len(rows) for rows in stored_rows(index, index.add(np.eye(2)), Clock(1.0, bar))]
        [2]
    """
    for start in range(0, len(ids), CHUNK):
        yield index.reconstruct(ids[start : start + CHUNK])
        clock.spent()


def _affordable(index: Index, ids: Ids, target: TuningTarget) -> int:
    """Returns the number of exact searches that fit into their share of the budget."""
    sample = ids[:: max(1, len(ids) // 4096)][:4096]
    start = time.perf_counter()
    rows = index.reconstruct(sample)
    read = time.perf_counter()
    rows @ rows[:256].T
    scored = time.perf_counter()
    per_row = (read - start) / len(sample)
    # Selecting the best takes about as long as the products.
    per_score = 2 * (scored - read) / (len(sample) * min(256, len(sample)))
    left = _TRUTH_SHARE * target.budget_seconds - len(ids) * per_row
    return int(np.clip(left / (len(ids) * per_score), _LEAST, _MOST))
