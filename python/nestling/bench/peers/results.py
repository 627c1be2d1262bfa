"""The results: points of recall and speed, and the best of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nestling._util.timing import Spread
from nestling.bench.machine import Machine
from nestling.bench.peers.engine import Setting
from nestling.bench.peers.measure import Answers, Timing

__all__ = ["FULL", "Outcome", "PeersReport", "Point", "Size", "best", "pareto"]

FULL = 0.9995  # a sweep ends when this recall is reached


@dataclass(frozen=True, slots=True)
class Point:
    """One setting of one configuration.

    Attributes:
        setting: The setting.
        recall: Share of the exact top 10 found, for the queries of a batch.
        latency_recall: The same for the single queries.
        batch: Queries of a batch; fewer than requested where the setting is slow.
        queries_per_second: Queries per second in a batch.
        latency_queries: Single queries of a round.
        p50: Seconds of a single query, the median of each round.
        p99: Seconds of a single query, over all rounds.
    """

    setting: Setting
    recall: float
    latency_recall: float
    batch: int
    queries_per_second: Spread
    latency_queries: int
    p50: Spread
    p99: float

    @property
    def single_rate(self) -> float:
        """Single queries per second: the inverse of their p50."""
        return 1 / self.p50.median

    @property
    def rate(self) -> float:
        """Queries per second in a batch."""
        return self.queries_per_second.median

    @classmethod
    def of(cls, setting: Setting, answers: Answers, rounds: Sequence[Timing]) -> Point:
        """Summarises at least one round."""
        rates = [np.array([timing.queries_per_second]) for timing in rounds]
        times = [timing.latencies for timing in rounds]
        return cls(
            setting=dict(setting),
            recall=answers.recall,
            latency_recall=answers.latency_recall,
            batch=answers.timing.batch,
            queries_per_second=Spread.of(rates),
            latency_queries=min(len(values) for values in times),
            p50=Spread.of(times),
            p99=float(np.percentile(np.concatenate(times), 99)),
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """The results of one configuration.

    Attributes:
        peer: The library.
        version: Its version.
        configuration: The configuration's name.
        group: Number of the group with whose rounds it took turns.
        build_seconds: Seconds from an empty index to one that answers; None if the build failed.
        built_earlier: Whether it was built in an earlier run, and loaded in this one.
        bytes_per_row: Bytes per row of everything that searches read; None if the build failed.
        core_share: Share of its rounds' time in which it had a core; less than 1 where other
            processes were running, or threads waited for each other. None without rounds.
        points: Its settings, lowest recall first.
        error: The error that ended it early; None if there was none.
    """

    peer: str
    version: str
    configuration: str
    group: int
    build_seconds: float | None
    built_earlier: bool
    bytes_per_row: float | None
    core_share: float | None
    points: tuple[Point, ...]
    error: str | None


@dataclass(frozen=True, slots=True)
class Size:
    """All configurations, at one number of rows."""

    rows: int
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True)
class PeersReport:
    """All results of one run; times in seconds, sizes in bytes.

    Attributes:
        machine: Where it ran.
        rounds: Measured rounds of each setting.
        dim: Dimensions of the rows.
        origin: Where the rows come from, in words.
        generated: Whether the rows were generated.
        targets: Recalls at which to compare.
        absent: Peers that are not installed, and the distributions to install.
        left_out: Numbers of rows that do not fit in memory.
        sizes: The results; more than one where growth was measured, the largest last.
    """

    machine: Machine
    rounds: int
    dim: int
    origin: str
    generated: bool
    targets: tuple[float, ...]
    absent: dict[str, str]
    left_out: tuple[int, ...]
    sizes: tuple[Size, ...]

    def as_dict(self) -> dict[str, Any]:
        """Returns everything as JSON values."""
        return asdict(self)


def pareto(points: Iterable[tuple[float, float]]) -> list[int]:
    """Returns the positions of the points that no other point beats, the first value falling.

    A point is beaten by one that is at least as high in both values and higher in one; of equal
    points the first is returned.

    Example:
        >>> pareto([(0.9, 100), (0.95, 50), (0.9, 80), (0.8, 100)])
        [1, 0]
    """
    front: list[int] = []
    highest = -np.inf
    for number, (_, second) in sorted(enumerate(points), key=lambda p: (-p[1][0], -p[1][1], p[0])):
        if second > highest:
            front.append(number)
            highest = second
    return front


def best(
    outcomes: Iterable[Outcome], target: float, value: Callable[[Point], float]
) -> tuple[Outcome, Point] | None:
    """Returns the setting of highest `value` among those that reach a recall; None if none does."""
    reaching = [(o, p) for o in outcomes for p in o.points if p.recall >= target]
    return max(reaching, key=lambda pair: value(pair[1]), default=None)
