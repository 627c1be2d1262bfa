"""How much may wait: a queue that is bounded by work and by time instead of by requests."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from nestling.server.errors import RequestError

__all__ = ["Admission", "QueueLimits"]

_MEMORY: Final = 0.9  # weight of the past in the mean rate
_LONGEST_RETRY: Final = 30.0  # seconds
_SHORTEST_RETRY: Final = 0.02
_NEWEST_LAG: Final = 0.3  # weight of the newest in the mean lag
_IDLE_SECONDS: Final = 1.0  # after which rate and lag are forgotten
_FEW: Final = 8  # requests; when so few wait, the event loop was late for another reason than them


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """How much may wait.

    Attributes:
        work: The most units of work in the queue, which bounds its memory.
        seconds: The longest time that a short request may wait, as far as can be foreseen.
        stretch: How many times its own time a long request may wait.
    """

    work: int
    seconds: float
    stretch: float = 16.0


class Admission:
    """Counts the work that waits or runs, and refuses what would wait too long.

    The wait is foreseen from the rate at which work was done lately, and from how long its results
    then waited for the event loop, which an overload keeps busy with refusals. A long request may
    wait longer than a short one, in proportion to its own time: those who send many texts at once
    know that they wait. What finds an empty queue is admitted, however long it is. After a second
    without work both are forgotten: they are those of an overload, not of what comes after it. And
    while only a few requests wait, a late event loop is none: the machine was busy with others.

    Args:
        limits: How much may wait.
        unit: What a unit of work is, in the plural, for messages.

    Attributes:
        queued: Units that wait or run.
        rate: Units a second that were done lately; 0 before the first.
        lag: Seconds that results waited for the event loop lately.

    Example:
        >>> admission = Admission(QueueLimits(work=100, seconds=0.1), "tokens")
        >>> with admission.admitted(80):
        ...     admission.queued
        80
    """

    def __init__(self, limits: QueueLimits, unit: str) -> None:
        self.queued = 0
        self.rate = 0.0
        self.lag = 0.0
        self._requests = 0
        self._limits = limits
        self._unit = unit
        self._emptied = math.inf  # when nothing waited any more

    @contextmanager
    def admitted(self, work: int, ahead: int | None = None) -> Iterator[None]:
        """Admits a request while the block runs.

        Args:
            work: Its units.
            ahead: Units that will be done before it is. Default: all that are queued.

        Raises:
            RequestError: 429; it would wait too long, or too much waits already.
        """
        self.enter(work, self.queued if ahead is None else ahead)
        try:
            yield
        finally:
            self.leave(work)

    def enter(self, work: int, ahead: int) -> None:
        """Admits a request until `leave`; arguments and errors as for `admitted`."""
        if not self.queued and time.monotonic() > self._emptied + _IDLE_SECONDS:
            self.rate = self.lag = 0.0
        self.check(work, ahead)
        self.queued += work
        self._requests += 1

    def leave(self, work: int) -> None:
        """Notes that a request that was admitted is done, or was given up."""
        self.queued -= work
        self._requests -= 1
        if not self.queued:
            self._emptied = time.monotonic()

    def note(self, work: int, seconds: float, lag: float = 0.0) -> None:
        """Notes how long some work took, and how long its result waited for the event loop."""
        rate = work / max(seconds, 1e-6)
        self.rate = _MEMORY * self.rate + (1 - _MEMORY) * rate if self.rate else rate
        self.lag += _NEWEST_LAG * (max(lag, 0.0) - self.lag)

    def _wait(self, ahead: int) -> float:
        """Returns the seconds that a request would wait, as far as can be foreseen."""
        lag = self.lag if self._requests >= _FEW else 0.0
        return lag + (ahead / self.rate if self.rate else 0.0)

    def _admits(self, work: int, ahead: int) -> bool:
        """Returns whether a request would be admitted."""
        limits = self._limits
        longest = limits.seconds + (limits.stretch * work / self.rate if self.rate else 0.0)
        return not self.queued or (
            self._wait(ahead) <= longest and self.queued + work <= limits.work
        )

    def full(self, ahead: int) -> bool:
        """Returns whether even the shortest request would be refused.

        Args:
            ahead: Units that will be done before it is.
        """
        return not self._admits(1, ahead)

    def check(self, work: int, ahead: int) -> None:
        """Raises an error unless a request would be admitted.

        Raises:
            RequestError: 429, as for `admitted`.
        """
        if self._admits(work, ahead):
            return
        wait = self._wait(ahead)
        raise RequestError(
            429,
            f"the server is busy: {self.queued:,} {self._unit} wait already; try again later",
            code="overloaded",
            retry_after=min(max(wait, _SHORTEST_RETRY), _LONGEST_RETRY),
        )
