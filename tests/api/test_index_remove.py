"""Removing, replacing and compacting: what remains is as if nothing else had ever been there."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling import IdError, Index, VectorError
from nestling.index.cells import Cells
from oracle import Metric, same
from strategies import METRICS, SEEDS, embeddings, funnels, rows_of

FUNNEL = "6@4:30 > 9@8:25 > 13@16"


def some(n: int, seed: int = 0) -> np.ndarray:
    return embeddings(np.random.default_rng(seed), n, 13)


@pytest.fixture
def index() -> Index:
    """100 rows with the ids 0 to 99."""
    index = Index(13, funnel=FUNNEL)
    index.add(some(100))
    return index


def state(index: Index) -> tuple[object, ...]:
    """Everything that a refused removal must not change."""
    hits = index.search(some(3, 1), k=120)
    return (
        len(index),
        repr(index),
        index.memory["coarse"],
        index.ids.tolist(),
        hits.ids.tolist(),
        hits.scores.tobytes(),
        index.reconstruct(index.ids).tobytes(),
    )


@dataclass
class Model:
    """What an index should be: rows by id, in the order of their adds."""

    rows: dict[int, np.ndarray] = field(default_factory=dict)

    def add(self, ids: list[int], rows: np.ndarray) -> None:
        for identifier, row in zip(ids, rows, strict=True):
            self.rows.pop(identifier, None)  # its new place is the last
            self.rows[identifier] = row

    def index(self, like: Index) -> Index:
        fresh = Index(like.dim, funnel=like.funnel, metric=like.metric)
        if self.rows:
            fresh.add(np.stack(list(self.rows.values())), ids=list(self.rows))
        return fresh


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "add with ids", "replace", "remove", "compact", "file"]),
        st.integers(0, 90),
        SEEDS,
    ),
    min_size=2,
    max_size=12,
)


def step(index: Index, model: Model, kind: str, count: int, seed: int, path: Path) -> Index:
    """Does one thing to both."""
    rng = np.random.default_rng(seed)
    present = list(model.rows)
    if kind == "add":
        rows = embeddings(rng, count, index.dim)
        model.add(index.add(rows).tolist(), rows)
    elif kind == "add with ids":
        ids = np.setdiff1d(rng.choice(600, count, replace=False), present)
        rows = embeddings(rng, len(ids), index.dim)
        index.add(rows, ids=ids)
        model.add(ids.tolist(), rows)
    elif kind == "replace":
        ids = rng.choice(600, count, replace=False)
        rows = embeddings(rng, count, index.dim)
        assert index.add(rows, ids=ids, replace=True).tolist() == ids.tolist()
        model.add(ids.tolist(), rows)
    elif kind == "remove":
        ids = rng.permutation(np.array(present, np.int64))[:count]
        index.remove(ids)
        for identifier in ids.tolist():
            del model.rows[identifier]
    elif kind == "compact":
        index.compact()
    else:
        index.save(path)
        return Index.load(path)
    return index


@given(data=st.data(), steps=STEPS, metric=METRICS, dim=st.integers(1, 70), seed=SEEDS)
def test_an_index_is_what_remains_of_it(
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    steps: list[tuple[str, int, int]],
    metric: Metric,
    dim: int,
    seed: int,
) -> None:
    """After any life, everything equals an index that was built from what remains, bit for bit."""
    path = tmp_path_factory.mktemp("life") / "a.nest"
    index = Index(dim, funnel=data.draw(funnels(dim)), metric=metric)
    queries = data.draw(rows_of(3, dim))
    model = Model()
    for kind, count, number in steps:
        index = step(index, model, kind, count, number, path)
        fresh = model.index(index)
        assert len(index) == len(fresh)
        assert index.ids.tolist() == list(model.rows)
        for k in (5, len(fresh) + 2):
            same(index.search(queries, k), fresh.search(queries, k))
            same(index.search(queries[0], k), fresh.search(queries[0], k))
        np.testing.assert_array_equal(index.reconstruct(index.ids), fresh.reconstruct(fresh.ids))
    index.compact()
    # Nothing is left of the removed rows, but that both may have stored ids with room to spare.
    fresh = model.index(index)
    for part in fresh.memory.keys() - {"ids", "id table"}:
        assert index.memory[part] == fresh.memory[part]


@pytest.mark.parametrize(
    ("ids", "why"),
    [
        ([5, 100], "100"),
        ([5, -1], "-1"),
        ([5, 6, 5], "5 is given twice"),
        ([2**62], str(2**62)),
        ([1.5], "1.5, which is not an integer"),
        (["a"], "int"),
        ([[1, 2]], "list, which is not an integer"),
        (7, "list of integers, not 7"),
        ([True], "True, which is not an integer"),
        ([2**64], "too large"),
        ([[1], [2, 3]], "array|int"),
        (None, "int"),
    ],
    ids=str,
)
@pytest.mark.parametrize("numbered", [True, False])
def test_ids_that_cannot_be_removed_are_named_and_nothing_is(
    index: Index, ids: object, why: str, numbered: bool
) -> None:
    if not numbered:
        index.add(some(1), ids=[1000])
    before = state(index)
    with pytest.raises(IdError, match=why):
        index.remove(ids)  # type: ignore[arg-type]
    assert state(index) == before


def test_a_removed_id_is_unknown(index: Index) -> None:
    index.remove([3, 99])
    assert len(index) == 98
    for use in (index.remove, index.reconstruct):
        with pytest.raises(IdError, match="99"):
            use([99])
    assert not np.isin(index.search(some(5), k=100).ids, [3, 99]).any()
    assert index.search(some(5), k=9, where=[3, 99]).ids.max() == -1
    mask = np.zeros(100, bool)
    mask[[3, 4]] = True
    assert index.search(some(1)[0], k=3, where=mask).ids.tolist() == [4, -1, -1]


def test_removing_nothing_does_nothing(index: Index) -> None:
    before = state(index)
    index.remove([])
    index.remove(np.empty(0, np.int64))
    assert state(index) == before


@pytest.mark.parametrize("compact", [False, True])
def test_a_removed_id_can_be_added_again(index: Index, compact: bool) -> None:
    index.remove([3, 50])
    if compact:
        index.compact()
    row = some(1, seed=9)
    index.add(row, ids=[50])
    assert len(index) == 99
    assert index.search(row[0], k=1).ids.tolist() == [50]
    with pytest.raises(IdError, match="50"):
        index.add(row, ids=[50])
    index.remove([50])
    assert len(index) == 98


def test_default_ids_go_on_after_the_largest(index: Index) -> None:
    index.remove([10])
    assert index.add(some(2)).tolist() == [100, 101]
    index.add(some(1), ids=[500], replace=True)
    index.compact()
    assert index.add(some(2)).tolist() == [501, 502]


def test_default_ids_may_be_used_with_replace(index: Index) -> None:
    assert index.add(some(2), replace=True).tolist() == [100, 101]


def test_replacing_takes_the_old_rows_place(index: Index) -> None:
    fresh = some(3, seed=4)
    assert index.add(fresh, ids=[7, 500, 8], replace=True).tolist() == [7, 500, 8]
    assert len(index) == 101
    np.testing.assert_array_equal(index.search(fresh, k=1).ids[:, 0], [7, 500, 8])
    assert (index.search(some(100)[7:9], k=1).ids[:, 0] != [7, 8]).all()
    assert index.ids.tolist()[-3:] == [7, 500, 8]


@pytest.mark.parametrize(
    ("ids", "bad_row", "error"),
    [
        ([5, -1], False, IdError),
        ([5, 5], False, IdError),
        ([5], False, IdError),
        ([5, 6], True, VectorError),
    ],
)
def test_a_refused_replacement_removes_nothing(
    index: Index, ids: list[int], bad_row: bool, error: type[Exception]
) -> None:
    rows = some(2, seed=5)
    if bad_row:
        rows[1, 3] = np.nan
    before = state(index)
    with pytest.raises(error):
        index.add(rows, ids=ids, replace=True)
    assert state(index) == before


@pytest.mark.parametrize("funnel", [FUNNEL, "13@32", "13@1", "13@16:5 > 13@32"])
def test_all_rows_may_go_and_others_come(funnel: str, tmp_path: Path) -> None:
    index = Index(13, funnel=funnel)
    index.add(some(100))
    index.remove(np.arange(100))
    index.save(tmp_path / "a.nest")
    for compact in (False, True):
        for gone in (index, Index.load(tmp_path / "a.nest")):
            if compact:
                gone.compact()
            assert len(gone) == 0
            assert gone.ids.tolist() == []
            for count in (1, 5):
                assert (gone.search(some(count), k=3).ids == -1).all()
    index.add(some(3), ids=[5, 4, 3])
    assert index.search(some(3), k=1).ids.ravel().tolist() == [5, 4, 3]


def test_compacting_what_has_nothing_removed_keeps_everything(index: Index) -> None:
    before, memory = state(index), index.memory
    index.compact()
    assert state(index) == before
    assert index.memory == memory
    empty = Index(13, funnel=FUNNEL)
    empty.compact()
    assert empty.add(some(1)).tolist() == [0]


def test_compact_frees_what_removed_rows_took(index: Index) -> None:
    sizes = index.memory
    index.remove(np.arange(64))
    assert index.memory["shell 13@16"] == sizes["shell 13@16"]
    index.compact()
    for part in ("coarse", "shell 9@8", "shell 13@16"):
        assert index.memory[part] <= sizes[part] / 2


def test_a_file_keeps_what_was_removed_removed(index: Index, tmp_path: Path) -> None:
    index.remove([0, 31, 32, 99])
    index.save(tmp_path / "a.nest")
    loaded = Index.load(tmp_path / "a.nest")
    assert state(loaded) == state(index)
    loaded.save(tmp_path / "b.nest")
    assert (tmp_path / "b.nest").read_bytes() == (tmp_path / "a.nest").read_bytes()
    with pytest.raises(IdError):
        loaded.remove([31])
    loaded.remove([30])
    loaded.add(some(2), ids=[31, 1], replace=True)
    assert len(loaded) == 96
    assert len(index) == 96
    assert len(Index.load(tmp_path / "a.nest")) == 96


def test_rows_of_all_chunks_are_removed_and_compacted(tmp_path: Path) -> None:
    """Storage comes in chunks of 262,144 rows; what remains must not show where they ended."""
    n = 262_144 + 5000
    rng = np.random.default_rng(0)
    rows = rng.integers(-9, 9, (n, 4)).astype(np.float32)
    queries = rng.integers(-9, 9, (3, 4)).astype(np.float32)
    kept = rng.random(n) < 0.9
    kept[262_140:262_150] = False
    index, fresh = (Index(4, funnel="4@8:500 > 4@32", metric="ip") for _ in range(2))
    index.add(rows)
    index.remove(np.flatnonzero(~kept))
    fresh.add(rows[kept], ids=np.flatnonzero(kept))
    expected = fresh.search(queries, k=100)
    same(index.search(queries, k=100), expected)
    index.save(tmp_path / "a.nest")
    same(Index.load(tmp_path / "a.nest").search(queries, k=100), expected)
    index.compact()
    same(index.search(queries, k=100), expected)
    np.testing.assert_array_equal(index.ids, np.flatnonzero(kept))
    index.add(rows[~kept], ids=np.flatnonzero(~kept))
    every = Index(4, funnel="4@8:500 > 4@32", metric="ip")
    every.add(rows)
    same(index.search(queries, k=100), every.search(queries, k=100))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("funnel", "cells"), [("4@32", 0), ("4@8:200 > 4@32", 0), ("4@8:200 > 4@32", 5)]
)
def test_every_search_sees_one_state(funnel: str, cells: int, threads: int) -> None:
    """A writer replaces, removes, compacts and rebuilds; every row of a state scores its number.

    So a search, or a read of rows, that mixed two states would show two numbers, or half a removal.
    """
    index = Index(4, funnel=funnel, metric="ip", threads=threads)
    finished = threading.Event()
    everyone, half = set(range(100)), set(range(50, 100))
    first_half = np.arange(50)
    # Cells of rows that all point one way would be one: every second row points the other way.
    ways = np.where(np.arange(100) % 2, 1, -1)[:, None] * np.ones(4, np.float32)

    def at(number: int) -> np.ndarray:
        return np.asarray(ways * number, np.float32)

    index.add(at(1))
    if cells:
        index.rebuild(cells=Cells(cells, probes=cells, links=0))

    def watch(turn: int) -> None:
        rng = np.random.default_rng(turn)
        seen = 0
        while not finished.is_set() or seen < 5:
            where = (None, np.arange(100), np.ones(100, bool))[rng.integers(3)]
            queries = np.ones((rng.integers(1, 6), 4), np.float32)
            for ids, scores in zip(*index.search(queries, k=120, where=where), strict=True):
                found = ids >= 0
                assert set(ids[found].tolist()) in (everyone, half)
                assert len(set(np.abs(scores[found]).tolist())) == 1
            assert len(index) in (50, 100)
            try:
                rows = index.reconstruct(np.arange(100))
            except IdError:
                rows = index.reconstruct(np.arange(50, 100))
            assert len(set(np.abs(rows).ravel().tolist())) == 1
            seen += 1

    with ThreadPoolExecutor(3) as pool:
        watchers = [pool.submit(watch, turn) for turn in range(3)]
        try:
            for number in range(2, 500):
                index.add(at(number), ids=np.arange(100), replace=True)
                if number % 3 == 0:
                    index.remove(first_half)
                if number % 4 == 0:
                    index.compact()
                if number % 5 == 0:
                    index.rebuild(funnel=funnel)
                if number % 3 == 0:
                    index.add(at(number)[:50], ids=first_half)
        finally:
            finished.set()
        for watcher in watchers:
            watcher.result(timeout=200)
    same(index.search(np.ones(4), k=120), index.search(np.ones(4), k=120, where=np.arange(100)))
    assert len(index) == 100
