"""Several indexes searched as one: the hits of each, merged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestling import ArgumentError, FunnelError, Index, VectorError
from nestling.index.cells import Cells
from nestling.index.funnel import Funnel
from nestling.index.parts import IndexPart, search_parts

DIM = 16
FUNNEL = "8@4:20 > 16@16"


def make(rows: np.ndarray, *, metric: str = "cosine", threads: int = 2, cells: int = 0) -> Index:
    index = Index(DIM, funnel=FUNNEL, metric=metric, threads=threads)  # type: ignore[arg-type]
    if len(rows):
        index.add(rows)
    return index.partitioned(Cells(count=cells)) if cells else index


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.sampled_from([0, 1, 7, 90, 1000]), min_size=1, max_size=5),
    count=st.sampled_from([1, 2, 5]),
    k=st.sampled_from([1, 10, 150]),
    metric=st.sampled_from(["cosine", "ip"]),
    threads=st.sampled_from([1, 2, 3]),
    filtered=st.booleans(),
    clip=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_hits_are_those_of_each_index_merged_by_score_and_row(
    sizes: list[int],
    count: int,
    k: int,
    metric: str,
    threads: int,
    filtered: bool,
    clip: bool,
    seed: int,
) -> None:
    random = np.random.default_rng(seed)
    distinct = random.standard_normal((40, DIM)).astype(np.float32)  # so that scores are equal
    queries = distinct[random.integers(0, 40, count)]
    parts, found, first = [], [], 5
    for size in sizes:
        index = make(distinct[random.integers(0, 40, size)], metric=metric, threads=threads)
        where = np.flatnonzero(random.random(size) < 0.5) if filtered else None
        parts.append(IndexPart(index, first, where))
        hits = index.search(queries, k, where=where, clip=False)
        ids = np.where(hits.ids >= 0, hits.ids + first, -1)
        found.append((ids, hits.scores, [stage.rows_seen for stage in hits.stages]))
        first += size + 3
    scores = np.concatenate([one[1] for one in found], axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    expected = np.take_along_axis(scores, order, 1)
    if clip and metric == "cosine":
        expected = np.clip(expected, -1, 1)
    hits = search_parts(parts, queries, k, clip=clip)
    ids = np.take_along_axis(np.concatenate([one[0] for one in found], axis=1), order, 1)
    assert np.array_equal(hits.ids, ids)
    assert np.array_equal(hits.scores, expected, equal_nan=True)
    assert [each.rows_seen for each in hits.stages] == np.sum([one[2] for one in found], 0).tolist()
    assert hits.queries == count


def test_each_index_probes_as_many_cells_as_it_would_alone() -> None:
    rows = np.random.default_rng(0).standard_normal((2000, DIM)).astype(np.float32)
    parts = [
        IndexPart(make(rows[:1000], cells=20)),
        IndexPart(make(rows[1000:], cells=10), first=1000),
    ]
    for probes in (None, 1, 0):
        seen = sum(p.index.search(rows[:3], probes=probes).stages[0].rows_seen for p in parts)
        hits = search_parts(parts, rows[:3], 10, probes=probes)
        assert hits.stages[0].rows_seen == seen
    assert search_parts(parts, rows[:3], 10, probes=0).ids[:, 0].tolist() == [0, 1, 2]


def test_what_cannot_be_searched_is_refused() -> None:
    part = IndexPart(make(np.eye(DIM, dtype=np.float32)))
    with pytest.raises(ArgumentError, match="at least one part"):
        search_parts([], np.ones((1, DIM)), 1)
    with pytest.raises(ArgumentError, match="alike"):
        search_parts([part, IndexPart(make(np.eye(DIM), metric="ip"))], np.ones((1, DIM)), 1)
    with pytest.raises(ArgumentError, match="k must be"):
        search_parts([part], np.ones((1, DIM)), 0)
    with pytest.raises(VectorError):
        search_parts([part], np.ones((1, 3)), 1)
    with pytest.raises(VectorError):
        search_parts([part], np.full((1, DIM), np.nan), 1)
    with pytest.raises(FunnelError):
        search_parts([part], np.ones((1, DIM)), 1, funnel=Funnel.of("4@8:9 > 16@16"))
