"""Rebuilding: another funnel, with what was removed gone, while searches and adds go on."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling import FunnelError, IdError, Index
from nestling.bench.generate import generate
from nestling.index.cells import Cells
from oracle import Metric, as_stored, same
from strategies import METRICS, SEEDS, Problem, embeddings, problems

METRIC_NAMES: tuple[Metric, ...] = ("cosine", "ip")


@given(problem=problems())
def test_the_same_funnel_again_changes_nothing(problem: Problem) -> None:
    """To the last bit, where the last stage holds the rows as they are; else to its precision."""
    if problem.funnel.stages[-1].bits != 32:
        return
    index = Index(problem.dim, funnel=problem.funnel, metric=problem.metric)
    index.add(problem.rows, ids=problem.ids)
    before = index.search(problem.queries, problem.k)
    rows = index.reconstruct(problem.known_ids)
    index.rebuild()
    same(index.search(problem.queries, problem.k), before)
    np.testing.assert_array_equal(index.reconstruct(problem.known_ids), rows)
    np.testing.assert_array_equal(index.ids, problem.known_ids)


@pytest.mark.parametrize("metric", METRIC_NAMES)
@pytest.mark.parametrize("funnel", ["64@16", "16@16:2000 > 64@16", "32@4:2000 > 64@16"])
def test_sixteen_bits_stay_sixteen_bits(metric: Metric, funnel: str) -> None:
    rows, queries = generate(2000, 64, queries=20)
    index = Index(64, funnel=funnel, metric=metric)
    index.add(rows)
    before = index.search(queries, k=50)
    for _ in range(2):
        index.rebuild(funnel=funnel)
        same(index.search(queries, k=50), before)


@pytest.mark.parametrize("metric", METRIC_NAMES)
@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("64@32", "32@4:400 > 64@32"),
        ("32@4:400 > 64@32", "64@32"),
        ("16@8:300 > 64@32", "32@1:900 > 48@16:100 > 64@32"),
        ("64@32", "8@16:900 > 64@32"),
        ("32@2:300 > 64@32", "64@8"),
    ],
)
def test_another_funnel_is_as_if_there_had_been_no_other(
    metric: Metric, first: str, then: str
) -> None:
    """float32 rows lose nothing, so every funnel can be rebuilt from them."""
    rows, queries = generate(2000, 64, queries=20)
    ids = np.random.default_rng(0).permutation(2000) * 3
    index, fresh = Index(64, funnel=first, metric=metric), Index(64, funnel=then, metric=metric)
    for each in (index, fresh):
        each.add(rows, ids=ids)
    index.rebuild(funnel=then)
    assert index.funnel == fresh.funnel
    same(index.search(queries), fresh.search(queries))
    assert {k: v for k, v in index.memory.items() if "shell" in k or k == "coarse"} == {
        k: v for k, v in fresh.memory.items() if "shell" in k or k == "coarse"
    }
    index.add(rows[:1], ids=[1])
    fresh.add(rows[:1], ids=[1])
    same(index.search(queries), fresh.search(queries))


@pytest.mark.parametrize(
    "funnel", ["8@4:9 > 16@16", "nonsense", "64@8", "32@4:9~2000 > 32@16", 5, "16@16 > 32@16"]
)
def test_a_refused_funnel_changes_nothing(funnel: object) -> None:
    index = Index(32, funnel="8@4:9 > 32@16")
    index.add(np.eye(32))
    before, shown = index.search(np.eye(32)), repr(index)
    with pytest.raises(FunnelError):
        index.rebuild(funnel=funnel)  # type: ignore[arg-type]
    assert repr(index) == shown
    same(index.search(np.eye(32)), before)
    assert index.add(np.ones(32)).tolist() == [32]


def test_a_funnel_that_cannot_be_centred_needs_the_centre_gone() -> None:
    index = Index(32, funnel="8@4:9 > 32@16")
    index.add(np.eye(32))
    index.rebuild(centre=True)
    with pytest.raises(FunnelError, match="centred"):
        index.rebuild(funnel="32@16")
    index.rebuild(funnel="32@16", centre=False)
    assert str(index.funnel) == "32@16"


@pytest.mark.parametrize("rotate", [False, True])
@pytest.mark.parametrize("metric", METRIC_NAMES)
def test_an_empty_index_is_rebuilt_and_filled(metric: Metric, rotate: bool) -> None:
    index = Index(16, funnel="8@4:9 > 16@16", metric=metric)
    index.rebuild(funnel="4@8:9 > 16@32", rotate=rotate)
    assert len(index) == 0
    assert (index.search(np.ones(16), k=2).ids == -1).all()
    assert index.add(np.eye(16)).tolist() == list(range(16))
    assert index.search(np.eye(16), k=1).ids.shape == (16, 1)
    index.rebuild(rotate=True)
    assert index.rotated
    np.testing.assert_allclose(index.reconstruct(np.arange(16)), np.eye(16), atol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 33])
def test_few_rows_can_be_rotated_and_centred(n: int) -> None:
    rows = embeddings(np.random.default_rng(n), n, 40)
    index = Index(40, funnel="40@8:99 > 40@32")
    index.add(rows)
    index.rebuild(rotate=True, centre=True, cells=Cells(n))
    assert index.search(rows, k=1, probes=0).ids[:, 0].tolist() == list(range(n))
    np.testing.assert_allclose(
        index.reconstruct(np.arange(n)), as_stored(rows, "cosine"), atol=1e-6
    )


@given(metric=METRICS, seed=SEEDS, rotate=st.booleans(), centre=st.booleans())
def test_removed_and_replaced_rows_are_gone(
    metric: Metric, seed: int, rotate: bool, centre: bool
) -> None:
    """And teach nothing either: the result is that of an index of what remains."""
    rng = np.random.default_rng(seed)
    rows, queries = embeddings(rng, 300, 24), embeddings(rng, 4, 24)
    centre = centre and metric == "cosine"
    index, fresh = (Index(24, funnel="16@4:60 > 24@32", metric=metric) for _ in range(2))
    index.add(rows)
    index.remove(np.arange(0, 100, 2))
    index.add(-rows[:10], ids=np.arange(10) + 100, replace=True)
    kept = np.concatenate([np.arange(1, 100, 2), np.arange(110, 300)])
    fresh.add(np.concatenate([rows[kept], -rows[:10]]), ids=[*kept, *range(100, 110)])
    for each in (index, fresh):
        each.rebuild(rotate=rotate, centre=centre)
    assert len(index) == 250
    np.testing.assert_array_equal(index.ids, fresh.ids)
    same(index.search(queries, k=250), fresh.search(queries, k=250))
    assert index.memory["coarse"] == fresh.memory["coarse"]
    with pytest.raises(IdError):
        index.remove([0])
    index.add(rows[:1], ids=[0])
    assert len(index) == 251


def test_searches_and_adds_go_on_meanwhile() -> None:
    """Searches find one index or the other; adds wait, and none is lost."""
    rows, queries = generate(3000, 32, queries=4)
    index = Index(32, funnel="32@32", threads=2)
    index.add(rows)
    expected = index.search(queries, k=10)
    finished = threading.Event()

    def search() -> None:
        count = 0
        while not finished.is_set() or count < 3:
            hits = index.search(queries, k=10)
            same(hits, expected)
            count += 1

    def add(turn: int) -> None:
        for i in range(20):
            far = np.full((1, 32), -1e-3, np.float32) - rows[:1] * 0  # scores low everywhere
            far[0, turn] = -5
            index.add(far - queries.sum(axis=0), ids=[10_000 + 100 * turn + i])

    with ThreadPoolExecutor(4) as pool:
        searching = [pool.submit(search) for _ in range(2)]
        adding = [pool.submit(add, turn) for turn in range(2)]
        try:
            for funnel in ("16@4:3040 > 32@32", "32@32", "8@8:3040 > 32@32", "32@32") * 3:
                index.rebuild(funnel=funnel)
            for each in adding:
                each.result(timeout=200)
        finally:
            finished.set()
        for each in searching:
            each.result(timeout=200)
    assert len(index) == 3040
    assert set(range(10_000, 10_020)) <= set(index.ids.tolist())


def test_rows_of_all_chunks_are_rebuilt() -> None:
    """Rows are read back in parts of 65,536 and stored in chunks of 262,144."""
    n = 262_144 + 5000
    rng = np.random.default_rng(0)
    rows = rng.integers(-9, 9, (n, 4)).astype(np.float32)
    queries = rng.integers(-9, 9, (3, 4)).astype(np.float32)
    index = Index(4, funnel="4@32", metric="ip")
    index.add(rows)
    index.remove([n - 3])
    expected = index.search(queries, k=100)
    index.rebuild(funnel="4@8:500 > 4@32")
    index.rebuild(funnel="4@32")
    same(index.search(queries, k=100), expected)
    np.testing.assert_array_equal(index.ids, np.delete(np.arange(n), n - 3))
    np.testing.assert_array_equal(index.reconstruct([5, n - 1]), rows[[5, n - 1]])
