"""Threads that work for an event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

__all__ = ["WorkerThreads"]

Finish = Callable[[Any, BaseException | None, float], None]
_Job = tuple[Callable[[], Any], Finish]


class WorkerThreads:
    """A fixed number of threads that run what they are given, first come, first served.

    What `loop.run_in_executor` does, without the two futures of each call, which take as long as a
    short search. They start with the first job.

    Args:
        count: How many.
        name: Beginning of their names.

    Example:
        >>> async def double(number):
        ...     threads = WorkerThreads(1, "example")
        ...     done = asyncio.get_running_loop().create_future()
        ...     threads.submit(lambda: 2 * number, lambda result, error, _: done.set_result(result))
        ...     return await done
        >>> asyncio.run(double(21))
        42
    """

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def submit(self, work: Callable[[], Any], finish: Finish) -> None:
        """Runs `work` in a thread, then `finish(result, error, seconds)` in the event loop.

        The seconds are those of `work`, without any wait for the thread or the event loop.

        It must be called in the event loop's thread.
        """
        if not self._threads:
            self._loop = asyncio.get_running_loop()
            self._threads = [
                threading.Thread(target=self._run, name=f"{self._name}-{number}", daemon=True)
                for number in range(self._count)
            ]
            for thread in self._threads:
                thread.start()
        self._jobs.put((work, finish))

    def close(self) -> None:
        """Ends the threads after what they are doing, and waits for them."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []

    def _run(self) -> None:
        assert self._loop is not None
        while (job := self._jobs.get()) is not None:
            work, finish = job
            result, error = None, None
            started = time.perf_counter()
            try:
                result = work()
            except BaseException as raised:
                error = raised
            seconds = time.perf_counter() - started
            del work, job
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(finish, result, error, seconds)
