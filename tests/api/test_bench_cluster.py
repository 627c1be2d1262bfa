"""`python -m nestling.bench cluster`: its options, and a small run of all of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer

from nestling.bench.cluster import ClusterOptions


def test_numbers_of_shards_are_sorted_and_checked() -> None:
    assert ClusterOptions(shards="4,1,2,1").numbers() == (1, 2, 4)
    for wrong in ("", "0", "1,x", "1,2000"):
        with pytest.raises(typer.BadParameter, match="1 to 1,000"):
            ClusterOptions(shards=wrong).numbers()


@pytest.mark.slow
def test_a_small_run_measures_everything(tmp_path: Path) -> None:
    for package in ("ray", "fsspec", "pyarrow", "simpy"):
        pytest.importorskip(package)
    saved = tmp_path / "report.json"
    options = ["--rows=5000", "--dim=64", "--shards=1,2", "--queries=20", "--cells=20", "--json"]
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "nestling.bench", "cluster", *options),
            *("--cores", "2", "--folder", tmp_path, "--save", saved),
        ],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    report = json.loads(saved.read_text())
    assert json.loads(ran.stdout) == report
    build = report["build"]
    assert (build["rows"], build["shards"]) == (10_000, 2)
    assert build["share"] == pytest.approx(build["ray_per_second"] / build["loop_per_second"])
    assert 50 < build["driver_megabytes"] < 2048
    assert len(report["service"]) == 20
    assert min(report["service"]) > 0
    one, two = report["fanout"]
    assert (one["shards"], two["shards"], two["rows"]) == (1, 2, 10_000)
    for each in (one, two):
        assert each["p99_ms"] >= each["p50_ms"] > 0
        assert each["cores_p50_ms"] == pytest.approx(np.median(report["service"]) * 1e3)
        assert each["added_p50_ms"] == pytest.approx(each["p50_ms"] - each["slowest_p50_ms"])
        assert each["simulated_p99_ms"] >= each["simulated_p50_ms"] > 900 * report["ping_seconds"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json"]
