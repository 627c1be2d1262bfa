"""What `/metrics` tells Prometheus."""

from __future__ import annotations

import os
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
        self._seconds = Histogram(
            "nestling_request_seconds",
            "Time of a request.",
            ["path"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._parts = Histogram(
            "nestling_part_seconds",
            "Time of a part of a request: queue, encode, search.",
            ["part"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._part_children = [(part, self._parts.labels(part)) for part in RequestTimes.__slots__]
        self._batches = Histogram(
            "nestling_batch_size",
            "Texts that shared a run of a model, and queries that shared a search.",
            ["queue"],
            buckets=_SIZES,
            registry=registry,
        )
        self._batch_children = {
            queue: self._batches.labels(queue) for queue in ("encode", "search")
        }
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
        if MULTIPROCESS in os.environ:
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
        children = self._children.get(key)
        if children is None:  # finding them takes longer than counting
            children = self._children[key] = (
                self._requests.labels(path, method, str(status)),
                self._seconds.labels(path),
            )
        children[0].inc()
        children[1].observe(seconds)
        for part, histogram in self._part_children:
            if took := getattr(times, part):
                histogram.observe(took / 1000)

    def batch(self, queue: str, size: int) -> None:
        """Counts a batch of a queue: "encode" or "search"."""
        self._batch_children[queue].observe(size)

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
        if MULTIPROCESS not in os.environ:
            return generate_latest(self.registry)
        for queue, waiting in self._queues():
            self._queued.labels(queue).set(waiting)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)


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
