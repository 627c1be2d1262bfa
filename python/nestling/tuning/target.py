"""What a tuning is to reach, and the time it may take."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Final, Literal, get_args

from nestling._util.progress import ProgressBar
from nestling.errors import ArgumentError

__all__ = ["Clock", "Prefer", "TuningTarget"]

Prefer = Literal["throughput", "latency"]
"""What must be fast: many queries a call, or one."""

_PREFERENCES: Final = get_args(Prefer)


@dataclass(frozen=True, slots=True)
class TuningTarget:
    """The arguments of `Index.tune`, checked.

    Raises:
        ArgumentError: One is out of range.
    """

    recall: float
    k: int
    budget_seconds: float
    prefer: Prefer
    cells: bool | None
    seed: int

    def __post_init__(self) -> None:
        if not 0 < self.recall <= 1:
            raise ArgumentError(f"recall must be over 0 and at most 1, not {self.recall}")
        if not 0 < self.budget_seconds < math.inf:
            raise ArgumentError(f"budget_seconds must be over 0, not {self.budget_seconds}")
        if self.prefer not in _PREFERENCES:
            raise ArgumentError(f"prefer must be one of {_PREFERENCES}, not {self.prefer!r}")
        if self.seed < 0:
            raise ArgumentError(f"seed must be 0 or more, not {self.seed}")


class Clock:
    """Tells how much of the budget is spent, and moves a bar of its seconds.

    Args:
        budget: Seconds.
        bar: Of as many steps as the budget has seconds.
    """

    def __init__(self, budget: float, bar: ProgressBar) -> None:
        self._budget = budget
        self._bar = bar
        self._start = time.perf_counter()
        self._shown = 0

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._start

    def spent(self) -> float:
        """Returns the share of the budget that is spent; more than 1 when it is overdrawn."""
        seconds = min(int(self.elapsed), math.ceil(self._budget))
        self._bar.advance(seconds - self._shown)
        self._shown = seconds
        return self.elapsed / self._budget
