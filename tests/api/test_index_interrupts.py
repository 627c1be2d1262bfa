"""Ctrl-C ends calls that take seconds in the core, and leaves everything as it was."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nestling import Index
from nestling._util.interruptible import interruptible
from nestling.index.cells import Cells
from strategies import embeddings

ROWS, DIM = 60_000, 128
FUNNEL = "32@4:1000 > 64@16:200 > 128@16"


class InterruptError(BaseException):
    """Raised by the handler of a signal, as KeyboardInterrupt is."""


@dataclass
class Alarm:
    """Signals of a timer, whose handler raises."""

    raised_at: list[float] = field(default_factory=list)

    def handle(self, *_: object) -> None:
        self.raised_at.append(time.perf_counter())
        raise InterruptError

    @contextmanager
    def after(self, seconds: float) -> Iterator[None]:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.fixture
def alarm() -> Iterator[Alarm]:
    alarm = Alarm()
    before = signal.signal(signal.SIGALRM, alarm.handle)
    try:
        yield alarm
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def rows() -> NDArray[np.float32]:
    return embeddings(np.random.default_rng(0), ROWS, DIM)


def built(rows: NDArray[np.float32], threads: int) -> Index:
    index = Index(DIM, funnel=FUNNEL, threads=threads)
    index.add(rows)
    return index


CALLS: dict[str, Callable[[Index, NDArray[np.float32], Path], object]] = {
    "exact batch": lambda i, v, _: i.search(np.tile(v, (2, 1)), k=10, funnel="128@16"),
    "funnel batch": lambda i, v, _: i.search(np.tile(v, (20, 1)), k=10),
    "long lists": lambda i, v, _: i.search(
        v[:5000], k=10, funnel="32@4:50000 > 64@16:20000 > 128@16"
    ),
    "filtered batch": lambda i, v, _: i.search(
        np.tile(v, (2, 1)), k=10, where=np.arange(0, ROWS, 3)
    ),
    "cells": lambda i, v, _: [i.rebuild(cells=Cells(500)) for _ in range(50)],
    "rotation": lambda i, v, _: [i.rebuild(rotate=True) for _ in range(200)],
    "add": lambda i, v, _: [i.empty().add(v) for _ in range(500)],
    "save": lambda i, v, path: [i.save(path / "a.nest") for _ in range(2000)],
    "vectors": lambda i, v, _: [i.reconstruct(i.ids) for _ in range(500)],
    "tune": lambda i, v, _: i.tune(0.999, queries=v[:2000], budget_seconds=60, verbose=False),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", CALLS)
def test_a_handler_ends_a_long_call_and_nothing_changed(
    alarm: Alarm, rows: NDArray[np.float32], tmp_path: Path, name: str, threads: int
) -> None:
    """Each call would take many times as long as it is given here."""
    index = built(rows, threads)
    expected = index.search(rows[:20], k=5)
    with pytest.raises(InterruptError), alarm.after(0.1):
        CALLS[name](index, rows, tmp_path)
    assert len(alarm.raised_at) == 1
    assert len(index) == ROWS
    after = index.search(rows[:20], k=5, probes=0)
    np.testing.assert_array_equal(after.ids[:, 0], expected.ids[:, 0])
    index.add(rows[:1])  # no lock is held
    assert not list(tmp_path.glob("*.tmp"))


def test_one_native_call_ends_soon_after_the_signal(
    alarm: Alarm, rows: NDArray[np.float32]
) -> None:
    """A handler that is late would have waited for the end of the call."""
    index = built(rows, 1)
    queries = np.tile(rows, (2, 1))
    attempts = []
    for _ in range(3):  # a busy machine may hold up one of them
        start = time.perf_counter()
        with pytest.raises(InterruptError), alarm.after(0.05):
            index.search(queries, k=10, funnel="128@16")
        attempts.append(time.perf_counter() - start)
    begun = time.perf_counter()
    index.search(queries[:600], k=10, funnel="128@16")
    whole = (time.perf_counter() - begun) * len(queries) / 600
    assert min(attempts) < whole / 5


def test_a_handler_that_returns_lets_the_call_go_on(rows: NDArray[np.float32]) -> None:
    index = built(rows, 2)
    handled: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: handled.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        hits = index.search(rows[:100], k=10, funnel="128@16")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert handled
    np.testing.assert_array_equal(hits.ids[:, 0], np.arange(100))


def test_other_threads_are_not_interrupted(alarm: Alarm, rows: NDArray[np.float32]) -> None:
    index = built(rows, 1)
    interrupted = threading.Event()

    def search() -> int:
        """Searches again and again until the main thread was interrupted, and once more."""
        searches = 0
        while not interrupted.is_set() or not searches:
            hits = index.search(rows[:20], k=1, funnel="128@16")
            np.testing.assert_array_equal(hits.ids[:, 0], np.arange(20))
            searches += 1
        return searches

    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(search)
        try:
            with pytest.raises(InterruptError), alarm.after(0.05):
                found.result()
        finally:
            interrupted.set()
        assert found.result() > 0


EXITS = """
import sys, threading, time
import numpy as np
from nestling import Index

rows = np.random.default_rng(0).standard_normal((20_000, 64))
index = Index(64, threads=int(sys.argv[1]))
index.add(rows)

def work():
    while True:
        index.search(rows[:100], k=10, funnel="64@16")
        index.search(rows[0], k=10)
        index.empty().add(rows[:1000])

for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.2)
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_the_interpreter_exits_while_daemon_threads_search(threads: int) -> None:
    """An interpreter ends the threads that ask for the GIL while it exits."""
    for _ in range(3):
        subprocess.run([sys.executable, "-c", EXITS, str(threads)], timeout=200, check=True)


def test_interruptible_returns_or_raises_what_the_call_does() -> None:
    assert interruptible(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 // 0)


def test_interruptible_does_not_wait_for_the_call(alarm: Alarm) -> None:
    finish = threading.Event()
    with pytest.raises(InterruptError), alarm.after(0.05):
        interruptible(lambda: finish.wait(200))
    finish.set()


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_interrupts_at_random_moments_change_nothing(
    alarm: Alarm, rows: NDArray[np.float32], tmp_path: Path, threads: int
) -> None:
    rng = np.random.default_rng(threads)
    few = rows[:4000]
    index = Index(DIM, funnel=FUNNEL, threads=threads)
    index.add(few)
    ids = set(range(len(few)))
    calls: list[Callable[[], object]] = [
        lambda: index.search(few[:300], k=10),
        lambda: index.search(few[:300], k=10, where=np.arange(0, 4000, 7)),
        lambda: index.rebuild(cells=Cells(20)),
        lambda: index.rebuild(rotate=True, centre=True),
        lambda: index.compact(),
        lambda: index.save(tmp_path / "a.nest"),
        lambda: index.reconstruct(index.ids),
    ]
    for step in range(1000):
        changes = rng.integers(len(calls) + 2)
        new = np.arange(5) + 10_000 + 5 * step
        old = rng.choice(sorted(ids), 3, replace=False)
        try:
            with alarm.after(rng.uniform(1e-5, 0.02)):
                if changes < len(calls):
                    calls[changes]()
                elif changes == len(calls):
                    index.add(few[:5], ids=new)
                else:
                    index.remove(old)
        except InterruptError:
            pass
        have = set(index.ids.tolist())
        assert have in (ids, ids | set(new.tolist()), ids - set(old.tolist()))
        ids = have
    assert len(alarm.raised_at) > 100
    Index.load(tmp_path / "a.nest")
    assert [path.name for path in tmp_path.iterdir()] == ["a.nest"]
