"""Requests that wait: ended when their time is over, or when their clients leave."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Final

from nestling.server.http import ClientDisconnectedError, Request

__all__ = ["Watch", "Watched"]

_LOOK_SECONDS: Final = 0.05  # between two looks at all that waits


class Watch:
    """Looks at all requests that wait, with one timer for all.

    Most are answered before anyone looks at their connections, which costs a task.

    All methods belong to the event loop's thread.
    """

    def __init__(self) -> None:
        self._waiting: set[Watched] = set()
        self._next = 0.0  # when it is looked again, while anything waits
        self._timer: asyncio.TimerHandle | None = None

    def add(self, watched: Watched) -> None:
        """Adds a request that begins to wait."""
        self._waiting.add(watched)
        if self._timer is None or watched.deadline < self._next:
            self._schedule(watched.deadline)

    def remove(self, watched: Watched) -> None:
        """Removes one that does not wait any more."""
        self._waiting.discard(watched)

    def _schedule(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        now = time.monotonic()
        self._next = min(now + _LOOK_SECONDS, deadline)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(self._next - now, 0.0), self._look)

    def _look(self) -> None:
        self._timer = None
        now = time.monotonic()
        for watched in list(self._waiting):
            watched.look(now)
        if self._waiting:
            self._schedule(min(watched.deadline for watched in self._waiting))


class Watched:
    """A request that waits while the block runs; its body must have been read before.

    Args:
        watch: What looks at it.
        request: The request.
        deadline: When its time is over, in seconds of `time.monotonic`.

    Attributes:
        deadline: As given.

    Raises:
        TimeoutError: At the end of the block: the time is over.
        ClientDisconnectedError: Likewise: the client has left.
    """

    __slots__ = ("_leaving", "_reason", "_request", "_since", "_task", "_watch", "deadline")

    def __init__(self, watch: Watch, request: Request, deadline: float) -> None:
        self.deadline = deadline
        self._watch = watch
        self._request = request
        self._task = asyncio.current_task()
        self._since = time.monotonic()
        self._leaving: asyncio.Task[object] | None = None
        self._reason: Exception | None = None

    def __enter__(self) -> None:
        self._watch.add(self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._watch.remove(self)
        if self._leaving is not None:
            self._leaving.remove_done_callback(self._client_left)
            self._leaving.cancel()
        if self._reason is not None and isinstance(error, asyncio.CancelledError):
            raise self._reason from None

    def look(self, now: float) -> None:
        """Ends it if its time is over; looks at its connection if it waits since the last look."""
        if now >= self.deadline:
            self._cancel(TimeoutError())
        elif self._leaving is None and now - self._since >= _LOOK_SECONDS:
            self._leaving = asyncio.ensure_future(self._request.receive())
            self._leaving.add_done_callback(self._client_left)

    def _client_left(self, _: object) -> None:
        self._cancel(ClientDisconnectedError())

    def _cancel(self, reason: Exception) -> None:
        if self._reason is None and self._task is not None:
            self._reason = reason
            self._task.cancel()
