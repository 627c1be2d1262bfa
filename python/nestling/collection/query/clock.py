"""What the steps of a search take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

__all__ = ["Clock"]


class Clock:
    """Microseconds of each named step, if it runs."""

    def __init__(self, *, runs: bool) -> None:
        self.microseconds: dict[str, float] = {}
        self._runs = runs

    def step(self, name: str) -> AbstractContextManager[None]:
        """Measures a step."""
        return self._measure(name) if self._runs else _UNTIMED

    @contextmanager
    def _measure(self, name: str) -> Iterator[None]:
        start = time.perf_counter_ns()
        try:
            yield
        finally:
            elapsed = (time.perf_counter_ns() - start) / 1000
            self.microseconds[name] = self.microseconds.get(name, 0.0) + elapsed


_UNTIMED: Final = nullcontext()
