"""Adding rows: ids, what is refused, and that a refused add leaves no trace."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling import IdError, Index, NestlingError, VectorError
from oracle import as_stored
from strategies import embeddings

MAX_ID = 2**63 - 1


def rows_of(n: int, dim: int = 8) -> np.ndarray:
    return embeddings(np.random.default_rng(n), n, dim)


@pytest.fixture
def index() -> Index:
    """Five rows with the ids 0 to 4."""
    index = Index(dim=8)
    index.add(rows_of(5))
    return index


def state(index: Index) -> tuple[object, ...]:
    """Everything that a refused add must not change."""
    hits = index.search(rows_of(3), k=20)
    return (
        len(index),
        repr(index),
        index.memory,
        hits.ids.tolist(),
        hits.scores.tobytes(),
    )


def test_ids_are_numbered_on_from_the_last(index: Index) -> None:
    ids = index.add(rows_of(3))
    assert ids.dtype == np.int64
    assert ids.tolist() == [5, 6, 7]
    assert len(index) == 8


def test_numbering_goes_on_after_the_highest_id_given() -> None:
    index = Index(dim=8)
    index.add(rows_of(3), ids=[40, 7, 12])
    assert index.add(rows_of(2)).tolist() == [41, 42]


def test_given_ids_are_returned_in_their_order(index: Index) -> None:
    given_ids = np.array([30, 10, 20])
    ids = index.add(rows_of(3), ids=given_ids)
    assert ids.tolist() == [30, 10, 20]
    given_ids[:] = 0
    assert ids.tolist() == [30, 10, 20]
    assert index.search(rows_of(3), k=1).ids.shape == (3, 1)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint32, np.uint64, list])
def test_any_whole_numbers_are_ids(index: Index, dtype: type) -> None:
    ids = [100, 101] if dtype is list else np.array([100, 101], dtype=dtype)
    assert index.add(rows_of(2), ids=ids).tolist() == [100, 101]


def test_the_highest_id_is_the_highest_int64(index: Index) -> None:
    index.add(rows_of(1), ids=[MAX_ID])
    assert MAX_ID in index.search(rows_of(1), k=6).ids
    before = state(index)
    with pytest.raises(IdError):
        index.add(rows_of(1))
    assert state(index) == before


def test_a_vector_is_one_row(index: Index) -> None:
    """As in search, where a vector of (dim,) is one query."""
    with pytest.raises(VectorError, match="8"):
        index.add(rows_of(1)[0][:5])
    ids = index.add(rows_of(1)[0])
    assert ids.tolist() == [5]


def test_no_rows_add_nothing(index: Index) -> None:
    before = state(index)
    assert index.add(np.empty((0, 8), np.float32)).shape == (0,)
    assert index.add(np.empty((0, 8)), ids=[]).shape == (0,)
    assert state(index) == before


@pytest.mark.parametrize(
    ("ids", "why"),
    [
        ([5, -1, 6], "-1"),
        ([5, 6, 5], "5"),
        ([9, 3, 10], "3"),
        ([5, 6], "3"),
        ([5, 6, 7, 8], "3"),
        ([[5], [6], [7]], r"ids\[0\] is list"),
        ([5, 6.0, 7.0], r"ids\[1\] is 6\.0"),
        (["a", "b", "c"], "int"),
        ([5, 6, None], r"ids\[2\] is None"),
        ([5, False, True], r"ids\[1\] is False"),
        ([2**63, 5, 6], r"ids\[0\] is 9223372036854775808"),  # numpy makes them float64
        ([5, 2**64, 6], r"ids\[1\] is 18446744073709551616, which is too large"),
        ([[5], [6, 7], []], "int|array"),
        (np.array([2**63, 5, 6], dtype=np.uint64), "9223372036854775808"),
        (7, "a list of integers, not 7"),
    ],
)
def test_wrong_ids_are_named_and_nothing_is_added(index: Index, ids: object, why: str) -> None:
    before = state(index)
    with pytest.raises(IdError, match=why):
        index.add(rows_of(3), ids=ids)  # type: ignore[arg-type]
    assert state(index) == before
    assert index.add(rows_of(1)).tolist() == [5]


def test_ids_of_a_refused_add_are_free_again(index: Index) -> None:
    with pytest.raises(IdError):
        index.add(rows_of(3), ids=[70, 71, 0])
    assert index.add(rows_of(2), ids=[70, 71]).tolist() == [70, 71]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@given(row=st.integers(0, 49), column=st.integers(0, 36))
def test_nan_and_infinity_are_refused_wherever_they_are(bad: float, row: int, column: int) -> None:
    index = Index(dim=37)
    index.add(rows_of(5, 37))
    before = len(index), index.memory
    rows = rows_of(50, 37)
    rows[row, column] = bad
    with pytest.raises(VectorError, match=rf"row {row}\b"):
        index.add(rows)
    with pytest.raises(VectorError, match=rf"query {row}\b"):
        index.search(rows)
    assert (len(index), index.memory) == before
    assert (index.search(rows_of(5, 37), k=9).ids < 5).all()


@pytest.mark.parametrize("value", [1e39, -1e300])
def test_float64_beyond_float32_is_refused(index: Index, value: float) -> None:
    rows = rows_of(3).astype(np.float64)
    rows[1, 2] = value
    before = state(index)
    with pytest.raises(VectorError, match=r"row 1\b"):
        index.add(rows)
    with pytest.raises(VectorError, match=r"query 1\b"):
        index.search(rows)
    assert state(index) == before


@pytest.mark.parametrize(
    "rows",
    [
        np.ones((3, 7), np.float32),
        np.ones((3, 9), np.float32),
        np.ones((3, 8, 1), np.float32),
        np.ones((8, 3), np.float32),
        np.float32(1),
        np.ones((3, 8), np.complex64),
        np.full((3, 8), "1"),
        np.full((3, 8), 1.0, dtype=object),
        np.full((3, 8), None),
        [["a"] * 8],
        [[1.0] * 8, [1.0] * 7],
        np.zeros((3, 8), "datetime64[s]"),
        np.ones((3, 8), bool),
        None,
        "text",
    ],
)
def test_what_is_not_a_matrix_of_numbers_is_refused(index: Index, rows: object) -> None:
    before = state(index)
    for use in (index.add, index.search):
        with pytest.raises(VectorError, match=r"8|float|array"):
            use(rows)  # type: ignore[operator]
    assert state(index) == before


def test_the_shape_is_told_with_the_shape_that_is_due(index: Index) -> None:
    with pytest.raises(VectorError, match=r"\(3, 7\).*8|8.*\(3, 7\)"):
        index.add(np.ones((3, 7)))


@pytest.mark.parametrize("metric", ["cosine", "ip"])
@pytest.mark.parametrize(
    ("funnel", "tolerance"),
    [
        ("40@32", 1e-7),
        ("40@16", 2**-11),
        ("8@4:9 > 40@16", 2**-11),
        ("8@16:9 > 24@32:8 > 40@32", 2**-11),
        ("40@8", 2**-6),
        ("8@4:9 > 40@8", 2**-6),
        ("40@4", 2**-2),
    ],
)
def test_reconstruct_gives_rows_back_as_precise_as_stored(
    metric: str, funnel: str, tolerance: float
) -> None:
    """Values are off by at most a step of their row's largest; for cosine they are normalised."""
    rows = rows_of(30, 40)
    index = Index(40, funnel=funnel, metric=metric)  # type: ignore[arg-type]
    ids = np.random.default_rng(0).permutation(30) * 11
    index.add(rows, ids=ids)
    expected = as_stored(rows, metric)  # type: ignore[arg-type]
    wanted = [3, 0, 29, 3]
    given_back = index.reconstruct(ids[wanted])
    assert given_back.shape == (4, 40)
    assert given_back.dtype == np.float32
    largest = np.abs(expected[wanted]).max(axis=1, keepdims=True)
    assert (np.abs(given_back - expected[wanted]) <= tolerance * largest).all()


def test_reconstruct_of_nothing_is_empty(index: Index) -> None:
    assert index.reconstruct([]).shape == (0, 8)


@pytest.mark.parametrize(
    "ids", [[5], [0, -1], [2**62], [0, 1, 99], ["a"], [1.5], [[0, 1]], None, [MAX_ID]]
)
def test_reconstruct_refuses_ids_that_are_not_there(index: Index, ids: object) -> None:
    with pytest.raises(IdError):
        index.reconstruct(ids)  # type: ignore[arg-type]


def test_callers_may_reuse_their_arrays(index: Index) -> None:
    rows = rows_of(5)
    other = Index(dim=8)
    other.add(rows)
    before = state(other)
    rows[:] = 99
    assert state(other) == before


def test_searches_and_adds_leave_their_input_alone(index: Index) -> None:
    rows = rows_of(6)
    kept = rows.copy()
    index.add(rows)
    index.search(rows)
    np.testing.assert_array_equal(rows, kept)


@given(sizes=st.lists(st.integers(0, 70), max_size=12))
def test_len_and_memory_grow_with_the_rows(sizes: list[int]) -> None:
    index = Index(48, funnel="16@4:100 > 32@16:50 > 48@32")
    rng = np.random.default_rng(0)
    for size in sizes:
        index.add(embeddings(rng, size, 48))
    n = sum(sizes)
    assert len(index) == n
    assert all(isinstance(size, int) and size >= 0 for size in index.memory.values())
    values = n * (16 // 2 + 32 * 2 + 48 * 4)  # codes, shells of 0..32 and 0..48
    assert sum(index.memory.values()) >= values


def test_every_error_is_a_nestling_error_and_a_value_error() -> None:
    for error in (IdError, VectorError):
        assert issubclass(error, NestlingError)
        assert issubclass(error, ValueError)
