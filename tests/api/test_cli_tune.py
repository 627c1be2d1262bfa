"""`nestling tune`, in process: what it sets, saves, prints, draws and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nestling import Index
from nestling.bench.generate import generate
from nestling.cli import main


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows, queries = generate(3000, 32, queries=200)
    np.save(tmp_path / "rows.npy", rows)
    np.save(tmp_path / "queries.npy", queries)
    out = tmp_path / "found"
    assert run("index", tmp_path / "rows.npy", "--out", out, "--funnel", "8@4:10 > 32@16") == 0
    return out


def test_it_tunes_the_index_and_saves_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    queries = folder.parent / "queries.npy"
    capsys.readouterr()
    assert run("tune", folder, "--recall", 0.9, "--queries", queries, "--budget", 1, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["reached"]
    index = Index.load(folder / "vectors.nest")
    assert str(index.funnel) == report["chosen"]["funnel"] != "8@4:10 > 32@16"
    assert index.centred == report["chosen"]["centred"]
    assert run("info", folder) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["corpus.json", "vectors.nest"]


def test_it_prints_the_table_and_draws(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    picture = folder.parent / "picture.png"
    assert run("tune", folder, "--recall", 0.9, "--budget", 0.2, "--plot", picture) == 0
    out = capsys.readouterr().out
    assert "chosen" in out
    assert "queries/s" in out
    assert picture.stat().st_size > 1000


def test_a_plot_that_cannot_be_is_refused_before_anything_is_measured(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (folder / "vectors.nest").read_bytes()
    assert run("tune", folder, "--plot", "picture.txt") == 1
    assert "picture.txt" in capsys.readouterr().err
    assert (folder / "vectors.nest").read_bytes() == before


def test_a_bare_file_is_tuned_too(tmp_path: Path) -> None:
    path = tmp_path / "bare.nest"
    index = Index(16, funnel="8@4:10 > 16@16")
    index.add(generate(200, 16, queries=1)[0])
    index.save(path)
    assert run("tune", path, "--recall", 0.9, "--budget", 0.1) == 0
    assert str(Index.load(path).funnel) != "8@4:10 > 16@16"


@pytest.mark.parametrize("option", ["--recall", "--budget"])
def test_zero_is_no_aim(folder: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("tune", folder, option, 0) == 2
    assert option in capsys.readouterr().err


def test_an_index_is_tuned_as_it_is_made(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(Index, "tune", lambda self, recall: asked.append((len(self), recall)))
    rows, out = folder.parent / "rows.npy", folder.parent / "other"
    assert run("index", rows, "--out", out, "--tune", 0.9) == 0
    assert asked == [(3000, 0.9)]
