"""Repeated measurements in rounds that take turns, and the spread of their results."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nestling._util.progress import ProgressBar

__all__ = ["Rounds", "Spread", "Task", "Values", "interleave", "latencies", "seconds"]

Values = NDArray[np.float64]  # the result of one round: one value, or one per query
Rounds = list[Values]
Task = Callable[[], Values]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of the rounds, with the lowest and the highest of them.

    Attributes:
        median: The median round.
        low: The lowest round.
        high: The highest round.

    Example:
        >>> Spread(0.2, 0.1, 0.4).rate(10)
        Spread(median=50.0, low=25.0, high=100.0)
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, rounds: Sequence[Values]) -> Spread:
        """Returns the spread of at least one round; a round is represented by its median.

        Example:
            >>> Spread.of([np.array([3.0]), np.array([1.0]), np.array([2.0])])
            Spread(median=2.0, low=1.0, high=3.0)
        """
        medians = [float(np.median(values)) for values in rounds]
        return cls(float(np.median(medians)), min(medians), max(medians))

    def rate(self, amount: float) -> Spread:
        """Returns `amount` per second, if this is a spread of seconds.

        Example:
            >>> Spread(2.0, 1.0, 4.0).rate(8).median
            4.0
        """
        return Spread(amount / self.median, amount / self.high, amount / self.low)


def interleave(
    tasks: Mapping[str, Callable[[], Result]], *, rounds: int, title: str
) -> dict[str, list[Result]]:
    """Runs all tasks in turn, `rounds` times after a warm-up round.

    Args:
        tasks: Tasks by name. A task times itself and returns what it measured.
        rounds: Rounds that count.
        title: Title of the progress bar.

    Returns:
        The results of each task, one per round.

    Example:
        >>> found = interleave({"a": lambda: np.array([1.0])}, rounds=2, title="Timing")
        >>> len(found["a"])
        2
    """
    results: dict[str, list[Result]] = {name: [] for name in tasks}
    with ProgressBar(title, total=(rounds + 1) * len(tasks)) as bar:
        for number in range(rounds + 1):
            for name, task in tasks.items():
                values = task()
                if number > 0:
                    results[name].append(values)
                bar.advance()
    return results


def seconds(task: Callable[[], object]) -> Values:
    """Returns the duration of one call: (1,) float64 seconds.

    Example:
        >>> seconds(lambda: sum(range(1000))).shape
        (1,)
    """
    start = time.perf_counter()
    result = task()
    elapsed = time.perf_counter() - start
    del result  # freeing it does not count
    return np.array([elapsed])


def latencies(
    task: Callable[[NDArray[np.float32]], object], queries: NDArray[np.float32]
) -> Values:
    """Calls `task` with one query after another: (m, dim) float32 gives (m,) float64 seconds.

    Example:
        >>> latencies(np.sum, np.ones((3, 2), np.float32)).shape
        (3,)
    """
    times = np.empty(len(queries))
    for number, query in enumerate(queries):
        times[number] = seconds(partial(task, query))[0]
    return times
