"""The standalone benchmark: it runs, its shares are right, and its rows behave like embeddings."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nestling._util.timing import Spread, interleave, latencies
from nestling.bench import main
from nestling.bench.generate import generate
from nestling.bench.machine import Machine, pinned
from nestling.bench.peaks import CODED_BITS, Peaks
from nestling.bench.search import Scan
from nestling.bench.truth import exact_top
from nestling.index.exact import recall
from nestling.index.hits import Hits, StageStats

SMALL = ["--rows", "2000", "--batch", "50", "--rounds", "2"]


def found(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    with pytest.raises(SystemExit) as exit_:
        main([*arguments, "--json"])
    assert exit_.value.code == 0
    out: dict[str, Any] = json.loads(capsys.readouterr().out)
    return out


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    captured = capsys.readouterr()
    assert captured.out == ""
    return int(exit_.value.code or 0), " ".join(captured.err.split())


def test_the_module_runs_and_reports_that_its_rows_are_generated() -> None:
    command = [sys.executable, "-m", "nestling.bench", *SMALL]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "GENERATED" in shown
    assert "2,000 rows × 256" in shown
    for line in (
        "read from memory",
        "multiply-adds on 4-bit codes",
        "latency, p50",
        "recall@10",
        "add",
    ):
        assert line in shown


def test_json_holds_every_measurement(capsys: pytest.CaptureFixture[str]) -> None:
    report = found(capsys, *SMALL, "--dim", "96", "--funnel", "32@4:500 > 96@16")
    assert (report["rows"], report["dim"]) == (2000, 96)
    assert report["generated"] is True
    assert report["funnel"] == "32@4:500 > 96@16"
    assert set(report["peaks"]["multiply_adds"]) == {str(bits) for bits in CODED_BITS}
    search, build = report["search"], report["build"]
    spreads = [
        report["peaks"]["memory"],
        report["peaks"]["l2"],
        *report["peaks"]["multiply_adds"].values(),
        search["scan_single"]["seconds"],
        search["scan_batch"]["seconds"],
        search["p50"],
        search["queries_per_second"],
        *(build[name] for name in ("rows_per_second", "save", "load", "load_unverified")),
    ]
    for spread in spreads:
        assert 0 < spread["low"] <= spread["median"] <= spread["high"]
    assert search["p99"] >= search["p50"]["low"]
    assert 0 < report["core_share"] <= 1.01
    assert search["recall"] > 0.8
    assert build["file_bytes"] >= sum(build["memory"].values()) > 2000 * 96


def test_a_funnel_without_codes_has_no_share_of_multiply_adds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    scan = found(capsys, *SMALL, "--dim", "16", "--funnel", "16@32")["search"]["scan_single"]
    assert scan["multiply_add_share"] is None
    assert scan["memory_share"] > 0


def test_the_users_rows_are_measured(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    vectors, queries = generate(1000, 32, queries=20)
    np.save(tmp_path / "v.npy", vectors)
    np.save(tmp_path / "q.npy", queries)
    rows = ("--vectors", str(tmp_path / "v.npy"), "--rounds", "1", "--funnel", "32@32")
    queried = found(capsys, *rows, "--queries", str(tmp_path / "q.npy"))
    assert (queried["rows"], queried["search"]["batch"], queried["generated"]) == (1000, 20, False)
    assert queried["search"]["recall"] == 1.0
    held_out = found(capsys, *rows, "--batch", "100")
    assert "100 rows held out" in held_out["origin"]
    assert (held_out["rows"], held_out["search"]["batch"]) == (900, 100)


def test_the_users_texts_are_encoded_and_measured(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, make_folder: Callable[..., Path]
) -> None:
    rng = np.random.default_rng(0)
    words = ["cat", "dog", "sun", "moon", "read", "write"]
    lines = [" ".join(rng.choice(words, 5)) for _ in range(300)]
    texts = tmp_path / "lines.txt"
    texts.write_text("\n\n".join(lines), encoding="utf-8")
    options = ("--texts", str(texts), "--model", str(make_folder()), "--rounds", "1")
    report = found(capsys, *options, "--batch", "40", "--funnel", "16@32")
    assert (report["rows"], report["dim"], report["search"]["batch"]) == (260, 16, 40)
    assert report["generated"] is False
    assert "40 texts held out" in report["origin"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--vectors", "absent.npy"], 1, "absent.npy: cannot read"),
        (["--rows", "200", "--funnel", "64@3"], 1, "bits must be one of"),
        (["--texts", "absent.txt"], 1, "absent.txt"),
        (["--queries", "q.npy"], 2, "needs --vectors"),
        (["--vectors", "v.npy", "--texts", "t.txt"], 2, "cannot be combined with --vectors"),
        (["--texts", "t.txt", "--dim", "8"], 2, "for generated rows only"),
        (["--rounds", "0"], 2, "--rounds"),
    ],
)
def test_wrong_arguments_are_reported(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    exit_code, error = error_of(capsys, *arguments)
    assert exit_code == code
    assert message in error


def test_queries_of_other_dimensions_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    np.save(tmp_path / "v.npy", np.eye(8))
    np.save(tmp_path / "q.npy", np.eye(4))
    files = ("--vectors", str(tmp_path / "v.npy"), "--queries", str(tmp_path / "q.npy"))
    code, error = error_of(capsys, *files)
    assert code == 1
    assert "4 dimensions" in error


def test_shares_are_medians_by_the_best_peak() -> None:
    flat = Spread(1e9, 1e9, 1e9)
    peaks = Peaks(memory=Spread(8e9, 5e9, 10e9), l2=flat, multiply_adds={4: Spread(4e9, 3e9, 8e9)})
    # 1000 rows of 64 dimensions at 4 bits: 34,000 bytes and 64,000 multiply-adds a query.
    one = StageStats(64, 4, rows_seen=1000, rows_kept=10, bytes_read=34_000, microseconds=1.0)
    hits = Hits(np.zeros(10, np.int64), np.zeros(10, np.float32), (one,), 1)
    times = [np.array([s]) for s in (5e-6, 10e-6, 20e-6, 8e-6, 40e-6)]

    single = Scan.of(times, hits, peaks)
    assert single.stage == "64@4"
    assert single.seconds == Spread(10e-6, 5e-6, 40e-6)
    assert single.bytes_per_second.median == pytest.approx(3.4e9)
    assert single.memory_share == pytest.approx(0.34)
    assert single.multiply_adds_per_second.median == pytest.approx(6.4e9)
    assert single.multiply_add_share == pytest.approx(0.8)

    two = StageStats(64, 4, rows_seen=2000, rows_kept=20, bytes_read=68_000, microseconds=2.0)
    batch = Scan.of(times, Hits(np.zeros((2, 10)), np.zeros((2, 10)), (two,), 2), peaks)
    assert batch.bytes == single.bytes == 34_000
    assert batch.memory_share is None
    assert batch.multiply_add_share == pytest.approx(0.8)


def test_a_rate_inverts_the_spread() -> None:
    rate = Spread.of([np.array([1.0, 2.0, 9.0]), np.array([4.0]), np.array([8.0])]).rate(16)
    assert rate == Spread(4.0, 2.0, 8.0)


def test_rounds_take_turns_and_the_first_does_not_count() -> None:
    calls: list[str] = []

    def task(name: str) -> np.ndarray:
        calls.append(name)
        return np.array([float(len(calls))])

    results = interleave({"a": lambda: task("a"), "b": lambda: task("b")}, rounds=2, title="")
    assert calls == ["a", "b"] * 3
    assert [float(v[0]) for v in results["a"]] == [3.0, 5.0]


def test_every_query_is_timed() -> None:
    timed: list[np.ndarray] = []
    times = latencies(timed.append, np.eye(3, dtype=np.float32))
    np.testing.assert_array_equal(timed, np.eye(3))
    assert times.shape == (3,)
    assert (times > 0).all()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux pins threads to cores")
def test_threads_are_pinned_and_released() -> None:
    import os

    before = os.sched_getaffinity(0)
    machine = Machine.here(threads=1)
    with pinned(machine.pinned):
        assert os.sched_getaffinity(0) == set(machine.pinned) == {max(before)}
    assert os.sched_getaffinity(0) == before


def prefix_recall(vectors: np.ndarray, queries: np.ndarray, dims: int, keep: int) -> float:
    """Share of the exact top 10 that lies within the best `keep` rows by the prefix."""
    truth = exact_top(vectors, queries, 10)
    return recall(exact_top(vectors[:, :dims], queries[:, :dims], keep), truth)


def test_prefixes_of_generated_rows_find_neighbours() -> None:
    vectors, queries = generate(20_000, 256, queries=50)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((20_050, 256), dtype=np.float32)
    structured = prefix_recall(vectors, queries, 64, 100)
    unstructured = prefix_recall(noise[:20_000], noise[20_000:], 64, 100)
    assert structured > 0.75
    assert unstructured < 0.35
    assert prefix_recall(vectors, queries, 128, 100) > structured


def test_generated_rows_are_unit_vectors_of_their_seed() -> None:
    vectors, queries = generate(300, 32, queries=7, seed=3)
    assert (vectors.shape, queries.shape) == ((300, 32), (7, 32))
    assert vectors.dtype == queries.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(vectors, generate(300, 32, queries=7, seed=3)[0])
    assert not np.array_equal(vectors, generate(300, 32, queries=7, seed=4)[0])
    energy = (vectors**2).mean(axis=0)
    assert energy[:8].mean() > 1.5 * energy[-8:].mean()


def test_the_exact_top_equals_a_full_sort() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((70_000, 8)).astype(np.float32)  # more than one chunk
    vectors[5] = 0
    queries = rng.standard_normal((3, 8)).astype(np.float32)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    expected = np.argsort(-(queries @ unit.T), axis=1)[:, :10]
    assert recall(exact_top(vectors, queries, 10), expected) == 1.0
    assert recall(expected, exact_top(vectors, -queries, 10)) == 0.0
