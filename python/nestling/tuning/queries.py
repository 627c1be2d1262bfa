"""What a tuning asks, and what it should find: queries with the exact rows of each."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nestling.errors import TuningWarning
from nestling.index import Index
from nestling.index.exact import CHUNK, exact_top
from nestling.tuning.target import Clock, TuningTarget

__all__ = ["NOT_FOUND", "QuerySet", "ask", "stored_rows"]

NOT_FOUND: Final = np.iinfo(np.int64).max
"""The place of a row that is not among those that a search returned."""

_FEW: Final = 100  # queries that say little
_LEAST, _MOST = 600, 2000  # queries asked, as far as there are
_TRUTH_SHARE: Final = 0.25  # of the budget, that exact searches may take
_SPARE: Final = 16  # rows beyond the k-th that may tie with it
_TIE: Final = 1e-6  # scores that differ by less, relative to the k-th, are equal

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class QuerySet:
    """Queries, and what each should find.

    Attributes:
        vectors: (m, dim) float32.
        truth: (m, t) int64 ids that may be among the best k: those, and ties of the k-th; then -1.
        self_ids: (m,) the id of the row that the query is, which does not count as found; None for
            queries that are not rows.
        k: Rows that each should find.
    """

    vectors: Floats
    truth: Ids
    self_ids: Ids | None
    k: int

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def search_k(self) -> int:
        """Hits to ask for, so that k are left without the row that asks."""
        return self.k + (self.self_ids is not None)

    def every(self, step: int, first: int = 0) -> QuerySet:
        """Returns each `step`-th question from the one with number `first` on."""
        part = slice(first, None, step)
        self_ids = None if self.self_ids is None else self.self_ids[part]
        return QuerySet(self.vectors[part], self.truth[part], self_ids, self.k)

    def recalls(self, ids: Ids) -> NDArray[np.float64]:
        """Returns the share of its k that each query found.

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
        shares: NDArray[np.float64] = np.minimum(found, self.k) / self.k
        return shares

    def positions(self, ids: Ids) -> Ids:
        """Returns where the true rows stand in the order of a search.

        Args:
            ids: (m, n) hits, best first; -1 for none.

        Returns:
            (m, k) positions from 0, the lowest first; `NOT_FOUND` for rows that are not there.
        """
        positions = np.full(self.truth.shape, NOT_FOUND)
        for column in range(self.truth.shape[1]):
            wanted = self.truth[:, column, np.newaxis]
            same = (ids == wanted) & (wanted >= 0)
            there = same.any(axis=1)
            positions[there, column] = same.argmax(axis=1)[there]
        positions.sort(axis=1)
        return positions[:, : self.k]


def ask(index: Index, given: Floats | None, target: TuningTarget, clock: Clock) -> QuerySet:
    """Chooses queries, and finds what each should find by exact search at the stored precision.

    Args:
        index: The rows: more than `target.k`.
        given: (m, dim) queries of the user; None to ask with rows.
        target: The k, the seed, and the budget, which bounds how many are asked.
        clock: Told when a chunk is done.
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
                f"{len(given)} queries say little about others: give a few hundred",
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
        cosine=False,  # stored rows are of unit length but for rounding, which the engine keeps
        leave_out=self_ids,
    )
    last = top.scores[:, k - 1 : k]
    truth = np.where(top.scores >= last - _TIE * np.abs(last), ids[top.rows], -1)
    return QuerySet(vectors, truth, None if self_ids is None else ids[self_ids], k)


def stored_rows(index: Index, ids: Ids, clock: Clock) -> Iterator[Floats]:
    """Yields the rows with these ids in chunks, (n, dim) each; the clock is told of each."""
    for start in range(0, len(ids), CHUNK):
        yield index.reconstruct(ids[start : start + CHUNK])
        clock.spent()


def _affordable(index: Index, ids: Ids, target: TuningTarget) -> int:
    """Returns how many queries can be asked exactly in their share of the budget."""
    sample = ids[:: max(1, len(ids) // 4096)][:4096]
    start = time.perf_counter()
    rows = index.reconstruct(sample)
    read = time.perf_counter()
    rows @ rows[:256].T
    scored = time.perf_counter()
    per_row = (read - start) / len(sample)
    # Comparing and merging take about as long again as the products.
    per_score = 2 * (scored - read) / (len(sample) * min(256, len(sample)))
    left = _TRUTH_SHARE * target.budget_seconds - len(ids) * per_row
    return int(np.clip(left / (len(ids) * per_score), _LEAST, _MOST))
