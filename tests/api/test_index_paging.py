"""Searches of a file that is on a disk: the system is asked at once for what a stage will read."""

from __future__ import annotations

import os
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from nestling import Index
from nestling.index import Hits
from nestling.index.cells import Cells

ROWS, DIM = 100_000, 128  # so many bytes that a system which reads ahead does not read them all
FUNNEL = "32@1:1500 > 128@16"

pytestmark = pytest.mark.skipif(
    not hasattr(os, "posix_fadvise") or not hasattr(resource, "RUSAGE_THREAD"),
    reason="this system cannot drop a file from memory, or does not count reads of a thread",
)


def on_disk(path: Path) -> Path:
    """Drops a file from memory, as if the system had needed the room."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return path


def faults(call: Callable[[], Hits]) -> tuple[Hits, int]:
    """Returns what a call does, and for how many pages it waited."""
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_majflt
    hits = call()
    return hits, resource.getrusage(resource.RUSAGE_THREAD).ru_majflt - before


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that is likely to be on a disk; the one for all tests often is in memory."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return np.random.default_rng(3).standard_normal((ROWS, DIM)).astype(np.float32)


@pytest.fixture(scope="module", params=["rows", "cells"])
def index(request: pytest.FixtureRequest, rows: np.ndarray) -> Index:
    index = Index(DIM, funnel=FUNNEL, threads=1)
    index.add(rows, ids=np.random.default_rng(5).permutation(ROWS) * 7)
    if request.param == "cells":
        index.rebuild(cells=Cells(60, links=4))
    return index


def test_hits_are_those_of_an_index_in_memory(index: Index, rows: np.ndarray, folder: Path) -> None:
    index.save(folder / "rows.nest")
    mapped = Index.load(on_disk(folder / "rows.nest"), verify=False, threads=1)
    for query in rows[:8] + 0.1:
        expected, found = index.search(query, 10), mapped.search(query, 10)
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_array_equal(found.scores, expected.scores)


@pytest.mark.skipif(sys.platform != "linux", reason="pages are counted as Linux does")
def test_once_a_search_has_waited_for_the_disk_the_next_ones_ask_at_once(
    index: Index, rows: np.ndarray, folder: Path
) -> None:
    index.save(folder / "rows.nest")
    mapped = Index.load(on_disk(folder / "rows.nest"), verify=False, threads=1)
    _, first = faults(lambda: mapped.search(rows[1], 10))
    if first < 100:
        pytest.skip("/var/tmp is in memory")
    _, second = faults(lambda: mapped.search(-rows[1], 10))
    assert second < first / 4
