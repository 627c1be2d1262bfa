"""The schedule: builds one by one, then rounds in turns."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from nestling._util.progress import ProgressBar
from nestling.bench.lexical.engine import Configuration
from nestling.bench.lexical.registry import EngineLibrary
from nestling.bench.lexical.results import Case, CaseResult, Outcome, Size, agreement
from nestling.bench.lexical.worker import Answers, Build, Built, Check, Job, Time
from nestling.bench.lexical.workload import Workload
from nestling.bench.machine import Machine
from nestling.bench.peers.measure import Bounds, Timing
from nestling.bench.processes import Ready, Worker, WorkerError

__all__ = ["Plan", "measure"]

_WORKER: Final = "nestling.bench.lexical.worker"
_TIMEOUT: Final = 60.0  # seconds that a measurement may take beyond twenty times its bound


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, and how.

    Attributes:
        engines: The installed libraries. The first is the one with which the others are compared.
        cases: The kinds of search.
        bounds: The size of a round of one case.
        rounds: Measured rounds.
        build_limit: Seconds that a build may take.
    """

    engines: Sequence[EngineLibrary]
    cases: Sequence[Case]
    bounds: Bounds
    rounds: int
    build_limit: float


@dataclass(slots=True)
class _Entry:
    """One configuration while it is measured."""

    library: EngineLibrary
    configuration: Configuration
    worker: Worker
    job: Job
    built: Built | None = None
    answers: dict[Case, Answers] = field(default_factory=dict)
    rounds: dict[Case, list[Timing]] = field(default_factory=dict)
    error: str | None = None


def measure(workload: Workload, documents: int, plan: Plan, machine: Machine) -> Size:
    """Measures every configuration of the plan on the first `documents` documents."""
    chosen = [
        (library, configuration)
        for library in plan.engines
        for configuration in library.configurations()
    ]
    title = f"{documents:,} documents"
    with ExitStack() as stack:
        bar = stack.enter_context(ProgressBar(title, total=len(chosen) * (plan.rounds + 2)))
        entries = []
        for library, configuration in chosen:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="nestling-lexical-"))
            job = Job(
                library.adapter,
                configuration.name,
                folder,
                workload,
                documents,
                machine.pinned,
            )
            worker = stack.enter_context(Worker(_WORKER, threads=machine.threads))
            entries.append(_Entry(library, configuration, worker, job))
        _take_turns(entries, plan, bar)
    return Size(documents, tuple(_outcome(entry, entries[0]) for entry in entries))


def _take_turns(entries: Sequence[_Entry], plan: Plan, bar: ProgressBar) -> None:
    """Builds all, then measures all: one worker works, the others sleep."""
    timeout = _TIMEOUT + 20 * plan.bounds.seconds

    def build(entry: _Entry) -> None:
        entry.worker.request(entry.job, Ready, timeout=_TIMEOUT)
        entry.built = entry.worker.request(Build(), Built, timeout=plan.build_limit)

    def check(entry: _Entry) -> None:
        for case in plan.cases:
            request = Check(case, plan.bounds)
            entry.answers[case] = entry.worker.request(request, Answers, timeout=timeout)

    def measure_round(entry: _Entry) -> None:
        for case, answers in entry.answers.items():
            first = answers.timing
            request = Time(case, first.batch, len(first.latencies))
            timing = entry.worker.request(request, Timing, timeout=timeout)
            entry.rounds.setdefault(case, []).append(timing)

    for step in (build, check, *[measure_round] * plan.rounds):
        for entry in entries:
            if entry.error is None:
                try:
                    step(entry)
                except WorkerError as error:
                    entry.error = str(error)
            bar.advance()


def _outcome(entry: _Entry, first: _Entry) -> Outcome:
    shares = [timing.cpu_share for rounds in entry.rounds.values() for timing in rounds]

    def compared(case: Case) -> float | None:
        if entry is first or case not in first.answers:
            return None
        return agreement(entry.answers[case].ids, first.answers[case].ids)

    return Outcome(
        engine=entry.library.name,
        version=entry.library.version or "unknown",
        configuration=entry.configuration.name,
        build_seconds=entry.built.seconds if entry.built else None,
        bytes_per_document=entry.built.bytes / entry.job.documents if entry.built else None,
        core_share=float(np.mean(shares)) if shares else None,
        cases=tuple(
            CaseResult.of(case, rounds, compared(case)) for case, rounds in entry.rounds.items()
        ),
        error=entry.error,
    )
