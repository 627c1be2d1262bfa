"""Rotations and centres that an index learns: what they raise, and what they leave as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling import FunnelError, IdError, Index
from nestling.index.transform import learn_centre, learn_rotation
from oracle import Metric, as_stored, same
from strategies import SEEDS, embeddings

METRIC_NAMES: tuple[Metric, ...] = ("cosine", "ip")


def mixed(rng: np.random.Generator, n: int, dim: int) -> np.ndarray:
    """Rows whose variance lies in few directions, none of them that of a dimension."""
    axes, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((dim, dim)))
    return np.asarray(embeddings(rng, n, dim, decay=1.5) @ axes, np.float32)


def truth_of(rows: np.ndarray, queries: np.ndarray, metric: Metric) -> np.ndarray:
    """The best 10 of each query by whole float32 rows."""
    index = Index(rows.shape[1], funnel=f"{rows.shape[1]}@32", metric=metric)
    index.add(rows)
    return index.search(queries).ids


def recall(hits: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(hits, truth, strict=True)]))


# ---- what is learned


@given(dim=st.integers(1, 80), n=st.integers(1, 200), seed=SEEDS)
def test_a_rotation_is_orthogonal_and_puts_variance_first(dim: int, n: int, seed: int) -> None:
    rows = mixed(np.random.default_rng(seed), n, dim)
    rotation = learn_rotation(rows)
    assert rotation.dtype == np.float32
    assert rotation.flags.c_contiguous
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(dim), atol=2e-6)
    variances = (rows.astype(np.float64) @ rotation.T).var(axis=0)
    assert (np.diff(variances) <= 1e-6 * variances[0] + 1e-12).all()
    np.testing.assert_array_equal(rotation, learn_rotation(rows.copy()))
    # No sign is left to chance: that of the largest component of an axis is plus.
    assert (np.take_along_axis(rotation, np.abs(rotation).argmax(1)[:, None], 1) > 0).all()


def test_a_centre_is_the_mean_of_normalised_prefixes() -> None:
    rows = embeddings(np.random.default_rng(0), 100, 16)
    rows[7] = 0
    prefixes = as_stored(rows[:, :8], "cosine")
    np.testing.assert_allclose(learn_centre(rows, 8, None), prefixes.mean(axis=0), atol=1e-6)
    rotation = learn_rotation(rows)
    rotated = as_stored((rows @ rotation.T)[:, :8], "cosine")
    np.testing.assert_allclose(learn_centre(rows, 8, rotation), rotated.mean(axis=0), atol=1e-6)


# ---- rotation


@pytest.mark.parametrize("metric", METRIC_NAMES)
@pytest.mark.parametrize(("bits", "noise"), [(32, 3e-6), (16, 2e-3)])
def test_a_rotation_leaves_whole_scores_as_they_are(
    metric: Metric, bits: int, noise: float
) -> None:
    rng = np.random.default_rng(1)
    rows, queries = mixed(rng, 800, 96), mixed(rng, 20, 96)
    index = Index(96, funnel=f"96@{bits}", metric=metric)
    index.add(rows)
    before = index.search(queries, k=800)
    index.rebuild(rotate=True)
    assert index.rotated
    assert not index.centred
    after = index.search(queries, k=800)
    size = np.abs(before.scores).max()
    by_id = [np.take_along_axis(h.scores, np.argsort(h.ids, 1), 1) for h in (before, after)]
    np.testing.assert_allclose(by_id[1], by_id[0], atol=noise * size)
    assert recall(after.ids[:, :10], before.ids[:, :10]) > 0.99


@pytest.mark.parametrize("metric", METRIC_NAMES)
@pytest.mark.parametrize("bits", [8, 16, 32])
def test_a_rotation_raises_what_a_prefix_finds(metric: Metric, bits: int) -> None:
    """By far: unrotated, 16 of 128 mixed dimensions tell little of the rows."""
    rng = np.random.default_rng(2)
    rows, queries = mixed(rng, 4000, 128), mixed(rng, 40, 128)
    truth = truth_of(rows, queries, metric)
    index = Index(128, funnel=f"16@{bits}:30 > 128@32", metric=metric)
    index.add(rows)
    before = recall(index.search(queries).ids, truth)
    index.rebuild(rotate=True)
    after = recall(index.search(queries).ids, truth)
    assert before < 0.8
    assert after > 0.9


@pytest.mark.parametrize("metric", METRIC_NAMES)
@pytest.mark.parametrize(("bits", "precision"), [(32, 1e-6), (16, 1e-3), (8, 2e-2)])
def test_reconstruct_gives_the_rows_as_they_came(
    metric: Metric, bits: int, precision: float
) -> None:
    """Not as they are stored: rotated. Also those that come after the rotation."""
    rng = np.random.default_rng(3)
    rows, later = mixed(rng, 300, 48), mixed(rng, 50, 48)
    index = Index(48, funnel=f"16@8:50 > 48@{bits}", metric=metric)
    index.add(rows)
    index.rebuild(rotate=True)
    index.add(later)
    every = as_stored(np.concatenate([rows, later]), metric)
    found = index.reconstruct(np.arange(350))
    errors = np.abs(found - every) / np.linalg.norm(every, axis=1, keepdims=True)
    assert errors.max() < precision
    index.rebuild(rotate=False)
    assert not index.rotated
    errors = np.abs(index.reconstruct(np.arange(350)) - every) / np.linalg.norm(
        every, axis=1, keepdims=True
    )
    assert errors.max() < 2 * precision
    with pytest.raises(IdError):
        index.reconstruct([350])


# ---- centring


def crowded(rng: np.random.Generator, n: int, dim: int) -> np.ndarray:
    """Rows that crowd about a mean three times as long as their own part."""
    mean = np.random.default_rng(9).standard_normal(dim)
    return np.asarray(rng.standard_normal((n, dim)) + 3 * mean, np.float32)


@pytest.mark.parametrize("rotate", [False, True])
@pytest.mark.parametrize(("bits", "most", "least"), [(1, 0.55, 0.8), (2, 0.75, 0.95)])
def test_centring_raises_what_few_bits_find(
    bits: int, most: float, least: float, rotate: bool
) -> None:
    """Against the exact top 10, among the best 200 by the codes, of rows with a large mean."""
    rng = np.random.default_rng(4)
    rows, queries = crowded(rng, 5000, 128), crowded(rng, 40, 128)
    truth = truth_of(rows, queries, "cosine")
    index = Index(128, funnel=f"128@{bits}:200 > 128@32")
    index.add(rows)
    index.rebuild(rotate=rotate)
    before = recall(index.search(queries).ids, truth)
    index.rebuild(centre=True)
    assert index.centred
    assert index.rotated == rotate
    after = recall(index.search(queries).ids, truth)
    assert before < most
    assert after > least


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_centred_codes_score_as_well_as_uncentred_ones(bits: int) -> None:
    """What the query and the row owe to the centre comes back: scores lie near the exact ones."""
    rng = np.random.default_rng(5)
    rows, queries = crowded(rng, 500, 64), crowded(rng, 10, 64)
    index = Index(64, funnel=f"64@{bits}:500 > 64@32")
    index.add(rows)
    exact = index.search(queries, k=500)
    errors = []
    for centre in (False, True):
        index.rebuild(centre=centre)
        hits = index.search(queries, k=500, funnel=f"64@{bits}")
        by_id = [np.take_along_axis(h.scores, np.argsort(h.ids, 1), 1) for h in (hits, exact)]
        errors.append(np.sqrt(np.mean((by_id[0] - by_id[1]) ** 2)))
    assert errors[1] < errors[0] / 1.5
    assert errors[1] < 0.05


def test_centring_takes_two_bytes_a_row() -> None:
    index = Index(32, funnel="32@4:50 > 32@16")
    index.add(embeddings(np.random.default_rng(0), 320, 32))
    before = index.memory
    index.rebuild(centre=True)
    assert index.memory["coarse"] == before["coarse"] + 2 * 320
    assert index.memory["centre"] == 4 * 32
    index.rebuild(centre=False)
    assert index.memory == before
    assert not index.centred


@pytest.mark.parametrize(
    ("metric", "funnel"), [("ip", "8@4:9 > 16@16"), ("cosine", "16@16"), ("cosine", "8@32:9>16@32")]
)
def test_what_cannot_be_centred_is_refused(metric: Metric, funnel: str) -> None:
    index = Index(16, funnel=funnel, metric=metric)
    index.add(embeddings(np.random.default_rng(0), 30, 16))
    before = index.search(np.eye(16))
    with pytest.raises(FunnelError, match="centre"):
        index.rebuild(centre=True)
    assert not index.centred
    same(index.search(np.eye(16)), before)
    index.rebuild(rotate=True)
    assert index.rotated


@pytest.mark.parametrize("centre", [False, True])
@pytest.mark.parametrize("rotate", [False, True])
def test_batches_threads_files_and_adds_change_nothing(
    rotate: bool, centre: bool, tmp_path: Path
) -> None:
    rng = np.random.default_rng(6)
    rows, queries = crowded(rng, 9000, 48), crowded(rng, 70, 48)
    expected = None
    for threads in (1, 3):
        index = Index(48, funnel="32@1:300 > 48@16", threads=threads)
        index.add(rows[:8000])
        index.rebuild(rotate=rotate, centre=centre)
        for part in np.array_split(np.arange(8000, 9000), threads):
            index.add(rows[part], ids=part)
        hits = index.search(queries)
        expected = hits if expected is None else expected
        same(hits, expected)
    for count in (1, 3, 4):
        part = index.search(queries[:count])
        np.testing.assert_array_equal(part.ids, expected.ids[:count])
        np.testing.assert_array_equal(part.scores, expected.scores[:count])
    index.save(tmp_path / "a.nest")
    loaded = Index.load(tmp_path / "a.nest")
    assert (loaded.rotated, loaded.centred) == (rotate, centre)
    assert repr(loaded) == repr(index)
    same(loaded.search(queries), expected)
    loaded.save(tmp_path / "b.nest")
    assert (tmp_path / "b.nest").read_bytes() == (tmp_path / "a.nest").read_bytes()
    np.testing.assert_array_equal(index.reconstruct([3, 8500]), loaded.reconstruct([3, 8500]))


def test_zero_rows_and_zero_queries_score_zero_rotated_and_centred() -> None:
    rows = crowded(np.random.default_rng(7), 100, 32)
    rows[:3] = 0
    index = Index(32, funnel="32@8:100 > 32@32")
    index.add(rows)
    index.rebuild(rotate=True, centre=True)
    hits = index.search(np.concatenate([rows[5:6], rows[:1]]), k=100)
    by_id = np.take_along_axis(hits.scores, np.argsort(hits.ids, axis=1), axis=1)
    np.testing.assert_array_equal(by_id[0, :3], 0)
    np.testing.assert_array_equal(by_id[1], 0)
