"""What a search returns: ids, scores, and what every stage did to find them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nestling._util.value import Value
from nestling.index.funnel import Funnel

__all__ = ["Hits", "StageStats", "found_hits", "total_stages"]

_StageCounts: TypeAlias = tuple[int, int, int, int]  # rows seen, rows kept, bytes, nanoseconds


@dataclass(slots=True, eq=False, repr=False)
class StageStats(Value):
    """What one stage did, summed over the queries of the search.

    Attributes:
        dims: Length of the prefix scored.
        bits: Precision of the values read.
        rows_seen: Rows scored.
        rows_kept: Rows handed to the next stage, or returned by the last.
        bytes_read: Bytes of codes, scales and norms that the stage read from the index.
        microseconds: Time in the stage, summed over the threads that worked on it. It does not
            count in comparisons.

    Example:
        >>> index = nestling.Index(8, funnel="4@8:5 > 8@32")
        >>> _ = index.add(np.eye(8))
        >>> coarse, rerank = index.search(np.ones(8), k=2).stages
        >>> (coarse.dims, coarse.rows_seen, coarse.rows_kept), rerank.rows_seen
        ((4, 8, 5), 5)
    """

    dims: int
    bits: int
    rows_seen: int
    rows_kept: int
    bytes_read: int
    microseconds: float = field(compare=False)


class _Counted(Value):
    """Makes `stages` when it is first read: few callers do, and it takes microseconds."""

    __slots__ = ("_counts", "_funnel")
    _counts: Sequence[_StageCounts]
    _funnel: Funnel

    def __getattr__(self, name: str) -> tuple[StageStats, ...]:
        if name != "stages":  # that it lacks; any other attribute does not exist
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        stages = _stage_stats(self._funnel, self._counts)
        object.__setattr__(self, "stages", stages)
        return stages


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Hits(_Counted):
    """The result of a search; unpacks as `ids, scores = hits`.

    Attributes:
        ids: (m, k) int64, best first; (k,) for a single query. -1 where fewer than k rows exist.
        scores: float32 of the same shape, the last stage's scores; NaN where the id is -1.
        stages: One `StageStats` per stage, in order.
        queries: How many queries the search had.

    Example:
        >>> index = nestling.Index(2, funnel="2@32")
        >>> _ = index.add(np.eye(2))
        >>> hits = index.search(np.array([3.0, 4.0]), k=2)
        >>> ids, scores = hits
        >>> ids, scores.round(3)
        (array([1, 0]), array([0.8, 0.6], dtype=float32))
    """

    ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    stages: tuple[StageStats, ...]
    queries: int

    def __iter__(self) -> Iterator[NDArray[np.int64] | NDArray[np.float32]]:
        yield self.ids
        yield self.scores

    def __repr__(self) -> str:
        funnel = " > ".join(f"{stage.dims}@{stage.bits}" for stage in self.stages)
        return f"Hits(queries={self.queries}, k={self.ids.shape[-1]}, funnel='{funnel}')"

    def explain(self) -> str:
        """Returns what each stage read, kept and cost, as a table that is ready to print.

        All numbers are means per query: rows, bytes, and microseconds summed over the threads.

        Example:
            >>> index = nestling.Index(8, funnel="4@8:5 > 8@32")
            >>> _ = index.add(np.eye(8))
            >>> table = index.search(np.ones(8), k=2).explain()
            >>> [line.split()[:3] for line in table.splitlines()[-2:]]
            [['4@8', '8', '5'], ['8@32', '5', '2']]
        """
        from nestling._util.console import table, table_text  # rich takes long to import

        per = max(self.queries, 1)
        rows = [
            (
                f"{stage.dims}@{stage.bits}",
                f"{stage.rows_seen / per:,.0f}",
                f"{stage.rows_kept / per:,.0f}",
                f"{stage.bytes_read / per:,.0f}",
                f"{stage.microseconds / per:,.1f}",
            )
            for stage in self.stages
        ]
        title = "Per query" if self.queries == 1 else f"Per query, mean of {self.queries:,}"
        header = ("stage", "rows seen", "rows kept", "bytes read", "µs")
        return f"{title}\n{table_text(table(header, rows))}"


def found_hits(
    ids: NDArray[np.int64],
    scores: NDArray[np.float32],
    queries: int,
    funnel: Funnel,
    counts: Sequence[_StageCounts],
) -> Hits:
    """Returns the hits of a search by what its stages counted.

    Sets what the constructor would, which takes five times as long in a frozen class.
    """
    hits = _new(Hits)
    _set_ids(hits, ids)
    _set_scores(hits, scores)
    _set_queries(hits, queries)
    _set_funnel(hits, funnel)
    _set_counts(hits, counts)
    return hits


_new: Final = object.__new__
_set_ids, _set_scores, _set_queries, _set_funnel, _set_counts = (
    getattr(Hits, name).__set__ for name in ("ids", "scores", "queries", "_funnel", "_counts")
)


def _stage_stats(funnel: Funnel, counts: Sequence[_StageCounts]) -> tuple[StageStats, ...]:
    """Returns what the core did in each stage of a funnel."""
    return tuple(
        StageStats(stage.dims, stage.bits, seen, kept, read, nanoseconds / 1000)
        for stage, (seen, kept, read, nanoseconds) in zip(funnel.stages, counts, strict=True)
    )


def total_stages(searches: Sequence[tuple[StageStats, ...]]) -> tuple[StageStats, ...]:
    """Returns what each stage of a funnel did, summed over searches that ran the same stages.

    Example:
        >>> one = (StageStats(4, 8, rows_seen=8, rows_kept=5, bytes_read=64, microseconds=2.0),)
        >>> total_stages([one, one])[0].rows_seen
        16
    """
    return tuple(
        StageStats(
            stats[0].dims,
            stats[0].bits,
            *(sum(getattr(stage, name) for stage in stats) for name in _COUNTS),
        )
        for stats in zip(*searches, strict=True)
    )


_COUNTS: Final = ("rows_seen", "rows_kept", "bytes_read", "microseconds")
