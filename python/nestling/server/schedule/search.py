"""Concurrent searches that ask for the same, in one call of the collection."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sized
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np

from nestling.collection import DocumentHits
from nestling.runtime.embedder import Floats
from nestling.server.schedule.admission import Admission, QueueLimits
from nestling.server.schedule.threads import WorkerThreads
from nestling.server.searchable import Searchable

__all__ = ["Found", "SearchScheduler", "Searches"]

_BATCH_QUERIES: Final = 256
_QUICK_SECONDS: Final = 0.003  # of what may hold up the event loop
_SHORT_SECONDS: Final = 0.02  # of a search for whose end others like it wait
_WORTH_SECONDS: Final = 0.005  # of searching that is worth a thread beside that of others like it
_KEYS: Final = 256  # whose times are remembered
_NEWEST: Final = 0.3  # weight of the newest search in the mean time of those like it
_OUTLIER: Final = 4  # times the mean: a longer search was interrupted, and counts as so long


class Searches:
    """Queries of one request.

    Args:
        collection: Where to search.
        key: Requests with equal keys differ in nothing but their queries.
        options: The keyword arguments of `Collection.search` but for the queries.
        texts: The queries, unless they are vectors.
        vectors: (m, dim) float32: the queries, or the embeddings of `texts`; None for a search by
            words.

    Attributes:
        collection: As given, like the others.
        count: How many queries there are.
    """

    __slots__ = ("collection", "count", "key", "options", "texts", "vectors")

    def __init__(
        self,
        collection: Searchable,
        key: object,
        options: dict[str, Any],
        texts: list[str] | None,
        vectors: Floats | None,
    ) -> None:
        self.collection = collection
        self.key = key
        self.options = options
        self.texts = texts
        self.vectors = vectors
        queries: Sized = () if vectors is None else vectors
        self.count = len(queries if texts is None else texts)


@dataclass(slots=True)
class Found:
    """What a request found.

    Attributes:
        hits: One for each query.
        queue_ms: How long it waited.
        search_ms: How long the search took.
    """

    hits: list[DocumentHits]
    queue_ms: float
    search_ms: float


@dataclass(slots=True, eq=False)
class _Waiting:
    searches: Searches
    done: asyncio.Future[list[DocumentHits]]
    arrived: float
    started: float = 0.0


class SearchScheduler:
    """Runs the searches of concurrent requests.

    While threads are idle, a request starts at once, unless others like it are being searched and
    will be done soon, and those that wait are few beside them. Otherwise it waits, and those that
    wait for the same collection with the same options are then searched together, in the order of
    the first of them; where they are many, the idle threads share them. Requests that were given up
    leave the queue.

    What takes less than 3 ms, to judge by others like it, is searched in the event loop itself: to
    wake a thread and to be woken by it would take a good part of that again. While requests come
    one at a time, they do not even wait for the end of the round of the loop (`search_now`).

    All methods belong to the event loop's thread.

    Args:
        threads: What searches.
        workers: How many of them may search at a time.
        queue: How many queries may wait.
        on_batch: Called with the number of queries of each search.
    """

    def __init__(
        self,
        threads: WorkerThreads,
        workers: int,
        queue: QueueLimits,
        on_batch: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.admission = Admission(queue, "queries")
        self._on_batch = on_batch
        self._threads = threads
        self._idle = self._workers = workers
        self._groups: dict[object, deque[_Waiting]] = {}  # in the order of their first request
        self._running: Counter[object] = Counter()  # queries that are searched now, by key
        self._scheduled = False
        self._searched = False  # in this round of the loop, at once
        self._crowded = False  # requests came together lately
        self._took: OrderedDict[object, float] = OrderedDict()  # seconds of a query, by key

    @property
    def full(self) -> bool:
        """Whether any request would be refused."""
        return self.admission.full(self.admission.queued)

    def search_now(self, searches: Searches) -> Found | None:
        """Returns the hits of a request at once, or None where it has to wait.

        It does not wait if it is quick, and nothing else could be searched with it.

        Raises:
            NestlingError: As for `Collection.search`.
        """
        if (
            self._crowded
            or self._searched  # others arrive in this round, which can be searched together
            or self._groups
            or self._idle < self._workers
            or not self._is_quick(searches.key, searches.count)
        ):
            return None
        self._searched = True
        asyncio.get_running_loop().call_soon(self._end_round)
        self._on_batch(searches.count)
        started = time.perf_counter()
        try:
            (hits,) = _search([searches])
        finally:
            seconds = time.perf_counter() - started
            self._note(searches.key, searches.count, seconds)
        return Found(hits, 0.0, seconds * 1000)

    def _end_round(self) -> None:
        self._searched = False

    async def search(self, searches: Searches) -> Found:
        """Returns the hits of the queries of a request.

        Raises:
            RequestError: 429; too many queries wait.
            NestlingError: As for `Collection.search`.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(searches, loop.create_future(), time.perf_counter())
        work = searches.count or 1
        self.admission.enter(work, self.admission.queued)
        try:
            group = self._groups.get(searches.key)
            if group is None:
                group = self._groups[searches.key] = deque()
            group.append(waiting)
            if not self._scheduled:  # after what has arrived in this round of the loop
                self._scheduled = True
                loop.call_soon(self._start)
            hits = await waiting.done
        finally:
            self.admission.leave(work)
        ended = time.perf_counter()
        return Found(
            hits, (waiting.started - waiting.arrived) * 1000, (ended - waiting.started) * 1000
        )

    def _start(self) -> None:
        self._scheduled = False
        if self._idle == self._workers and len(self._groups) == 1:
            ((key, group),) = self._groups.items()
            if self._is_quick(key, sum(waiting.searches.count for waiting in group)):
                self._search_here()
        self._dispatch()

    def _is_quick(self, key: object, queries: int) -> bool:
        """Whether queries probably take so little time that they may hold up the event loop."""
        return 0 < queries * self._took.get(key, 1.0) < _QUICK_SECONDS

    def _has_to_wait(self, key: object, queries: int) -> bool:
        """Whether queries are few beside others like them that will be done soon."""
        seconds = self._took.get(key, 1.0)
        running = self._running.get(key, 0)
        if not running or running * seconds >= _SHORT_SECONDS:
            return False
        return queries < running / 2 or queries * seconds < _WORTH_SECONDS

    def _share(self, key: object, queries: int) -> int:
        """Returns how many of the queries that wait one of the idle threads takes."""
        worth = int(queries * self._took.get(key, 0.0) / _WORTH_SECONDS)
        return math.ceil(queries / max(min(worth, self._idle), 1))

    def _note(self, key: object, queries: int, seconds: float) -> None:
        """Notes how long queries took. Those that were interrupted do not count in full."""
        seconds /= queries
        past = self._took.pop(key, seconds)
        self._took[key] = past + _NEWEST * (min(seconds, _OUTLIER * past) - past)
        if len(self._took) > _KEYS:
            self._took.popitem(last=False)

    def _search_here(self) -> None:
        """Searches for a batch in this thread."""
        batch = self._next_batch()
        if not batch:
            return
        queries = self._begin(batch)
        found: list[list[DocumentHits]] = []
        error: Exception | None = None
        started = time.perf_counter()
        try:
            found = _search([waiting.searches for waiting in batch])
        except Exception as raised:
            error = raised
        self._finish(batch, queries, found, error, time.perf_counter() - started)

    def _dispatch(self) -> None:
        while self._idle and (batch := self._next_batch()):
            queries = self._begin(batch)
            searches = [waiting.searches for waiting in batch]
            self._threads.submit(partial(_search, searches), partial(self._finish, batch, queries))

    def _begin(self, batch: list[_Waiting]) -> int:
        """Notes that a batch is searched now; returns the number of its queries."""
        self._idle -= 1
        now = time.perf_counter()
        for waiting in batch:
            waiting.started = now
        queries = sum(waiting.searches.count for waiting in batch)
        self._running[batch[0].searches.key] += queries
        self._crowded = len(batch) > 1
        self._on_batch(queries)
        return queries

    def _next_batch(self) -> list[_Waiting]:
        """Takes what waits longest, and what can be searched with it."""
        for key in list(self._groups):
            group = self._groups[key]
            count = sum(each.searches.count for each in group)
            if self._has_to_wait(key, count):
                continue
            most = min(self._share(key, count), _BATCH_QUERIES)
            del self._groups[key]
            batch: list[_Waiting] = []
            queries = 0
            while group:
                if group[0].done.done():  # given up
                    group.popleft()
                    continue
                size = group[0].searches.count
                if batch and queries + size > most:
                    break
                queries += size
                batch.append(group.popleft())
            if group:
                self._groups[key] = group  # behind the others
            if batch:
                return batch
        return []

    def _finish(
        self,
        batch: list[_Waiting],
        queries: int,
        found: list[list[DocumentHits]],
        error: BaseException | None,
        seconds: float,
    ) -> None:
        self._idle += 1
        key = batch[0].searches.key
        self._running[key] -= queries
        if not self._running[key]:
            del self._running[key]
        lag = time.perf_counter() - batch[0].started - seconds
        self.admission.note(queries * self._workers, seconds, lag)
        if queries:
            self._note(key, queries, seconds)
        if error is not None and len(batch) > 1:  # one of them may be at fault: each by itself
            for waiting in batch:
                if not waiting.done.done():
                    alone = (id(waiting), waiting.searches.key)
                    self._groups[alone] = deque([waiting])
        elif error is not None:
            if not batch[0].done.done():
                batch[0].done.set_exception(error)
        else:
            for waiting, hits in zip(batch, found, strict=True):
                if not waiting.done.done():
                    waiting.done.set_result(hits)
        self._dispatch()


def _search(batch: list[Searches]) -> list[list[DocumentHits]]:
    """Searches for all queries of requests that differ in nothing else."""
    first = batch[0]
    vectors = [each.vectors for each in batch if each.vectors is not None]
    joined = None if not vectors else vectors[0] if len(vectors) == 1 else np.concatenate(vectors)
    if first.texts is not None:
        texts = [text for each in batch for text in each.texts or []]
        hits = first.collection.search(texts, vectors=joined, **first.options)
    elif joined is not None and len(joined) == 1:
        hits = first.collection.search(joined[0], **first.options)
    else:
        hits = first.collection.search(joined, **first.options)
    found = hits if isinstance(hits, list) else [hits]
    parts, start = [], 0
    for each in batch:
        parts.append(found[start : start + each.count])
        start += each.count
    return parts
