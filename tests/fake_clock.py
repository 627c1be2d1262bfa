"""A clock that a test advances, in place of the module `time`."""

from __future__ import annotations


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
