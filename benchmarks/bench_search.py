"""Searches: re-ranks at every precision, and the default funnel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nestling.bench.truth import exact_top
from nestling.index import Index
from nestling.index.exact import recall
from nestling.index.funnel import RERANK_BITS

# How far a score may be from the exact cosine.
TOLERANCE = {8: 2e-2, 16: 1e-3, 32: 1e-6}


@pytest.mark.parametrize("bits", RERANK_BITS)
def test_rerank(
    benchmark: Any,
    index_of: Callable[[str], Index],
    vectors: np.ndarray,
    query_batch: np.ndarray,
    bits: int,
) -> None:
    """So many rows are kept that the re-rank takes most of the time; its scores are the cosines."""
    index = index_of(f"64@4:1000 > 256@{bits}")
    benchmark.group = (
        f"re-rank of 4,000, {'single' if query_batch.ndim == 1 else f'batch of {len(query_batch)}'}"
    )
    hits = benchmark(index.search, query_batch, k=10, funnel=f"64@4:4000 > 256@{bits}")

    stage = hits.stages[1]
    benchmark.extra_info |= {
        "re-rank, µs a query": round(stage.microseconds / hits.queries, 1),
        "re-rank, GB/s": round(stage.bytes_read / stage.microseconds / 1e3, 2),
    }
    exact = np.einsum("mkd,md->mk", vectors[np.atleast_2d(hits.ids)], np.atleast_2d(query_batch))
    np.testing.assert_allclose(np.atleast_2d(hits.scores), exact, rtol=0, atol=TOLERANCE[bits])
    kept = index.search(query_batch, k=4000, funnel="64@4").ids
    assert np.isin(np.atleast_2d(hits.ids)[0], np.atleast_2d(kept)[0]).all()


def test_search(
    benchmark: Any,
    index_of: Callable[[str | None], Index],
    vectors: np.ndarray,
    queries: np.ndarray,
    query_batch: np.ndarray,
) -> None:
    """Single and batched searches find the same rows, nearly all of the exact ones among them."""
    index = index_of(None)
    benchmark.group = (
        f"search, {'single' if query_batch.ndim == 1 else f'batch of {len(query_batch)}'}"
    )
    hits = benchmark(index.search, query_batch, k=10)

    seconds = benchmark.stats.stats.median if benchmark.stats else np.nan
    benchmark.extra_info["queries/s"] = round(hits.queries / seconds, 1)
    both = index.search(queries, k=10)
    np.testing.assert_array_equal(np.atleast_2d(hits.ids), both.ids[: hits.queries])
    assert recall(both.ids, exact_top(vectors, queries, 10)) > 0.9
