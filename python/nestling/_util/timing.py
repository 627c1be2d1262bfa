"""Repeated measurements: rounds that take turns, and what is said of their results."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from nestling._util.progress import ProgressBar

__all__ = ["Rounds", "Spread", "Task", "Values", "interleave", "latencies", "seconds"]

Values = NDArray[np.float64]  # what one round measured: one value, or one a query
Rounds = list[Values]
Task = Callable[[], Values]


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of the rounds, with the lowest and the highest of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, rounds: Sequence[Values]) -> Spread:
        """Returns the spread of at least one round; a round counts by its own median.

        Example:
            >>> Spread.of([np.array([3.0]), np.array([1.0]), np.array([2.0])])
            Spread(median=2.0, low=1.0, high=3.0)
        """
        medians = [float(np.median(values)) for values in rounds]
        return cls(float(np.median(medians)), min(medians), max(medians))

    def rate(self, amount: float) -> Spread:
        """Returns `amount` a second, where this is a spread of seconds."""
        return Spread(amount / self.median, amount / self.high, amount / self.low)


def interleave(tasks: Mapping[str, Task], *, rounds: int, title: str) -> dict[str, Rounds]:
    """Runs all tasks in turn, `rounds` times after one round of warming up.

    Args:
        tasks: What to run, by name. A task does its own timing and returns what it measured.
        rounds: Rounds that count.
        title: What a progress bar calls them.

    Returns:
        For each task its results, one a round.
    """
    results: dict[str, Rounds] = {name: [] for name in tasks}
    with ProgressBar(title, total=(rounds + 1) * len(tasks)) as bar:
        for number in range(rounds + 1):
            for name, task in tasks.items():
                values = task()
                if number > 0:
                    results[name].append(values)
                bar.advance()
    return results


def seconds(task: Callable[[], object]) -> Values:
    """Returns how long one call takes: (1,) seconds."""
    start = time.perf_counter()
    result = task()
    elapsed = time.perf_counter() - start
    del result  # what it takes to free it is not counted
    return np.array([elapsed])


def latencies(
    task: Callable[[NDArray[np.float32]], object], queries: NDArray[np.float32]
) -> Values:
    """Calls `task` with one query after the other: (m, dim) float32 gives (m,) seconds."""
    times = np.empty(len(queries))
    for number, query in enumerate(queries):
        times[number] = seconds(partial(task, query))[0]
    return times
