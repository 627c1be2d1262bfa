"""Fused rankings are those of the papers' formulas, bit for bit, whatever their order and scale."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nestling import _core
from nestling.errors import FormatError, IdError

RANK_OFFSET = 60


class Ranking(NamedTuple):
    """Rows with their scores."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float64]


class Fused(NamedTuple):
    """The rows of two rankings, with their places in either."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float64]
    places: NDArray[np.int32]


def ranking(rows: list[int], scores: list[float]) -> Ranking:
    return Ranking(np.array(rows, np.int64), np.array(scores, np.float64))


FEW = st.integers(-(2**62), 2**62) | st.integers(0, 40)
SCORES = st.integers(-5, 5).map(lambda n: n / 2) | st.floats(-1e300, 1e300)


@st.composite
def rankings(draw: st.DrawFn) -> Ranking:
    rows = draw(st.lists(FEW, unique=True, max_size=40))
    return ranking(rows, [draw(SCORES) for _ in rows])


def fuse(
    dense: Ranking, lexical: Ranking, weight: float = 0.5, *, by_ranks: bool, k: int = 1_000
) -> Fused:
    return Fused(*_core.fuse(*dense, *lexical, weight=weight, by_ranks=by_ranks, k=k))


def reciprocal_ranks(given: Ranking, weight: float) -> NDArray[np.float64]:
    order = np.lexsort((given.rows, -given.scores))
    ranks = np.empty(len(order))
    ranks[order] = np.arange(1, len(order) + 1)
    return np.divide(weight, RANK_OFFSET + ranks)


def unit_scores(given: Ranking, weight: float) -> NDArray[np.float64]:
    if not len(given.rows):
        return given.scores
    halves = given.scores / 2  # so that no difference overflows
    spread = halves.max() - halves.min()
    scaled = (halves - halves.min()) / spread if spread > 0 else np.ones(len(halves))
    return weight * scaled


def expected(both: tuple[Ranking, Ranking], weight: float, *, by_ranks: bool) -> Fused:
    rule = reciprocal_ranks if by_ranks else unit_scores
    weights = (weight, 1 - weight)
    rows = np.concatenate([given.rows for given in both])
    parts = np.concatenate([rule(*pair) for pair in zip(both, weights, strict=True)])
    ids, groups = np.unique(rows, return_inverse=True)
    sums = np.bincount(groups, parts, minlength=len(ids)).astype(np.float64)
    places = np.zeros((len(ids), 2), np.int32)
    for column, each in enumerate(both):
        places[np.searchsorted(ids, each.rows), column] = np.arange(1, len(each.rows) + 1)
    order = np.lexsort((ids, -sums))
    return Fused(ids[order], sums[order], places[order])


@given(
    rankings(), rankings(), st.sampled_from([0.0, 0.3, 0.5, 1.0]), st.booleans(), st.integers(1, 90)
)
def test_the_core_fuses_as_numpy_does(
    dense: Ranking, lexical: Ranking, weight: float, by_ranks: bool, k: int
) -> None:
    found = fuse(dense, lexical, weight, by_ranks=by_ranks, k=k)
    for part, whole in zip(
        found, expected((dense, lexical), weight, by_ranks=by_ranks), strict=True
    ):
        assert part.dtype == whole.dtype
        assert part.tobytes() == whole[:k].tobytes()


def test_many_rows_are_fused_as_numpy_does() -> None:
    rng = np.random.default_rng(0)
    both = [
        Ranking(rng.choice(20_000, 5_000, replace=False), np.sort(rng.random(5_000))[::-1].copy())
        for _ in range(2)
    ]
    for by_ranks in (False, True):
        found = fuse(*both, by_ranks=by_ranks, k=10_000)
        whole = expected((both[0], both[1]), 0.5, by_ranks=by_ranks)
        assert all(a.tobytes() == b.tobytes() for a, b in zip(found, whole, strict=True))


@pytest.mark.parametrize("by_ranks", [False, True])
def test_scales_do_not_matter(by_ranks: bool) -> None:
    dense, lexical = ranking([4, 2, 9], [0.9, 0.8, 0.1]), ranking([9, 4], [30.0, 10.0])
    scaled = Ranking(lexical.rows, lexical.scores * 1e300 - 5)
    found = [fuse(dense, other, by_ranks=by_ranks).rows.tolist() for other in (lexical, scaled)]
    assert found[0] == found[1]


def test_the_farthest_finite_scores_do_not_overflow() -> None:
    far = ranking([1, 2, 3], [1.7e308, -1.7e308, 0.0])
    assert fuse(far, ranking([], []), 1.0, by_ranks=False).scores.tolist() == [1.0, 0.5, 0.0]


@pytest.mark.parametrize("by_ranks", [False, True])
def test_an_empty_ranking_changes_nothing(by_ranks: bool) -> None:
    none, one = ranking([], []), ranking([5], [1.0])
    assert len(fuse(none, none, by_ranks=by_ranks).rows) == 0
    found = fuse(none, one, by_ranks=by_ranks)
    assert (found.rows.tolist(), found.places.tolist()) == ([5], [[0, 1]])


@pytest.mark.parametrize("by_ranks", [False, True])
@pytest.mark.parametrize(
    ("rows", "scores", "error", "message"),
    [
        ([1, 1], [0.5, 0.4], FormatError, "twice"),
        ([1], [np.nan], FormatError, "finite"),
        ([1], [np.inf], FormatError, "finite"),
        ([1, 2], [0.5], IdError, "2 rows with 1 scores"),
    ],
)
def test_what_no_search_finds_is_refused(
    rows: list[int], scores: list[float], error: type[Exception], message: str, by_ranks: bool
) -> None:
    with pytest.raises(error, match=message):
        fuse(ranking([1], [1.0]), ranking(rows, scores), by_ranks=by_ranks)
