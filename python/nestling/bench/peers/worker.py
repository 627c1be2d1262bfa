"""The process of one configuration."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from nestling._util.atomic import new_folder
from nestling.bench.peers.engine import Configuration, Engine, Setting, Shape
from nestling.bench.peers.measure import Answers, Bounds, Timing, answers, timing
from nestling.bench.processes import serve
from nestling.errors import StorageError

__all__ = ["Build", "Built", "Check", "Job", "Time", "main"]

_BUILT: Final = "built.json"  # beside the index that an engine saved


@dataclass(frozen=True, slots=True)
class Job:
    """The first request: import a library and open the files; the reply is `Ready`.

    Attributes:
        adapter: The module of the library's adapter.
        configuration: The name of one of its configurations.
        shape: The size of the benchmark.
        rows: A .npy file of at least so many unit rows, float32.
        queries: A .npy file of unit queries, float32.
        truth: A .npy file of their exact top, int64.
        cores: Cores to run on; empty leaves that to the system.
        kept: The folder from which a built index is loaded, or into which it is saved; None to
            build it again.
    """

    adapter: str
    configuration: str
    shape: Shape
    rows: str
    queries: str
    truth: str
    cores: tuple[int, ...]
    kept: str | None = None


@dataclass(frozen=True, slots=True)
class Build:
    """A request to build the index; the reply is `Built`."""


@dataclass(frozen=True, slots=True)
class Built:
    """How a build went.

    Attributes:
        seconds: Seconds from an empty index to one that answers.
        bytes: Bytes of everything that searches read.
        earlier: Whether that was in an earlier run, whose index was loaded.
    """

    seconds: float
    bytes: int
    earlier: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """A request to measure the recall and speed of a setting; the reply is `Answers`."""

    setting: Setting
    bounds: Bounds


@dataclass(frozen=True, slots=True)
class Time:
    """A request for one more round of a setting; the reply is `Timing`."""

    setting: Setting
    batch: int
    latency_queries: int


def main(descriptor: int) -> None:
    """Serves the requests of a socket until it closes.

    Args:
        descriptor: The socket's file descriptor.
    """
    serve(descriptor, lambda job: _Bench(job).answer)


class _Bench:
    """A configuration, and the data to measure it on."""

    def __init__(self, job: Job) -> None:
        if job.cores and sys.platform == "linux":
            os.sched_setaffinity(0, job.cores)  # before a library counts the cores it has
        adapter: Any = importlib.import_module(job.adapter)
        offered: list[Configuration] = adapter.configurations(job.shape)
        chosen = next(c for c in offered if c.name == job.configuration)
        rows = np.load(job.rows, mmap_mode="r")
        self._rows = np.asarray(rows[: job.shape.rows])
        self._queries = np.load(job.queries)
        self._truth = np.load(job.truth)
        self._engine: Engine = chosen.open()
        self._kept = Path(job.kept) if job.kept is not None else None

    def answer(self, request: Build | Check | Time) -> Built | Answers | Timing:
        if isinstance(request, Build):
            return self._build()
        self._engine.use(request.setting)
        if isinstance(request, Check):
            return answers(self._engine, self._queries, self._truth, request.bounds)
        k = self._truth.shape[1]
        return timing(
            self._engine,
            self._queries,
            k,
            batch=request.batch,
            latency_queries=request.latency_queries,
        )

    def _build(self) -> Built:
        if self._kept is not None and (self._kept / _BUILT).exists():
            facts = json.loads((self._kept / _BUILT).read_text(encoding="utf-8"))
            try:
                self._engine.load(self._kept, self._rows)
            except Exception as error:
                raise StorageError(
                    f"{self._kept}: cannot load the index of an earlier run: {error}; delete it"
                ) from error
            return Built(facts["seconds"], facts["bytes"], earlier=True)
        start = time.perf_counter()
        self._engine.build(self._rows)
        built = Built(time.perf_counter() - start, self._engine.size())
        if self._kept is not None:
            facts = {"seconds": built.seconds, "bytes": built.bytes}
            with new_folder(self._kept) as folder:
                self._engine.save(folder)
                (folder / _BUILT).write_text(json.dumps(facts), encoding="utf-8")
        return built
