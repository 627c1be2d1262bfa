"""Indexes that take the cells of another: together they find what one index in them finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nest_file import NestFile
from nestling import Funnel, FunnelError, Index
from nestling.bench.generate import generate
from nestling.errors import ArgumentError
from nestling.index.cells import Cells
from oracle import Metric, same
from strategies import METRICS, rows_of

CENTROIDS = (b"cell centre", b"centroids ", b"centroid shell")


def merged(parts: list[Index], queries: np.ndarray, k: int, probes: int) -> tuple[np.ndarray, ...]:
    """Returns the ids and scores of the best k hits of several indexes, whose ids differ.

    Scores are not clipped, since those above 1 are in order too.
    """
    found = [part.search(queries, k, probes=probes, clip=False) for part in parts]
    ids = np.concatenate([hits.ids for hits in found], axis=1)
    scores = np.concatenate([hits.scores for hits in found], axis=1)
    order = np.lexsort((ids, np.where(ids < 0, np.inf, -scores)))[:, :k]
    return np.take_along_axis(ids, order, 1), np.take_along_axis(scores, order, 1)


def centroids_of(index: Index, path: Path) -> list[tuple[bytes, bytes]]:
    index.save(path)
    sections = NestFile.read(path.read_bytes()).sections
    return [(name, content) for name, content in sections if name.startswith(CENTROIDS)]


@given(data=st.data(), metric=METRICS, spill=st.booleans())
def test_parts_in_the_cells_of_a_template_find_what_one_index_finds(
    data: st.DataObject, metric: Metric, spill: bool
) -> None:
    """To the last bit where all cells are probed, however the rows are divided."""
    dim, n = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 300))
    bits = data.draw(st.sampled_from([1, 2, 4, 8]))
    first = data.draw(st.integers(1, dim))
    funnel = f"{first}@{bits}:1000 > {dim}@16"
    rows, sample = data.draw(rows_of(n, dim)), data.draw(rows_of(80, dim))
    learned = Index(dim, funnel=funnel, metric=metric)
    learned.add(sample)
    learned.rebuild(
        centre=metric == "cosine" and data.draw(st.booleans()), rotate=data.draw(st.booleans())
    )
    count = data.draw(st.integers(1, 60))
    links = data.draw(st.sampled_from([0, 5]))
    dims = data.draw(st.integers(1, dim))
    template = learned.empty(Cells(count, probes=1, spill=spill, dims=dims, links=links))
    assert (len(template), template.cells.count) == (0, count)  # type: ignore[union-attr]
    part_of = np.array(data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n)))
    whole, parts = template.empty(), []
    whole.add(rows)
    for number in range(3):
        part = template.empty()
        mine = np.flatnonzero(part_of == number)
        part.add(rows[mine], ids=mine)
        parts.append(part.partitioned(like=template))
        assert parts[-1].cells == template.cells
    queries = data.draw(rows_of(4, dim))
    flat = whole.search(queries, 7, clip=False)
    celled = whole.partitioned(like=template)
    same(celled.search(queries, 7, probes=count, clip=False), flat)
    ids, scores = merged(parts, queries, 7, probes=count)
    np.testing.assert_array_equal(ids, flat.ids)
    np.testing.assert_array_equal(scores, flat.scores)
    for part in parts:
        part.remove(part.ids[::2])
        part.add(rows[:1], ids=[1000])
        before = part.search(queries, 7, probes=0)
        same(part.search(queries, 7, probes=count), before)
        part.compact()
        same(part.search(queries, 7, probes=count), before)


@pytest.mark.parametrize("spill", [False, True])
def test_a_query_finds_the_same_cells_nearest_in_every_part(spill: bool) -> None:
    """So parts with some probes find what one index with as many finds."""
    rows, queries = generate(6000, 32, queries=60)
    learned = Index(32, funnel="32@8")
    learned.add(rows[::3])
    template = learned.empty(Cells(20, spill=spill))
    whole, parts = template.empty(), []
    whole.add(rows)
    whole = whole.partitioned(like=template)
    for number in range(4):
        part = template.empty()
        part.add(rows[number::4], ids=np.arange(number, 6000, 4))
        parts.append(part.partitioned(like=template))
    seen = []
    for probes in (1, 2, 5, 20):
        expected = whole.search(queries, 5, probes=probes)
        ids, scores = merged(parts, queries, 5, probes)
        np.testing.assert_array_equal(ids, expected.ids)
        np.testing.assert_array_equal(scores, expected.scores)
        seen.append(expected.stages[0].rows_seen)
    assert seen == sorted(seen)
    assert seen[0] < seen[-1] / 5


@pytest.mark.parametrize(("count", "funnel"), [(40, "24@4:600 > 24@16"), (1500, "24@2:600 > 24@8")])
def test_skewed_parts_have_empty_cells_and_are_saved_with_them(
    count: int, funnel: str, tmp_path: Path
) -> None:
    """Of one level of centroids and of two; with a single row, and with rows of one topic only."""
    rows, queries = generate(6000, 24, queries=30)
    learned = Index(24, funnel=funnel)
    learned.add(rows)
    template = learned.empty(Cells(count, probes=count // 4))
    topic = np.argsort(-rows @ rows[0])[:400]
    expected = centroids_of(template, tmp_path / "template.nest")
    assert len(expected) == (3 if count < 1000 else 4)
    template = Index.load(tmp_path / "template.nest")
    assert (len(template), template.cells.count) == (0, count)  # type: ignore[union-attr]
    assert (template.search(queries).ids == -1).all()
    for mine in (topic, topic[:1]):
        part = template.empty()
        part.add(rows[mine], ids=mine)
        flat = part.search(queries)
        part = part.partitioned(like=template)
        assert centroids_of(part, tmp_path / "part.nest") == expected
        for opened in (
            part,
            *(Index.load(tmp_path / "part.nest", verify=v) for v in (True, False)),
        ):
            assert opened.cells == template.cells
            same(opened.search(queries, probes=count), flat)
            few = opened.search(queries, probes=1)
            assert ((few.ids >= 0).sum(axis=1) == min(len(mine), 10)).all()
            found = opened.search(rows[mine[:1]], k=1, probes=1)
            assert found.ids.tolist() == [[mine[0]]]
            opened.add(rows[:5], ids=np.arange(10_000, 10_005))
            opened.remove(opened.ids[:1])
            after = opened.search(queries, probes=0)
            same(opened.search(queries, probes=count), after)
            opened.compact()
            same(opened.search(queries, probes=0), after)
            opened.rebuild(funnel="24@8:100 > 24@16")
            assert len(opened) == len(mine) + 4


def test_threads_and_copies_change_nothing(tmp_path: Path) -> None:
    rows, _ = generate(3000, 24, queries=1)
    files = set()
    for threads in (1, 3):
        learned = Index(24, funnel="24@1:60 > 24@16", threads=threads)
        learned.add(rows[::2])
        learned.rebuild(centre=True, rotate=True)
        learned.empty(50).save(tmp_path / "template.nest")
        template = Index.load(tmp_path / "template.nest", threads=threads)
        part = template.empty()
        part.add(rows[:1000])
        part.partitioned(like=template).save(tmp_path / "part.nest")
        files.add((tmp_path / "part.nest").read_bytes())
        part.partitioned(like=part.partitioned(like=template).copy()).save(tmp_path / "part.nest")
        files.add((tmp_path / "part.nest").read_bytes())
    assert len(files) == 1


def test_shared_cells_find_as_much_as_own_ones() -> None:
    """At the same probes, of rows that are divided at random."""
    rows, queries = generate(20_000, 64, queries=200)
    exact = Index(64, funnel="64@32")
    exact.add(rows)
    truth = exact.search(queries).ids
    learned = Index(64, funnel="64@8:200 > 64@32")
    learned.add(rows[::2])
    template = learned.empty(Cells(150, links=0))
    recalls = []
    for own in (True, False):
        parts = []
        for number in range(2):
            part = template.empty()
            part.add(rows[number::2], ids=np.arange(number, 20_000, 2))
            cells = template.cells
            parts.append(part.partitioned(cells) if own else part.partitioned(like=template))
        ids, _ = merged(parts, queries, 10, probes=4)
        recalls.append(np.mean([np.isin(a, b).mean() for a, b in zip(ids, truth, strict=True)]))
    assert recalls[1] > recalls[0] - 0.01
    assert recalls[1] > 0.6


def test_what_cannot_be_shared_is_refused() -> None:
    index = Index(8, funnel="8@4:10 > 8@16")
    index.add(np.eye(8, dtype=np.float32))
    template = index.empty(3)
    with pytest.raises(ArgumentError, match="give either cells, or like="):
        index.partitioned(3, like=template)
    with pytest.raises(ArgumentError, match="give either cells, or like="):
        index.partitioned(like=index)
    for cells in (None, 0):
        with pytest.raises(ArgumentError, match="give at least one cell"):
            index.partitioned(cells)
    with pytest.raises(ArgumentError, match="give at least one cell"):
        index.empty(0)
    for other in (
        Index(8, funnel="8@8:10 > 8@16"),
        Index(8, funnel="8@4:10 > 8@16", metric="ip"),
        Index(7, funnel="7@4:10 > 7@16"),
        index.rebuilt(rotate=True),
        index.rebuilt(centre=True),
    ):
        with pytest.raises(FunnelError, match="stores its rows in another way"):
            other.partitioned(like=template)
    with pytest.raises(FunnelError, match="cells need a first stage of"):
        Index(8, funnel="8@16").empty(3)
    assert Funnel.of(template.funnel) == index.funnel
    assert template.empty().cells is None


def test_what_is_added_to_one_is_not_in_the_other() -> None:
    """Rows that none was removed from stay where they are, and both indexes hold them."""
    rng = np.random.default_rng(11)
    rows, more, queries = (rng.standard_normal((n, 8)).astype(np.float32) for n in (300, 90, 6))
    index = Index(8, funnel="8@4:50 > 8@16")
    index.add(rows)
    alone = index.search(queries, 5)
    parted = index.partitioned(Cells(7, probes=7))
    assert parted.memory["shell 8@16"] == index.memory["shell 8@16"]
    index.add(more)
    parted.add(-more)
    parted.remove([0, 299])
    assert (len(index), len(parted)) == (390, 388)
    for one, added, gone in ((index, more, []), (parted, -more, [0, 299])):
        expected = Index(8, funnel="8@4:50 > 8@16")
        expected.add(np.concatenate([rows, added]))
        expected.remove(gone)
        same(
            one.search(queries, 5, probes=None if one is index else 0), expected.search(queries, 5)
        )
    same(index.copy().search(queries, 5), index.search(queries, 5))
    same(alone, index.search(queries, 5, where=np.arange(300)))
