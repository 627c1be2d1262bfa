"""Searches of some rows only: `where` finds what an index of nothing but those rows would find."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling import IdError, Index
from nestling.index.cells import Cells
from oracle import exact_search, funnel_search, same
from strategies import Problem, Where, embeddings, filters, integer_problems, problems

SHARES = (0.0001, 0.001, 0.01, 0.1, 0.3, 0.9, 1.0)
FUNNELS = ("40@4:200 > 64@16", "40@1:200 > 64@32", "64@8", "40@8:100 > 64@8", "64@16:200 > 64@32")


def built(problem: Problem, rows: np.ndarray | slice = slice(None)) -> Index:
    index = Index(problem.dim, funnel=problem.funnel, metric=problem.metric)
    index.add(problem.rows[rows], ids=problem.known_ids[rows])
    return index


@given(data=st.data(), problem=integer_problems())
def test_exact_arithmetic_equals_the_oracle_on_the_subset(
    data: st.DataObject, problem: Problem
) -> None:
    where: Where = data.draw(filters(problem.known_ids))
    hits = built(problem).search(problem.queries, problem.k, where=where.value)  # type: ignore[arg-type]
    ids, scores = funnel_search(
        problem.queries,
        problem.rows[where.rows],
        problem.known_ids[where.rows],
        problem.funnel,
        problem.k,
        problem.metric,
    )
    np.testing.assert_array_equal(hits.ids, ids)
    np.testing.assert_array_equal(hits.scores, scores.astype(np.float32))


@given(data=st.data(), problem=problems())
def test_a_filter_is_as_good_as_an_index_of_these_rows(
    data: st.DataObject, problem: Problem
) -> None:
    """Whatever the funnel: a stage keeps as many of the allowed rows as it would of all."""
    where: Where = data.draw(filters(problem.known_ids))
    hits = built(problem).search(problem.queries, problem.k, where=where.value)  # type: ignore[arg-type]
    same(hits, built(problem, where.rows).search(problem.queries, problem.k))


@given(problem=problems())
def test_a_filter_that_all_rows_pass_changes_nothing(problem: Problem) -> None:
    index = built(problem)
    expected = index.search(problem.queries, problem.k)
    same(index.search(problem.queries, problem.k, where=problem.known_ids), expected)
    if len(problem.rows) and problem.known_ids.max() < 10_000:
        mask = np.ones(problem.known_ids.max() + 1, bool)
        same(index.search(problem.queries, problem.k, where=mask), expected)


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """20,000 rows: enough that thresholds are seeded; a fifth of them tie."""
    rng = np.random.default_rng(2)
    rows = embeddings(rng, 20_000, 64)
    rows[rng.integers(0, 20_000, 4000)] = rows[0]
    return rows


@pytest.mark.parametrize("funnel", FUNNELS)
def test_k_rows_are_found_and_the_same_in_any_batch(funnel: str, rows: np.ndarray) -> None:
    """Few rows are gathered where 4 queries or more ask, and masked where fewer do."""
    rng = np.random.default_rng(3)
    queries = embeddings(rng, 70, 64)
    indexes = [Index(64, funnel=funnel, threads=threads) for threads in (1, 2, 5)]
    for index in indexes:
        index.add(rows)
    for share in SHARES:
        mask = rng.permutation(len(rows)) < share * len(rows)
        subset = Index(64, funnel=funnel, threads=2)
        subset.add(rows[mask], ids=np.flatnonzero(mask))
        expected = subset.search(queries, k=10)
        assert ((expected.ids >= 0).sum(axis=1) == min(10, mask.sum())).all()
        for index in indexes:
            same(index.search(queries, k=10, where=mask), expected)
        listed = rng.permutation(np.flatnonzero(mask))
        for count in (1, 3, 4):
            hits = indexes[1].search(queries[:count], k=10, where=listed)
            np.testing.assert_array_equal(hits.ids, expected.ids[:count])
            np.testing.assert_array_equal(hits.scores, expected.scores[:count])


def test_rows_of_all_chunks_are_filtered(tmp_path: Path) -> None:
    """Storage comes in chunks of 262,144 rows; filters must not show where they end."""
    n = 262_144 + 9000
    rng = np.random.default_rng(0)
    rows = rng.integers(-9, 9, (n, 4)).astype(np.float32)
    queries = rng.integers(-9, 9, (4, 4)).astype(np.float32)
    index = Index(4, funnel="4@32", metric="ip")
    index.add(rows)
    index.remove(np.arange(262_130, 262_150))
    numbers = np.concatenate([np.arange(262_000, 262_300), rng.permutation(n)[:2000], [n - 1]])
    mask = np.zeros(n, bool)
    mask[numbers] = True
    index.save(tmp_path / "a.nest")
    mask[262_130:262_150] = False
    ids, scores = exact_search(queries, rows[mask], np.flatnonzero(mask), 50, "ip")
    for answering in (index, Index.load(tmp_path / "a.nest")):
        for where in (mask, numbers):
            hits = answering.search(queries, k=50, where=where)
            np.testing.assert_array_equal(hits.ids, ids)
            np.testing.assert_array_equal(hits.scores, scores)


@pytest.mark.parametrize("funnel", ["16@4:60 > 48@16", "48@32", "16@8:60 > 48@8"])
@pytest.mark.parametrize("share", [0.005, 0.1, 0.6])
def test_removed_rows_pass_no_filter(funnel: str, share: float, tmp_path: Path) -> None:
    """In memory, in a file, in cells, after `compact`: the hits are those of what remains."""
    rng = np.random.default_rng(4)
    rows, queries = embeddings(rng, 2000, 48), embeddings(rng, 6, 48)
    ids = rng.permutation(4000)[:2000]
    index = Index(48, funnel=funnel)
    index.add(rows, ids=ids)
    gone = rng.permutation(2000) < 500
    index.remove(ids[gone])
    index.add(rows[:20] * -1, ids=ids[:20], replace=True)
    kept = np.concatenate([np.flatnonzero(~gone[20:]) + 20, np.arange(20)])
    values = np.concatenate([rows[20:][~gone[20:]], -rows[:20]])
    mask = rng.random(4000) < share
    mask[ids[:5]] = True
    passing = mask[ids[kept]]
    fresh = Index(48, funnel=funnel)
    fresh.add(values[passing], ids=ids[kept][passing])
    expected = fresh.search(queries, k=12)
    index.save(tmp_path / "a.nest")
    loaded = Index.load(tmp_path / "a.nest")
    compacted = Index.load(tmp_path / "a.nest", verify=False)
    compacted.compact()
    for answering in (index, loaded, compacted):
        for where in (mask, np.flatnonzero(mask)):
            same(answering.search(queries, k=12, where=where), expected)
    if funnel != "48@32":
        index.rebuild(cells=Cells(30, probes=30, links=0))
        before = index.search(queries, k=12, where=mask, probes=0)
        same(index.search(queries, k=12, where=mask), before)
        assert np.isin(before.ids, np.append(fresh.ids, -1)).all()


def test_few_allowed_rows_of_cells_are_all_scored() -> None:
    """However few cells are probed: rows that pass may lie in any of them."""
    rng = np.random.default_rng(5)
    rows, queries = embeddings(rng, 3000, 32), embeddings(rng, 9, 32)
    index = Index(32, funnel="32@4:100 > 32@16")
    index.add(rows)
    index.rebuild(cells=Cells(60, probes=1))
    where = rng.permutation(3000)[:30]
    same(index.search(queries, k=10, where=where), index.search(queries, 10, where=where, probes=0))


@pytest.fixture(scope="module")
def many_rows() -> Index:
    """More rows than a mask is counted for, in cells."""
    index = Index(16, funnel="16@8:100 > 16@32")
    index.add(embeddings(np.random.default_rng(7), 70_000, 16))
    index.rebuild(cells=Cells(300, probes=12, links=4))
    return index


@pytest.mark.parametrize("change", ["none", "other ids", "removed rows", "later rows"])
@pytest.mark.parametrize("allowed", ["half", "every second", "a tenth", "first half"])
def test_a_mask_of_many_rows_in_cells(many_rows: Index, change: str, allowed: str) -> None:
    """It is read where a query looks, or whole for many queries: their hits are the same."""
    rng = np.random.default_rng(8)
    index = copy.copy(many_rows)
    if change == "other ids":
        index = Index.merge([many_rows], shifts=[5])
        index.rebuild(cells=many_rows.cells)
    if change == "removed rows":
        index.remove(np.flatnonzero(rng.random(70_000) < 0.3))
    if change == "later rows":
        index.add(embeddings(rng, 999, 16))
    masks = {
        "half": rng.random(71_000) < 0.5,
        "every second": np.arange(71_000) % 2 == 0,
        "a tenth": rng.random(71_000) < 0.1,
        "first half": np.arange(71_000) < 35_000,
    }
    mask = masks[allowed]
    queries = embeddings(rng, 40, 16)
    hits = index.search(queries, k=10, where=mask)
    assert mask[hits.ids].all()
    assert hits.stages[0].rows_seen < 0.5 * 40 * len(index)
    best = index.search(queries, k=10, where=mask, probes=0)
    assert np.mean([np.isin(a, b).mean() for a, b in zip(hits.ids, best.ids, strict=True)]) > 0.95
    for query, ids, scores in zip(queries[:5], hits.ids, hits.scores, strict=False):
        alone = index.search(query, k=10, where=mask)
        np.testing.assert_array_equal(alone.ids, ids)
        np.testing.assert_array_equal(alone.scores, scores)


def test_k_rows_are_found_where_k_rows_match_in_cells_far_away() -> None:
    """Half of all rows pass, but none of those near the query."""
    rng = np.random.default_rng(6)
    rows = embeddings(rng, 2000, 32)
    query = rows[0]
    index = Index(32, funnel="32@8:100 > 32@16")
    index.add(rows)
    index.rebuild(cells=Cells(60, probes=2))
    farthest = index.search(query, k=2000, probes=0).ids[1000:]
    hits = index.search(query, k=10, where=farthest)
    assert (hits.ids >= 0).all()
    assert np.isin(hits.ids, farthest).all()


MASKS = {
    "list": lambda mask: mask.tolist(),
    "every second": lambda mask: np.repeat(mask, 2)[::2],
    "reversed": lambda mask: np.ascontiguousarray(mask[::-1])[::-1],
    "column": lambda mask: np.stack([mask, ~mask], axis=1)[:, 0],
    "read-only": lambda mask: np.frombuffer(mask.tobytes(), np.bool_),
    "longer": lambda mask: np.concatenate([mask, np.ones(77, bool)]),
    "ids": np.flatnonzero,
    "list of ids": lambda mask: np.flatnonzero(mask).tolist(),
    "int32": lambda mask: np.flatnonzero(mask).astype(np.int32),
    "uint64": lambda mask: np.flatnonzero(mask).astype(np.uint64),
    "big-endian": lambda mask: np.flatnonzero(mask).astype(">i8"),
    "backwards": lambda mask: np.flatnonzero(mask)[::-1],
    "twice": lambda mask: np.repeat(np.flatnonzero(mask), 2),
    "with strangers": lambda mask: [*np.flatnonzero(mask).tolist(), -1, 300, 2**62, -(2**63)],
}


@pytest.mark.parametrize("numbered", [True, False])
@pytest.mark.parametrize("guise", MASKS)
def test_any_guise_of_a_filter_is_taken(guise: str, numbered: bool) -> None:
    rng = np.random.default_rng(7)
    rows, queries = embeddings(rng, 300, 24), embeddings(rng, 2, 24)
    index = Index(24)
    index.add(rows, ids=None if numbered else rng.permutation(300))
    mask = rng.random(300) < 0.2
    kept = mask.copy()
    expected = index.search(queries, k=70, where=mask)
    assert ((expected.ids >= 0).sum(axis=1) == min(70, mask.sum())).all()
    same(index.search(queries, k=70, where=MASKS[guise](mask)), expected)
    np.testing.assert_array_equal(mask, kept)


@pytest.mark.parametrize(
    "where", [[], np.empty(0, bool), np.empty(0, np.int64), [7_000], np.zeros(9, bool), [False] * 9]
)
@pytest.mark.parametrize("funnel", FUNNELS)
def test_where_nothing_passes_nothing_is_found(where: object, funnel: str) -> None:
    rng = np.random.default_rng(8)
    index = Index(64, funnel=funnel)
    index.add(embeddings(rng, 300, 64))
    for count in (1, 5):
        hits = index.search(embeddings(rng, count, 64), k=3, where=where)  # type: ignore[arg-type]
        assert (hits.ids == -1).all()
        assert np.isnan(hits.scores).all()
        assert hits.stages[-1].rows_kept == 0


@pytest.mark.parametrize("where", [[0], [True]])
def test_an_empty_index_has_no_row_that_passes(where: object) -> None:
    assert Index(8).search(np.ones(8), k=2, where=where).ids.tolist() == [-1, -1]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "where",
    [
        [0.5, 1.0],
        np.ones(5, np.float32),
        "text",
        ["a", "b"],
        np.ones((5, 5), bool),
        [[0, 1], [2, 3]],
        True,
        3,
        np.ones(5, complex),
        [None, True],
        [2**64],
        [2**63],
        np.array([2**63], np.uint64),
        {0, 1},
        np.zeros(3, "datetime64[s]"),
        [[0], [1, 2]],
    ],
    ids=str,
)
def test_what_is_no_filter_is_refused(where: object) -> None:
    index = Index(8)
    index.add(np.eye(8, dtype=np.float32))
    with pytest.raises(IdError, match="where"):
        index.search(np.ones(8), where=where)  # type: ignore[arg-type]


@pytest.mark.parametrize("queries", [1, 5])
def test_only_allowed_rows_are_counted(queries: int, rows: np.ndarray) -> None:
    index = Index(64, funnel="40@4:200 > 64@16")
    index.add(rows)
    hits = index.search(rows[:queries], k=10, where=np.arange(0, 20_000, 40))
    assert hits.stages[0].rows_seen == 500 * queries
    assert hits.stages[0].rows_kept == hits.stages[1].rows_seen == 200 * queries
    few = index.search(rows[:queries], k=10, where=np.arange(50))
    assert few.stages[0].bytes_read == 0, "a stage that would keep all has nothing to read"
    assert few.stages[1].rows_seen == 50 * queries
