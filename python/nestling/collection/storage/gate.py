"""Which calls are in flight on a collection, so that closing it can wait for them."""

from __future__ import annotations

import threading
import time
from typing import Any

from nestling._util.fork import reset_after_fork
from nestling._util.lease import Lease
from nestling.errors import ClosedError

__all__ = ["Gate"]


class Gate:
    """Admits calls until it is closed.

    Each call is a lock that the call itself holds, so that whoever closes can wait for it.

    Args:
        name: What errors call the collection.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: dict[threading.Lock, int] = {}  # each with its thread
        self._closing = False
        self._closed = False
        reset_after_fork(self)

    @property
    def closed(self) -> bool:
        """Whether no call is admitted any more."""
        return self._closed

    def check(self) -> None:
        """Raises an error once the collection is closed, or waits to be.

        Raises:
            ClosedError: It is.
        """
        if self._closing:
            raise ClosedError(f"{self._name}: the collection is closed")

    def admit(self, lease: Lease[Any]) -> None:
        """Counts a call as in flight until its lease ends.

        Raises:
            ClosedError: The collection is closed. While it waits to be, only what belongs to a call
                in flight is admitted.
        """
        call = threading.Lock()
        lease.acquire(call)
        lease.defer(self._calls.pop, (call, None))
        thread = threading.get_ident()
        self._calls[call] = thread
        # Whoever closes sets this before looking for calls, so that one of both sees the other.
        if self._closing and (self._closed or self._calls_of(thread) == 1):
            self.check()

    def close(self, seconds: float) -> bool:
        """Waits for the calls of other threads, then admits none.

        Args:
            seconds: The most to wait.

        Returns:
            Whether all of them ended.
        """
        self._closing = True
        try:
            return self.wait(seconds)
        finally:
            self._closed = True

    def wait(self, seconds: float) -> bool:
        """Waits for the calls of other threads, and returns whether all of them ended."""
        deadline = time.monotonic() + seconds
        own = threading.get_ident()
        for call, thread in self._calls.copy().items():
            if thread != own:
                if not call.acquire(timeout=max(deadline - time.monotonic(), 0)):
                    return False
                call.release()
        return True

    def _calls_of(self, thread: int) -> int:
        return list(self._calls.copy().values()).count(thread)

    def after_fork(self) -> None:
        """Forgets the calls of the parent's other threads, which are not in the child."""
        self._calls = {}
