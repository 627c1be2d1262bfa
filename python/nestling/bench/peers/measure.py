"""The measurements that a worker makes of its engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nestling._util.timing import Values, latencies
from nestling.bench.peers.engine import Engine
from nestling.errors import VectorError
from nestling.index.exact import recall

__all__ = ["TOP", "Answers", "Bounds", "Timing", "answers", "timing"]

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]

TOP = 10  # hits per query
_FIRST = 3  # queries that estimate the time of one
_FEWEST_SINGLE, _FEWEST_BATCH = 20, 10


@dataclass(frozen=True, slots=True)
class Bounds:
    """The size of a round of one setting.

    Attributes:
        batch: Queries of a batch, at most.
        latency_queries: Queries searched one by one, at most.
        seconds: Seconds for both together. Slow settings get fewer queries, but at least 10 and 20.
    """

    batch: int
    latency_queries: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Timing:
    """One round of one setting.

    Attributes:
        batch: Queries of the batch.
        batch_seconds: Seconds of the whole batch.
        latencies: (m,) seconds of queries searched one by one.
        cpu_share: Share of the time in which the process had a core.
    """

    batch: int
    batch_seconds: float
    latencies: Values
    cpu_share: float

    @property
    def queries_per_second(self) -> float:
        """Queries per second in the batch."""
        return self.batch / self.batch_seconds


@dataclass(frozen=True, slots=True)
class Answers:
    """The recall of one setting, and a first timing.

    Attributes:
        recall: Share of the true top 10 that it finds, for the queries of a batch.
        latency_recall: The same for the queries that were searched one by one.
        timing: Timing of the same searches, which are also the warm-up.
    """

    recall: float
    latency_recall: float
    timing: Timing


def answers(engine: Engine, queries: Floats, truth: Ids, bounds: Bounds) -> Answers:
    """Estimates how many queries fit into the time, searches for them, and measures recall.

    Args:
        engine: A built engine, with a setting applied.
        queries: (m, dim).
        truth: (m, k) ids.
        bounds: The size of a round.

    Raises:
        VectorError: The engine's answers have a wrong shape.
    """
    k = truth.shape[1]
    one = float(np.median(latencies(lambda query: engine.search_one(query, k), queries[:_FIRST])))
    affordable = int(bounds.seconds / 2 / one)
    most = min(bounds.batch, len(queries))
    batch = max(min(_FEWEST_BATCH, most), min(most, affordable))
    # Large batches may cost far less per query: FAISS then calls BLAS.
    while batch < most and _batch_seconds(engine, queries[:batch], k) < bounds.seconds / 8:
        batch = min(most, 4 * batch)
    latency_queries = min(
        len(queries), max(_FEWEST_SINGLE, min(bounds.latency_queries, affordable))
    )
    found: list[Ids] = []
    first = _timed(engine, queries, k, batch, latency_queries, keep=found.append)
    for ids, shape in ((found[0], (batch, k)), (found[1], (k,))):
        if np.shape(ids) != shape:
            raise VectorError(f"answers have the shape {np.shape(ids)}; expected {shape}")
    return Answers(
        recall=recall(found[0], truth[:batch]),
        latency_recall=recall(np.array(found[1:]), truth[:latency_queries]),
        timing=first,
    )


def timing(engine: Engine, queries: Floats, k: int, *, batch: int, latency_queries: int) -> Timing:
    """Times a batch of the first queries, and then some of them one by one.

    Args:
        engine: A built engine, with a setting applied.
        queries: (m, dim).
        k: Hits per query.
        batch: Queries of the batch, at most m.
        latency_queries: Queries searched one by one, at most m.
    """
    return _timed(engine, queries, k, batch, latency_queries, keep=lambda _: None)


def _timed(
    engine: Engine,
    queries: Floats,
    k: int,
    batch: int,
    latency_queries: int,
    *,
    keep: Callable[[Ids], None],
) -> Timing:
    """Does what `timing` says; `keep` gets the answers, of the batch first, untimed."""
    started, cpu = time.perf_counter(), time.process_time()
    batch_seconds = _batch_seconds(engine, queries[:batch], k, keep=keep)
    times = np.empty(latency_queries)
    for number, query in enumerate(queries[:latency_queries]):
        begin = time.perf_counter()
        ids = engine.search_one(query, k)
        times[number] = time.perf_counter() - begin
        keep(ids)
    share = (time.process_time() - cpu) / (time.perf_counter() - started)
    return Timing(batch, batch_seconds, times, share)


def _batch_seconds(
    engine: Engine, queries: Floats, k: int, *, keep: Callable[[Ids], None] = lambda _: None
) -> float:
    begin = time.perf_counter()
    ids = engine.search(queries, k)
    elapsed = time.perf_counter() - begin
    keep(ids)
    return elapsed
