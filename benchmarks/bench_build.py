"""Adding rows, and saving and loading an index."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nestling.index import Index

# Of the default funnel's stored values, float16 of unit vectors.
TOLERANCE = 1e-3


@pytest.mark.parametrize("funnel", [None, "256@8:100 > 256@32"], ids=["default", "8 and 32 bits"])
def test_add(benchmark: Any, vectors: np.ndarray, threads: int, funnel: str | None) -> None:
    """All rows in one call to an empty index; what was added comes back."""

    def empty() -> tuple[tuple[Index], dict[str, Any]]:
        return (Index(vectors.shape[1], funnel=funnel, threads=threads),), {}

    filled: list[Index] = []

    def add(index: Index) -> np.ndarray:
        filled[:] = [index]
        return index.add(vectors)

    benchmark.group = "add"
    ids = benchmark.pedantic(add, setup=empty, rounds=5, warmup_rounds=1)

    seconds = benchmark.stats.stats.median if benchmark.stats else np.nan
    benchmark.extra_info["rows/s"] = round(len(vectors) / seconds, 1)
    np.testing.assert_array_equal(ids, np.arange(len(vectors)))
    stored = filled[0].reconstruct(ids[::997])
    np.testing.assert_allclose(stored, vectors[::997], rtol=0, atol=TOLERANCE)


def test_save(
    benchmark: Any, index_of: Callable[[str | None], Index], queries: np.ndarray, tmp_path: Path
) -> None:
    """Until the file is on the disk; it searches like the index."""
    index, path = index_of(None), tmp_path / "rows.nest"
    benchmark.group = "file"
    benchmark.pedantic(index.save, (path,), rounds=5, warmup_rounds=1)

    benchmark.extra_info["MB"] = round(path.stat().st_size / 1e6, 1)
    expect_same(Index.load(path), index, queries)


@pytest.mark.parametrize("verify", [True, False], ids=["verified", "unverified"])
def test_load(
    benchmark: Any,
    index_of: Callable[[str | None], Index],
    queries: np.ndarray,
    tmp_path: Path,
    verify: bool,
) -> None:
    """From the page cache; what is loaded searches like the index."""
    index, path = index_of(None), tmp_path / "rows.nest"
    index.save(path)
    benchmark.group = "file"
    loaded = benchmark(Index.load, path, verify=verify)
    expect_same(loaded, index, queries)


def expect_same(loaded: Index, index: Index, queries: np.ndarray) -> None:
    got, expected = loaded.search(queries), index.search(queries)
    np.testing.assert_array_equal(got.ids, expected.ids)
    np.testing.assert_array_equal(got.scores, expected.scores)
