"""The order of things: groups that fit memory, builds one by one, rounds that take turns."""

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
from nestling.bench.peers.processes import Worker, WorkerError
from nestling.bench.peers.registry import Peer, choose
from nestling.bench.peers.results import FULL, Outcome, Point, Size
from nestling.bench.peers.store import Store, available_memory
from nestling.bench.peers.worker import Build, Built, Check, Job, Ready, Time
from nestling.errors import NestlingError

__all__ = ["Plan", "fitting", "measure"]

_PATIENCE: Final = 60.0  # seconds a measurement may take beyond twenty times its bound
# What a configuration takes, as a multiple of the rows: mostly they, codes or a graph, and slack.
_SHARE: Final = 1.5
_PROCESS: Final = 300_000_000  # bytes of an interpreter and a library
_USABLE: Final = 0.85  # of the memory that is available
_MARGIN: Final = 1.3  # by which a setting must be beaten to be dropped


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, and how.

    Attributes:
        peers: The libraries, all of them installed.
        patterns: Which of their configurations; none means all.
        bounds: Of a round of one setting.
        rounds: Rounds that count.
        build_seconds: What a build may take.
        together: Configurations that take turns, at most; None for as many as memory allows.
    """

    peers: Sequence[Peer]
    patterns: Sequence[str]
    bounds: Bounds
    rounds: int
    build_seconds: float
    together: int | None = None


@dataclass(frozen=True, slots=True)
class _Course:
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
    courses: list[_Course] = field(default_factory=list)
    error: str | None = None


def _resident(rows: int, dim: int) -> int:
    """Returns about how many bytes of memory one configuration takes once it is built."""
    return int(_SHARE * 4 * rows * dim) + _PROCESS


def fitting(rows: int, dim: int) -> bool:
    """Tells whether memory allows to build one configuration of so many rows."""
    free = available_memory()
    return free is None or _resident(rows, dim) + 4 * rows * dim <= _USABLE * free


def measure(store: Store, rows: int, plan: Plan, machine: Machine) -> Size:
    """Measures every configuration of the plan on the first `rows` rows.

    Args:
        store: The rows.
        rows: How many of them.
        plan: What to measure.
        machine: The cores and threads to use.

    Raises:
        NestlingError: The plan's patterns match nothing.
    """
    shape = Shape(rows, store.dim, machine.threads)
    wanted = [
        (peer, configuration)
        for peer, configurations in choose(plan.peers, plan.patterns, shape)
        for configuration in configurations
    ]
    if not wanted:
        raise NestlingError(f"no configuration of an installed peer is {', '.join(plan.patterns)}")
    truth = store.truth(rows)
    outcomes: list[Outcome] = []
    with ProgressBar(f"{rows:,} rows", total=len(wanted) * (plan.rounds + 2)) as bar:
        left = wanted
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
                    worker = stack.enter_context(Worker(threads=shape.threads))
                    entries.append(_Entry(peer, configuration, worker, job))
                _take_turns(entries, plan, bar)
            outcomes += [_outcome(entry, rows, number) for entry in entries]
    return Size(rows, tuple(outcomes))


def _group_size(rows: int, dim: int) -> int:
    """Returns how many configurations fit memory, one of them while it is being built."""
    free = available_memory()
    if free is None:
        return 4
    return max(1, int((_USABLE * free - 4 * rows * dim) / _resident(rows, dim)))


def _take_turns(entries: Sequence[_Entry], plan: Plan, bar: ProgressBar) -> None:
    """Builds all, then asks all: one worker measures, the others sleep."""
    patience = _PATIENCE + 20 * plan.bounds.seconds

    def build(entry: _Entry) -> None:
        entry.worker.ask(entry.job, Ready, patience=_PATIENCE)
        entry.built = entry.worker.ask(Build(), Built, patience=plan.build_seconds)

    def check(entry: _Entry) -> None:
        for setting in entry.configuration.settings:
            request = Check(setting, plan.bounds)
            answers = entry.worker.ask(request, Answers, patience=patience)
            entry.courses.append(_Course(setting, answers))
            if answers.recall >= FULL:
                break
        entry.courses = _promising(entry.courses)

    def once_more(entry: _Entry) -> None:
        for course in entry.courses:
            first = course.answers.timing
            request = Time(course.setting, first.batch, len(first.latencies))
            course.rounds.append(entry.worker.ask(request, Timing, patience=patience))

    for step in (build, check, *[once_more] * plan.rounds):
        for entry in entries:
            if entry.error is None:
                try:
                    step(entry)
                except WorkerError as error:
                    entry.error = str(error)
            bar.advance()


def _promising(courses: list[_Course]) -> list[_Course]:
    """Leaves out the settings that are clearly slower than one that finds as much.

    They have been timed once only, hence the margin.
    """

    def beaten(one: _Course, other: _Course) -> bool:
        mine, its = one.answers.timing, other.answers.timing
        return (
            other.answers.recall >= one.answers.recall
            and its.queries_per_second > _MARGIN * mine.queries_per_second
            and bool(_MARGIN * np.median(its.latencies) < np.median(mine.latencies))
        )

    return [one for one in courses if not any(beaten(one, other) for other in courses)]


def _outcome(entry: _Entry, rows: int, group: int) -> Outcome:
    measured = [course for course in entry.courses if course.rounds]
    points = [Point.of(c.setting, c.answers, c.rounds) for c in measured]
    shares = [timing.cpu_share for course in measured for timing in course.rounds]
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
