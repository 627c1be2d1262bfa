"""The adapter for ann-benchmarks and VIBE, run as these harnesses run it.

A small harness of the same interface always runs it. The harnesses' own code does where the
variables ANN_BENCHMARKS and VIBE name checkouts of them, with what they import installed.
"""

from __future__ import annotations

import importlib
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from nestling.bench.generate import generate
from nestling.index.exact import exact_top, recall

ADAPTER = Path(__file__).parents[2] / "benchmarks" / "ann_benchmarks"
COUNT = 10
# What the adapter's base class is in both harnesses, but for the memory of the process.
BASE = """
class BaseANN:
    def done(self): pass
    def get_memory_usage(self): return 0.0
    def fit(self, X): pass
    def query(self, q, n): return []
    def batch_query(self, X, n): self.res = [self.query(q, n) for q in X]
    def get_batch_results(self): return self.res
    def get_additional(self): return {}
    def __str__(self): return self.name
"""
RUN = """
import sys
from {package}.definitions import get_definitions
from {package}.runner import run
chosen = [
    definition
    for definition in get_definitions(64, "float", sys.argv[1], {count})
    if definition.algorithm == "nestling"
]
assert len(chosen) == 4, chosen
for definition in chosen[1:3]:
    definition.query_argument_groups = definition.query_argument_groups[::24]
    run(definition, "small", {count}, 1, *{batch})
"""


@pytest.fixture
def constructor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The adapter's class, beside a base class as in a harness."""
    algorithms = tmp_path / "harness" / "algorithms"
    shutil.copytree(ADAPTER, algorithms / "nestling")
    (algorithms / "base").mkdir()
    (algorithms / "base" / "module.py").write_text(BASE)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("harness.algorithms.nestling.module").Nestling
    for name in [name for name in sys.modules if name.partition(".")[0] == "harness"]:
        del sys.modules[name]


def combinations(parts: list[Any]) -> list[tuple[Any, ...]]:
    """All combinations, as both harnesses expand a list of values and lists of values."""
    return list(itertools.product(*(p if isinstance(p, list) else [p] for p in parts)))


def configured() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ADAPTER / "config.yml").read_text())["float"]["any"][0]
    return loaded


def data(distance: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, queries, and the nearest rows; of many lengths, but for the angle."""
    rows, queries = generate(3000, 64, queries=50)
    if distance in ("angular", "cosine"):
        return rows, queries, exact_top([rows], queries, 100).rows
    lengths = np.random.default_rng(0).uniform(0.8, 1.25, (len(rows), 1))
    rows = (rows * lengths).astype(np.float32)
    products = queries @ rows.T
    near = products if distance == "ip" else 2 * products - (rows * rows).sum(axis=1)
    return rows, queries, np.argsort(-near, axis=1)[:, :100]


@pytest.mark.parametrize("distance", ["angular", "normalized", "euclidean", "ip"])
def test_every_configuration_finds_neighbours(constructor: Any, distance: str) -> None:
    rows, queries, truth = data("angular" if distance == "normalized" else distance)
    config = configured()
    for group in config["run_groups"].values():
        for arguments in combinations(group["args"]):
            # `base_args` come first: the harness replaces '@metric'.
            assert config["base_args"] == ["@metric"]
            algorithm = constructor(distance, *arguments)
            algorithm.fit(rows.copy())
            recalls = []
            for setting in (combinations(group["query_args"])[n] for n in (0, -1)):
                algorithm.set_query_arguments(*setting)
                found = [algorithm.query(query, COUNT) for query in queries]
                assert all(len(set(ids)) == len(ids) == COUNT for ids in found)
                assert str(setting[1]) in str(algorithm)
                algorithm.batch_query(queries, COUNT)
                np.testing.assert_array_equal(algorithm.get_batch_results(), found)
                recalls.append(recall(np.array(found), truth[:, :COUNT]))
            assert recalls[0] < recalls[1]
            assert recalls[1] > 0.99
            # Float16, codes of 1 or 2 bits a dimension in two cells, ids, centroids.
            assert 64 * 2 < algorithm.get_additional()["index_bytes"] / len(rows) < 64 * 6
            assert isinstance(algorithm.get_memory_usage(), float)
            algorithm.done()


def test_queries_stay_as_they_are(constructor: Any) -> None:
    rows, queries, _ = data("euclidean")
    algorithm = constructor("euclidean", 1.0, 1, 4.0)
    kept = rows.copy(), queries.copy()
    algorithm.fit(rows)
    algorithm.set_query_arguments(4, 20)
    algorithm.batch_query(queries, COUNT)
    algorithm.query(queries[0], COUNT)
    np.testing.assert_array_equal(rows, kept[0])
    np.testing.assert_array_equal(queries, kept[1])


def test_both_harnesses_get_the_same_configuration() -> None:
    ours = configured()
    other = yaml.safe_load((ADAPTER / "vibe.yml").read_text())["float"]["any"][0]
    assert other["module"] == "vibe.algorithms.nestling"
    assert ours["module"] == "ann_benchmarks.algorithms.nestling"
    for name in set(ours) - {"module", "docker_tag"}:
        assert ours[name] == other[name]
    assert {"docker_tag", "module", "constructor"} <= set(ours)
    assert {"singularity_image", "module", "constructor"} <= set(other)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variable", "package", "distance", "batch"),
    [
        ("ANN_BENCHMARKS", "ann_benchmarks", "angular", [False]),
        ("ANN_BENCHMARKS", "ann_benchmarks", "euclidean", [True]),
        ("VIBE", "vibe", "cosine", []),
        ("VIBE", "vibe", "ip", []),
    ],
)
def test_the_harness_itself_runs_it(
    variable: str, package: str, distance: str, batch: list[bool], tmp_path: Path
) -> None:
    if variable not in os.environ:
        pytest.skip(f"{variable} names no checkout")
    h5py = pytest.importorskip("h5py")
    checkout = tmp_path / "checkout"
    shutil.copytree(Path(os.environ[variable]) / package, checkout / package)
    target = checkout / package / "algorithms" / "nestling"
    shutil.copytree(ADAPTER, target)
    if package == "vibe":
        (target / "vibe.yml").replace(target / "config.yml")
    rows, queries, truth = data(distance)
    (checkout / "data").mkdir()
    with h5py.File(checkout / "data" / "small.hdf5", "w") as file:
        file.attrs.update({"distance": distance, "dimension": 64, "type": "dense"})
        for name, values in (("train", rows), ("test", queries), ("neighbors", truth)):
            file.create_dataset(name, data=values)
    script = RUN.format(package=package, count=COUNT, batch=batch)
    done = subprocess.run(
        [sys.executable, "-c", script, distance],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    recalls = []
    for path in (checkout / "results").rglob("*.hdf5"):
        with h5py.File(path, "r") as file:
            # ann-benchmarks writes a file for each setting, VIBE a group.
            for result in file.values() if package == "vibe" else [file]:
                assert result.attrs["algo"] == "nestling"
                assert result.attrs["index_bytes"] > len(rows) * 64 * 2
                recalls.append(recall(np.array(result["neighbors"]), truth[:, :COUNT]))
    assert len(recalls) == 10  # two definitions, every 24th of 98 settings
    assert max(recalls) > 0.99
    assert min(recalls) < 0.9
