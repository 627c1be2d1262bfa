"""Cells: all of them give what a flat search gives, and few of them nearly as much."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling import Funnel, FunnelError, Index
from nestling.bench.generate import generate
from nestling.errors import ArgumentError
from nestling.index.cells import Cells
from oracle import Metric, same
from strategies import METRICS, SEEDS, Where, embeddings, filters, rows_of, unique_ids

FUNNELS = ("16@4:60 > 40@16", "40@1:80 > 40@8", "24@8", "8@2:100~1.5 > 24@8:50~2 > 40@32", "24@4")


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(found, truth, strict=True)]))


# ---- all cells


@given(data=st.data(), seed=SEEDS, metric=METRICS, spill=st.booleans())
def test_all_cells_give_what_a_flat_search_gives(
    data: st.DataObject, seed: int, metric: Metric, spill: bool
) -> None:
    """To the last bit: with removals, additions, filters, and whatever the rows are."""
    rng = np.random.default_rng(seed)
    dim, n = data.draw(st.integers(1, 90)), data.draw(st.integers(1, 400))
    bits = data.draw(st.sampled_from([1, 2, 4, 8]))
    first, keep = data.draw(st.integers(1, dim)), data.draw(st.integers(1, 200))
    index = Index(dim, funnel=f"{first}@{bits}:{keep} > {dim}@16", metric=metric)
    ids = data.draw(unique_ids(n))
    index.add(data.draw(rows_of(n, dim)), ids=ids)
    count = data.draw(st.integers(1, min(n, 40)))
    index.rebuild(
        cells=Cells(count, probes=count, spill=spill, dims=data.draw(st.integers(1, dim)), links=0),
        centre=metric == "cosine" and data.draw(st.booleans()),
        rotate=data.draw(st.booleans()),
    )
    if data.draw(st.booleans()):
        later = data.draw(rows_of(data.draw(st.integers(1, 90)), dim))
        unused = np.setdiff1d(np.arange(n + len(later)), index.ids)
        index.add(later, ids=unused[: len(later)])
    if data.draw(st.booleans()):
        index.remove(index.ids[rng.random(len(index)) < data.draw(st.sampled_from([0.1, 0.9]))])
    queries = data.draw(rows_of(5, dim))
    k = data.draw(st.sampled_from([1, 10, 500]))
    where: Where = data.draw(filters(index.ids))
    for only in (None, where.value):
        flat = index.search(queries, k, probes=0, where=only)  # type: ignore[arg-type]
        same(index.search(queries, k, where=only), flat)  # type: ignore[arg-type]
        same(index.search(queries, k, where=only, probes=10**6), flat)  # type: ignore[arg-type]
        alone = index.search(queries[2], k, where=only)  # type: ignore[arg-type]
        np.testing.assert_array_equal(alone.ids, flat.ids[2])
        np.testing.assert_array_equal(alone.scores, flat.scores[2])


@pytest.mark.parametrize("funnel", FUNNELS)
@pytest.mark.parametrize("probes", [1, 3, 40])
@pytest.mark.parametrize("adaptive", [False, True])
def test_batches_threads_and_files_change_nothing(
    funnel: str, probes: int, adaptive: bool, tmp_path: Path
) -> None:
    dim = Funnel.parse(funnel).stages[-1].dims
    rows, queries = generate(3000, dim, queries=70)
    rows[100:160] = rows[7]
    expected = None
    for threads in (1, 2, 5):
        index = Index(dim, funnel=funnel, threads=threads)
        index.add(rows[:2900])
        index.rebuild(cells=Cells(40, probes=probes, adaptive=adaptive))
        index.add(rows[2900:])
        index.remove(np.arange(0, 3000, 9))
        hits = index.search(queries)
        expected = hits if expected is None else expected
        same(hits, expected)
        for start, count in ((0, 1), (5, 3), (9, 4), (20, 33)):
            part = index.search(queries[start : start + count])
            np.testing.assert_array_equal(part.ids, expected.ids[start : start + count])
            np.testing.assert_array_equal(part.scores, expected.scores[start : start + count])
        index.save(tmp_path / f"{threads}.nest")
    first = (tmp_path / "1.nest").read_bytes()
    for threads in (2, 5):
        assert (tmp_path / f"{threads}.nest").read_bytes() == first, "cells depend on the threads"
    loaded = Index.load(tmp_path / "1.nest")
    assert loaded.cells == index.cells
    same(loaded.search(queries), expected)
    loaded.save(tmp_path / "again.nest")
    assert (tmp_path / "again.nest").read_bytes() == first


def test_a_batch_of_thousands_finds_what_single_queries_find() -> None:
    """More queries than share a pass over the cells."""
    rows, queries = generate(2000, 32, queries=2100)
    index = Index(32, funnel="32@4:40 > 32@16", threads=2)
    index.add(rows)
    index.rebuild(cells=Cells(30, probes=4))
    whole = index.search(queries)
    for i in (0, 1023, 1024, 1049, 1050, 2099):
        np.testing.assert_array_equal(index.search(queries[i]).ids, whole.ids[i])
        np.testing.assert_array_equal(index.search(queries[i]).scores, whole.scores[i])


# ---- few cells


@pytest.fixture(scope="module")
def crowd() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """20,000 rows, 200 queries, and the best 10 of each."""
    rows, queries = generate(20_000, 64, queries=200)
    index = Index(64, funnel="64@32")
    index.add(rows)
    return rows, queries, index.search(queries).ids


@pytest.fixture(scope="module")
def celled(crowd: tuple[np.ndarray, np.ndarray, np.ndarray]) -> dict[bool, Index]:
    """The same rows in 200 cells, with spill and without."""
    made = {}
    for spill in (False, True):
        made[spill] = Index(64, funnel="64@8:200 > 64@32")
        made[spill].add(crowd[0])
        made[spill].rebuild(cells=Cells(200, probes=8, spill=spill))
    return made


@pytest.mark.parametrize("spill", [False, True])
def test_more_probes_find_more_and_cost_more(
    crowd: tuple[np.ndarray, np.ndarray, np.ndarray], celled: dict[bool, Index], spill: bool
) -> None:
    _, queries, truth = crowd
    found, seen = [], []
    for probes in (1, 2, 4, 8, 16, 32, 64, 200):
        hits = celled[spill].search(queries, probes=probes)
        found.append(recall(hits.ids, truth))
        seen.append(hits.stages[0].rows_seen)
    assert found == sorted(found)
    assert seen == sorted(seen)
    assert found[0] > 0.2
    assert found[5] > 0.9
    assert found[-1] > 0.999
    assert seen[3] < 0.15 * 200 * 20_000


def test_hits_of_few_cells_have_the_scores_of_a_flat_search(
    crowd: tuple[np.ndarray, np.ndarray, np.ndarray], celled: dict[bool, Index]
) -> None:
    """Which rows are scored is all that cells decide; and no row comes twice."""
    _, queries, _ = crowd
    for index in celled.values():
        flat = index.search(queries[:20], k=20_000, probes=0, funnel="64@8")
        hits = index.search(queries[:20], k=30, probes=3, funnel="64@8")
        for i in range(20):
            ids = hits.ids[i][hits.ids[i] >= 0]
            assert len(set(ids.tolist())) == len(ids)
            scores = dict(zip(flat.ids[i].tolist(), flat.scores[i].tolist(), strict=True))
            assert [scores[j] for j in ids.tolist()] == hits.scores[i][: len(ids)].tolist()
            assert (np.diff(hits.scores[i][: len(ids)]) <= 0).all()


def test_spilled_rows_are_found_with_fewer_probes(
    crowd: tuple[np.ndarray, np.ndarray, np.ndarray], celled: dict[bool, Index]
) -> None:
    _, queries, truth = crowd
    for probes in (1, 2, 4, 8, 16):
        plain, spilled = (
            recall(celled[spill].search(queries, probes=probes).ids, truth)
            for spill in (False, True)
        )
        assert spilled >= plain
    assert celled[True].memory["cell codes"] > 1.8 * celled[False].memory["cell codes"]


@pytest.mark.parametrize("probes", [1, 4, 10])
def test_adaptive_probes_find_at_least_what_fixed_ones_do(
    crowd: tuple[np.ndarray, np.ndarray, np.ndarray], probes: int
) -> None:
    """Every query by itself, since it scores the same cells first; hard ones go on."""
    rows, queries, truth = crowd
    index = Index(64, funnel="64@8:2000 > 64@32")
    index.add(rows)
    index.rebuild(cells=Cells(200, probes=probes, adaptive=True, links=0))
    fixed, adaptive = index.search(queries, probes=probes), index.search(queries)
    sixteen = index.search(queries, probes=min(200, 16 * probes))
    for a, b, best in zip(adaptive.ids, fixed.ids, truth, strict=True):
        assert np.isin(a, best).sum() >= np.isin(b, best).sum()
    assert recall(adaptive.ids, truth) > recall(fixed.ids, truth)
    assert fixed.stages[0].rows_seen < adaptive.stages[0].rows_seen
    assert adaptive.stages[0].rows_seen < sixteen.stages[0].rows_seen


@pytest.mark.parametrize("metric", ["cosine", "ip"])
def test_probes_follow_the_scores(metric: Metric) -> None:
    """Queries near a row and queries far from all: the former probe few cells, the latter many."""
    rows, _ = generate(4000, 32, queries=40)
    near, far = rows[:40], np.random.default_rng(0).standard_normal((40, 32)).astype(np.float32)
    index = Index(32, funnel="32@8:100 > 32@32", metric=metric)
    index.add(rows)
    index.rebuild(cells=Cells(200, links=0))

    def searched(queries: np.ndarray, probes: int, **settings: float) -> int:
        cells = Cells(200, probes=probes, links=0, dims=32, **settings)  # type: ignore[arg-type]
        one = index.with_search_settings(index.funnel, cells)
        assert one.cells == cells
        hits = one.search(queries, k=1)
        for query, ids, scores in zip(queries, hits.ids, hits.scores, strict=True):
            alone = one.search(3 * query, k=1)  # whatever its length
            np.testing.assert_array_equal(alone.ids, ids)
            np.testing.assert_allclose(alone.scores, scores * (3 if metric == "ip" else 1), 1e-5)
        return hits.stages[0].rows_seen

    lengths = np.linalg.norm(rows, axis=1)
    unit = 1.0 if metric == "cosine" else float(lengths[:40].mean())
    by_score = {"typical": 0.8 * unit, "halving": 0.05 * unit}
    assert searched(near, 16, **by_score) < 0.8 * searched(near, 16)
    assert searched(far, 16, **by_score) > 2 * searched(far, 16)
    assert searched(far, 16, **by_score) <= searched(far, 64)
    never = {"typical": 1e30, "halving": 1e-30}
    assert searched(far, 16, **never) == searched(far, 64)
    always = {"typical": -1e30, "halving": 1e-30}
    assert searched(far, 16, **always) == searched(far, 4)


def test_probes_by_score_are_kept_in_files(tmp_path: Path) -> None:
    rows, queries = generate(2000, 32, queries=30)
    index = Index(32, funnel="32@4:100 > 32@16")
    index.add(rows)
    index.rebuild(cells=Cells(60, probes=8, typical=0.7, halving=0.05))
    index.save(tmp_path / "a.nest")
    loaded = Index.load(tmp_path / "a.nest")
    assert loaded.cells == index.cells
    same(loaded.search(queries), index.search(queries))
    assert (
        loaded.search(queries).stages[0].rows_seen
        != index.search(queries, probes=8).stages[0].rows_seen
    )


def test_probes_by_score_find_more_than_as_many_for_all(
    crowd: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    """With filters and removed rows too, whose hits are farther away."""
    rows, queries, truth = crowd
    index = Index(64, funnel="64@8:2000 > 64@32")
    index.add(rows)
    index.rebuild(cells=Cells(200, links=0))
    hits = index.search(queries, funnel="64@8", probes=4)
    kth = hits.scores[:, -1]
    cells = Cells(200, 4, links=0, dims=64, typical=float(np.median(kth)), halving=float(kth.std()))
    by_score = index.with_search_settings(index.funnel, cells)
    fixed = index.search(queries, probes=4)
    assert recall(by_score.search(queries).ids, truth) > recall(fixed.ids, truth)
    half = np.arange(len(rows)) % 2 == 0
    best = index.search(queries, probes=0, where=half).ids
    assert recall(by_score.search(queries, where=half).ids, best) > 0.9
    by_score.remove(np.unique(truth))
    assert not np.isin(by_score.search(queries).ids, truth).any()


@pytest.mark.parametrize("spill", [False, True])
@pytest.mark.parametrize("adaptive", [False, True, 0.1])
def test_k_hits_are_found_however_few_cells_are_probed(adaptive: float, spill: bool) -> None:
    """Whether all queries of a batch lack rows, or some, or one alone; and what is near is gone."""
    rows, queries = generate(2000, 32, queries=32)
    index = Index(32, funnel="32@8:100 > 32@32")
    index.add(rows)
    by_score = {} if isinstance(adaptive, bool) else {"typical": 0.5, "halving": adaptive}
    index.rebuild(cells=Cells(60, probes=1, adaptive=adaptive is True, spill=spill, **by_score))
    for k in (10, 20, 40, 60, 100, 500, 2000):
        hits = index.search(queries, k=k)
        assert (hits.ids >= 0).all()
        assert all(len(set(ids)) == k for ids in hits.ids.tolist())
        for query, ids, scores in zip(queries, hits.ids, hits.scores, strict=True):
            alone = index.search(query, k=k)
            np.testing.assert_array_equal(alone.ids, ids)
            np.testing.assert_array_equal(alone.scores, scores)
    near = np.unique(index.search(queries, k=40, probes=0).ids)
    index.remove(near)
    assert (index.search(queries, k=10).ids >= 0).all()
    assert (index.search(queries[0], k=10).ids >= 0).all()


# ---- links


@pytest.mark.parametrize(
    ("funnel", "stage"),
    [
        ("64@8:200 > 64@32", 1),
        ("64@1:100 > 64@4:40 > 64@16", 1),
        ("32@4:200 > 48@8:50 > 64@8", 1),
        ("32@4:200 > 64@4:80 > 64@16", 2),  # the second goes on from the codes of the first
    ],
)
def test_links_find_rows_in_cells_that_are_not_probed(
    crowd: tuple[np.ndarray, np.ndarray, np.ndarray], funnel: str, stage: int
) -> None:
    """They lead on from the rows that are found, so few probes find what many would."""
    rows, queries, truth = crowd
    found, seen = {}, {}
    for links in (0, 4, 16):
        index = Index(64, funnel=funnel)
        index.add(rows)
        index.rebuild(cells=Cells(200, probes=2, links=links), centre=True)
        hits = index.search(queries)
        found[links], seen[links] = recall(hits.ids, truth), hits.stages[stage].rows_seen
        assert all(len(set(ids)) == 10 for ids in hits.ids.tolist())
        assert (np.diff(hits.scores, axis=1) <= 0).all()
        assert index.memory.get("links", 0) == links * 4 * len(rows)
    assert found[0] + 0.02 < found[4] < found[16]
    assert seen[0] < seen[4] < seen[16]


def test_links_lead_neither_to_removed_rows_nor_to_disallowed_ones(
    crowd: tuple[np.ndarray, np.ndarray, np.ndarray], celled: dict[bool, Index]
) -> None:
    _, queries, truth = crowd
    index = celled[True].copy()
    index.remove(np.unique(truth[:, ::2]))
    kept = np.setdiff1d(np.arange(20_000), truth[:, ::2])
    assert np.isin(index.search(queries, probes=2).ids, kept).all()
    some = np.arange(0, 20_000, 3)
    hits = celled[True].search(queries, probes=2, where=some)
    assert np.isin(hits.ids, some).all()


def test_cells_of_two_levels_are_all_reached() -> None:
    """A large index has so many cells that their centroids are in cells themselves."""
    rows, queries = generate(12_000, 24, queries=200)
    index = Index(24, funnel="24@2:60 > 24@4:30 > 24@16")
    index.add(rows)
    exact = Index(24, funnel="24@16")
    exact.add(rows)
    truth = exact.search(queries).ids
    index.rebuild(cells=Cells(1500, probes=12), centre=True)
    levels = [name for name in index.memory if name.startswith("centroids")]
    assert levels == ["centroids 0", "centroids 1"]
    assert recall(index.search(queries).ids, truth) > 0.9
    own = index.search(rows, k=1, probes=4).ids[:, 0]
    assert (own == np.arange(12_000)).mean() > 0.999
    every = index.search(queries, probes=1500).stages[0]
    assert every.rows_seen >= 200 * 12_000


# ---- a life


def test_rows_added_later_are_found_and_compact_puts_them_into_cells(
    crowd: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    rows, queries, _ = crowd
    index = Index(64, funnel="64@4:100 > 64@16")
    index.add(rows[:5000])
    index.rebuild(cells=Cells(60, probes=2))
    for start, stop in ((5000, 5001), (5001, 5070), (5070, 6000)):
        index.add(rows[start:stop])
        found = index.search(rows[start:stop], k=1).ids[:, 0]
        np.testing.assert_array_equal(found, np.arange(start, stop))
    seen = index.search(queries).stages[0].rows_seen
    flat = index.search(queries, probes=0)
    size = index.memory["cell codes"]
    index.compact()
    assert index.search(queries).stages[0].rows_seen < seen - 200 * 800
    assert index.memory["cell codes"] > size
    same(index.search(queries, probes=0), flat)
    same(index.search(queries, probes=60), flat)
    np.testing.assert_array_equal(index.search(rows[:6000], k=1).ids[:, 0], np.arange(6000))


def test_removed_rows_leave_their_cells_when_compacted() -> None:
    rows, queries = generate(2000, 32, queries=10)
    index = Index(32, funnel="32@4:100 > 32@16")
    index.add(rows)
    index.rebuild(cells=Cells(20, probes=3))
    index.remove(np.arange(0, 2000, 2))
    before = index.search(queries, probes=20)
    assert (before.ids % 2 == 1).all()
    size = index.memory["cell codes"]
    index.compact()
    assert index.memory["cell codes"] < 0.7 * size
    same(index.search(queries, probes=20), before)
    assert (index.search(queries).ids % 2 == 1).all()


def test_fewer_rows_than_cells_are_compacted_into_fewer(tmp_path: Path) -> None:
    """What an index reports about itself agrees, before a save and after it."""
    rows, queries = generate(200, 32, queries=10)
    index = Index(32, funnel="32@4:100 > 32@16")
    index.add(rows)
    index.rebuild(cells=Cells(50, probes=50))
    for kept in (12, 1, 0):
        index.remove(index.ids[kept:])
        index.compact()
        assert len(index) == kept
        found = index.search(queries, k=20).ids
        assert ((found >= 0).sum(axis=1) == kept).all()
        index.save(tmp_path / "a.nest")
        loaded = Index.load(tmp_path / "a.nest")
        same(loaded.search(queries), index.search(queries))
        assert loaded.cells == index.cells
        assert repr(loaded) == repr(index)
        index.rebuild()
        assert len(index) == kept


def test_cells_stay_through_a_rebuild_and_go_when_told() -> None:
    rows, queries = generate(500, 32, queries=10)
    index = Index(32, funnel="16@4:100 > 32@16")
    index.add(rows)
    assert index.cells is None
    index.rebuild(cells=7)
    assert index.cells == Cells(7, probes=1, adaptive=False, spill=True, dims=32)
    assert "7 cells" in repr(index)
    index.rebuild(funnel="32@8:100 > 32@16")
    assert index.cells is not None
    assert index.cells.count == 7
    same(index.search(queries, probes=7), index.search(queries, probes=0))
    index.rebuild(cells=0)
    assert index.cells is None
    assert "cells" not in repr(index)
    assert not any("cell" in part for part in index.memory)
    same(index.search(queries, probes=3), index.search(queries))


@pytest.mark.parametrize("n", [1, 2, 31, 32, 33])
def test_there_may_be_as_many_cells_as_rows(n: int) -> None:
    rows = embeddings(np.random.default_rng(n), n, 16)
    index = Index(16, funnel="16@8:9 > 16@32")
    index.add(rows)
    index.rebuild(cells=Cells(n, probes=n))
    assert index.search(rows, k=1).ids[:, 0].tolist() == list(range(n))


def test_rows_that_are_all_the_same_or_zero_can_be_partitioned() -> None:
    index = Index(8, funnel="8@8:300 > 8@32")
    index.add(np.concatenate([np.ones((200, 8)), np.zeros((100, 8))]))
    index.rebuild(cells=Cells(20, probes=20))
    queries = np.stack([np.ones(8), -np.ones(8), np.zeros(8)])
    same(index.search(queries, k=300), index.search(queries, k=300, probes=0))


# ---- what is refused


@pytest.mark.parametrize("cells", [Cells(31), 31, Cells(2**24)])
def test_more_cells_than_rows_are_refused(cells: Cells | int) -> None:
    index = Index(16, funnel="16@8:9 > 16@32")
    index.add(np.eye(30, 16))
    with pytest.raises(FunnelError, match=r"cells for 30 rows"):
        index.rebuild(cells=cells)
    assert index.cells is None
    with pytest.raises(FunnelError, match="cells for 0 rows"):
        Index(16, funnel="16@8:9 > 16@32").rebuild(cells=1)


def test_cells_need_codes() -> None:
    index = Index(16, funnel="8@16:9 > 16@32")
    index.add(np.eye(16))
    with pytest.raises(FunnelError, match="1, 2, 4 or 8 bits"):
        index.rebuild(cells=2)
    coded = Index(16, funnel="8@8:9 > 16@32")
    coded.add(np.eye(16))
    coded.rebuild(cells=2)
    with pytest.raises(FunnelError, match="1, 2, 4 or 8 bits"):
        coded.rebuild(funnel="8@16:9 > 16@32")
    coded.rebuild(funnel="8@16:9 > 16@32", cells=0)
    assert coded.cells is None


def test_cells_of_more_dimensions_than_there_are_are_refused() -> None:
    index = Index(16, funnel="8@8:9 > 16@32")
    index.add(np.eye(16))
    with pytest.raises(FunnelError, match="17"):
        index.rebuild(cells=Cells(3, dims=17))


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": 0},
        {"count": -1},
        {"count": 2**24 + 1},
        {"count": 5, "probes": 6},
        {"count": 5, "probes": -1},
        {"count": 5, "dims": -1},
    ],
    ids=str,
)
def test_cells_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ArgumentError, match=r"count|probes|dims"):
        Cells(**wrong)


@pytest.mark.parametrize("wrong", [{"probes": 1.5}, {"count": 2.0}, {"dims": "8"}], ids=str)
def test_cells_are_counted_in_whole_numbers(wrong: dict[str, object]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        Cells(**({"count": 3} | wrong))  # type: ignore[arg-type]


@pytest.mark.parametrize("probes", [-1, 1.5, "2", 2**40])
def test_probes_out_of_range_are_refused(probes: object) -> None:
    index = Index(16, funnel="8@8:9 > 16@32")
    index.add(np.eye(16))
    for _ in range(2):
        with pytest.raises(ArgumentError, match="probes"):
            index.search(np.ones(16), probes=probes)  # type: ignore[arg-type]
        index.rebuild(cells=4)


@pytest.mark.parametrize("cells", [-1, 1.5, "3"])
def test_a_wrong_number_of_cells_is_refused(cells: object) -> None:
    index = Index(16, funnel="8@8:9 > 16@32")
    index.add(np.eye(16))
    with pytest.raises(ArgumentError, match="count"):
        index.rebuild(cells=cells)  # type: ignore[arg-type]


def test_a_64th_of_the_cells_is_probed_unless_told_otherwise() -> None:
    assert Cells(1).probes == 1
    assert Cells(640).probes == 10
    assert Cells(640, probes=3).probes == 3
