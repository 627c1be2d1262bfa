"""Comparisons of systems: against scipy, exact counts, and what must hold by definition."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from nestling.errors import ArgumentError
from nestling.evaluation import compare


def test_p_is_the_share_of_swappings_that_differ_as_much() -> None:
    rng = np.random.default_rng(2)
    values, reference = rng.random(10), rng.random(10)
    differences = values - reference
    signs = np.array(list(itertools.product([1, -1], repeat=10)))
    exact = (abs(signs @ differences) >= abs(differences.sum()) - 1e-12).mean()
    assert compare(values, reference, resamples=100_000)[0].p == pytest.approx(exact, abs=0.006)


def test_interval_and_p_are_those_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(3)
    values = rng.random(80)
    reference = np.clip(values - 0.04 + 0.15 * rng.standard_normal(80), 0, 1)
    found = compare(values, reference, resamples=20_000)[0]
    bootstrap = stats.bootstrap(
        (values - reference,), np.mean, method="percentile", n_resamples=20_000, rng=1
    ).confidence_interval
    randomised = stats.permutation_test(
        (values, reference),
        lambda x, y: np.mean(x - y),
        permutation_type="samples",
        n_resamples=20_000,
        rng=1,
    )
    assert found.difference == pytest.approx(randomised.statistic)
    assert (found.low, found.high) == pytest.approx(tuple(bootstrap), abs=0.002)
    assert found.p == pytest.approx(randomised.pvalue, abs=0.01)


def test_systems_that_are_alike_do_not_differ() -> None:
    values = np.random.default_rng(0).random(50)
    one = compare(values, values)[0]
    assert (one.difference, one.low, one.high, one.p) == (0, 0, 0, 1)


def test_a_clear_difference_is_clear_and_its_sign_right() -> None:
    rng = np.random.default_rng(0)
    reference = rng.random(200)
    better, worse = compare([reference + 0.1, reference - 0.1], reference)
    assert better.low > 0
    assert worse.high < 0
    assert better.p == worse.p == 1 / 10_001


def test_one_false_alarm_in_twenty() -> None:
    rng = np.random.default_rng(9)
    reference, values = rng.random(60), rng.random((300, 60))
    found = compare(values, reference, resamples=1000)
    # The systems share the reference, so p of one leans on that of another: hence the wide bounds.
    assert 0.01 < np.mean([one.p < 0.05 for one in found]) < 0.12


def test_results_repeat_and_do_not_depend_on_the_other_systems() -> None:
    values = np.random.default_rng(1).random((3, 1000))
    together = compare(values[1:], values[0], seed=4)
    assert together == compare(values[1:], values[0], seed=4)
    alone = compare(values[2], values[0], seed=4)[0]
    assert (alone.low, alone.high, alone.p) == pytest.approx(
        (together[1].low, together[1].high, together[1].p)
    )
    assert alone != compare(values[2], values[0], seed=5)[0]


def test_more_questions_than_a_block_holds() -> None:
    rng = np.random.default_rng(1)
    reference = rng.random(2**20 + 1)
    one = compare(reference + rng.standard_normal(len(reference)) / 10, reference, resamples=3)[0]
    assert abs(one.difference) < 0.001


@pytest.mark.parametrize(("values", "reference"), [([1.0], [1.0, 2.0]), ([], []), (1.0, 1.0)])
def test_values_that_do_not_pair_are_refused(values: object, reference: object) -> None:
    with pytest.raises(ArgumentError, match="do not fit"):
        compare(values, reference)
