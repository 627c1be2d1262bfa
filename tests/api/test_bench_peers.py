"""The benchmark against peers: right answers are measured, and a failure affects nothing else."""

from __future__ import annotations

import io
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from processes import running
from rich.console import Console

from nestling.bench import main
from nestling.bench.peers.command import compare
from nestling.bench.peers.engine import Shape, rerank
from nestling.bench.peers.measure import Bounds
from nestling.bench.peers.registry import PEERS, Peer, choose
from nestling.bench.peers.report import show
from nestling.bench.peers.results import Outcome, PeersReport, pareto
from nestling.bench.peers.run import Plan
from nestling.bench.rows import Rows, generated_rows, stored_rows
from nestling.errors import VectorError

NESTLING = PEERS[0]
FAKE = Peer("fake", "fake_peer", "numpy", "numpy")
ABSENT = Peer("absent", "no_adapter", "no_such_package", "no-such-distribution")
KEPT = {"faiss", "hnswlib", "usearch", "rabitqlib", "ngt", "lorann"}
SMALL = Bounds(batch=100, latency_queries=20, seconds=0.2)
FEW = Bounds(batch=10, latency_queries=20, seconds=0.2)  # as few as on the slowest machine


def small_rows() -> Rows:
    return generated_rows(3000, 32, query_count=100, seed=0)


def plan(*patterns: str, peers: tuple[Peer, ...] = PEERS, rounds: int = 1) -> Plan:
    here = [peer for peer in peers if peer.version is not None]
    return Plan(here, patterns, FEW, rounds=rounds, build_limit=250)


def no_limits(patch: pytest.MonkeyPatch) -> None:
    """Keeps what noise makes slow: no setting is dropped, and a measurement may take any time."""
    patch.setattr("nestling.bench.peers.run._MARGIN", math.inf)
    patch.setattr("nestling.bench.peers.run._TIMEOUT", 1e6)


@pytest.fixture(scope="module")
def report() -> PeersReport:
    """Two configurations of nestling, an exact peer, and one that fails in each of three ways."""
    peers = (NESTLING, FAKE, ABSENT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        no_limits(patch)
        patched = Plan(
            [NESTLING, FAKE],
            ["nestling/32@4*", "nestling/16@1*", "fake/[!ghik]*"],
            SMALL,
            rounds=2,
            build_limit=250,
            together=4,
        )
        patch.syspath_prepend(Path(__file__).parent)
        return compare(
            small_rows, patched, targets=[0.5, 1.0], threads=1, growth=False, registry=peers
        )


def outcome(report: PeersReport, configuration: str) -> Outcome:
    return next(o for o in report.sizes[-1].outcomes if o.configuration == configuration)


@pytest.fixture
def with_fake_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets this process and its workers import the adapter of the tests."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    no_limits(monkeypatch)
    monkeypatch.syspath_prepend(Path(__file__).parent)


def test_exact_settings_find_everything(report: PeersReport) -> None:
    exact = outcome(report, "exact")
    assert exact.error is None
    assert exact.points[-1].setting == {"share": 1}
    assert exact.points[-1].recall == exact.points[-1].latency_recall == 1.0
    assert 0.3 < exact.points[0].recall < 0.7  # among half of the rows
    assert exact.bytes_per_row == 32 * 4
    ours = outcome(report, "32@4 > 32@16")
    assert ours.error is None
    assert ours.points[-1].recall > 0.99


def test_measurements_are_of_all_rounds(report: PeersReport) -> None:
    assert report.rounds == 2
    points = [point for o in report.sizes[-1].outcomes for point in o.points]
    assert points
    for point in points:
        for spread in (point.queries_per_second, point.p50):
            assert 0 < spread.low <= spread.median <= spread.high
        assert point.p99 >= point.p50.low
        assert 10 <= point.batch <= 100
        assert point.latency_queries == 20
    assert {o.group for o in report.sizes[-1].outcomes} == {1, 2}  # 6 configurations, 4 at a time


@pytest.mark.parametrize(
    ("configuration", "error"),
    [
        ("crashes", "killed by SIGSEGV: a last word"),
        ("raises late", "RuntimeError: no such setting"),
        ("wrong shape", "answers have the shape (1, 10); expected (10,)"),
    ],
)
def test_a_failure_is_reported(report: PeersReport, configuration: str, error: str) -> None:
    failed = outcome(report, configuration)
    assert failed.error is not None
    assert error in failed.error
    assert failed.points == ()
    assert (failed.build_seconds is None) == (configuration == "crashes")


def test_a_build_that_takes_too_long_is_reported(with_fake_peer: None) -> None:
    chosen = replace(plan("fake/hangs", peers=(FAKE,)), build_limit=1)
    found = compare(small_rows, chosen, targets=[0.5], threads=1, growth=False)
    (hangs,) = found.sizes[0].outcomes
    assert hangs.error == "took more than 1 s"
    assert (hangs.points, hangs.build_seconds) == ((), None)


def test_the_table_lists_the_fastest_the_absent_and_the_failed(report: PeersReport) -> None:
    out = io.StringIO()
    show(report, Console(file=out, highlight=False, soft_wrap=True))
    text = out.getvalue()
    assert "recall@10 of at least 0.5" in text
    assert "exact: share=1" in text
    assert "not installed: absent (pip install no-such-distribution)" in text
    assert "FAILED: fake crashes: killed by SIGSEGV" in text
    assert "GENERATED" in text


def test_everything_is_plain_json(report: PeersReport) -> None:
    plain = json.loads(json.dumps(report.as_dict()))
    assert plain["machine"]["threads"] == 1
    assert plain["absent"] == {"absent": "no-such-distribution"}
    assert len(plain["sizes"][0]["outcomes"]) == 6
    first = plain["sizes"][0]["outcomes"][0]
    assert first["peer"] == "nestling"
    assert set(first["points"][0]["p50"]) == {"median", "low", "high"}


def test_plots_are_drawn(report: PeersReport, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from nestling.bench.peers.plots import draw

    grown = PeersReport(**{**vars_of(report), "sizes": report.sizes * 2})
    files = draw(grown, tmp_path / "new")
    assert [file.stem for file in files] == [
        "recall-throughput",
        "recall-latency",
        "build",
        "memory",
        "growth",
    ]
    for file in files:
        assert file.read_bytes().startswith(b"\x89PNG")
        assert file.stat().st_size > 10_000  # more than an empty canvas


def test_bisection_finds_the_cheapest_setting_between_those_of_the_grid(
    with_fake_peer: None,
) -> None:
    """The fake peer's recall is that of its share of the rows; the grid has 1, 500 and 1000."""
    chosen = replace(plan("fake/grid", peers=(FAKE,)), targets=(0.3, 0.9))
    found = compare(small_rows, chosen, targets=[0.3, 0.9], threads=1, growth=False)
    (grid,) = found.sizes[0].outcomes
    assert grid.error is None
    recalls = {point.setting["share"]: point.recall for point in grid.points}
    assert len(recalls) > 6
    for target in (0.3, 0.9):
        least = min(share for share, recall in recalls.items() if recall >= target)
        lower = max(share for share, recall in recalls.items() if recall < target)
        assert least - lower <= max(1, least // 16), (target, sorted(recalls))


def test_a_value_that_finds_nothing_more_is_not_raised_further(with_fake_peer: None) -> None:
    found = compare(
        small_rows, plan("fake/idle", peers=(FAKE,)), targets=[0.3], threads=1, growth=False
    )
    (idle,) = found.sizes[0].outcomes
    assert idle.error is None
    assert {point.setting["share"] for point in idle.points} == {200, 500}
    assert {point.setting["idle"] for point in idle.points} <= {1, 2}


def test_an_index_is_kept_between_runs(with_fake_peer: None, tmp_path: Path) -> None:
    def run(rows: Callable[[], Rows] = small_rows, threads: int = 1) -> Outcome:
        chosen = replace(plan("fake/kept", peers=(FAKE,)), cache=tmp_path / "cache")
        report = compare(rows, chosen, targets=[0.5], threads=threads, growth=False)
        (found,) = report.sizes[0].outcomes
        assert found.error is None
        assert found.points[-1].recall == 1.0
        out = io.StringIO()
        show(report, Console(file=out, highlight=False, soft_wrap=True))
        assert ("² built in an earlier run" in out.getvalue()) == found.built_earlier
        return found

    first, second = run(), run()
    assert not first.built_earlier
    assert second.built_earlier
    assert second.build_seconds == first.build_seconds
    assert second.bytes_per_row == first.bytes_per_row
    assert not run(threads=2).built_earlier
    assert not run(lambda: generated_rows(3000, 32, query_count=100, seed=1)).built_earlier
    assert run().built_earlier


def test_an_index_that_cannot_be_loaded_is_reported(with_fake_peer: None, tmp_path: Path) -> None:
    chosen = replace(plan("fake/kept", peers=(FAKE,)), cache=tmp_path)
    compare(small_rows, chosen, targets=[0.5], threads=1, growth=False)
    (kept,) = tmp_path.rglob("rows.npy")
    kept.write_bytes(b"")
    (found,) = compare(small_rows, chosen, targets=[0.5], threads=1, growth=False).sizes[0].outcomes
    assert found.error is not None
    assert f"{kept.parent}: cannot load" in found.error


def test_every_configuration_is_listed_on_request(report: PeersReport) -> None:
    out = io.StringIO()
    show(report, Console(file=out, highlight=False, soft_wrap=True), every=True)
    assert "32@4 > 32@16: " in out.getvalue()
    assert "16@1 > 32@16: " in out.getvalue()


def vars_of(report: PeersReport) -> dict[str, Any]:
    return {name: getattr(report, name) for name in report.__dataclass_fields__}


def test_faiss() -> None:
    pytest.importorskip("faiss")
    chosen = plan("faiss/Flat", "faiss/PQ16x4fs*")
    found = compare(small_rows, chosen, targets=[0.9], threads=1, growth=False)
    flat, codes = found.sizes[0].outcomes
    assert flat.points[-1].recall == 1.0
    assert codes.points[-1].recall > 0.999
    for each in (flat, codes):
        assert each.error is None
        assert each.points[-1].latency_recall > 0.999
        assert each.bytes_per_row is not None
    assert 32 * 4 <= flat.bytes_per_row < codes.bytes_per_row


@pytest.mark.slow
def test_every_configuration_of_every_peer_finds_neighbours(tmp_path: Path) -> None:
    load = partial(generated_rows, 3000, 64, query_count=100, seed=0)
    chosen = replace(plan(), cache=tmp_path)
    compare(load, chosen, targets=[0.9], threads=2, growth=False)
    found = compare(load, chosen, targets=[0.9], threads=2, growth=False)
    kept = {each.peer for each in found.sizes[0].outcomes if each.built_earlier}
    assert kept == {peer.name for peer in chosen.peers} & KEPT
    for each in found.sizes[0].outcomes:
        name = f"{each.peer} {each.configuration}"
        assert each.error is None, f"{name}: {each.error}"
        assert each.points[-1].recall > 0.8, name
        # The single queries are the first fifth of the batch.
        assert abs(each.points[-1].latency_recall - each.points[-1].recall) < 0.1, name


def test_adapters_list_configurations_without_their_library() -> None:
    names = [
        f"{peer.name}/{configuration.name}"
        for peer, found in choose(PEERS, [], Shape(1_000_000, 256, 1))
        for configuration in found
    ]
    assert len(names) == len(set(names)) > 20
    assert {name.partition("/")[0] for name in names} == {peer.name for peer in PEERS}
    chosen = choose(PEERS, ["faiss/IVF*", "hnswlib"], Shape(1_000_000, 256, 1))
    assert [peer.name for peer, _ in chosen] == ["faiss", "hnswlib"]
    assert all(c.name.startswith("IVF4096") for c in chosen[0][1])


@pytest.mark.parametrize("dim", [8, 9, 32, 100])
def test_nestling_has_funnels_for_any_dimension(dim: int) -> None:
    for _, found in choose([NESTLING], [], Shape(500, dim, 1)):
        assert found
        for configuration in found:
            engine: Any = configuration.open()
            for setting in configuration.settings:
                engine.use(setting)
                assert engine._options["funnel"].stages[-1].dims == dim


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12))
def test_the_front_holds_the_points_that_nothing_beats(points: list[tuple[int, int]]) -> None:
    def beats(one: tuple[int, int], other: tuple[int, int]) -> bool:
        return one != other and one[0] >= other[0] and one[1] >= other[1]

    front = pareto(points)
    assert {points[n] for n in front} == {
        point for point in points if not any(beats(other, point) for other in points)
    }
    assert [points[n][0] for n in front] == sorted({points[n][0] for n in front}, reverse=True)
    assert all(points.index(points[n]) == n for n in front)


def test_a_rerank_equals_a_full_sort() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((5000, 16)).astype(np.float32)
    queries = rng.standard_normal((70, 16)).astype(np.float32)
    candidates = np.array([rng.permutation(5000)[:300] for _ in queries])
    scores = np.take_along_axis(queries @ rows.T, candidates, axis=1)
    expected = np.take_along_axis(candidates, np.argsort(-scores, axis=1)[:, :10], axis=1)
    np.testing.assert_array_equal(rerank(rows, queries, candidates, 10), expected)


def test_the_command_measures_growth_of_the_users_rows(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = generated_rows(10_200, 16, query_count=20, seed=0)
    np.save(tmp_path / "v.npy", rows.vectors * 7)  # of any length, because they are normalised
    files = ("--vectors", str(tmp_path / "v.npy"), "--batch", "100", "--json", "--growth")
    bounds = ("--rounds", "1", "--seconds-per-setting", "0.1", "--peers", "nestling/16@4*")
    with pytest.raises(SystemExit) as exit_:
        main(["peers", *files, *bounds])
    assert exit_.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert [size["rows"] for size in found["sizes"]] == [10_000, 10_100]
    for size in found["sizes"]:
        assert size["outcomes"][0]["error"] is None
        assert size["outcomes"][0]["points"][-1]["recall"] > 0.99


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--peers", "fais"], 2, "unknown peer 'fais'"),
        (["--targets", "0.9,x"], 2, "above 0 and at most 1"),
        (["--targets", "1.2"], 2, "above 0 and at most 1"),
        (["--queries", "q.npy"], 2, "needs --vectors"),
        (["--texts", "t.txt", "--dim", "8"], 2, "for generated rows only"),
        (["--vectors", "absent.npy"], 1, "absent.npy: cannot read"),
        (["--rows", "200", "--peers", "nestling/x*"], 1, "no configuration"),
    ],
)
def test_wrong_arguments_are_reported(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["peers", *arguments])
    assert exit_.value.code == code
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_an_option_before_the_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--rows", "200", "peers"])
    assert exit_.value.code == 2
    assert "give its options after it" in capsys.readouterr().err


def test_rows_without_a_direction_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.zeros((200, 8)))
    load = partial(stored_rows, tmp_path / "v.npy", None, limit=None, query_count=10, seed=0)
    with pytest.raises(VectorError, match="direction"):
        compare(load, plan("nestling"), targets=[0.9], threads=1, growth=False)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_is_left_behind(how: signal.Signals, tmp_path: Path) -> None:
    arguments = ["--rows", "3000", "--dim", "32", "--peers", "nestling", "--rounds", "10000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "nestling.bench", "peers", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"TMPDIR": str(tmp_path)},  # one that is killed leaves its files
    )
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    until = time.monotonic() + 250
    while len(workers := listed.read_text().split()) < 3:
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(how)
    assert process.wait(200) != 0
    while any(running(int(worker)) for worker in workers):
        assert time.monotonic() < until
        time.sleep(0.02)
