"""What `/metrics` tells Prometheus."""

from __future__ import annotations

import asyncio
import os
from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from nestling.collection import Explanation

__all__ = ["CONTENT_TYPE", "MULTIPROCESS", "Metrics", "RequestTimes"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
MULTIPROCESS: Final = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS: Final = (
    *(0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05),
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60),
)
_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_SHARE_SECONDS: Final = 0.2  # after which other processes see what was counted


class RequestTimes:
    """Milliseconds of the parts of a request, for its headers, the log and the metrics.

    Attributes:
        queue: Waiting for a model or a search.
        encode: The model.
        search: The search.
    """

    __slots__ = ("encode", "queue", "search")

    def __init__(self) -> None:
        self.queue = 0.0
        self.encode = 0.0
        self.search = 0.0


class Metrics:
    """The counters of a process; those of all worker processes are added up when they are read.

    `request` and `batch` belong to the event loop's thread.

    Args:
        queues: Called for the units that wait, by the name of the queue.
    """

    def __init__(self, queues: Callable[[], Iterable[tuple[str, int]]]) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self._requests = Counter(
            "nestling_requests",
            "Requests answered, by path and status.",
            ["path", "method", "status"],
            registry=registry,
        )
        self._seconds = _Histogram(
            "nestling_request_seconds",
            "Time of a request.",
            ["path"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._parts = _Histogram(
            "nestling_part_seconds",
            "Time of a part of a request: queue, encode, search.",
            ["part"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._noted_requests: dict[tuple[str, str, int], _Noted] = {}
        self._noted_parts = [(part, _Noted(_SECONDS)) for part in RequestTimes.__slots__]
        self._batches = _Histogram(
            "nestling_batch_size",
            "Texts that shared a run of a model, and queries that shared a search.",
            ["queue"],
            buckets=_SIZES,
            registry=registry,
        )
        self._noted_batches = {queue: _Noted(_SIZES) for queue in ("encode", "search")}
        self._rows = Counter(
            "nestling_stage_rows",
            "Rows that a stage of a funnel saw, of explained searches.",
            ["stage"],
            registry=registry,
        )
        self._bytes = Counter(
            "nestling_stage_bytes",
            "Bytes that a stage of a funnel read, of explained searches.",
            ["stage"],
            registry=registry,
        )
        self._recall = Histogram(
            "nestling_recall",
            "Share of the exact hits that explained searches found.",
            buckets=(0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0),
            registry=registry,
        )
        self._shared = MULTIPROCESS in os.environ
        self._timer: asyncio.TimerHandle | None = None
        if self._shared:
            self._queued = Gauge(
                "nestling_queued",
                "Tokens that wait for a model, and queries that wait for a search.",
                ["queue"],
                multiprocess_mode="livesum",
                registry=registry,
            )
        else:
            registry.register(_Queues(queues))
        self._queues = queues

    def request(
        self, path: str, method: str, status: int, seconds: float, times: RequestTimes
    ) -> None:
        """Counts a request."""
        key = (path, method, status)
        noted = self._noted_requests.get(key)
        if noted is None:
            noted = self._noted_requests[key] = _Noted(_SECONDS)
        noted.add(seconds)
        for part, noted in self._noted_parts:
            if took := getattr(times, part):
                noted.add(took / 1000)
        if self._shared and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SHARE_SECONDS, self._flush)

    def batch(self, queue: str, size: int) -> None:
        """Counts a batch of a queue: "encode" or "search"."""
        self._noted_batches[queue].add(size)

    def explanation(self, explanation: Explanation, k: int) -> None:
        """Counts what the stages of an explained search read, and the share of hits it found."""
        for stage in explanation.stages:
            name = f"{stage.dims}@{stage.bits}"
            self._rows.labels(name).inc(stage.rows_seen)
            self._bytes.labels(name).inc(stage.bytes_read)
        if explanation.stages:
            self._recall.observe(1 - min(len(explanation.dropped) / k, 1))

    def text(self) -> bytes:
        """Returns all of it in Prometheus's text format."""
        self._flush()
        if not self._shared:
            return generate_latest(self.registry)
        for queue, waiting in self._queues():
            self._queued.labels(queue).set(waiting)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)

    def _flush(self) -> None:
        """Adds what was noted to the counters."""
        self._timer = None
        for (path, method, status), noted in self._noted_requests.items():
            self._requests.labels(path, method, str(status)).inc(sum(noted.counts))
            self._seconds.labels(path).add(noted)
        for part, noted in self._noted_parts:
            self._parts.labels(part).add(noted)
        for queue, noted in self._noted_batches.items():
            self._batches.labels(queue).add(noted)


class _Noted:
    """Values that a histogram is still to be told.

    To add each to it by itself would take microseconds, of which a request has few.
    """

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.clear()

    def add(self, value: float) -> None:
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def clear(self) -> None:
        self.counts = [0] * (len(self._bounds) + 1)
        self.total = 0.0


class _Histogram(Histogram):
    """A histogram that is told many values at once."""

    def add(self, noted: _Noted) -> None:
        """Takes over what was noted with the same bounds."""
        for bucket, count in zip(self._buckets, noted.counts, strict=True):
            if count:
                bucket.inc(count)
        self._sum.inc(noted.total)
        noted.clear()


class _Queues(Collector):
    """The queues as they are when they are read."""

    def __init__(self, queues: Callable[[], Iterable[tuple[str, int]]]) -> None:
        self._queues = queues

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = GaugeMetricFamily(
            "nestling_queued",
            "Tokens that wait for a model, and queries that wait for a search.",
            labels=["queue"],
        )
        for queue, waiting in self._queues():
            family.add_metric([queue], waiting)
        yield family
