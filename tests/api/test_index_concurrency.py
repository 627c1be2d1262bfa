"""Many threads and many processes: snapshots, the released GIL, and pools that survive a fork."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from nestling import Index
from strategies import embeddings

FUNNEL = "16@4:400 > 32@16:350 > 64@32"
TESTS = Path(__file__).parents[1]


def rows(n: int, seed: int = 0) -> np.ndarray:
    return embeddings(np.random.default_rng(seed), n, 64)


@pytest.mark.parametrize("funnel", ["64@32", "64@8", "16@4:9000 > 64@16"])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_search_sees_complete_adds_in_order(threads: int, funnel: str) -> None:
    """While one thread adds 30 times 40 rows, searches find the first 40 j rows for some j."""
    everything = rows(1200)
    question = rows(1, seed=1)[0]
    complete = Index(64, funnel=funnel)
    complete.add(everything)
    truth = dict(zip(*map(np.ndarray.tolist, complete.search(question, k=1200)), strict=True))
    index = Index(64, funnel=funnel, threads=threads)
    finished = threading.Event()

    def watch() -> list[int]:
        sizes = []
        while not finished.is_set() or not sizes or sizes[-1] < 1200:
            at_least = len(index)
            ids, scores = index.search(question, k=1300)
            found = ids >= 0
            size = int(found.sum())
            assert at_least <= size <= len(index)
            assert size % 40 == 0
            assert sorted(ids[found].tolist()) == list(range(size))
            assert all(truth[i] == s for i, s in zip(ids[found], scores[found], strict=True))
            sizes.append(size)
        return sizes

    with ThreadPoolExecutor(4) as pool:
        watchers = [pool.submit(watch) for _ in range(4)]
        try:
            for start in range(0, 1200, 40):
                index.add(everything[start : start + 40])
        finally:
            finished.set()
        for watcher in watchers:
            sizes = watcher.result(timeout=200)
            assert sizes == sorted(sizes)


def test_adds_from_many_threads_run_one_after_another() -> None:
    index = Index(64, funnel=FUNNEL)
    parts = [rows(17, seed) for seed in range(40)]
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(index.add, parts))
    assert len(index) == 40 * 17
    assert sorted(np.concatenate(ids).tolist()) == list(range(40 * 17))
    assert all((np.diff(part) == 1).all() for part in ids)
    for part, numbered in zip(parts, ids, strict=True):
        np.testing.assert_array_equal(index.search(part, k=1).ids[:, 0], numbered)


def test_an_id_that_many_threads_add_is_added_once() -> None:
    index = Index(64, funnel=FUNNEL)

    def add(_: int) -> bool:
        try:
            index.add(rows(2), ids=[8, 9])
        except ValueError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(add, range(50))) == 1
    assert len(index) == 2


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_concurrent_searches_equal_serial_ones(threads: int) -> None:
    index = Index(64, funnel=FUNNEL, threads=threads)
    index.add(rows(5000))
    queries = rows(64, seed=2)
    expected = index.search(queries, k=10)

    def search(turn: int) -> None:
        start = turn % 60
        hits = index.search(queries[start : start + 1 + turn % 4], k=10)
        np.testing.assert_array_equal(hits.ids, expected.ids[start : start + 1 + turn % 4])
        np.testing.assert_array_equal(hits.scores, expected.scores[start : start + 1 + turn % 4])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(search, range(400)))


def test_files_saved_during_adds_are_snapshots(tmp_path: Path) -> None:
    index = Index(64, funnel=FUNNEL)
    path = tmp_path / "a.nest"
    index.save(path)
    finished = threading.Event()

    def save() -> None:
        saves = 0
        while not finished.is_set() or saves < 2:
            index.save(path)
            loaded = Index.load(path)
            assert len(loaded) % 40 == 0
            assert (loaded.search(rows(1), k=2000).ids >= 0).sum() == min(len(loaded), 2000)
            saves += 1

    with ThreadPoolExecutor(2) as pool:
        savers = [pool.submit(save) for _ in range(2)]
        for seed in range(40):
            index.add(rows(40, seed))
        finished.set()
        for saver in savers:
            saver.result(timeout=200)
    index.save(path)
    assert len(Index.load(path)) == 1600


@pytest.fixture(scope="module")
def large() -> Index:
    index = Index(64, funnel="64@32", threads=1)
    index.add(rows(60_000))
    return index


@pytest.mark.parametrize("work", ["search", "add", "save", "load", "rebuild", "compact"])
def test_other_threads_run_during_a_call(work: str, large: Index, tmp_path: Path) -> None:
    """With a switch interval of minutes, another thread runs only if the GIL is released.

    `inside` is true then: the call has begun and has not returned.
    """
    inside = False
    begun = threading.Event()
    data, path = rows(60_000), tmp_path / "a.nest"
    if work == "load":
        large.save(path)
    calls: dict[str, Callable[[], object]] = {
        "search": lambda: large.search(data[:500], k=10),
        "add": lambda: Index(64, funnel=FUNNEL, threads=1).add(data),
        "save": lambda: large.save(path),
        "load": lambda: Index.load(path),
        "rebuild": lambda: large.rebuild(funnel="64@32"),
        "compact": lambda: (large.add(data[:1], ids=[5], replace=True), large.compact()),
    }

    def call() -> None:
        nonlocal inside
        inside = True
        begun.set()
        calls[work]()
        inside = False

    def ran_during_call() -> bool:
        begun.clear()
        thread = threading.Thread(target=call)
        thread.start()
        begun.wait()
        ran = inside
        thread.join()
        return ran

    interval = sys.getswitchinterval()
    sys.setswitchinterval(600)
    try:
        # A busy machine may not run this thread before a short call has ended: many are tried.
        assert any(ran_during_call() for _ in range(1000))
    finally:
        sys.setswitchinterval(interval)


def run_script(script: str, timeout: float = 250) -> None:
    """Runs a script in a separate Python process, so that a hang is only a timeout."""
    result = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK_PREFIX + script],
        env=os.environ | {"PYTHONPATH": str(TESTS)},
        timeout=timeout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "done", result.stdout


FORK_PREFIX = """
import os, threading
import numpy as np
from nestling import Index
from strategies import embeddings

rng = np.random.default_rng(0)
index = Index(64, funnel="16@4:400 > 64@16", threads=4)
index.add(embeddings(rng, 30_000, 64))
queries = embeddings(rng, 50, 64)
expected = index.search(queries, k=10)

def check():
    hits = index.search(queries, k=10)
    assert np.array_equal(hits.ids, expected.ids)
    assert np.array_equal(hits.scores, expected.scores)
    one = index.search(queries[3], k=10)
    assert np.array_equal(one.ids, expected.ids[3])

def fork_and_check():
    child = os.fork()
    if child == 0:
        try:
            check()
            index.add(embeddings(rng, 3000, 64))
            assert len(index) == 33_000
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def test_a_forked_child_searches_and_adds() -> None:
    run_script("for _ in range(5): fork_and_check(); check()\nprint('done')")


def test_a_child_forked_during_searches_of_other_threads_works() -> None:
    run_script(
        """
stop = threading.Event()
def busy():
    while not stop.is_set():
        check()
threads = [threading.Thread(target=busy) for _ in range(3)]
for thread in threads: thread.start()
for _ in range(10): fork_and_check()
stop.set()
for thread in threads: thread.join()
print('done')
"""
    )


def test_a_child_forked_during_adds_of_other_threads_can_search() -> None:
    """The child has a snapshot; an add that was running in the parent must not block it."""
    run_script(
        """
expected_rows = len(index)
other = Index(64, funnel="16@4:400 > 64@16", threads=2)
stop = threading.Event()
def busy():
    while not stop.is_set():
        other.add(embeddings(np.random.default_rng(1), 500, 64))
thread = threading.Thread(target=busy)
thread.start()
for _ in range(10):
    child = os.fork()
    if child == 0:
        try:
            check()
            other.search(queries, k=10)
            len(other)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
stop.set()
thread.join()
print('done')
"""
    )


def test_a_multiprocessing_pool_that_forks_works() -> None:
    run_script(
        """
import multiprocessing
def search(i):
    return index.search(queries[i], k=10).ids
with multiprocessing.get_context("fork").Pool(3) as pool:
    found = pool.map(search, range(50))
assert np.array_equal(np.stack(found), expected.ids)
check()
print('done')
"""
    )
