"""The measurements that a worker makes of its engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nestling._util.timing import Values, latencies
from nestling.bench.peers.engine import Engine
from nestling.index.exact import recall

__all__ = ["TOP", "Answers", "Bounds", "Timing", "answers", "timing"]

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]

TOP = 10  # hits wanted of every query
_FIRST = 3  # queries that tell how long one takes
_FEWEST_SINGLE, _FEWEST_BATCH = 20, 10


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a round asks of one setting.

    Attributes:
        batch: Queries of a batch, at most.
        latency_queries: Queries asked one by one, at most.
        seconds: For both together. Slow settings are asked fewer, but never under 10 and 20.
    """

    batch: int
    latency_queries: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Timing:
    """One round of one setting.

    Attributes:
        batch: Queries of the batch.
        batch_seconds: Of the whole batch.
        latencies: (m,) seconds of queries asked one by one.
        cpu_share: Share of the time that the process had a core for.
    """

    batch: int
    batch_seconds: float
    latencies: Values
    cpu_share: float

    @property
    def queries_per_second(self) -> float:
        """In the batch."""
        return self.batch / self.batch_seconds


@dataclass(frozen=True, slots=True)
class Answers:
    """What one setting finds, and a first timing.

    Attributes:
        recall: Share of the true top 10 among its own, of the queries of a batch.
        latency_recall: The same of the queries that were asked one by one.
        timing: Of the same searches; they also warmed it up.
    """

    recall: float
    latency_recall: float
    timing: Timing


def answers(engine: Engine, queries: Floats, truth: Ids, bounds: Bounds) -> Answers:
    """Finds out how many queries the time is enough for, asks them, and counts what comes back.

    Args:
        engine: Built, and told its setting.
        queries: (m, dim).
        truth: (m, k) ids.
        bounds: How much to ask.

    Raises:
        ValueError: The engine's answers have another shape than it was asked for.
    """
    k = truth.shape[1]
    one = float(np.median(latencies(lambda query: engine.ask(query, k), queries[:_FIRST])))
    affordable = int(bounds.seconds / 2 / one)
    most = min(bounds.batch, len(queries))
    batch = max(min(_FEWEST_BATCH, most), min(most, affordable))
    # Large batches may cost far less a query: FAISS then calls BLAS.
    while batch < most and _batch_seconds(engine, queries[:batch], k) < bounds.seconds / 8:
        batch = min(most, 4 * batch)
    latency_queries = min(
        len(queries), max(_FEWEST_SINGLE, min(bounds.latency_queries, affordable))
    )
    found: list[Ids] = []
    first = _timed(engine, queries, k, batch, latency_queries, keep=found.append)
    for ids, shape in ((found[0], (batch, k)), (found[1], (k,))):
        if np.shape(ids) != shape:
            raise ValueError(f"answers have the shape {np.shape(ids)}; expected {shape}")
    return Answers(
        recall=recall(found[0], truth[:batch]),
        latency_recall=recall(np.array(found[1:]), truth[:latency_queries]),
        timing=first,
    )


def timing(engine: Engine, queries: Floats, k: int, *, batch: int, latency_queries: int) -> Timing:
    """Asks a batch of the first queries, and then so many of them one by one.

    Args:
        engine: Built, and told its setting.
        queries: (m, dim).
        k: Hits wanted.
        batch: Queries of the batch, at most m.
        latency_queries: Queries asked one by one, at most m.
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
        ids = engine.ask(query, k)
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
