"""Copies that change independently, and merged indexes: bit for bit what one index would be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling import FunnelError, IdError, Index
from nestling.errors import ArgumentError
from oracle import same
from strategies import METRICS, SEEDS, embeddings, funnels

DIM = 13


def some(n: int, seed: int = 0) -> np.ndarray:
    return embeddings(np.random.default_rng(seed), n, DIM)


@given(st.data(), SEEDS, METRICS)
def test_merged_indexes_are_one_index_of_all_rows(
    data: st.DataObject, seed: int, metric: str
) -> None:
    funnel = data.draw(funnels(DIM))
    sizes = data.draw(st.lists(st.integers(0, 80), min_size=1, max_size=4))
    rng = np.random.default_rng(seed)
    rows = embeddings(rng, sum(sizes), DIM)
    whole = Index(DIM, funnel=funnel, metric=metric)
    whole.add(rows)
    parts, shifts, start = [], [], 0
    for size in sizes:
        part = Index(DIM, funnel=funnel, metric=metric)
        part.add(rows[start : start + size])
        parts.append(part)
        shifts.append(start)
        start += size
    gone = [i for i in range(sum(sizes)) if rng.random() < 0.2]
    whole.remove(gone)
    for part, shift in zip(parts, shifts, strict=True):
        part.remove([i - shift for i in gone if shift <= i < shift + len(part.ids)])
    merged = Index.merge(parts, shifts=shifts)
    assert merged.ids.tolist() == whole.ids.tolist()
    assert merged.reconstruct(merged.ids).tobytes() == whole.reconstruct(whole.ids).tobytes()
    queries = embeddings(rng, 3, DIM)
    same(merged.search(queries, k=7), whole.search(queries, k=7))
    merged.add(rows[:1])  # a merged index can be changed like any other


def test_a_copy_and_its_origin_change_independently() -> None:
    index = Index(DIM, funnel="6@4:30 > 13@16")
    index.add(some(100), ids=np.arange(100) * 3)
    copied = index.copy()
    before = index.search(some(3, 1), k=20)
    copied.remove([0, 3])
    copied.add(some(50, 2))
    index.add(some(50, 3), ids=np.arange(50) + 1_000)
    index.remove(np.arange(50) + 1_000)
    same(index.search(some(3, 1), k=20), before)
    assert len(copied) == 148
    assert len(index) == 100
    copied.rebuild(funnel="13@32")
    assert str(index.funnel) == "6@4:30 > 13@16"


def test_copies_of_a_mapped_file_share_it(tmp_path: Path) -> None:
    index = Index(DIM)
    index.add(some(40))
    index.save(tmp_path / "a.nest")
    loaded = Index.load(tmp_path / "a.nest")
    other = loaded.copy()
    other.remove([7])
    assert 7 in loaded.ids
    assert 7 not in other.ids


def test_an_empty_index_of_the_same_layout_merges_with_it() -> None:
    index = Index(DIM, funnel="9@1:9 > 13@16")
    index.add(some(60))
    index.rebuild(centre=True, rotate=True, cells=3)
    like = index.empty()
    assert len(like) == 0
    assert (like.centred, like.rotated, like.cells) == (True, True, None)
    like.add(some(20, 5))
    merged = Index.merge([index, like], shifts=[0, 60])
    assert merged.ids.tolist() == list(range(80))


def test_indexes_that_do_not_fit_together_are_refused() -> None:
    one, other = Index(DIM, funnel="13@32"), Index(DIM, funnel="13@16")
    with pytest.raises(FunnelError, match="index 1 stores its rows in another way"):
        Index.merge([one, other])
    one.add(some(5))
    with pytest.raises(IdError, match="id 0 is in several"):
        Index.merge([one, one])
    with pytest.raises(IdError, match="out of range"):
        Index.merge([one], shifts=[-1])
    with pytest.raises(ArgumentError, match="give one of each"):
        Index.merge([one], shifts=[])
    with pytest.raises(ArgumentError, match="give one of each"):
        Index.merge([])
    centred = Index(DIM, funnel="13@8:9 > 13@16")
    plain = Index(DIM, funnel="13@8:9 > 13@16")
    centred.add(some(30))
    centred.rebuild(centre=True)
    with pytest.raises(FunnelError, match="in another way"):
        Index.merge([plain, centred])
    assert Index.merge([centred], shifts=[5]).centred
