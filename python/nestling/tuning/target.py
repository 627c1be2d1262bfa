"""The target of a tuning, and the clock of its budget."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Final, Literal, get_args

from nestling._util.progress import ProgressBar
from nestling.errors import ArgumentError

__all__ = ["Clock", "Prefer", "TuningTarget"]

Prefer = Literal["throughput", "latency"]
"""What must be fast: many queries per call, or one."""

_PREFERENCES: Final = get_args(Prefer)


@dataclass(frozen=True, slots=True)
class TuningTarget:
    """The arguments of `Index.tune`, checked.

    Attributes:
        recall: Share of the exact top k to find, over 0 and at most 1.
        k: Hits of a search.
        budget_seconds: Approximate duration of the tuning.
        prefer: What must be fast.
        cells: Whether to try cells: False never, True always, None from 50,000 rows on.
        seed: Seed of the random choice of queries and of the sample.

    Raises:
        ArgumentError: A value is out of range.

    Example:
        >>> TuningTarget(0.98, 10, 60.0, "latency", None, 0).prefer
        'latency'
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
            raise ArgumentError(f"seed must be at least 0, not {self.seed}")


class Clock:
    """Measures how much of the budget is spent, and advances a progress bar.

    Args:
        budget: Seconds.
        bar: A bar with one step per second of the budget.

    Example:
        >>> with ProgressBar("Tuning", total=60, show=False) as bar:
        ...     Clock(60.0, bar).spent() < 0.5
        True
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
        """Returns the share of the budget that is spent; more than 1 when it is exceeded."""
        seconds = min(int(self.elapsed), math.ceil(self._budget))
        self._bar.advance(seconds - self._shown)
        self._shown = seconds
        return self.elapsed / self._budget
