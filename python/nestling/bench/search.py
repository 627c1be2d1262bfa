"""Measurements of searches: the coarse scan alone, and all stages; single queries and batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from nestling._util.timing import Rounds, Spread, Task, latencies, seconds
from nestling.bench.peaks import Peaks
from nestling.bench.truth import exact_top
from nestling.index import Index
from nestling.index.exact import recall
from nestling.index.funnel import Funnel, Stage
from nestling.index.hits import Hits

__all__ = ["Scan", "Search", "search_tasks"]

K = 10
_SINGLE_QUERIES = 200  # of a round, one by one
_TRUTH_QUERIES = 500  # that measure recall
_SCAN_SINGLE, _SCAN_BATCH = "scan, single", "scan, batch"
_SINGLE, _BATCH = "search, single", "search, batch"


@dataclass(frozen=True, slots=True)
class Scan:
    """The first stage alone, for a top 10; `Search.stages` has the cost of the funnel's keep.

    Attributes:
        stage: The stage, as `dims@bits`.
        queries: Queries of one call.
        bytes: Bytes of the codes against which a query is scored.
        seconds: Seconds per query.
        bytes_per_second: Bytes of codes scored per second, for all queries. In a batch the queries
            share what is read from memory, so this may exceed the bandwidth.
        multiply_adds_per_second: One for every row, dimension and query.
        memory_share: Share of the measured bandwidth; None for a batch.
        multiply_add_share: Share of the measured limit at these bits; None without codes.
    """

    stage: str
    queries: int
    bytes: int
    seconds: Spread
    bytes_per_second: Spread
    multiply_adds_per_second: Spread
    memory_share: float | None
    multiply_add_share: float | None

    @classmethod
    def of(cls, rounds: Rounds, hits: Hits, peaks: Peaks) -> Scan:
        """Relates the seconds per query to what the scan read and computed, and to the limits.

        Args:
            rounds: Seconds per query.
            hits: Hits of such a scan, which say how many bytes it read.
            peaks: The limits of the machine.
        """
        time = Spread.of(rounds)
        stage = hits.stages[0]
        size = stage.bytes_read // hits.queries
        read = time.rate(size)
        done = time.rate(stage.rows_seen / hits.queries * stage.dims)
        single = hits.queries == 1
        peak = peaks.multiply_adds.get(stage.bits)
        return cls(
            stage=f"{stage.dims}@{stage.bits}",
            queries=hits.queries,
            bytes=size,
            seconds=time,
            bytes_per_second=read,
            multiply_adds_per_second=done,
            memory_share=read.median / peaks.memory.high if single else None,
            multiply_add_share=done.median / peak.high if peak else None,
        )


@dataclass(frozen=True, slots=True)
class Search:
    """Searches of an index.

    Attributes:
        scan_single: The coarse scan of one query.
        scan_batch: The coarse scan of a batch.
        p50: Seconds of a single query, the median of each round.
        p99: Seconds of a single query, over all rounds.
        batch: Queries of a batch.
        queries_per_second: In a batch.
        recall: Share of the exact top 10 that the funnel finds.
        stages: What the stages did for a batch, from `Hits.explain()`.
    """

    scan_single: Scan
    scan_batch: Scan
    p50: Spread
    p99: float
    batch: int
    queries_per_second: Spread
    recall: float
    stages: str

    @classmethod
    def of(
        cls,
        results: Mapping[str, Rounds],
        index: Index,
        vectors: NDArray[np.float32],
        queries: NDArray[np.float32],
        peaks: Peaks,
    ) -> Search:
        """Summarises the results of `search_tasks`, and measures recall.

        The ids of the index must be the numbers of the rows.
        """
        hits = index.search(queries, k=K)
        judged = queries[:_TRUTH_QUERIES]
        truth = exact_top(vectors, judged, min(K, len(vectors)))
        per_query = [values / len(queries) for values in results[_SCAN_BATCH]]
        return cls(
            scan_single=Scan.of(results[_SCAN_SINGLE], _scan(index, queries[0]), peaks),
            scan_batch=Scan.of(per_query, _scan(index, queries), peaks),
            p50=Spread.of(results[_SINGLE]),
            p99=float(np.percentile(np.concatenate(results[_SINGLE]), 99)),
            batch=len(queries),
            queries_per_second=Spread.of(results[_BATCH]).rate(len(queries)),
            recall=recall(hits.ids[: len(judged)], truth),
            stages=hits.explain(),
        )


def search_tasks(index: Index, queries: NDArray[np.float32]) -> dict[str, Task]:
    """Returns the measurements of `index`, for `interleave`."""
    few = queries[:_SINGLE_QUERIES]
    scan = partial(_scan, index)
    search = partial(index.search, k=K)
    return {
        _SCAN_SINGLE: lambda: latencies(scan, few),
        _SCAN_BATCH: lambda: seconds(partial(scan, queries)),
        _SINGLE: lambda: latencies(search, few),
        _BATCH: lambda: seconds(partial(search, queries)),
    }


def _scan(index: Index, queries: NDArray[np.float32]) -> Hits:
    first = index.funnel.stages[0]
    return index.search(queries, k=K, funnel=Funnel((Stage(first.dims, first.bits),)))
