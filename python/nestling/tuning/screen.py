"""Ranks coarse stages on a sample of the rows, before all rows are stored for the best of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nestling import _core
from nestling.index import Index
from nestling.index.funnel import Funnel, Stage
from nestling.tuning.queries import NOT_FOUND, QuerySet, stored_rows
from nestling.tuning.speed import Search, seconds
from nestling.tuning.target import Clock, TuningTarget

__all__ = ["MOST_KEPT", "CoarseCandidate", "CoarseStage", "grid", "screen"]

MOST_KEPT: Final = 4096
"""Most rows that a coarse stage keeps."""

_SAMPLE: Final = 65_536  # rows that coarse stages are measured on
_QUERIES: Final = 300  # queries that they are measured with
_TIMED: Final = 256  # queries of a timed batch
_SINGLE: Final = 20  # queries timed one by one
_ROUNDS: Final = 7
_CODED: Final = (1, 2, 4, 8)  # bits
_CENTRED: Final = (1, 2)  # bits that gain from it
_PROBED: Final = 1 / 16  # approximate share of the rows that a search of cells scans
_WORSE: Final = 1.3  # times the best of the same bits: fewer dimensions will not be faster
_ROTATION_GAIN: Final = 0.8  # of the rows kept without it: otherwise a rotation gains little
_SHARE: Final = 0.5  # of the budget, when screening ends


@dataclass(frozen=True, slots=True)
class CoarseStage:
    """A coarse stage without its keep, and how its rows are stored.

    Attributes:
        dims: Length of the prefix.
        bits: Bits per dimension.
        centred: Whether the codes are of differences from the mean.
        rotated: Whether the rows are rotated.

    Example:
        >>> print(CoarseStage(64, 4, centred=False, rotated=False).stage(100))
        64@4:100
    """

    dims: int
    bits: int
    centred: bool
    rotated: bool

    def stage(self, keep: int | None = None, margin: float | None = None) -> Stage:
        """Returns the stage with a keep and a margin."""
        return Stage(self.dims, self.bits, keep, margin)


@dataclass(frozen=True, slots=True)
class CoarseCandidate:
    """Predictions for a coarse stage, from the sample.

    Attributes:
        first: The stage.
        keep: Rows to keep, of all rows.
        scan: Seconds to scan all rows for one query.
        seconds: Seconds of a whole search.
        seconds_in_cells: Seconds of a whole search that scans the rows of a few cells only. Cells
            miss some true rows, so the stage may miss only half of what the target allows.

    Example:
        >>> stage = CoarseStage(64, 4, centred=False, rotated=False)
        >>> CoarseCandidate(stage, 100.0, 0.001, 0.0015, 0.0004).seconds
        0.0015
    """

    first: CoarseStage
    keep: float
    scan: float
    seconds: float
    seconds_in_cells: float


def grid(dim: int, present: Stage) -> list[int]:
    """Returns the prefixes to try, longest first: eighths of `dim`, and the present one's.

    Example:
        >>> grid(384, Stage(100, 4))
        [384, 336, 288, 240, 192, 144, 100, 96, 48]
    """
    eighths = {min(dim, -(-dim * part // 64) * 8) for part in range(1, 9)}
    return sorted(eighths | {present.dims}, reverse=True)


def screen(
    index: Index, query_set: QuerySet, target: TuningTarget, clock: Clock
) -> list[CoarseCandidate]:
    """Measures coarse stages, and returns those that reach the target, the fastest first.

    A large index is represented by a random sample of its rows and all rows that a query should
    find: the position of such a row among all rows is its position among the sampled rows, divided
    by the share sampled.

    Example:
        >>> from nestling._util.progress import ProgressBar
        >>> from nestling.tuning.queries import choose_queries
        >>> index = nestling.Index(16)
        >>> _ = index.add(np.random.default_rng(0).standard_normal((200, 16)))
        >>> target = TuningTarget(0.9, 5, 1.0, "throughput", None, 0)
        >>> with ProgressBar("Tuning", total=1, show=False) as bar:
        ...     clock = Clock(1.0, bar)
        ...     found = screen(index, choose_queries(index, None, target, clock), target, clock)
        >>> found[0].first.dims <= 16
        True
    """
    subset = query_set.every(max(1, len(query_set) // _QUERIES))
    screening = _Screening(index, subset, target, clock)
    rotations = [False]
    if screening.gains_by_rotation():
        rotations.append(True)
    for rotated in rotations:
        for bits in _CODED:
            screening.descend(bits, rotated)
    return sorted(screening.found, key=lambda candidate: candidate.seconds)


class _Screening:
    """The candidates measured so far."""

    def __init__(
        self, index: Index, query_set: QuerySet, target: TuningTarget, clock: Clock
    ) -> None:
        self._target = target
        self._clock = clock
        self._index = index
        self._last = index.funnel.stages[-1]
        self._rows = len(index)
        self._dims = grid(index.dim, index.funnel.stages[0])
        self._base, self._query_set, self._sampled = _sample(index, query_set, target.seed, clock)
        sampled = len(self._base) if self._sampled is None else int(self._sampled.sum())
        self._scale = self._rows / sampled
        self._rerank: float | None = None
        self._reference: tuple[Search, float] | None = None
        self._bandwidth = _core.read_bandwidth(bytes=2**25, rounds=3)
        self.found: list[CoarseCandidate] = []

    def gains_by_rotation(self) -> bool:
        """Returns whether half of the dimensions, rotated, need far fewer rows for the target."""
        if self._base.dim < 16:
            return False
        half = self._dims[len(self._dims) // 2]
        plain, rotated = (
            self._positions(self._variant(CoarseStage(half, 4, False, turn)))
            for turn in (False, True)
        )
        keeps = [_quantile(positions, self._target.recall) for positions in (plain, rotated)]
        return keeps[1] < _ROTATION_GAIN * keeps[0]

    def descend(self, bits: int, rotated: bool) -> None:
        """Measures prefixes at these bits, from the longest down, while they get faster."""
        best, rate = np.inf, 0.0
        for dims in self._dims:
            if bits > self._last.bits or (dims, bits) == (self._last.dims, self._last.bits):
                continue
            if self._clock.spent() > _SHARE and self.found:
                return
            least = min((candidate.seconds for candidate in self.found), default=np.inf)
            if rate * dims > least:
                continue  # the scan alone takes longer
            centred = bits in _CENTRED and self._base.metric == "cosine"
            candidate = self._measure(CoarseStage(dims, bits, centred, rotated))
            rate = candidate.scan / dims
            if candidate.keep > MOST_KEPT:
                return
            self.found.append(candidate)
            if candidate.seconds > _WORSE * best:
                return
            best = min(best, candidate.seconds)

    def _variant(self, first: CoarseStage) -> Index:
        return self._base.rebuilt(
            funnel=Funnel((first.stage(1), self._last)),
            rotate=first.rotated,
            centre=first.centred,
            cells=0,
        )

    def _measure(self, first: CoarseStage) -> CoarseCandidate:
        variant = self._variant(first)
        positions = self._positions(variant)
        keep = max(_quantile(positions, self._target.recall), self._query_set.search_k)
        alone = Funnel((first.stage(),))
        scan = self._time(lambda queries: variant.search(queries, self._target.k, funnel=alone))
        scan *= self._rows / len(self._base)
        if self._target.prefer == "latency":  # a sample fits the cache, all rows may not
            scan = max(scan, self._rows * first.dims * first.bits / 8 / self._bandwidth)
        if self._rerank is None:
            self._rerank = self._time_of_rerank(variant)
        strict = max(_quantile(positions, (1 + self._target.recall) / 2), keep)
        rerank, strictly = (min(kept, self._rows) * self._rerank for kept in (keep, strict))
        return CoarseCandidate(first, keep, scan, scan + rerank, _PROBED * scan + strictly)

    def _positions(self, variant: Index) -> NDArray[np.float64]:
        """Returns the positions of the true rows among all rows, (m, k)."""
        first = variant.funnel.stages[0]
        seen = int(min(len(variant), 1 + 1.25 * MOST_KEPT / self._scale + 64))
        alone = Funnel((Stage(first.dims, first.bits),))
        ids = variant.search(self._query_set.vectors, seen, funnel=alone).ids
        positions = self._query_set.positions(ids)
        if self._sampled is None:
            return np.where(positions == NOT_FOUND, np.inf, positions)
        before = np.cumsum(self._sampled[np.maximum(ids, 0)], axis=1)
        before = np.take_along_axis(before, np.minimum(positions, seen - 1), axis=1)
        return np.where(positions == NOT_FOUND, np.inf, before * self._scale)

    def _time(self, search: Search) -> float:
        """Returns the seconds of a query, in a batch or by itself, as the target prefers.

        It is measured in turn with a reference search, because a busy machine slows down both.
        """
        if self._reference is None:
            self._reference = (search, min(self._once(search) for _ in range(_ROUNDS)))
        other, best = self._reference
        ratios = [self._once(search) / self._once(other) for _ in range(_ROUNDS)]
        return best * float(np.median(ratios))

    def _once(self, search: Search) -> float:
        vectors = self._query_set.vectors
        if self._target.prefer == "throughput":
            batch = vectors[:_TIMED]
            return seconds(search, batch) / len(batch)
        return float(np.median([seconds(search, vector) for vector in vectors[:_SINGLE]]))

    def _time_of_rerank(self, variant: Index) -> float:
        """Returns the seconds per row of the last stage, among all rows where possible."""
        index = self._index if len(self._index.funnel.stages) > 1 else variant
        first = index.funnel.stages[0]
        keep = min(1000, len(index))
        funnel = Funnel((Stage(first.dims, first.bits, keep), self._last))
        hits = index.search(self._query_set.vectors[:_TIMED], self._target.k, funnel=funnel)
        stage = hits.stages[-1]
        busy = variant.threads if self._target.prefer == "throughput" else 1
        return stage.microseconds / 1e6 / max(1, stage.rows_seen) / busy


def _sample(
    index: Index, query_set: QuerySet, seed: int, clock: Clock
) -> tuple[Index, QuerySet, NDArray[np.bool_] | None]:
    """Returns the rows to measure on, queries for them, and which rows are a random sample."""
    if len(index) <= 2 * _SAMPLE:
        return index, query_set, None
    ids = index.ids
    rng = np.random.default_rng(seed)
    random = np.zeros(len(ids), np.bool_)
    random[rng.choice(len(ids), _SAMPLE, replace=False)] = True
    taken = random | np.isin(ids, query_set.truth)
    chosen = np.sort(ids[taken])
    sampled = np.isin(chosen, ids[random])
    base = Index(
        index.dim,
        funnel=Funnel((index.funnel.stages[-1],)),
        metric=index.metric,
        threads=index.threads,
    )
    for rows in stored_rows(index, chosen, clock):
        base.add(rows)
    truth = np.where(query_set.truth >= 0, np.searchsorted(chosen, query_set.truth), -1)
    return base, QuerySet(query_set.vectors, truth, None, query_set.k), sampled


def _quantile(positions: NDArray[np.float64], target: float) -> float:
    """Returns the least keep that reaches the target; infinity if none does."""
    candidates = np.unique(positions[np.isfinite(positions)])
    low, high = 0, len(candidates)
    while low < high:
        middle = (low + high) // 2
        if (positions <= candidates[middle]).mean() >= target:
            high = middle
        else:
            low = middle + 1
    return float(candidates[low]) + 1 if low < len(candidates) else float(np.inf)
