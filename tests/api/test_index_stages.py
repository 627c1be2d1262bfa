"""What the stages of a search say they did: rows in, rows out, bytes of the next shell only."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling import Hits, Index
from strategies import Problem, embeddings, problems

# Beside a row's values: a scale and two prefix norms at most, and padding to whole floats.
EXTRAS = 15


def searched(funnel: str, n: int = 2000, queries: int = 3, k: int = 10) -> Hits:
    dim = int(funnel.rsplit(">", maxsplit=1)[-1].split("@")[0])
    rng = np.random.default_rng(0)
    index = Index(dim, funnel=funnel)
    index.add(embeddings(rng, n, dim))
    return index.search(embeddings(rng, queries, dim), k=k)


@given(problem=problems())
def test_rows_flow_from_stage_to_stage(problem: Problem) -> None:
    index = Index(problem.dim, funnel=problem.funnel, metric=problem.metric)
    index.add(problem.rows, ids=problem.ids)
    hits = index.search(problem.queries, problem.k)
    assert [(s.dims, s.bits) for s in hits.stages] == [
        (s.dims, s.bits) for s in problem.funnel.stages
    ]
    seen = len(problem.queries) * len(problem.rows)
    for stage, stats in zip(problem.funnel.stages, hits.stages, strict=True):
        keep = max(stage.keep or problem.k, problem.k)  # k rows must come through
        assert stats.rows_seen == seen
        assert stats.rows_kept == min(seen, len(problem.queries) * keep)
        seen = stats.rows_kept
        assert stats.microseconds > 0 or stats.rows_seen == 0
    assert seen == (hits.ids >= 0).sum()


@pytest.mark.parametrize(
    ("funnel", "shells"),
    [
        ("64@4:1000 > 128@16:100 > 384@16", [(0, 128), (128, 384)]),
        ("64@8:500 > 256@8", [(64, 256)]),
        ("64@4:500 > 256@16:99 > 768@16", [(0, 256), (256, 768)]),
        ("64@16:500 > 128@32:100 > 256@32", [(0, 128), (128, 256)]),
        ("32@4:500 > 64@8:400 > 64@16:300 > 64@32", [(0, 64), (0, 64), (0, 64)]),
        ("32@32:500 > 64@32:400 > 96@32", [(32, 64), (64, 96)]),
    ],
)
def test_a_rerank_reads_the_next_shell_and_nothing_else(
    funnel: str, shells: list[tuple[int, int]]
) -> None:
    hits = searched(funnel)
    for stats, (start, stop) in zip(hits.stages[1:], shells, strict=True):
        values = (stop - start) * stats.bits // 8
        per_row = stats.bytes_read / stats.rows_seen
        assert values <= per_row <= values + EXTRAS


@pytest.mark.parametrize(
    ("bits", "values"), [(1, 8), (2, 16), (4, 32), (8, 64), (16, 128), (32, 256)]
)
def test_the_coarse_stage_reads_its_codes_once_a_row(bits: int, values: int) -> None:
    """Tiles are padded to whole blocks of rows, so at most a block more than there are rows."""
    coarse = searched(f"64@{bits}:100 > 128@32", n=3200).stages[0]
    per_row = coarse.bytes_read / coarse.rows_seen
    assert values <= per_row <= values + EXTRAS


@given(queries=st.integers(1, 40))
def test_counts_add_up_over_the_queries(queries: int) -> None:
    one, many = searched("8@8:50 > 16@16", 300, 1), searched("8@8:50 > 16@16", 300, queries)
    for a, b in zip(one.stages, many.stages, strict=True):
        assert (b.rows_seen, b.rows_kept) == (queries * a.rows_seen, queries * a.rows_kept)
        assert b.bytes_read == queries * a.bytes_read
    assert many.queries == queries


def test_explain_shows_every_stage() -> None:
    hits = searched("8@4:100 > 16@8:50 > 32@16")
    title, header, _, *stages = hits.explain().splitlines()
    assert title.startswith("Per query")
    assert header.split()[0] == "stage"
    assert [line.split()[0] for line in stages] == ["8@4", "16@8", "32@16"]
