"""Hits: how they unpack, print and explain themselves."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nestling import Hits, StageStats


@pytest.fixture
def hits() -> Hits:
    return Hits(
        ids=np.array([[3, 1], [2, -1]], dtype=np.int64),
        scores=np.array([[0.9, 0.5], [0.4, np.nan]], dtype=np.float32),
        stages=(
            StageStats(64, 4, 2_000_000, 200, 64_000_000, 1_500.0),
            StageStats(384, 16, 200, 4, 128_000, 25.0),
        ),
        queries=2,
    )


def test_hits_unpack_as_ids_and_scores(hits: Hits) -> None:
    ids, scores = hits
    assert ids is hits.ids
    assert scores is hits.scores


def test_the_repr_tells_queries_k_and_funnel(hits: Hits) -> None:
    assert repr(hits) == "Hits(queries=2, k=2, funnel='64@4 > 384@16')"


def test_explain_gives_means_per_query(hits: Hits) -> None:
    title, header, _, coarse, rerank = hits.explain().splitlines()
    assert title == "Per query, mean of 2"
    assert header.split() == ["stage", "rows", "seen", "rows", "kept", "bytes", "read", "µs"]
    assert coarse.split() == ["64@4", "1,000,000", "100", "32,000,000", "750.0"]
    assert rerank.split() == ["384@16", "100", "2", "64,000", "12.5"]


def test_the_columns_of_explain_are_aligned(hits: Hits) -> None:
    _, *lines = hits.explain().splitlines()
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize("queries", [0, 1])
def test_explain_works_for_no_query_and_for_one(hits: Hits, queries: int) -> None:
    assert "64@4" in dataclasses.replace(hits, queries=queries).explain()


def test_hits_are_frozen(hits: Hits) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        hits.queries = 3  # type: ignore[misc]
