"""What the requests of one process share: catalog, threads, queues, keys and counters."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, Final, Literal, TypeVar

from nestling.encoder import Encoder
from nestling.errors import NestlingError
from nestling.server.catalog import Catalog
from nestling.server.errors import RequestError
from nestling.server.keys import ApiKeys
from nestling.server.metrics import Metrics
from nestling.server.recall import RecallSample
from nestling.server.schedule.admission import Admission, QueueLimits
from nestling.server.schedule.encode import EncodeLimits, EncodeScheduler
from nestling.server.schedule.search import SearchScheduler
from nestling.server.schedule.threads import WorkerThreads
from nestling.server.settings import ServerSettings
from nestling.server.watch import Watch

__all__ = ["Queue", "Service"]

_UPKEEP_THREADS: Final = 4  # that tune, check, and read documents
_WRITE_THREADS: Final = 2  # a collection has one writer at a time, but several may be written
_INGEST_BYTES: Final = 256 * 1024 * 1024  # of documents that are in memory before they are stored

T = TypeVar("T")
Queue = Literal["encode", "search"]
_MOST_NAMES: Final = 10  # of collections and encoders, in the log
_log = logging.getLogger("nestling.server")


class Service:
    """The shared state of a server process.

    Args:
        settings: The settings.
        catalog: What to serve. Default: what the settings name.

    Attributes:
        settings: The settings.
        catalog: The collections and encoders.
        keys: The API keys; None to serve anyone.
        metrics: The counters.
        searches: Runs searches.
        watch: Ends requests that wait too long.
        recall: Repeats a sample of them exactly.
        ingesting: Bytes of documents that wait to be stored.
        started: Seconds of `time.time` at the start.
        draining: Whether the server is about to stop.

    Raises:
        SettingError: The file of API keys is malformed, or has none.
        StorageError: It cannot be read.
    """

    def __init__(self, settings: ServerSettings, catalog: Catalog | None = None) -> None:
        self.settings = settings
        self.catalog = catalog or Catalog(
            settings.collections,
            settings.models,
            query_encoders=settings.query_encoders,
            read_only=settings.read_only,
            threads=settings.threads,
        )
        self.keys = None if settings.api_keys is None else ApiKeys.read(settings.api_keys)
        self.metrics = Metrics(self._queues)
        self.started = time.time()
        self.draining = False
        self._loading = "starting"
        self.failure: Exception | None = None
        self._encode_workers = settings.encode_workers or settings.threads
        self._encode_threads = WorkerThreads(self._encode_workers, "nestling-encode")
        self._search_threads = WorkerThreads(settings.search_workers, "nestling-search")
        self._other_threads = ThreadPoolExecutor(_UPKEEP_THREADS, "nestling-upkeep")
        self._write_threads = ThreadPoolExecutor(_WRITE_THREADS, "nestling-write")
        self.recall = RecallSample(settings.recall_sample, self.metrics, self._other_threads.submit)
        self.ingesting = Admission(QueueLimits(work=_INGEST_BYTES, seconds=0), "bytes of documents")
        self.searches = SearchScheduler(
            self._search_threads,
            settings.search_workers,
            QueueLimits(work=settings.max_queued_queries, seconds=settings.max_queue_ms / 1000),
            on_batch=lambda size: self.metrics.batch("search", size),
        )
        self.watch = Watch()
        self._encoding: dict[int, EncodeScheduler] = {}

    @property
    def status(self) -> str:
        """Either "ready", "draining", or what is loaded or failed to."""
        if self.draining:
            return "draining"
        if self.failure is not None:
            return f"failed: {type(self.failure).__name__}: {self.failure}"
        return "ready" if not self._loading else f"loading {self._loading}"

    @property
    def ready(self) -> bool:
        """Whether requests are served."""
        return not (self.draining or self._loading or self.failure)

    async def load(self) -> None:
        """Opens collections and encoders, in another thread; until then requests get 503."""

        def on_step(name: str) -> None:
            self._loading = name

        try:
            await asyncio.get_running_loop().run_in_executor(None, self.catalog.load, on_step)
        except NestlingError as error:
            self.failure = error
            _log.error("cannot load what is to be served: %s", error)
        except Exception as error:
            self.failure = error
            _log.exception("cannot load what is to be served")
        else:
            _log.info("ready: %s", self._served())
        self._loading = ""

    def _served(self) -> str:
        """Returns what is served, in words."""
        collections, models = self.catalog.names(), self.catalog.models()
        empty = "none" if self.catalog.root is None else f"none yet in {self.catalog.root}"
        return (
            f"collections: {_listed(collections) or empty}; encoders: {_listed(models) or 'none'}"
        )

    def full(self, queue: Queue) -> bool:
        """Returns whether a queue would refuse any request, before one is read."""
        if queue == "search":
            return self.searches.full
        return bool(self._encoding) and all(each.full for each in self._encoding.values())

    def require_ready(self) -> None:
        """Raises an error while nothing can be served.

        Raises:
            RequestError: 503. While it is draining, requests on open connections are still served.
        """
        if self._loading or self.failure is not None:
            raise RequestError(503, f"the server is {self.status}", code="loading", retry_after=1)

    def encoding(self, encoder: Encoder) -> EncodeScheduler:
        """Returns the queue of a model."""
        scheduler = self._encoding.get(id(encoder))
        if scheduler is None:
            settings = self.settings
            scheduler = self._encoding[id(encoder)] = EncodeScheduler(
                encoder,
                self._encode_threads,
                self._encode_workers,
                EncodeLimits(
                    input_tokens=settings.max_input_tokens,
                    request_tokens=settings.max_request_tokens,
                ),
                QueueLimits(work=settings.max_queued_tokens, seconds=settings.max_queue_ms / 1000),
                on_batch=lambda size: self.metrics.batch("encode", size),
            )
        return scheduler

    async def in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        """Runs what takes long, or reads and writes files, beside the searches."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._other_threads, function, *arguments)

    async def write(self, function: Callable[..., T], *arguments: Any) -> T:
        """Runs what changes documents, beside all else."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._write_threads, function, *arguments)

    def close(self) -> None:
        """Ends the threads and closes the collections."""
        for executor in (self._write_threads, self._other_threads):
            executor.shutdown(cancel_futures=True)
        for threads in (self._search_threads, self._encode_threads):
            threads.close()
        self.catalog.close()

    def _queues(self) -> Iterator[tuple[str, int]]:
        yield "search", self.searches.admission.queued
        yield "ingest", self.ingesting.queued
        yield "encode", sum(each.admission.queued for each in list(self._encoding.values()))


def _listed(names: Collection[str]) -> str:
    """Returns the first names of many, in one line."""
    rest = len(names) - _MOST_NAMES
    more = [f"{rest:,} more"] if rest > 0 else []
    return ", ".join([*islice(names, _MOST_NAMES), *more])
