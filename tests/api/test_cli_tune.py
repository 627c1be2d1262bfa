"""`nestling tune`, in process: what it sets, saves, prints, plots and refuses."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from hashing_encoder import HashingEncoder
from rich.console import Console

from nestling import Collection, Index
from nestling.bench.generate import generate
from nestling.cli import main
from nestling.tuning.report import show


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


@pytest.fixture
def index(tmp_path: Path) -> Path:
    rows, queries = generate(3000, 32, queries=200)
    np.save(tmp_path / "rows.npy", rows)
    np.save(tmp_path / "queries.npy", queries)
    out = tmp_path / "found.nest"
    assert run("index", tmp_path / "rows.npy", "--out", out, "--funnel", "8@4:10 > 32@16") == 0
    return out


def test_it_tunes_the_index_and_saves_it(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    queries = index.parent / "queries.npy"
    capsys.readouterr()
    assert run("tune", index, "--recall", 0.9, "--queries", queries, "--budget", 1, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["reached"]
    tuned = Index.load(index)
    assert str(tuned.funnel) == report["chosen"]["funnel"] != "8@4:10 > 32@16"
    assert tuned.centred == report["chosen"]["centred"]
    assert run("info", index) == 0
    names = sorted(path.name for path in index.parent.iterdir())
    assert names == ["found.nest", "queries.npy", "rows.npy"]


def test_it_prints_the_table_and_plots(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    picture = index.parent / "picture.png"
    assert run("tune", index, "--recall", 0.9, "--budget", 0.2, "--plot", picture) == 0
    out = capsys.readouterr().out
    assert "chosen" in out
    assert "queries/s" in out
    assert picture.stat().st_size > 1000


def test_the_table_fits_a_narrow_terminal(index: Path) -> None:
    report = Index.load(index).tune(0.9, budget_seconds=0.2, verbose=False)
    screen = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    show(report, screen)
    lines = screen.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, lines)) <= 80
    assert all(f"{trial.recall:.4f}" in "".join(lines) for trial in report.trials)
    assert "".join(lines).count("@") > len(report.trials)


def test_an_index_without_rows_is_not_called_tuned() -> None:
    report = Index(8).tune(0.9, verbose=False)
    assert report.line() == "not tuned: there are no rows"


def test_an_impossible_plot_is_refused_before_anything_is_measured(
    index: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = index.read_bytes()
    assert run("tune", index, "--plot", "picture.txt") == 1
    assert "picture.txt" in capsys.readouterr().err
    assert index.read_bytes() == before


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows, queries = generate(3000, 32, queries=200)
    np.save(tmp_path / "queries.npy", queries)
    with Collection(tmp_path / "c", dim=32, funnel="8@4:10 > 32@16") as collection:
        collection.add([str(i) for i in range(len(rows))], vectors=rows)
    return tmp_path / "c"


def test_a_collection_is_tuned_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    queries = folder.parent / "queries.npy"
    assert run("tune", folder, "--recall", 0.9, "--queries", queries, "--budget", 1, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    with Collection(folder, read_only=True) as collection:
        assert str(collection.funnel) == report["chosen"]["funnel"] != "8@4:10 > 32@16"
        assert collection.check().ok


def test_questions_tune_a_collection_that_has_an_encoder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nestling.encoder.Encoder", HashingEncoder)
    (tmp_path / "asked.txt").write_text("whales\n\nbees\n")
    (tmp_path / "corpus.jsonl").write_text('{"text": "whales sing"}\n{"text": "bees dance"}')
    assert run("index", tmp_path / "corpus.jsonl", "--out", tmp_path / "c") == 0
    asked: list[object] = []
    monkeypatch.setattr(Index, "tune", lambda *_, **options: asked.append(options["queries"]))
    with pytest.raises(AttributeError):  # there is no report to show
        main(["tune", str(tmp_path / "c"), "--queries", str(tmp_path / "asked.txt")])
    np.testing.assert_array_equal(asked[0], HashingEncoder().encode(["whales", "bees"]))
    capsys.readouterr()


def test_a_nest_file_has_no_encoder_for_questions(
    index: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("tune", index, "--queries", "asked.txt") == 2
    assert "nestling encode" in " ".join(capsys.readouterr().err.split())


def test_an_empty_collection_is_not_tuned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Collection(tmp_path / "c", dim=8).close()
    assert run("tune", tmp_path / "c") == 2
    assert "add documents first" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--recall", "--budget"])
def test_zero_is_refused(index: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("tune", index, option, 0) == 2
    assert option in capsys.readouterr().err


def test_an_index_is_tuned_as_it_is_made(
    index: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(Index, "tune", lambda self, recall: asked.append((len(self), recall)))
    rows, out = index.parent / "rows.npy", index.parent / "other.nest"
    assert run("index", rows, "--out", out, "--tune", 0.9) == 0
    assert asked == [(3000, 0.9)]
