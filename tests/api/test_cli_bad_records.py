"""Records that cannot be documents: found before anything is encoded, or skipped and listed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from commands import Run
from hashing_encoder import HashingEncoder

from nestling import Collection

GOOD = [{"id": str(i), "text": f"text {i}"} for i in range(50)]
BAD: list[tuple[dict[str, Any], str]] = [
    ({"id": 1.5, "text": "x"}, "the id is 1.5"),
    ({"id": {"$oid": "1"}, "text": "x"}, "the id is an object"),
    ({"text": 3}, "field 'text' must be a string"),
    ({"text": "x", "title": 3}, "field 'title' must be a string"),
    ({"text": "x", "metadata": {"n": 2**64}}, "an integer beyond 64 signed bits"),
    ({"text": "x", "metadata": "y"}, "field 'metadata' must be a JSON object"),
    ({"body": "x"}, "no field 'text'"),
]


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    return path


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that were encoded."""
    texts: list[str] = []
    encode = HashingEncoder.encode

    def noted(self: HashingEncoder, given: list[str], **options: Any) -> Any:
        texts.extend(given)
        return encode(self, given, **options)

    monkeypatch.setattr(HashingEncoder, "encode", noted)
    return texts


@pytest.mark.parametrize(("record", "reason"), BAD)
def test_index_finds_a_bad_record_before_anything_is_encoded(
    run: Run, tmp_path: Path, encoded: list[str], record: dict[str, Any], reason: str
) -> None:
    path = write(tmp_path / "c.jsonl", [*GOOD, record])
    ended = run("index", path, "--out", tmp_path / "out")
    assert ended.code == 1
    message = " ".join(ended.err.split())
    assert "c.jsonl, line 51: " in message
    assert reason in message
    assert encoded == []
    assert not (tmp_path / "out").exists()


def test_an_empty_id_of_a_table_is_absent(run: Run, tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("id,text\n1,a\n,no id\n")
    assert run("index", tmp_path / "c.csv", "--out", tmp_path / "out", "--json").json["added"] == 2
    ended = run("index", tmp_path / "c.csv", "--out", tmp_path / "two", "--id-field", "id")
    assert "c.csv, line 3: field 'id', which holds the id, is empty" in " ".join(ended.err.split())


@pytest.mark.parametrize("command", ["index", "add"])
def test_bad_records_are_skipped_and_listed(run: Run, tmp_path: Path, command: str) -> None:
    records = [GOOD[0], *(record for record, _ in BAD), GOOD[1]]
    path = write(tmp_path / "c.jsonl", records)
    out = tmp_path / "out"
    paths = (path, "--out", out) if command == "index" else (out, path)
    ended = run(command, *paths, "--on-bad-record", "skip", "--json")
    assert ended.code == 0, ended.err
    assert ended.json["added"] == 2
    assert ended.json["bad_records"] == len(BAD)
    listed = [json.loads(line) for line in (tmp_path / "out.bad.jsonl").read_text().splitlines()]
    assert [record["line"] for record in listed] == list(range(2, 2 + len(BAD)))
    assert {record["source"] for record in listed} == {str(path)}
    for record, (_, reason) in zip(listed, BAD, strict=True):
        assert reason in record["reason"]
    assert f"{len(BAD)} records were skipped" in " ".join(ended.err.split())
    with Collection(out, HashingEncoder()) as collection:
        assert len(collection) == 2


def test_the_list_of_bad_records_has_the_name_that_is_given(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", [GOOD[0], BAD[0][0]])
    options = ("--on-bad-record", "skip", "--bad-records", tmp_path / "list.jsonl")
    assert run("add", tmp_path / "c", path, *options).code == 0
    assert json.loads((tmp_path / "list.jsonl").read_text())["line"] == 2
    assert not (tmp_path / "c.bad.jsonl").exists()
    path = write(tmp_path / "c.jsonl", [GOOD[0]])
    assert run("add", tmp_path / "c", path, "--on-bad-record", "skip").code == 0
    assert not (tmp_path / "c.bad.jsonl").exists()


def test_bad_records_of_an_export_are_skipped(run: Run, tmp_path: Path) -> None:
    export = [
        {"id": id, "title": "", "text": text, "metadata": metadata, "spans": [[0, 1]]}
        for id, text, metadata in (("a", "x", {}), (1.5, "x", {}), ("b", "x", {"n": 2**64}))
    ]
    path = write(tmp_path / "export.jsonl", export)
    ended = run("add", tmp_path / "c", path, "--on-bad-record", "skip", "--json")
    assert ended.json["added"] == 1
    listed = [json.loads(line) for line in (tmp_path / "c.bad.jsonl").read_text().splitlines()]
    assert [(record["source"], record["line"]) for record in listed] == [
        (str(path), 2),
        (str(path), 3),
    ]


def test_odd_entries_of_a_folder_are_noted_once(run: Run, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "a.txt").write_text("bread")
    os.mkfifo(corpus / "pipe.txt")
    for number in range(30):
        (corpus / f"{number:02}.txt").symlink_to("nowhere")
    ended = run("index", corpus, "--out", tmp_path / "out")
    assert ended.code == 0
    assert ended.err.count("passed over") == 20
    assert "… and 11 more" in ended.err


def test_a_pipe_that_is_called_like_a_corpus_does_not_hang(run: Run, tmp_path: Path) -> None:
    for name in ("c.jsonl", "c.txt", "c.csv", "c.parquet"):
        os.mkfifo(tmp_path / name)
        assert "not a regular file" in run("add", tmp_path / "c", tmp_path / name).err


def test_a_path_that_does_not_exist_is_called_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the encoder that finds every model
    assert "typo: no such path" in run("info", "typo").err


@pytest.mark.parametrize("command", ["index", "add"])
def test_a_list_of_bad_records_that_are_errors_is_wrong_usage(
    run: Run, tmp_path: Path, command: str
) -> None:
    path = write(tmp_path / "c.jsonl", GOOD)
    out = tmp_path / "out"
    paths = (path, "--out", out) if command == "index" else (out, path)
    ended = run(command, *paths, "--bad-records", tmp_path / "list.jsonl")
    assert ended.code == 2
    assert "--on-bad-record skip" in ended.err
    assert not out.exists()
