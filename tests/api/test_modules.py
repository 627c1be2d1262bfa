"""Embeddings brought to unit length, at the ends of float32 too."""

from __future__ import annotations

import numpy as np
import pytest

from nestling.runtime.modules import normalise


def test_rows_get_unit_length_and_zero_rows_stay_zero() -> None:
    rows = np.array([[3, 4], [0, 0], [-2, 0], [0, 1e-18]], np.float32)
    unit = normalise(rows)
    assert unit.dtype == np.float32
    np.testing.assert_allclose(unit, [[0.6, 0.8], [0, 0], [-1, 0], [0, 1]], rtol=1e-6)
    np.testing.assert_array_equal(rows[0], [3, 4])  # what was given is left alone


def test_a_row_whose_squares_vanish_counts_as_zero() -> None:
    assert not normalise(np.array([[1e-30, -1e-30]], np.float32)).any()


@pytest.mark.parametrize("dim", [1, 7, 384])
def test_a_row_has_the_same_bits_in_any_company(dim: int) -> None:
    rows = np.random.default_rng(dim).standard_normal((9, dim), dtype=np.float32)
    together = normalise(rows)
    np.testing.assert_array_equal(together, np.concatenate([normalise(r[None]) for r in rows]))


def test_what_is_not_a_number_is_not_hidden() -> None:
    rows = normalise(np.array([[np.nan, 1], [1, 0]], np.float32))
    assert np.isnan(rows[0, 0])
    np.testing.assert_array_equal(rows[1], [1, 0])
