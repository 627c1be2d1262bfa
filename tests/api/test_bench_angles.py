"""Distances as angles, and the data sets of ann-benchmarks and VIBE that have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling.bench import main
from nestling.bench.angles import Angles
from nestling.bench.generate import generate
from nestling.bench.hdf5 import read_hdf5
from nestling.errors import VectorError

ALL = ("angular", "cosine", "ip", "euclidean")


def nearness(rows: np.ndarray, queries: np.ndarray, distance: str) -> np.ndarray:
    """(m, n) values of which the largest is the nearest, by the definition of the distance."""
    rows, queries = rows.astype(np.float64), queries.astype(np.float64)
    if distance == "euclidean":
        return -np.linalg.norm(queries[:, None] - rows, axis=2)
    products = queries @ rows.T
    if distance == "ip":
        return products
    return products / np.linalg.norm(rows, axis=1)


def cosines(rows: np.ndarray, queries: np.ndarray) -> np.ndarray:
    rows, queries = rows.astype(np.float64), queries.astype(np.float64)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return queries / np.linalg.norm(queries, axis=1, keepdims=True) @ rows.T


@given(
    seed=st.integers(0, 10_000),
    distance=st.sampled_from(ALL),
    dim=st.integers(1, 20),
    spread=st.sampled_from([0.0, 0.01, 1.0]),
    shift=st.sampled_from([0.0, 3.0]),
)
def test_the_order_by_angle_is_that_by_distance(
    seed: int, distance: str, dim: int, spread: float, shift: float
) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((40, dim)) + shift
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows *= 2 * np.exp(spread * rng.standard_normal((40, 1)))
    rows = rows.astype(np.float32)
    queries = (rng.standard_normal((5, dim)) + shift).astype(np.float32)
    angles = Angles.of(rows, distance)
    expected = nearness(rows, queries, distance)
    found = cosines(angles.rows(rows), angles.queries(queries))
    for near, angle in zip(expected, found, strict=True):
        best = near[np.argmax(angle)]
        assert best >= near.max() - 1e-4 * np.abs(near).max()
        order = np.argsort(-near)
        assert (np.diff(angle[order]) < 1e-5).all()
    one = angles.queries(queries[0])
    np.testing.assert_array_equal(one, angles.queries(queries)[0])


def test_rows_of_one_length_stay_as_they_are() -> None:
    rows, queries = generate(200, 16, queries=3)
    for distance in (*ALL, "normalized"):
        angles = Angles.of(rows, distance)
        assert angles.rows(rows) is rows
        assert angles.queries(queries) is queries
        assert not str(angles)


def test_changed_rows_have_one_length() -> None:
    rows = np.random.default_rng(0).standard_normal((500, 24)).astype(np.float32)
    for distance, extra in (("ip", 1), ("euclidean", 2)):
        changed = Angles.of(rows, distance).rows(rows)
        assert changed.shape == (500, 24 + extra)
        lengths = np.linalg.norm(changed, axis=1)
        np.testing.assert_allclose(lengths, lengths[0], rtol=1e-5)
        np.testing.assert_array_equal(changed[:, extra:], rows)


def test_an_unknown_distance_is_refused() -> None:
    with pytest.raises(VectorError, match="unknown distance 'hamming'; known: angular"):
        Angles.of(np.ones((2, 8), np.float32), "hamming")


def write(path: Path, distance: str, *, without: str = "", **changed: Any) -> dict[str, Any]:
    """Writes a data set as the harnesses do, and returns its parts."""
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(3)
    rows = rng.standard_normal((400, 16)).astype(np.float32) * 3
    queries = rng.standard_normal((30, 16)).astype(np.float32)
    near = nearness(rows, queries, distance if distance in ALL else "angular")
    order = np.argsort(-near, axis=1)[:, :100]
    parts = {
        "train": rows,
        "test": queries,
        "neighbors": order.astype(np.int32),
        "distances": -np.take_along_axis(near, order, axis=1),
    } | changed
    with h5py.File(path, "w") as file:
        for name, values in parts.items():
            if name != without:
                file.create_dataset(name, data=values)
        file.attrs["type"] = "dense"
        if without != "distance":
            file.attrs["distance"] = distance
    return parts


@pytest.mark.parametrize("distance", ALL)
def test_a_data_set_is_read(tmp_path: Path, distance: str) -> None:
    parts = write(tmp_path / "set.hdf5", distance)
    rows = read_hdf5(tmp_path / "set.hdf5", limit=None, query_count=1000)
    assert rows.truth is not None
    np.testing.assert_array_equal(rows.truth, parts["neighbors"])
    found = np.argsort(-cosines(rows.vectors, rows.queries), axis=1)[:, :10]
    np.testing.assert_array_equal(found, rows.truth[:, :10])
    assert distance in rows.origin
    some = read_hdf5(tmp_path / "set.hdf5", limit=150, query_count=7)
    assert len(some.vectors) == 150
    assert len(some.queries) == 7
    assert some.truth is None


@pytest.mark.parametrize(
    ("distance", "change", "message"),
    [
        ("jaccard", {}, "unknown distance 'jaccard'"),
        ("ip", {"without": "test"}, "it lacks test"),
        ("ip", {"without": "distance"}, "it lacks attribute distance"),
        ("ip", {"test": np.ones((3, 5))}, "do not match"),
        ("ip", {"train": np.ones(400)}, "train is not a matrix of numbers"),
        ("ip", {"neighbors": np.full((30, 10), 400)}, "not numbers of its 400 rows"),
        ("ip", {"neighbors": np.full((30, 10), 7)}, "have a nearer row than the first"),
        ("ip", {"neighbors": np.zeros((4, 10), int)}, "one line of row numbers for each query"),
    ],
)
def test_other_files_are_refused(
    tmp_path: Path, distance: str, change: dict[str, Any], message: str
) -> None:
    write(tmp_path / "set.hdf5", distance, **change)
    with pytest.raises(VectorError, match=message):
        read_hdf5(tmp_path / "set.hdf5", limit=None, query_count=1000)


def test_files_that_are_not_hdf5_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    (tmp_path / "set.hdf5").write_bytes(b"no signature")
    for name in ("set.hdf5", "absent.hdf5"):
        with pytest.raises(VectorError, match="cannot read"):
            read_hdf5(tmp_path / name, limit=None, query_count=10)


def test_the_benchmark_of_peers_measures_a_data_set(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    parts = write(tmp_path / "set.hdf5", "euclidean")
    options = ("--peers", "nestling/9@4*,nestling/18@4*", "--rounds", "1", "--json")
    arguments = ("--hdf5", str(tmp_path / "set.hdf5"), "--seconds-per-setting", "0.1")
    with pytest.raises(SystemExit) as exit_:
        main(["peers", *arguments, *options])
    assert exit_.value.code == 0
    report = json.loads(capsys.readouterr().out)
    assert report["dim"] == parts["train"].shape[1] + 2
    assert "euclidean as an angle of 2 more dimensions" in report["origin"]
    for outcome in report["sizes"][0]["outcomes"]:
        assert outcome["error"] is None
        assert outcome["points"][-1]["recall"] > 0.99
