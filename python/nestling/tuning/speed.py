"""The speed of searches, in rounds that take turns, because the machine may do other work too."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nestling.index import Index
from nestling.tuning.queries import QuerySet

__all__ = ["Search", "Speed", "seconds", "take_turns"]

_BATCH: Final = 512  # queries per call
_SINGLE: Final = 32  # queries one by one, a round
_ROUNDS: Final = (5, 11)  # fewest and most
_ENOUGH: Final = 0.6  # seconds of a batch's rounds: short ones are more often disturbed

Search = Callable[[NDArray[np.float32]], object]
"""Searches for (m, dim) float32 queries, or for one of (dim,)."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds per query.

    Attributes:
        batch: Seconds per query of a batch.
        latency: Seconds of a single query, the median.

    Example:
        >>> Speed(batch=1e-4, latency=5e-4).latency
        0.0005
    """

    batch: float
    latency: float


def seconds(search: Search, queries: NDArray[np.float32]) -> float:
    """Returns the seconds that one call takes.

    Example:
        >>> seconds(np.sum, np.ones(2, np.float32)) > 0
        True
    """
    start = time.perf_counter()
    search(queries)
    return time.perf_counter() - start


def take_turns(indexes: Sequence[Index], query_set: QuerySet, *, once: bool = False) -> list[Speed]:
    """Times searches of all indexes, in turn.

    Args:
        indexes: Each is searched with its own funnel and probes.
        query_set: Some of its queries are searched for in one batch, some one by one.
        once: Whether to run one round only, for slow searches.

    Returns:
        One speed per index. That of the first is the median of the rounds after a warm-up; the
        others follow from it by the median ratio of their rounds, so that a disturbance of a whole
        round cancels out.

    Example:
        >>> index = nestling.Index(2, funnel="2@32")
        >>> queries = QuerySet(np.ones((1, 2), np.float32), np.zeros((1, 0), np.int64), None, 1)
        >>> [speed.latency > 0 for speed in take_turns([index], queries, once=True)]
        [True]
    """
    batch, single = query_set.vectors[:_BATCH], query_set.vectors[-_SINGLE:]
    times: list[list[tuple[float, float]]] = [[] for _ in indexes]
    rounds, number = 0, 0
    while number <= rounds:
        for index, measured in zip(indexes, times, strict=True):

            def search(queries: NDArray[np.float32], index: Index = index) -> object:
                return index.search(queries, query_set.k)

            some = batch if number else batch[:64]  # the first round warms up
            took = seconds(search, some) / len(some)
            latency = float(np.median([seconds(search, vector) for vector in single]))
            measured.append((took, latency))
        if number == 0:
            slowest = max(measured[0][0] for measured in times) * len(batch)
            rounds = 1 if once else int(np.clip(_ENOUGH / slowest, *_ROUNDS))
        number += 1
    rounded = np.array([measured[1:] for measured in times])  # without the warm-up
    first = np.median(rounded[0], axis=0)
    return [Speed(*map(float, first * np.median(each / rounded[0], axis=0))) for each in rounded]
