"""How fast searches are: rounds that take turns, since the machine may be busy with other work."""

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

_BATCH: Final = 512  # queries at once
_SINGLE: Final = 32  # queries one by one, a round
_ROUNDS: Final = (5, 11)  # at least and at most
_ENOUGH: Final = 0.6  # seconds of a batch's rounds: short ones are more often disturbed

Search = Callable[[NDArray[np.float32]], object]
"""Asks (m, dim) queries, or one of (dim,)."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds of one query: in a batch, and alone (median)."""

    batch: float
    latency: float


def seconds(search: Search, queries: NDArray[np.float32]) -> float:
    """Returns how long one call takes."""
    start = time.perf_counter()
    search(queries)
    return time.perf_counter() - start


def take_turns(indexes: Sequence[Index], query_set: QuerySet, *, once: bool = False) -> list[Speed]:
    """Times searches of all the indexes, in turn.

    Args:
        indexes: Each is searched as its own funnel and probes say.
        query_set: Some of them are asked at once, some one by one.
        once: Whether one round must do, where searches are slow.

    Returns:
        One speed an index. That of the first is the median of the rounds, after one of warming up;
        the others are in proportion to it by the median of their rounds' ratios, so that what slows
        a whole round does not matter.
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
    rounded = np.array([measured[1:] for measured in times])  # without the warming up
    first = np.median(rounded[0], axis=0)
    return [Speed(*map(float, first * np.median(each / rounded[0], axis=0))) for each in rounded]
