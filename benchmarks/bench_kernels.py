"""The kernels: multiply-adds in registers, reads, and coarse scans at every precision."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nestling import _core
from nestling.bench.truth import exact_top
from nestling.index import Index
from nestling.index.exact import recall
from nestling.index.funnel import COARSE_BITS

CODED_BITS = [bits for bits in COARSE_BITS if bits < 16]
PREFIX = 64


@pytest.mark.parametrize("bits", CODED_BITS)
def test_multiply_adds(benchmark: Any, bits: int) -> None:
    """Of the scan's inner loop; a round meets at least one tile of 16 rows."""
    rounds = 200_000
    benchmark.group = "multiply-adds"
    rate = benchmark(_core.multiply_add_peak, bits=bits, rounds=rounds)
    benchmark.extra_info["G/s"] = round(rate / 1e9, 1)
    start = time.perf_counter()
    rate = _core.multiply_add_peak(bits=bits, rounds=rounds)
    assert rate * (time.perf_counter() - start) >= rounds * 16


@pytest.mark.parametrize("kibibytes", [16, 256, 256 * 1024])
def test_read(benchmark: Any, kibibytes: int) -> None:
    """A smaller buffer lies in a nearer cache; the rate agrees with the clock around it."""
    rounds = max(4, 2**16 // kibibytes)
    benchmark.group = "reads"
    rate = benchmark.pedantic(
        _core.read_bandwidth, kwargs={"bytes": kibibytes * 1024, "rounds": rounds}, rounds=5
    )
    benchmark.extra_info["GB/s"] = round(rate / 1e9, 1)
    start = time.perf_counter()
    rate = _core.read_bandwidth(bytes=kibibytes * 1024, rounds=rounds)
    assert kibibytes * 1024 * rounds / rate <= time.perf_counter() - start


@pytest.mark.parametrize("bits", COARSE_BITS)
def test_coarse_scan(
    benchmark: Any,
    index_of: Callable[[str], Index],
    vectors: np.ndarray,
    queries: np.ndarray,
    query_batch: np.ndarray,
    bits: int,
) -> None:
    """Single and batched scans find the same rows, the prefix's neighbours among them."""
    index = index_of(f"{PREFIX}@{bits}:1000 > 256@32")
    stage = f"{PREFIX}@{bits}"
    benchmark.group = (
        f"coarse scan, {'single' if query_batch.ndim == 1 else f'batch of {len(query_batch)}'}"
    )
    hits = benchmark(index.search, query_batch, k=10, funnel=stage)

    seconds = benchmark.stats.stats.min if benchmark.stats else np.nan
    benchmark.extra_info |= {
        "GB/s": round(hits.stages[0].bytes_read / seconds / 1e9, 1),
        "G multiply-adds/s": round(hits.stages[0].rows_seen * PREFIX / seconds / 1e9, 1),
    }
    both = index.search(queries, k=10, funnel=stage)
    np.testing.assert_array_equal(np.atleast_2d(hits.ids), both.ids[: hits.queries])
    truth = exact_top(vectors[:, :PREFIX], queries[:20, :PREFIX], 10)
    many = index.search(queries[:20], k=1000, funnel=stage)
    assert recall(many.ids, truth) > (0.85 if bits == 1 else 0.95)
