"""`nestling eval`, end to end on a tiny collection: what it prints, writes, draws and refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import Ended, Run, end_of
from hashing_encoder import HashingEncoder

TEXTS = {
    "w": "whales sing in the sea",
    "b": "bees dance in the hive",
    "ق": "القاهرة عاصمة مصر، وهي أكبر مدنها",
    "ن": "النيل يجري في القاهرة",
}
QUESTIONS = {"q1": "which whales sing in the sea", "س": "ما عاصمة مصر، القاهرة", "q3": "rain"}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr("nestling.encoder.Encoder", HashingEncoder)

    def run(*arguments: object) -> Ended:
        return end_of(capsys, "eval", *arguments)

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "tiny"
    path.mkdir()
    for name, texts in (("corpus.jsonl", TEXTS), ("queries.jsonl", QUESTIONS)):
        lines = (json.dumps({"_id": key, "text": text}) for key, text in texts.items())
        (path / name).write_text("\n".join(lines), encoding="utf-8")
    qrels = "query-id\tcorpus-id\tscore\nq1\tw\t1\nس\tق\t2\nس\tن\t1\n"
    (path / "qrels.tsv").write_text(qrels, encoding="utf-8")
    return path


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.tsv"
    lines = ["النيل نهر\tالنيل نهر\t5", "bees dance\tbees sing\t3", "rain\twhales\t0"]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_a_table_is_printed(run: Run, folder: Path) -> None:
    ended = run(folder, "--rounds", 1)
    assert ended.code == 0
    assert "tiny: 4 documents, 2 queries (1 left out), minilm" in ended.out
    for word in ("system", "ndcg@10", "kept", "bytes/row", "queries/s", "interval", "recall@100"):
        assert word in ended.out
    for system in ("256@32", "256@1", "32@4", "64@4:1000 > 128@16:200 > 256@16"):
        assert system in ended.out
    assert ended.out.count("system") == 1  # a pipe gets one table, whatever COLUMNS says
    assert "\x1b" not in ended.out


def test_without_timing_no_speeds_are_explained(run: Run, folder: Path) -> None:
    assert "queries a second" not in run(folder, "--rounds", 0).out.lower()


def test_json_is_one_document(run: Run, folder: Path) -> None:
    options = ("--dims", "256,64", "--bits", "32, 4", "--funnel", "64@4:9 > 256@16")
    found = run(folder, *options, "--metric", "map@5", "--metric", "mrr@5", "--json").json
    systems = ["256@32", "256@4", "64@32", "64@4", "64@4:9 > 256@16"]
    assert [row["system"] for row in found["rows"]] == systems
    assert found["rows"][0]["metrics"] == {"map@5": 1, "mrr@5": 1}
    assert found["main_metric"] == "map@5"
    assert (found["queries"], found["left_out"], found["rounds"]) == (2, 1, 5)


def test_markdown_is_one_table(run: Run, folder: Path, tmp_path: Path) -> None:
    ended = run(folder, "--rounds", 0, "--markdown", tmp_path / "new" / "t.md")
    assert ended.code == 0
    lines = (tmp_path / "new" / "t.md").read_text(encoding="utf-8").splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert {line.count("|") for line in table} == {table[0].count("|")}
    assert table[0].startswith("| system | ndcg@10 | kept |")
    assert table[1].startswith("| --- | ---: |")
    assert table[2].startswith("| 256@32 | 1.0000 | 100.0% |")


@pytest.mark.parametrize("rounds", [0, 1])
def test_a_picture_is_drawn(run: Run, folder: Path, tmp_path: Path, rounds: int) -> None:
    pytest.importorskip("matplotlib")
    ended = run(
        folder, "--rounds", rounds, "--plot", tmp_path / "p.svg", "--funnel", "64@1:9 > 256@8"
    )
    assert ended.code == 0
    assert "<svg" in (tmp_path / "p.svg").read_text(encoding="utf-8")
    assert run(folder, "--rounds", rounds, "--plot", tmp_path / "p.png").code == 0
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_without_matplotlib_names_the_extra(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.backend_bases", None)
    ended = run(folder, "--rounds", 0, "--plot", tmp_path / "p.png")
    assert ended.code == 1
    assert "pip install 'nestling[plot]'" in ended.err
    assert ended.out == ""


def test_a_task_without_mteb_names_the_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mteb", None)
    ended = run("mteb:NFCorpus")
    assert ended.code == 1
    assert "pip install 'nestling[mteb]'" in ended.err


def test_a_picture_that_cannot_be_written_is_told(run: Run, folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    ended = run(folder, "--rounds", 0, "--plot", tmp_path / "p.xyz")
    assert (ended.code, ended.out) == (1, "")
    assert "no format has this ending" in ended.err
    ended = run(folder, "--rounds", 0, "--plot", tmp_path / "absent" / "p.png")
    assert ended.code == 1
    assert "cannot write: No such file" in ended.err
    assert "256@32" in ended.out


def test_rankings_are_saved_and_compared(run: Run, folder: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    options = ("--dims", "8", "--bits", "4", "--rounds", "0", "--json")
    first = run(folder, *options, "--funnel", "64@4:9 > 256@16", "--save-runs", runs).json
    names = ["256@32.trec", "64@4-9-256@16.trec", "8@4.trec"]
    assert sorted(path.name for path in runs.iterdir()) == names
    alone = run(folder, "--run", runs / names[2], "--run", runs / names[0], "--json").json
    assert alone["model"] is None
    assert [row["system"] for row in alone["rows"]] == ["8@4", "256@32"]
    assert alone["rows"][0]["metrics"] == first["rows"][1]["metrics"]
    both = run(folder, *options, "-m", "minilm", "--run", runs / names[2]).json
    assert both["rows"][-1]["kind"] == "run"
    assert both["rows"][-1]["metrics"] == first["rows"][1]["metrics"]
    assert "64@4:9>256@16" in run(folder, "--run", runs / names[1]).out


def test_a_limit_asks_fewer_questions(run: Run, folder: Path) -> None:
    found = run(folder, "--limit", 1, "--rounds", 0, "--json").json
    assert (found["queries"], found["left_out"]) == (1, 2)


def test_pairs_are_measured(run: Run, pairs: Path, tmp_path: Path) -> None:
    found = run(pairs, "--pairs", "--dims", "8,64", "--json").json
    assert [row["dims"] for row in found["rows"]] == [256, 64, 8]
    assert found["rows"][0]["spearman"] == pytest.approx(1)
    ended = run(pairs, "--pairs", "--markdown", tmp_path / "t.md")
    assert "pairs.tsv: 3 pairs, minilm" in ended.out
    assert "Spearman" in ended.out
    assert "| 256 | 1.0000 | 100.0% |" in (tmp_path / "t.md").read_text()


def test_texts_that_were_cut_are_told(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "were cut" not in run(folder, "--rounds", 0).err
    inits = HashingEncoder.__init__

    def short(self: HashingEncoder, *arguments: Any, **options: Any) -> None:
        inits(self, *arguments, **options)
        self.max_words = 5

    monkeypatch.setattr(HashingEncoder, "__init__", short)
    assert "2 texts are longer than minilm reads; they were cut" in run(folder, "--rounds", 0).err


def test_pairs_are_drawn(run: Run, pairs: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert run(pairs, "--pairs", "--plot", tmp_path / "p.svg").code == 0
    assert "<svg" in (tmp_path / "p.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--dims", "64,x"], 2, "expected numbers and commas"),
        (["--bits", "4,"], 2, "expected numbers and commas"),
        (["--metric", "ndcg"], 2, "unknown metric 'ndcg'"),
        (["--depth", "10"], 2, "the measures need 100 documents"),
        (["--dims", "300"], 1, "reads more than the 256"),
        (["--bits", "3"], 1, "bits must be one of"),
        (["--funnel", "64"], 1, "cannot read the stage '64'"),
        (["--split", "dev"], 1, "no split 'dev'"),
        (["--run", "absent.trec"], 1, "absent.trec: cannot read"),
        (["--pairs", "--run", "r.trec"], 2, "cannot be combined with"),
        (["--save-runs", "runs", "--run", "r.trec"], 2, "needs a --model"),
    ],
)
def test_what_is_wrong_is_told(
    run: Run, folder: Path, arguments: list[str], code: int, message: str
) -> None:
    ended = run(folder, *arguments)
    assert ended.code == code
    assert ended.out == ""
    assert message in " ".join(ended.err.replace("│", " ").split())
