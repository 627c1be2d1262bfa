"""A clock that a test advances, in place of the module `time`, and an event loop in its time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class FakeClock:
    """Stands for the module `time` in the module under test.

    Args:
        tick: Seconds that every reading takes.
    """

    def __init__(self, tick: float = 0.0) -> None:
        self.now = 0.0
        self.tick = tick

    def advance(self, seconds: float) -> None:
        self.now += seconds

    def perf_counter(self) -> float:
        self.now += self.tick
        return self.now

    monotonic = process_time = perf_counter

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        """Runs a coroutine in this clock's time, in which nothing but waiting takes any."""
        loop = _Loop(self)
        try:
            loop.run_until_complete(main)
        finally:
            loop.close()


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        super().__init__(_Selector(clock))

    def time(self) -> float:
        return self._clock.now


class _Selector(selectors.SelectSelector):
    """Advances a clock in place of waiting."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        super().__init__()

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:  # nothing will ever be due
            return super().select()
        self._clock.advance(max(timeout, 0))
        return super().select(0)
