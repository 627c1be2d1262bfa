"""The schedule: groups that fit in memory, builds one by one, rounds in turns."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from nestling._util.progress import ProgressBar
from nestling.bench.machine import Machine
from nestling.bench.peers.engine import Configuration, Setting, Shape
from nestling.bench.peers.measure import Answers, Bounds, Timing
from nestling.bench.peers.registry import Peer, choose
from nestling.bench.peers.results import FULL, Outcome, Point, Size
from nestling.bench.peers.store import Store, available_memory
from nestling.bench.peers.worker import Build, Built, Check, Job, Ready, Time
from nestling.bench.processes import Worker, WorkerError
from nestling.errors import ArgumentError

__all__ = ["Plan", "fitting", "measure"]

_WORKER: Final = "nestling.bench.peers.worker"
_TIMEOUT: Final = 60.0  # seconds that a measurement may take beyond twenty times its bound
# Memory of a configuration as a multiple of the rows: the rows, codes or a graph, and slack.
_SHARE: Final = 1.5
_PROCESS: Final = 300_000_000  # bytes of an interpreter and a library
_USABLE: Final = 0.85  # of the memory that is available
_MARGIN: Final = 1.3  # a setting is dropped when another is faster by this factor


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
    """

    peers: Sequence[Peer]
    patterns: Sequence[str]
    bounds: Bounds
    rounds: int
    build_limit: float
    together: int | None = None


@dataclass(frozen=True, slots=True)
class _Measurement:
    """One setting while it is measured."""

    setting: Setting
    answers: Answers
    rounds: list[Timing] = field(default_factory=list)


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
    outcomes: list[Outcome] = []
    with ProgressBar(f"{rows:,} rows", total=len(chosen) * (plan.rounds + 2)) as bar:
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

    def check(entry: _Entry) -> None:
        for setting in entry.configuration.settings:
            request = Check(setting, plan.bounds)
            answers = entry.worker.request(request, Answers, timeout=timeout)
            entry.measurements.append(_Measurement(setting, answers))
            if answers.recall >= FULL:
                break
        entry.measurements = _promising(entry.measurements)

    def measure_round(entry: _Entry) -> None:
        for measurement in entry.measurements:
            first = measurement.answers.timing
            request = Time(measurement.setting, first.batch, len(first.latencies))
            measurement.rounds.append(entry.worker.request(request, Timing, timeout=timeout))

    for step in (build, check, *[measure_round] * plan.rounds):
        for entry in entries:
            if entry.error is None:
                try:
                    step(entry)
                except WorkerError as error:
                    entry.error = str(error)
            bar.advance()


def _promising(measurements: list[_Measurement]) -> list[_Measurement]:
    """Drops the settings that are clearly slower than one that finds as much.

    The margin is there because they were timed only once.
    """

    def beaten(one: _Measurement, other: _Measurement) -> bool:
        this, that = one.answers.timing, other.answers.timing
        return (
            other.answers.recall >= one.answers.recall
            and that.queries_per_second > _MARGIN * this.queries_per_second
            and bool(_MARGIN * np.median(that.latencies) < np.median(this.latencies))
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
        bytes_per_row=entry.built.bytes / rows if entry.built else None,
        core_share=float(np.mean(shares)) if shares else None,
        points=tuple(sorted(points, key=lambda point: point.recall)),
        error=entry.error,
    )
