"""Search against the numpy oracle: exact stages to float noise, coded ones within their bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling import Funnel, Index, Stage
from oracle import Metric, exact_search, funnel_search, prefix_scores, score_error
from strategies import DIMS, GUISES, Problem, embeddings, funnels, integer_problems, problems

METRICS: tuple[Metric, ...] = ("cosine", "ip")


def built(problem: Problem) -> Index:
    index = Index(dim=problem.dim, funnel=problem.funnel, metric=problem.metric)
    index.add(problem.rows, ids=problem.ids)
    return index


def check_by_score(index: Index, problem: Problem) -> None:
    """Asserts that the hits are the best rows by their own scores, and the scores near the exact.

    A row that is missing from the hits must not beat the last of them by more than both errors.
    """
    # Scores decide the order before they are clipped.
    hits = index.search(problem.queries, problem.k, clip=False)
    clipped = index.search(problem.queries, problem.k)
    np.testing.assert_array_equal(clipped.ids, hits.ids)
    expected = np.clip(hits.scores, -1, 1) if problem.metric == "cosine" else hits.scores
    np.testing.assert_array_equal(clipped.scores, expected)
    last = problem.funnel.stages[-1]
    scores = prefix_scores(problem.queries, problem.rows, last.dims, problem.metric)
    errors = score_error(problem.queries, problem.rows, last, problem.metric)
    place = {int(identifier): row for row, identifier in enumerate(problem.known_ids)}
    found = min(problem.k, len(problem.rows))
    assert hits.ids.shape == hits.scores.shape == (len(problem.queries), problem.k)
    assert (hits.ids[:, found:] == -1).all()
    assert np.isnan(hits.scores[:, found:]).all()
    for query in range(len(problem.queries)):
        ids, mine = hits.ids[query, :found], hits.scores[query, :found].astype(np.float64)
        rows = np.array([place[int(i)] for i in ids], dtype=np.intp)
        assert len(set(rows.tolist())) == found
        np.testing.assert_array_less(
            np.abs(mine - scores[query, rows]), errors[query, rows] + 1e-7 * np.abs(mine) + 1e-38
        )
        order = np.lexsort((ids, -mine))
        assert (order == np.arange(found)).all(), "hits are not in order of (score, id)"
        rest = np.setdiff1d(np.arange(len(problem.rows)), rows)
        if found and len(rest):
            slack = errors[query, rest] + 1e-7 * abs(mine[-1]) + 1e-38
            assert (scores[query, rest] <= mine[-1] + slack).all()


def keep_all(dim: int) -> st.SearchStrategy[Funnel]:
    return funnels(dim, keeps=st.just(10**6))


def one_float32_stage(dim: int) -> st.SearchStrategy[Funnel]:
    return st.just(Funnel((Stage(dim, 32),)))


@given(problem=integer_problems())
def test_exact_arithmetic_equals_the_oracle_to_the_bit(problem: Problem) -> None:
    """Every stage, every cut and every tie, for inner products that floats hold exactly."""
    hits = built(problem).search(problem.queries, problem.k)
    ids, scores = funnel_search(
        problem.queries, problem.rows, problem.known_ids, problem.funnel, problem.k, "ip"
    )
    np.testing.assert_array_equal(hits.ids, ids)
    np.testing.assert_array_equal(hits.scores, scores)


@given(problem=problems(one_float32_stage))
def test_one_float32_stage_is_exact_search(problem: Problem) -> None:
    check_by_score(built(problem), problem)


@given(problem=problems(keep_all))
def test_a_funnel_that_keeps_all_is_its_last_stage(problem: Problem) -> None:
    check_by_score(built(problem), problem)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dim", [1, 2, 31, 32, 33, 100, 256, 300])
def test_exact_search_equals_numpy(metric: Metric, dim: int) -> None:
    rng = np.random.default_rng(dim)
    rows, queries = embeddings(rng, 1000, dim), embeddings(rng, 20, dim)
    index = Index(dim=dim, funnel=f"{dim}@32", metric=metric)
    index.add(rows)
    hits = index.search(queries, k=10)
    ids, scores = exact_search(queries, rows, np.arange(1000), 10, metric)
    np.testing.assert_allclose(hits.scores, scores, rtol=1e-5, atol=1e-5)
    if dim > 2:  # one dimension has two cosines only, two dimensions many that are close
        np.testing.assert_array_equal(hits.ids, ids)


# Rounding to a step d is off by d / sqrt(12) a dimension. A unit row of 64 normal values spans some
# 2.5 / 8, so that 4 bits make d = 0.042 and a cosine off by 0.012, and 8 bits a seventeenth of it.
# Each is doubled. One bit leaves an angle of arccos(sqrt(2/pi)), whose tangent over 8 is 0.094.
@pytest.mark.parametrize(
    ("bits", "rms"), [(1, 0.12), (2, 0.08), (4, 0.024), (8, 0.002), (16, 2e-4), (32, 1e-6)]
)
def test_codes_are_as_good_as_their_bits(bits: int, rms: float) -> None:
    rng = np.random.default_rng(5)
    rows, queries = embeddings(rng, 500, 64, decay=0), embeddings(rng, 20, 64, decay=0)
    index = Index(dim=64, funnel=f"64@{bits}")
    index.add(rows)
    hits = index.search(queries, k=500)
    exact = np.take_along_axis(prefix_scores(queries, rows, 64, "cosine"), hits.ids, axis=1)
    assert np.sqrt(np.mean((hits.scores - exact) ** 2)) < rms


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("funnel", ["64@4:200 > 256@16", "64@8:200 > 128@8:60 > 256@32", "256@8"])
def test_a_funnel_finds_what_exact_search_finds(metric: Metric, funnel: str) -> None:
    """Rows with a decaying spectrum: 200 of 5,000 by the prefix hold nearly all of the true 10."""
    rng = np.random.default_rng(11)
    rows, queries = embeddings(rng, 5000, 256, decay=2), embeddings(rng, 50, 256, decay=2)
    index = Index(dim=256, funnel=funnel, metric=metric)
    index.add(rows)
    truth, _ = exact_search(queries, rows, np.arange(5000), 10, metric)
    found = index.search(queries, k=10).ids
    recall = np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(found, truth, strict=True)])
    assert recall > 0.95


@given(dim=DIMS, seed=st.integers(0, 1000), power=st.sampled_from([-60, -3, 4, 60]))
def test_cosine_does_not_depend_on_lengths(dim: int, seed: int, power: int) -> None:
    """Powers of two change no significand, so not one bit of the scores may change."""
    rng = np.random.default_rng(seed)
    rows, queries = embeddings(rng, 40, dim), embeddings(rng, 3, dim)
    hits = []
    for factor in (1.0, 2.0**power):
        index = Index(dim=dim)
        index.add(rows * np.float32(factor))
        hits.append(index.search(queries * np.float32(1 / factor), k=40))
    np.testing.assert_array_equal(hits[0].ids, hits[1].ids)
    np.testing.assert_array_equal(hits[0].scores, hits[1].scores)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16, 32])
@pytest.mark.parametrize("dim", [16, 255, 4096, 32_768])
def test_extreme_rows_do_not_overflow(dim: int, bits: int) -> None:
    """Rows whose codes are all the largest, of one sign, of both, and of one for half the row."""
    rows = np.ones((3, dim), np.float32)
    rows[1, ::2] = -1
    rows[2, dim // 2 :] = -1
    index = Index(dim, funnel=f"{dim}@{bits}")
    index.add(rows)
    hits = index.search(np.concatenate([rows, -rows]), k=3)
    np.testing.assert_array_equal(hits.ids[:3, 0], [0, 1, 2])
    np.testing.assert_allclose(hits.scores[:3, 0], 1, atol=0.02)
    np.testing.assert_array_equal(hits.ids[3:, 2], [0, 1, 2])
    np.testing.assert_allclose(hits.scores[3:, 2], -1, atol=0.02)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_codes_do_not_blow_up_rows_that_they_stand_for_badly(bits: int) -> None:
    """A row of one value and zeros has no good code; its scores are off, but not without bound."""
    rows = np.eye(3, 4096, dtype=np.float32)
    index = Index(4096, funnel=f"4096@{bits}:3 > 4096@32")
    index.add(rows)
    queries = np.concatenate([rows, -rows, np.ones((1, 4096), np.float32)])
    coded = index.search(queries, k=3, funnel=f"4096@{bits}")
    assert np.abs(coded.scores).max() <= 1.5
    assert index.search(rows, k=1).ids.ravel().tolist() == [0, 1, 2]


@pytest.mark.parametrize("size", [1e-42, 1e-30, 1e30, 3e38])
def test_cosine_takes_the_smallest_and_the_largest_floats(size: float) -> None:
    rows = np.eye(4, 40, dtype=np.float32) + np.float32(0.5)
    index = Index(dim=40, funnel="40@32")
    index.add(rows * np.float32(size / 1.5))
    hits = index.search(rows, k=1)
    np.testing.assert_array_equal(hits.ids[:, 0], np.arange(4))
    # Floats of 1e-42 have 10 bits left.
    np.testing.assert_allclose(hits.scores[:, 0], 1, atol=1e-3 if size < 1e-38 else 1e-6)


@pytest.mark.parametrize(
    "funnel", ["64@32", "64@4", "16@4:50 > 64@8", "16@8:50 > 32@16:50 > 64@16"]
)
@pytest.mark.parametrize("metric", METRICS)
def test_zero_vectors_and_zero_prefixes_score_zero(metric: Metric, funnel: str) -> None:
    rng = np.random.default_rng(0)
    rows = embeddings(rng, 50, 64)
    rows[::5] = 0
    rows[1::5, :32] = 0
    index = Index(dim=64, funnel=funnel, metric=metric)
    index.add(rows)
    ids, scores = index.search(np.concatenate([rows[2:4], np.zeros((1, 64), np.float32)]), k=50)
    assert (scores[2] == 0).all()
    np.testing.assert_array_equal(ids[2], np.arange(50))
    by_id = np.take_along_axis(scores, np.argsort(ids, axis=1), axis=1)
    assert (by_id[:2, ::5] == 0).all()


@pytest.mark.parametrize("funnel", ["32@4", "32@32", "8@4:20 > 32@16", "8@8:300 > 16@8:20 > 32@8"])
@pytest.mark.parametrize("metric", METRICS)
def test_ties_go_to_the_lower_id(metric: Metric, funnel: str) -> None:
    """More duplicates than any stage keeps: the lowest ids survive, wherever their rows lie."""
    rng = np.random.default_rng(3)
    row = embeddings(rng, 1, 32)
    ids = rng.permutation(1000).astype(np.int64) * 7
    index = Index(dim=32, funnel=funnel, metric=metric)
    for part in np.array_split(ids, 3):
        index.add(np.repeat(row, len(part), axis=0), ids=part)
    hits = index.search(row, k=20)
    np.testing.assert_array_equal(hits.ids[0], np.arange(20) * 7)
    assert len(set(hits.scores[0].tolist())) == 1


@pytest.mark.parametrize("guise", GUISES)
@pytest.mark.parametrize("metric", METRICS)
def test_other_guises_of_the_same_numbers_are_the_same(metric: Metric, guise: str) -> None:
    rng = np.random.default_rng(7)
    rows, queries = embeddings(rng, 100, 37), embeddings(rng, 4, 37)
    plain, other = (Index(dim=37, metric=metric) for _ in range(2))
    plain.add(rows)
    other.add(GUISES[guise](rows))  # type: ignore[arg-type]
    expected = plain.search(queries, k=100)
    hits = other.search(GUISES[guise](queries), k=100)  # type: ignore[arg-type]
    np.testing.assert_array_equal(hits.ids, expected.ids)
    np.testing.assert_array_equal(hits.scores, expected.scores)


def test_float16_and_whole_numbers_are_taken_by_value() -> None:
    rows = np.random.default_rng(1).integers(-9, 9, size=(50, 20))
    expected = None
    for dtype in (np.float32, np.float16, np.int64, np.int8):
        index = Index(dim=20, funnel="20@32", metric="ip")
        index.add(rows.astype(dtype))
        scores = index.search(rows[:3].astype(dtype), k=50).scores
        expected = scores if expected is None else expected
        np.testing.assert_array_equal(scores, expected)


def test_one_query_gives_one_row_of_hits() -> None:
    rows = embeddings(np.random.default_rng(2), 100, 24)
    index = Index(dim=24)
    index.add(rows)
    one, batch = index.search(rows[5], k=7), index.search(rows[5:6], k=7)
    assert one.ids.shape == one.scores.shape == (7,)
    assert one.ids.dtype == np.int64
    assert one.scores.dtype == np.float32
    np.testing.assert_array_equal(one.ids, batch.ids[0])
    np.testing.assert_array_equal(one.scores, batch.scores[0])


def test_no_queries_give_no_hits() -> None:
    index = Index(dim=8)
    index.add(np.ones((3, 8), np.float32))
    hits = index.search(np.empty((0, 8), np.float32), k=4)
    assert hits.ids.shape == hits.scores.shape == (0, 4)
    assert hits.queries == 0
    assert [(stage.rows_seen, stage.rows_kept, stage.bytes_read) for stage in hits.stages] == [
        (0, 0, 0),
        (0, 0, 0),
    ]
    assert [line.split()[0] for line in hits.explain().splitlines()[3:]] == ["8@8", "8@16"]


@pytest.mark.parametrize("dim", [1, 5, 384])
def test_an_empty_index_pads_every_place(dim: int) -> None:
    hits = Index(dim=dim).search(np.ones((2, dim), np.float32), k=3)
    assert (hits.ids == -1).all()
    assert np.isnan(hits.scores).all()


@given(dim=st.one_of(DIMS, st.sampled_from([384, 768, 1024, 1536, 3072])))
def test_every_dim_has_a_default_funnel(dim: int) -> None:
    index = Index(dim=dim)
    assert index.funnel.stages[-1].dims == dim
    rows = embeddings(np.random.default_rng(dim), 30, dim)
    index.add(rows)
    assert (index.search(rows, k=1).scores > 0.99).all()
