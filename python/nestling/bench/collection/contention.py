"""Readers at a steady rate, first without a writer, then alongside one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from nestling.collection import Collection

__all__ = ["Contention", "contend"]

_PAUSE: Final = 0.1  # seconds between the writer's commits


@dataclass(frozen=True, slots=True)
class Contention:
    """How a writer affects the latency of readers.

    Attributes:
        readers: Threads that search.
        rate: Searches per second of all of them, the same with and without the writer.
        idle_p50_ms: Median of a search without a writer.
        idle_p99_ms: 99th percentile.
        busy_p50_ms: Median alongside the writer.
        busy_p99_ms: 99th percentile.
        commits: Transactions of the writer.
        changed: Documents that it added, replaced or removed.
        errors: Searches that failed.
    """

    readers: int
    rate: float
    idle_p50_ms: float
    idle_p99_ms: float
    busy_p50_ms: float
    busy_p99_ms: float
    commits: int
    changed: int
    errors: int


def contend(
    collection: Collection, questions: Sequence[str], *, readers: int, rate: float, seconds: float
) -> Contention:
    """Searches for `seconds` without a writer, and for as long alongside one.

    The writer adds 100 documents, replaces 50 and removes 50, in one commit each, with a tenth of a
    second between commits. A search that is late because the one before took long starts at once,
    and its wait counts.
    """
    idle, idle_errors = _read(collection, questions, readers, rate, seconds)
    stop = threading.Event()
    done: list[int] = []
    writer = threading.Thread(target=_write, args=(collection, questions, stop, done))
    writer.start()
    busy, busy_errors = _read(collection, questions, readers, rate, seconds)
    stop.set()
    writer.join()
    return Contention(
        readers=readers,
        rate=rate,
        idle_p50_ms=_percentile(idle, 50),
        idle_p99_ms=_percentile(idle, 99),
        busy_p50_ms=_percentile(busy, 50),
        busy_p99_ms=_percentile(busy, 99),
        commits=len(done),
        changed=sum(done),
        errors=idle_errors + busy_errors,
    )


def _percentile(seconds: Sequence[float], percent: int) -> float:
    return float(np.percentile(seconds, percent) * 1e3)


def _read(
    collection: Collection,
    questions: Sequence[str],
    readers: int,
    rate: float,
    seconds: float,
) -> tuple[list[float], int]:
    times: list[float] = []
    errors: list[BaseException] = []
    start = time.perf_counter() + 0.05

    def read(number: int) -> None:
        every = readers / rate
        for turn in range(int(seconds / every)):
            due = start + number * every / readers + turn * every
            time.sleep(max(due - time.perf_counter(), 0))
            try:
                collection.search(questions[(turn * readers + number) % len(questions)])
            except Exception as error:
                errors.append(error)
            times.append(time.perf_counter() - due)

    _together([threading.Thread(target=read, args=(number,)) for number in range(readers)])
    return times, len(errors)


def _together(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _write(
    collection: Collection, texts: Sequence[str], stop: threading.Event, done: list[int]
) -> None:
    turn = 0
    steps: list[Callable[[int], Any]] = [
        lambda t: collection.add([f"{texts[i % len(texts)]} {t} {i}" for i in range(100)], _ids(t)),
        lambda t: collection.upsert([f"again {t} {i}" for i in range(50)], _ids(t)[:50]),
        lambda t: collection.delete(_ids(t)[:50]),
    ]
    while not stop.is_set():
        step = steps[turn % len(steps)]
        result = step(turn // len(steps))
        done.append(result if isinstance(result, int) else len(result))
        turn += 1
        stop.wait(_PAUSE)


def _ids(turn: int) -> list[str]:
    return [f"w{turn}-{i}" for i in range(100)]
