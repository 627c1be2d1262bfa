"""Which passages each stage of a funnel keeps, compared with a funnel computed in NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nestling import ArgumentError, Collection
from nestling.collection import Survivors

N, DIM = 400, 16
IDS = [f"d{i}" for i in range(N)]
FUNNEL = "4@32:60 > 8@32:20 > 16@32"  # float32, so that NumPy scores alike


def rows(seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(N, DIM)).astype(np.float32)


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with Collection(tmp_path / "c", dim=DIM, funnel=FUNNEL) as made:
        years = [{"year": 2000 + i % 4} for i in range(N)]
        made.add(["x"] * N, IDS, years, vectors=rows())
        yield made


def prefix(vectors: np.ndarray, dims: int) -> np.ndarray:
    cut = vectors[..., :dims].astype(np.float64)
    return cut / np.linalg.norm(cut, axis=-1, keepdims=True)


def expected(query: np.ndarray, k: int, allowed: np.ndarray) -> dict[str, int]:
    """The stage that drops each document that the first one keeps, and 3 for hits."""
    left = allowed
    found: dict[str, int] = {}
    for stage, (dims, keep) in enumerate(((4, 60), (8, 20), (16, k))):
        scores = prefix(rows()[left], dims) @ prefix(query, dims)
        best = left[np.argsort(-scores, kind="stable")[:keep]]
        if stage:
            found |= {IDS[row]: stage for row in np.setdiff1d(left, best)}
        left = best
    return found | {IDS[row]: 3 for row in left}


def stages_of(survivors: Survivors) -> dict[str, int]:
    assert (survivors.passages == 0).all()
    return dict(zip(survivors.ids, survivors.stages.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("where", [None, {"year": {"$gte": 2002}}])
def test_survivors_are_those_of_the_funnel(
    collection: Collection, seed: int, where: dict[str, object] | None
) -> None:
    query = np.random.default_rng(seed).normal(size=DIM).astype(np.float32)
    survivors = collection.survivors(query, 5, where)
    allowed = np.flatnonzero(np.arange(N) % 4 >= 2) if where else np.arange(N)
    found = stages_of(survivors)
    lost = {id: stage for id, stage in found.items() if stage == 0}
    assert {id: s for id, s in found.items() if s} == expected(query, 5, allowed)
    explanation = survivors.hits.explanation
    assert explanation is not None
    assert set(lost) == {one.id for one in explanation.dropped if one.stage == 0}
    assert survivors.total == len(found)
    assert [hit.id for hit in survivors.hits] == [
        hit.id for hit in collection.search(query, 5, where)
    ]
    stored = {IDS[i]: row for i, row in enumerate(rows())}
    wanted = prefix(np.stack([stored[id] for id in survivors.ids]), DIM)
    assert np.allclose(survivors.vectors, wanted, atol=1e-6)


def test_a_limit_keeps_what_came_furthest(collection: Collection) -> None:
    every = collection.survivors(rows(9)[0], 5)
    some = collection.survivors(rows(9)[0], 5, limit=30)
    assert len(some.ids) == 30
    assert some.total == every.total > 30
    assert stages_of(some).items() <= stages_of(every).items()
    assert sorted(some.stages)[-15:] == sorted(every.stages)[-15:]


def test_passages_of_segments_and_removed_documents(tmp_path: Path, folder: Path) -> None:
    """Three segments, pending rows and removed documents: the survivors are living documents."""
    from collection_helpers import LEFT, opened

    with opened(folder) as collection:
        survivors = collection.survivors("apple bread5", 3, funnel="8@4:10 > 16@16")
        assert set(survivors.ids) <= LEFT.keys()
        assert [hit.id for hit in survivors.hits][:1] == ["d5"]
        assert survivors.query.shape == (16,)
        # Each of the four parts keeps ten of its own.
        assert 10 < len(survivors.ids) <= 40


def test_margins_count_as_the_engine_counts(tmp_path: Path) -> None:
    """What a stage hands on by its own account is what is shown to survive it."""
    with Collection(tmp_path / "c", dim=DIM, funnel="8@32:60~1.2 > 16@32") as made:
        made.add(["x"] * N, IDS, vectors=rows())
        for query in np.random.default_rng(8).normal(size=(8, DIM)).astype(np.float32):
            survivors = made.survivors(query, 5)
            explanation = survivors.hits.explanation
            assert explanation is not None
            kept = int((survivors.stages > 0).sum())
            assert kept == explanation.stages[0].rows_kept < 60
            lost = {one.id for one in explanation.dropped}
            exact = {hit.id for hit in made.search(query, 5, funnel="16@32")}
            assert exact - {hit.id for hit in survivors.hits} == lost


def test_an_empty_collection_has_none(tmp_path: Path) -> None:
    with Collection(tmp_path / "c", dim=DIM) as empty:
        survivors = empty.survivors(np.ones(DIM), 5)
    assert (survivors.ids, survivors.total, len(survivors.hits)) == ((), 0, 0)


def test_one_query_is_expected(collection: Collection) -> None:
    with pytest.raises(ArgumentError, match="one query"):
        collection.survivors(rows()[:2])
    with pytest.raises(ArgumentError, match="limit"):
        collection.survivors(rows()[0], limit=0)
