"""The schedule: groups that fit in memory, builds one by one, rounds in turns.

A configuration's settings are a coarse grid. Between the fastest setting that reaches a target and
its neighbours in the grid that do not, bisection then looks for the cheapest that still does, so
that no library misses a target by its grid, and nothing is interpolated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from nestling._util.progress import ProgressBar
from nestling.bench.machine import Machine
from nestling.bench.peers.engine import Configuration, Setting, Shape
from nestling.bench.peers.measure import Answers, Bounds, Timing
from nestling.bench.peers.registry import Peer, choose
from nestling.bench.peers.results import FULL, Outcome, Point, Size
from nestling.bench.peers.store import Store, available_memory
from nestling.bench.peers.worker import Build, Built, Check, Job, Time
from nestling.bench.processes import Ready, Worker, WorkerError
from nestling.errors import ArgumentError

__all__ = ["Plan", "fitting", "measure"]

_WORKER: Final = "nestling.bench.peers.worker"
_TIMEOUT: Final = 60.0  # seconds that a measurement may take beyond twenty times its bound
# Memory of a configuration as a multiple of the rows: the rows, codes or a graph, and slack.
_SHARE: Final = 1.5
_PROCESS: Final = 300_000_000  # bytes of an interpreter and a library
_USABLE: Final = 0.85  # of the memory that is available
_MARGIN: Final = 1.3  # a setting is dropped when another is faster by this factor
_NARROWEST: Final = 16  # bisection ends when a value is known to within a sixteenth of itself


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, and how.

    Attributes:
        peers: The installed libraries.
        patterns: Which of their configurations; no pattern means all.
        bounds: The size of a round of one setting.
        rounds: Measured rounds.
        build_limit: Seconds that a build may take.
        together: Most configurations that take turns; None for as many as fit in memory.
        targets: Recalls for which the settings of the grid are refined.
        cache: The folder of the indexes that are kept between runs; None keeps none.
    """

    peers: Sequence[Peer]
    patterns: Sequence[str]
    bounds: Bounds
    rounds: int
    build_limit: float
    together: int | None = None
    targets: Sequence[float] = ()
    cache: Path | None = None

    def kept(self, peer: Peer, configuration: Configuration, shape: Shape, rows: str) -> str | None:
        """Returns the folder in which a built index is kept; None where it is not.

        Args:
            peer: The library.
            configuration: One of its configurations.
            shape: The size of the benchmark.
            rows: The digest of the rows.
        """
        if self.cache is None or not configuration.kept:
            return None
        name = re.sub(r"[^A-Za-z0-9_.]+", "-", configuration.name).strip("-")
        return str(
            self.cache / rows / f"{peer.name}-{peer.version}" / f"{name}-{shape.threads}-threads"
        )


@dataclass(frozen=True, slots=True)
class _Measurement:
    """One setting while it is measured."""

    setting: Setting
    answers: Answers
    rounds: list[Timing] = field(default_factory=list)

    @property
    def recall(self) -> float:
        return self.answers.recall

    @property
    def rate(self) -> float:
        """Queries per second in a batch."""
        return self.answers.timing.queries_per_second

    @property
    def p50(self) -> float:
        """Seconds of a single query."""
        return float(np.median(self.answers.timing.latencies))


@dataclass(slots=True)
class _Entry:
    """One configuration while it is measured."""

    peer: Peer
    configuration: Configuration
    worker: Worker
    job: Job
    built: Built | None = None
    measurements: list[_Measurement] = field(default_factory=list)
    error: str | None = None


def _resident(rows: int, dim: int) -> int:
    """Estimates the bytes of memory of one configuration after its build."""
    return int(_SHARE * 4 * rows * dim) + _PROCESS


def fitting(rows: int, dim: int) -> bool:
    """Returns whether one configuration of so many rows can be built in the available memory."""
    free = available_memory()
    return free is None or _resident(rows, dim) + 4 * rows * dim <= _USABLE * free


def measure(store: Store, rows: int, plan: Plan, machine: Machine) -> Size:
    """Measures every configuration of the plan on the first `rows` rows.

    Args:
        store: The rows.
        rows: The number of rows to use.
        plan: What to measure.
        machine: The cores and threads to use.

    Raises:
        ArgumentError: The plan's patterns match nothing.
    """
    shape = Shape(rows, store.dim, machine.threads)
    chosen = [
        (peer, configuration)
        for peer, configurations in choose(plan.peers, plan.patterns, shape)
        for configuration in configurations
    ]
    if not chosen:
        raise ArgumentError(
            f"no configuration of an installed peer matches {', '.join(plan.patterns)}"
        )
    truth = store.truth(rows)
    digest = store.digest(rows) if plan.cache is not None else ""
    outcomes: list[Outcome] = []
    with ProgressBar(f"{rows:,} rows", total=len(chosen) * (plan.rounds + 3)) as bar:
        left = chosen
        number = 0
        while left:
            size = plan.together or _group_size(rows, store.dim)
            group, left = left[:size], left[size:]
            number += 1
            with ExitStack() as stack:
                entries = []
                for peer, configuration in group:
                    job = Job(
                        peer.adapter,
                        configuration.name,
                        shape,
                        str(store.vectors),
                        str(store.queries),
                        str(truth),
                        machine.pinned,
                        plan.kept(peer, configuration, shape, digest),
                    )
                    worker = stack.enter_context(Worker(_WORKER, threads=shape.threads))
                    entries.append(_Entry(peer, configuration, worker, job))
                _take_turns(entries, plan, bar)
            outcomes += [_outcome(entry, rows, number) for entry in entries]
    return Size(rows, tuple(outcomes))


def _group_size(rows: int, dim: int) -> int:
    """Returns how many configurations fit in memory, one of them while it is being built."""
    free = available_memory()
    if free is None:
        return 4
    return max(1, int((_USABLE * free - 4 * rows * dim) / _resident(rows, dim)))


def _take_turns(entries: Sequence[_Entry], plan: Plan, bar: ProgressBar) -> None:
    """Builds all, then measures all: one worker works, the others sleep."""
    timeout = _TIMEOUT + 20 * plan.bounds.seconds

    def build(entry: _Entry) -> None:
        entry.worker.request(entry.job, Ready, timeout=_TIMEOUT)
        entry.built = entry.worker.request(Build(), Built, timeout=plan.build_limit)

    def measured(entry: _Entry, setting: Setting) -> _Measurement:
        request = Check(setting, plan.bounds)
        answers = entry.worker.request(request, Answers, timeout=timeout)
        return _Measurement(setting, answers)

    def check(entry: _Entry) -> None:
        for setting in entry.configuration.settings:
            if not _is_idle(setting, entry.measurements):
                entry.measurements.append(measured(entry, setting))

    def refine(entry: _Entry) -> None:
        for target in plan.targets:
            while (setting := _between(entry.measurements, target)) is not None:
                entry.measurements.append(measured(entry, setting))
        entry.measurements = _promising(entry.measurements)

    def measure_round(entry: _Entry) -> None:
        for measurement in entry.measurements:
            first = measurement.answers.timing
            request = Time(measurement.setting, first.batch, len(first.latencies))
            measurement.rounds.append(entry.worker.request(request, Timing, timeout=timeout))

    for step in (build, check, refine, *[measure_round] * plan.rounds):
        for entry in entries:
            if entry.error is None:
                try:
                    step(entry)
                except WorkerError as error:
                    entry.error = str(error)
            bar.advance()


def _is_idle(setting: Setting, measurements: Sequence[_Measurement]) -> bool:
    """Returns whether a setting cannot find more than those of lower values.

    One of them finds everything, or the last value was raised before and nothing more was found.
    """

    def lower(other: Setting) -> bool:
        return other.keys() == setting.keys() and all(
            other[name] <= value for name, value in setting.items()
        )

    if any(one.recall >= FULL and lower(one.setting) for one in measurements):
        return True
    others = list(setting)[:-1]
    before = [
        one.recall
        for one in measurements
        if lower(one.setting) and all(one.setting[name] == setting[name] for name in others)
    ]
    return bool(others) and len(before) > 1 and before[-1] <= before[-2]


def _between(measurements: Sequence[_Measurement], target: float) -> Setting | None:
    """Returns a setting that may be the cheapest that reaches a recall; None where all are known.

    It differs in one value from the fastest setting that reaches it, in a batch or one by one, and
    lies halfway between the least value that reaches it there and the nearest that does not. The
    least value, not the fastest one's own: of two settings nearly alike, noise makes either faster.
    """
    reaching = [one for one in measurements if one.recall >= target]
    if not reaching:
        return None
    speeds: tuple[Callable[[_Measurement], float], ...] = (lambda m: m.rate, lambda m: -m.p50)
    for fastest in (max(reaching, key=speed) for speed in speeds):
        for name in fastest.setting:
            line = list(_line(measurements, fastest, name))
            least = min(one.setting[name] for one in line if one.recall >= target)
            lower = [one.setting[name] for one in line if one.setting[name] < least]
            if lower and least - max(lower) > max(1, least // _NARROWEST):
                return dict(fastest.setting) | {name: (max(lower) + least) // 2}
    return None


def _line(
    measurements: Sequence[_Measurement], one: _Measurement, name: str
) -> Iterator[_Measurement]:
    """Yields the measurements whose settings differ from one's in nothing but one value."""
    others = {key: value for key, value in one.setting.items() if key != name}
    for other in measurements:
        if name in other.setting:
            rest = {key: value for key, value in other.setting.items() if key != name}
            if rest == others:
                yield other


def _promising(measurements: list[_Measurement]) -> list[_Measurement]:
    """Drops the settings that are clearly slower than one that finds as much.

    The margin is there because they were timed only once.
    """

    def beaten(one: _Measurement, other: _Measurement) -> bool:
        return (
            other.recall >= one.recall
            and other.rate > _MARGIN * one.rate
            and _MARGIN * other.p50 < one.p50
        )

    return [one for one in measurements if not any(beaten(one, other) for other in measurements)]


def _outcome(entry: _Entry, rows: int, group: int) -> Outcome:
    measured = [measurement for measurement in entry.measurements if measurement.rounds]
    points = [Point.of(c.setting, c.answers, c.rounds) for c in measured]
    shares = [timing.cpu_share for measurement in measured for timing in measurement.rounds]
    return Outcome(
        peer=entry.peer.name,
        version=entry.peer.version or "unknown",
        configuration=entry.configuration.name,
        group=group,
        build_seconds=entry.built.seconds if entry.built else None,
        built_earlier=entry.built is not None and entry.built.earlier,
        bytes_per_row=entry.built.bytes / rows if entry.built else None,
        core_share=float(np.mean(shares)) if shares else None,
        points=tuple(sorted(points, key=lambda point: point.recall)),
        error=entry.error,
    )
