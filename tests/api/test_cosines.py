"""Cosines are within -1 and 1 wherever they are shown, and in the order of the exact ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling import Collection, Index
from nestling.collection.storage import store
from nestling.evaluation import Dataset, Embeddings, EvaluationSettings, evaluate
from nestling.index.exact import exact_top

FUNNELS = ["{d}@1", "{d}@2", "{d}@4", "{d}@8", "{d}@16", "{d}@32"]
FUNNELS += ["1@8:9 > {d}@16", "1@1:9 > {d}@8"]


@given(
    dim=st.sampled_from([2, 3, 8, 64, 100, 384]),
    funnel=st.sampled_from(FUNNELS),
    seed=st.integers(0, 10_000),
    scale=st.sampled_from([1e-9, 1.0, 1e9]),
    layout=st.sampled_from(["", "rotate", "centre", "cells"]),
)
def test_the_cosines_of_an_index_are_within_one(
    dim: int, funnel: str, seed: int, scale: float, layout: str
) -> None:
    rng = np.random.default_rng(seed)
    rows = (rng.standard_normal((20, dim)) * scale).astype(np.float32)
    rows[10:15] = rows[:5] * 2
    rows[15:] = -rows[:5]
    index = Index(dim, funnel=funnel.format(d=dim))
    index.add(rows)
    if layout == "rotate" or (layout and index.funnel.stages[0].bits <= 8):
        index.rebuild(**{layout: 2 if layout == "cells" else True})
    hits, raw = index.search(rows, k=20), index.search(rows, k=20, clip=False)
    assert np.array_equal(hits.ids, raw.ids)
    assert np.array_equal(hits.scores, np.clip(raw.scores, -1, 1), equal_nan=True)
    assert np.nanmax(np.abs(hits.scores)) <= 1
    assert np.abs(exact_top([rows], rows, 20).scores).max() <= 1


def test_inner_products_are_not_clipped() -> None:
    index = Index(2, funnel="2@32", metric="ip")
    index.add([[3.0, 4.0]])
    assert index.search([3.0, 4.0], k=1).scores == [25.0]


@pytest.mark.parametrize("funnel", ["64@1", "64@4", "64@32", "384@1", "384@16"])
@pytest.mark.parametrize("pending", [10, 1_000])
def test_the_cosines_of_a_collection_are_within_one_and_in_order(
    funnel: str, pending: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever segments the rows are in: they are merged by the scores before they are clipped."""
    monkeypatch.setattr(store, "PENDING_ROWS", pending)
    dim = int(funnel.partition("@")[0])
    vectors = np.random.default_rng(0).standard_normal((60, dim)).astype(np.float32)
    vectors[30:] = vectors[:30]
    whole = Index(dim, funnel=funnel)
    whole.add(vectors)
    with Collection(tmp_path / "c", dim=dim, funnel=funnel) as collection:
        for start in range(0, 60, 15):
            collection.add(
                [f"text {i}" for i in range(start, start + 15)],
                list(range(start, start + 15)),
                vectors=vectors[start : start + 15],
                progress=False,
            )
        for vector in vectors[:30]:
            hits, expected = collection.search(vector, k=10), whole.search(vector, k=10)
            assert [int(hit.id) for hit in hits] == expected.ids.tolist()
            assert [hit.score for hit in hits] == expected.scores.tolist()
            assert max(abs(hit.score) for hit in hits) <= 1


def test_the_scores_of_an_evaluation_are_within_one() -> None:
    rows = np.random.default_rng(0).standard_normal((50, 384)).astype(np.float32)
    texts = {f"d{i}": "x" for i in range(50)}
    queries = {f"q{i}": "?" for i in range(50)}
    dataset = Dataset.of("d", texts, queries, [(f"q{i}", f"d{i}", 1) for i in range(50)])
    chosen = EvaluationSettings(dims=[64, 384], bits=[1, 8, 32], metrics=["mrr@2"], rounds=0)
    runs = []
    evaluate(Embeddings(rows, rows), dataset, chosen, on_run=runs.append)
    assert runs
    for run in runs:
        assert np.abs(run.scores[np.isfinite(run.scores)]).max() <= 1
