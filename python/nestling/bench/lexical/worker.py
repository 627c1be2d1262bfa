"""The process of one configuration, and the measurements that it makes."""

from __future__ import annotations

import gc
import importlib
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from nestling.bench.lexical.engine import Configuration, WordEngine
from nestling.bench.lexical.results import Case
from nestling.bench.lexical.workload import Question, Workload
from nestling.bench.peers.measure import Bounds, Timing
from nestling.bench.processes import serve

__all__ = ["Answers", "Build", "Built", "Check", "Job", "Time", "main"]

_FIRST: Final = 3  # questions that estimate the time of one
_FEWEST: Final = 20  # questions of a round, if there are so many


@dataclass(frozen=True, slots=True)
class Job:
    """The first request: import a library and open an engine; the reply is `Ready`.

    Attributes:
        adapter: The module of the library's adapter.
        configuration: The name of one of its configurations.
        folder: An empty folder for its files.
        workload: The documents and questions.
        documents: How many documents to index.
        cores: Cores to run on; empty leaves that to the system.
    """

    adapter: str
    configuration: str
    folder: str
    workload: Workload
    documents: int
    cores: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Build:
    """A request to build the index; the reply is `Built`."""


@dataclass(frozen=True, slots=True)
class Built:
    """How a build went.

    Attributes:
        seconds: Seconds from the texts in memory to an index that answers.
        bytes: Bytes of the index of words.
    """

    seconds: float
    bytes: int


@dataclass(frozen=True, slots=True)
class Check:
    """A request for the answers of a case and a first timing; the reply is `Answers`."""

    case: Case
    bounds: Bounds


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers and their time, which is also the warm-up.

    Attributes:
        ids: The ids of each question of the batch, best first.
        timing: Timing of the same searches.
    """

    ids: list[list[int]]
    timing: Timing


@dataclass(frozen=True, slots=True)
class Time:
    """A request for one more round of a case; the reply is `Timing`."""

    case: Case
    batch: int
    latency_queries: int


def main(descriptor: int) -> None:
    """Serves the requests of a socket until it closes.

    Args:
        descriptor: The socket's file descriptor.
    """
    serve(descriptor, lambda job: _Bench(job).answer)


class _Bench:
    """An engine, and what to measure it on."""

    def __init__(self, job: Job) -> None:
        if job.cores and sys.platform == "linux":
            os.sched_setaffinity(0, job.cores)  # before a library counts the cores it has
        adapter: Any = importlib.import_module(job.adapter)
        offered: Sequence[Configuration] = adapter.configurations()
        chosen = next(c for c in offered if c.name == job.configuration)
        self._job = job
        self._engine: WordEngine = chosen.open(Path(job.folder))

    def answer(self, request: Build | Check | Time) -> Built | Answers | Timing:
        if isinstance(request, Build):
            return self._build()
        if isinstance(request, Check):
            return self._check(request.case, request.bounds)
        return self._time(request.case, request.batch, request.latency_queries)[1]

    def _build(self) -> Built:
        texts, tags = self._job.workload.read(self._job.documents)
        start = time.perf_counter()
        self._engine.build(texts, tags)
        elapsed = time.perf_counter() - start
        del texts, tags
        gc.collect()
        return Built(elapsed, self._engine.size())

    def _check(self, case: Case, bounds: Bounds) -> Answers:
        """Estimates how many questions fit into the time, and searches for them."""
        questions = self._questions(case)
        start = time.perf_counter()
        for question in questions[:_FIRST]:
            self._engine.search(question, case.k, case.where)
        one = (time.perf_counter() - start) / len(questions[:_FIRST])
        affordable = max(_FEWEST, int(bounds.seconds / 2 / one))
        batch = min(len(questions), bounds.batch, affordable)
        latency_queries = min(len(questions), bounds.latency_queries, affordable)
        return Answers(*self._time(case, batch, latency_queries))

    def _time(self, case: Case, batch: int, latency_queries: int) -> tuple[list[list[int]], Timing]:
        """Answers questions together, and then one by one; returns the ids of the former."""
        questions = self._questions(case)
        started, cpu = time.perf_counter(), time.process_time()
        found = self._engine.search_all(questions[:batch], case.k, case.where)
        batch_seconds = time.perf_counter() - started
        times = np.empty(latency_queries)
        for number, question in enumerate(questions[:latency_queries]):
            begin = time.perf_counter()
            self._engine.search(question, case.k, case.where)
            times[number] = time.perf_counter() - begin
        share = (time.process_time() - cpu) / (time.perf_counter() - started)
        ids = [[int(id) for id in each] for each in found]
        return ids, Timing(batch, batch_seconds, times, share)

    def _questions(self, case: Case) -> tuple[Question, ...]:
        return self._job.workload.questions[case.questions]
