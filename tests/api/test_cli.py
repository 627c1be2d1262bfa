"""The command line, in process: what it writes, prints and refuses, and how it exits."""

from __future__ import annotations

import inspect
import json
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run
from hashing_encoder import HashingEncoder

from nestling import Collection
from nestling._util.threads import thread_count
from nestling.encoder import Encoder

ARABIC = "القاهرة عاصمة مصر، وهي أكبر مدنها 🏛"
CORPUS = [
    {"_id": "w", "title": "Whales", "text": "whales sing in the sea"},
    {"_id": "c", "title": "", "text": ARABIC},
    {"_id": "b", "title": "Bees", "text": "bees dance in the hive \ud800 [bold]loudly[/bold]"},
]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    path.write_text("\n".join(map(json.dumps, CORPUS)), encoding="utf-8")
    return path


@pytest.fixture
def folder(run: Run, corpus: Path, tmp_path: Path) -> Path:
    assert run("index", corpus, "--out", tmp_path / "found").code == 0
    return tmp_path / "found"


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    path = tmp_path / "v.npy"
    np.save(path, np.eye(5, 8, dtype=np.float32))
    return path


def test_an_index_is_a_collection(folder: Path) -> None:
    with Collection(folder, HashingEncoder(), read_only=True) as collection:
        assert collection.encoder is not None
        assert collection.encoder.name == "minilm"
        assert [document.id for document in collection] == ["w", "c", "b"]
        stored = collection.get(["w", "c"])
        assert [document and document.text for document in stored] == [
            row["text"] for row in CORPUS[:2]
        ]
        assert collection.info().segments == 1


def test_characters_that_are_not_text_are_replaced_and_reported(
    run: Run, corpus: Path, tmp_path: Path
) -> None:
    ended = run("index", corpus, "--out", tmp_path / "found")
    assert "1 texts contained NUL or lone surrogates" in ended.err
    with Collection(tmp_path / "found", read_only=True) as collection:
        document = collection.get("b")
        assert document is not None
        assert document.text == str(CORPUS[2]["text"]).replace("\ud800", "\ufffd")


def test_nothing_else_is_left_behind(folder: Path) -> None:
    assert sorted(path.name for path in folder.parent.iterdir()) == ["corpus.jsonl", "found"]


def test_a_search_finds_the_document_and_shows_it(run: Run, folder: Path) -> None:
    ended = run("search", folder, "which whales sing?", "-k", 2)
    first = ended.out.splitlines()[1]
    assert ended.code == 0
    assert "1" in first
    assert "w  Whales" in first
    assert "whales sing in the sea" in ended.out


def test_arabic_is_shown_as_it_is(run: Run, folder: Path) -> None:
    ended = run("search", folder, "عاصمة مصر،", "-k", 1)
    assert ARABIC in ended.out
    assert run("search", folder, "عاصمة مصر،", "-k", 1, "--json").json["hits"][0]["text"] == ARABIC


def test_square_brackets_in_a_text_are_not_markup(run: Run, folder: Path) -> None:
    assert "[bold]loudly[/bold]" in run("search", folder, "bees dance", "-k", 1).out


def test_json_is_one_line_per_question_and_nothing_else(run: Run, folder: Path) -> None:
    ended = run("search", folder, "whales", "bees", "-k", 2, "--json")
    answers = [json.loads(line) for line in ended.out.splitlines()]
    assert [answer["question"] for answer in answers] == ["whales", "bees"]
    assert [answer["hits"][0]["id"] for answer in answers] == ["w", "b"]
    assert [hit["rank"] for hit in answers[0]["hits"]] == [1, 2]
    assert [answer["explanation"] for answer in answers] == [None, None]
    found = run("search", folder, "whales", "--explain", "--json").json["explanation"]
    assert found["stages"][0]["rows_seen"] == 3
    assert found["stages"][0]["bytes_read"] > 0


def test_fewer_rows_than_k_gives_fewer_hits(run: Run, folder: Path) -> None:
    assert len(run("search", folder, "whales", "-k", 10, "--json").json["hits"]) == 3


def test_questions_come_from_stdin_without_the_blank_ones(run: Run, folder: Path) -> None:
    ended = run("search", folder, "-", "--json", stdin="whales\n\nbees\n")
    assert [json.loads(line)["question"] for line in ended.out.splitlines()] == ["whales", "bees"]


def test_explain_shows_every_stage(run: Run, folder: Path) -> None:
    assert "rows seen" not in run("search", folder, "whales").out
    out = run("search", folder, "whales", "--explain").out
    assert all(word in out for word in ("rows seen", "rows kept", "bytes read", "µs", "256@"))


def test_a_funnel_is_stored_and_can_be_chosen_per_search(
    run: Run, corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "found"
    assert run("index", corpus, "--out", out, "--funnel", "256@32").code == 0
    assert run("info", out, "--json").json["funnel"] == "256@32"
    ended = run("search", out, "whales", "--funnel", "64@3")
    assert ended.code == 1
    assert ended.err.startswith("error: ")


def test_a_bad_funnel_is_reported_before_the_encoding(
    run: Run, corpus: Path, tmp_path: Path
) -> None:
    ended = run("index", corpus, "--out", tmp_path / "found", "--funnel", "half of it")
    assert ended.code == 1
    assert "expected dims@bits:keep" in ended.err
    assert not (tmp_path / "found").exists()


def test_an_index_is_replaced_only_by_force(run: Run, corpus: Path, folder: Path) -> None:
    corpus.write_text('{"text": "only one"}')
    ended = run("index", corpus, "--out", folder)
    assert ended.code == 1
    assert "--force" in ended.err
    assert run("index", corpus, "--out", folder, "--force").code == 0
    assert run("info", folder, "--json").json["documents"] == 1


def test_force_does_not_replace_other_folders(run: Run, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("dear")
    ended = run("index", corpus, "--out", tmp_path / "letters", "--force")
    assert ended.code == 1
    assert "something else" in ended.err
    assert (tmp_path / "letters" / "dear.txt").read_text() == "dear"


def test_a_failure_leaves_the_old_index_intact(run: Run, corpus: Path, folder: Path) -> None:
    corpus.write_text('{"text": "good"}\n{"text": bad}')
    ended = run("index", corpus, "--out", folder, "--force")
    assert ended.code == 1
    assert "line 2" in ended.err
    assert run("info", folder, "--json").json["documents"] == 3
    assert sorted(path.name for path in folder.parent.iterdir()) == ["corpus.jsonl", "found"]


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_leaves_nothing_behind(
    run: Run,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sent: signal.Signals,
    code: int,
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        signal.raise_signal(sent)

    monkeypatch.setattr(HashingEncoder, "encode", interrupted)
    assert run("index", corpus, "--out", tmp_path / "found").code == code
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.jsonl"]


def test_vectors_are_indexed_as_a_file(run: Run, vectors: Path, tmp_path: Path) -> None:
    out = tmp_path / "v.nest"
    assert run("index", vectors, "--out", out, "--json").json["rows"] == 5
    answers = run("search", out, "--vector", vectors, "-k", 1, "--json").out.splitlines()
    assert [json.loads(line)["hits"][0]["row"] for line in answers] == [0, 1, 2, 3, 4]
    assert json.loads(answers[0])["stages"][0]["rows_seen"] == 5
    assert "row 0" in run("search", out, "--vector", vectors, "-k", 1).out
    assert "rows seen" in run("search", out, "--vector", vectors, "--explain").out
    assert run("info", out, "--json").json["dim"] == 8


def test_vectors_cannot_become_a_collection(run: Run, vectors: Path, tmp_path: Path) -> None:
    ended = run("index", vectors, "--out", tmp_path / "folder")
    assert ended.code == 2
    assert ".nest" in ended.err
    assert not (tmp_path / "folder").exists()


def test_bare_vectors_need_a_model_or_vectors_to_be_searched(
    run: Run, vectors: Path, tmp_path: Path
) -> None:
    np.save(vectors, np.eye(5, 300, dtype=np.float32))
    run("index", vectors, "--out", tmp_path / "v.nest")
    ended = run("search", tmp_path / "v.nest", "whales")
    assert ended.code == 1
    assert "--model" in ended.err
    ended = run("search", tmp_path / "v.nest", "whales", "--model", "minilm")
    assert ended.code == 1
    assert "300 dimensions" in ended.err


def test_a_prefix_of_the_embeddings_can_be_indexed_and_searched(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "v.npy"
    run("encode", "-", "--out", out, "--dim", 128, stdin="whales sing\nbees dance\n")
    run("index", out, "--out", tmp_path / "v.nest")
    ended = run("search", tmp_path / "v.nest", "who can dance", "--model", "minilm", "--json")
    assert ended.json["hits"][0]["row"] == 1


def test_other_files_of_the_encoder_are_refused(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("search", folder, "whales").err == ""
    assert run("search", folder, "whales", "--model", "minilm").code == 0
    monkeypatch.setattr(HashingEncoder, "fingerprint", "f" * 16)
    ended = run("search", folder, "whales", "--json")
    assert (ended.code, ended.out) == (1, "")
    assert "0123456789abcdef" in ended.err
    assert "f" * 16 in ended.err
    assert run("search", folder, "whales", "--mode", "lexical").code == 0
    assert "not 'e5'" in run("search", folder, "whales", "--model", "e5").err


def test_texts_that_are_too_long_are_counted_and_reported(run: Run, tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "long.txt").write_text("word " * 2000)
    (tmp_path / "c" / "short.txt").write_text("word")
    ended = run("index", tmp_path / "c", "--out", tmp_path / "found", "--passages", 0, "--json")
    assert ended.json["truncated"] == 1
    assert "1 passages are longer" in ended.err
    assert "1 texts" in run("encode", tmp_path / "c", "--out", tmp_path / "v.npy").err
    assert "question is longer" in run("search", tmp_path / "found", "word " * 2000).err
    ended = run("index", tmp_path / "c", "--out", tmp_path / "other", "--json")
    assert (ended.json["truncated"], ended.err) == (0, "")
    assert ended.json["passages"] > ended.json["documents"] == 2


def test_texts_cannot_become_a_nest_file(run: Run, corpus: Path, tmp_path: Path) -> None:
    assert run("index", corpus, "--out", tmp_path / "v.nest").code == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((2, 3, 4), np.float32), "expected an array of numbers of shape"),
        (np.zeros((2, 3), np.bool_), "expected an array of numbers of shape"),
        (np.full((2, 3), np.nan, np.float32), "finite"),
    ],
)
def test_arrays_that_are_not_vectors_are_refused(
    run: Run, tmp_path: Path, content: np.ndarray[Any, Any], message: str
) -> None:
    np.save(tmp_path / "v.npy", content)
    ended = run("index", tmp_path / "v.npy", "--out", tmp_path / "v.nest")
    assert ended.code == 1
    assert message in ended.err
    assert not (tmp_path / "v.nest").exists()


def test_encode_writes_one_row_per_text(run: Run, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "v.npy"
    ended = run("encode", corpus, "--out", out, "--json")
    assert ended.json["rows"] == 3
    passages = ["Whales\nwhales sing in the sea", ARABIC, f"Bees\n{CORPUS[2]['text']}"]
    passages = [passage.replace("\ud800", "\ufffd") for passage in passages]
    np.testing.assert_array_equal(np.load(out), HashingEncoder().encode(passages))


def test_encode_reads_lines_and_keeps_the_blank_ones(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "v.npy"
    assert run("encode", "-", "--out", out, "--dim", 16, stdin="one\n\nthree\n").code == 0
    assert np.load(out).shape == (3, 16)
    assert run("encode", "-", "--out", out, stdin="one\n").code == 1
    assert run("encode", "-", "--out", out, "--force", stdin="one\n").code == 0
    assert np.load(out).shape == (1, 256)


def test_encode_refuses_what_is_not_utf8_or_empty(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "v.npy"
    assert "stdin, line 2" in run("encode", "-", "--out", out, stdin=b"a\n\xff\n").err
    assert "no text" in run("encode", "-", "--out", out, stdin="").err


@pytest.mark.parametrize("name", ["collection.db", "segments"])
@pytest.mark.parametrize("harm", ["removed", "cut", "emptied"])
def test_a_damaged_folder_is_not_a_collection(run: Run, folder: Path, name: str, harm: str) -> None:
    path = folder / name if name != "segments" else next((folder / name).glob("*.nest"))
    for left in folder.glob("collection.db-*"):
        left.unlink()
    if harm == "removed":
        path.unlink()
    else:
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2 if harm == "cut" else 0])
    ended = run("search", folder, "whales")
    assert ended.code == 1
    assert ended.err.startswith("error: ")
    assert ended.out == ""


def test_a_database_of_another_program_is_not_replaced(
    run: Run, corpus: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "collection.db").write_bytes(b"cards")
    assert run("index", corpus, "--out", tmp_path / "other", "--force").code == 1
    assert (tmp_path / "other" / "collection.db").read_bytes() == b"cards"


@pytest.mark.parametrize(
    "arguments",
    [
        ("fly",),
        ("search",),
        ("search", "somewhere"),
        ("index", "in.jsonl"),
        ("index", "in.jsonl", "--out", "x", "--metric", "l2"),
        ("search", "somewhere", "whales", "-k", "0"),
        ("search", "somewhere", "whales", " "),
        ("encode", "in.jsonl", "--out", "vectors.txt"),
        ("search", "somewhere", "whales", "--where", '{"year": '),
        ("search", "somewhere", "whales", "--where", "[2020]"),
        ("search", "somewhere", "whales", "--mode", "fuzzy"),
        ("search", "somewhere", "--vector", "v.npy", "--mode", "hybrid"),
        ("add", "somewhere"),
        ("add", "somewhere", "in.jsonl", "--on-conflict", "merge"),
        ("add", "somewhere", "in.jsonl", "--passages", "10", "--overlap", "6"),
        ("delete", "somewhere"),
        ("delete", "somewhere", "--where", "year"),
        ("export", "somewhere", "out.csv"),
    ],
)
def test_wrong_usage_ends_with_2(run: Run, arguments: tuple[str, ...]) -> None:
    ended = run(*arguments)
    assert ended.code == 2
    assert ended.out == ""


def test_a_missing_input_ends_with_1(run: Run, tmp_path: Path) -> None:
    for command in (("search", "whales"), ("delete", "whales"), ("compact",), ("check",)):
        ended = run(command[0], tmp_path / "absent", *command[1:])
        assert (ended.code, ended.out) == (1, "")
        assert "no such collection" in ended.err
    ended = run("index", tmp_path / "absent.jsonl", "--out", tmp_path / "found")
    assert (ended.code, ended.out) == (1, "")
    assert "no such file" in ended.err


def test_a_corpus_in_place_of_a_collection_is_told_how_to_become_one(
    run: Run, corpus: Path
) -> None:
    ended = run("search", corpus, "whales", "--model", "minilm")
    assert ended.code == 1
    assert f"nestling index {corpus} --out FOLDER" in ended.err


def test_info_describes_an_index_a_model_and_the_machine(run: Run, folder: Path) -> None:
    facts = run("info", folder, "--json").json
    assert (facts["documents"], facts["dim"], facts["model"]) == (3, 256, "minilm")
    assert (facts["passages"], facts["segments"], facts["fields"]) == (3, 1, [])
    assert facts["fingerprint"] == HashingEncoder.fingerprint
    assert sum(facts["memory"].values()) > 0
    assert " bytes" in run("info", folder).out
    assert run("info", "minilm", "--json").json["dim"] == 384
    assert run("info", str(folder.parent), "--json").json["dim"] == 256
    machine = run("info", "--json").json
    assert machine["python"] == ".".join(map(str, sys.version_info[:3]))
    assert machine["threads"] == thread_count(None)
    assert machine["isa"] in machine["isas"]


@pytest.mark.parametrize("method", ["encode", "encode_queries"])
def test_the_encoder_of_these_tests_has_the_signatures_of_the_real_one(method: str) -> None:
    real, ours = (
        [
            (p.name, p.kind, p.default)
            for p in inspect.signature(getattr(c, method)).parameters.values()
        ]
        for c in (Encoder, HashingEncoder)
    )
    assert ours == real
