"""Fused rankings follow the formulas of the papers, and do not depend on order or scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling.collection.query.fusion import reciprocal_rank, weighted
from nestling.errors import ArgumentError

IDS = st.lists(st.integers(-(2**62), 2**62), unique=True, max_size=20)
RANKING = st.tuples(IDS, st.randoms(use_true_random=False)).map(
    lambda pair: (pair[0], [pair[1].randint(-5, 5) / 2 for _ in pair[0]])
)
RANKINGS = st.lists(RANKING, max_size=4)


def sums(parts: list[dict[int, float]]) -> dict[int, float]:
    rows = {row for part in parts for row in part}
    return {row: sum(part.get(row, 0.0) for part in parts) for row in rows}


def check(fused: tuple[np.ndarray, np.ndarray], expected: dict[int, float]) -> None:
    ids, scores = fused
    assert ids.dtype == np.int64
    assert scores.dtype == np.float64
    assert set(ids.tolist()) == expected.keys()
    assert len(ids) == len(expected)
    assert scores == pytest.approx([expected[row] for row in ids.tolist()])
    pairs = list(zip(-scores, ids.tolist(), strict=True))
    assert pairs == sorted(pairs)


@given(RANKINGS, st.sampled_from([0, 1, 60]), st.booleans())
def test_reciprocal_ranks_add_up(
    rankings: list[tuple[list[int], list[float]]], k: int, weigh: bool
) -> None:
    weights = [0.5 + place for place in range(len(rankings))] if weigh else None
    parts = []
    for place, (ids, scores) in enumerate(rankings):
        order = sorted(zip(scores, ids, strict=True), key=lambda pair: (-pair[0], pair[1]))
        weight = weights[place] if weights else 1.0
        parts.append({row: weight / (k + rank) for rank, (_, row) in enumerate(order, 1)})
    check(reciprocal_rank(rankings, k, weights), sums(parts))


@given(RANKINGS)
def test_weighted_scores_add_up(rankings: list[tuple[list[int], list[float]]]) -> None:
    weights = [0.25 * (place + 1) for place in range(len(rankings))]
    parts = []
    for weight, (ids, scores) in zip(weights, rankings, strict=True):
        low, high = min(scores, default=0), max(scores, default=0)
        parts.append(
            {
                row: weight * ((score - low) / (high - low) if high > low else 1.0)
                for row, score in zip(ids, scores, strict=True)
            }
        )
    check(weighted(rankings, weights), sums(parts))


def test_scales_do_not_matter_to_either() -> None:
    first, second = ([4, 2, 9], [0.9, 0.8, 0.1]), ([9, 4], [30.0, 10.0])
    scaled = (second[0], [score * 1e300 - 5 for score in second[1]])
    for fuse in (reciprocal_rank, weighted):
        assert fuse([first, second])[0].tolist() == fuse([first, scaled])[0].tolist()


def test_the_farthest_finite_scores_do_not_overflow() -> None:
    assert weighted([([1, 2, 3], [1.7e308, -1.7e308, 0.0])])[1].tolist() == [1.0, 0.5, 0.0]


def test_empty_rankings_fuse_to_an_empty_one() -> None:
    for fuse in (reciprocal_rank, weighted):
        assert len(fuse([])[0]) == 0
        assert fuse([([], []), ([5], [1.0])])[0].tolist() == [5]


@pytest.mark.parametrize(
    ("rankings", "weights", "message"),
    [
        ([([1, 2], [0.5])], None, "ids"),
        ([([1, 1], [0.5, 0.4])], None, "repeated"),
        ([([1], [np.nan])], None, "not a number"),
        ([([1], [0.5])], [1, 2], "weights"),
        ([([1], [0.5])], [-1], "0 or more"),
        ([([1], [0.5])], [np.nan], "0 or more"),
    ],
)
def test_invalid_rankings_raise(
    rankings: list[tuple[list[int], list[float]]], weights: list[float] | None, message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        reciprocal_rank(rankings, weights=weights)
    with pytest.raises(ArgumentError, match=message):
        weighted(rankings, weights)


def test_infinite_scores_and_negative_offsets_are_refused() -> None:
    with pytest.raises(ArgumentError, match="finite"):
        weighted([([1], [np.inf])])
    with pytest.raises(ArgumentError, match="k must be"):
        reciprocal_rank([], k=-1)
