"""The commands that look after a collection: add, delete, check, compact, backup, export."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run
from hashing_encoder import HashingEncoder
from rich.console import Console

from nestling import Collection

RECORDS: list[dict[str, Any]] = [
    {"_id": "w", "title": "Whales", "text": "whales sing in the sea", "year": 2020, "lang": "en"},
    {"_id": "b", "text": "bees dance in the hive", "metadata": {"year": 2021}, "lang": "en"},
    {"_id": "c", "text": "القاهرة عاصمة مصر", "metadata": {"year": 2022}, "lang": "ar"},
]


def write(path: Path, records: Sequence[dict[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write(tmp_path / "corpus.jsonl", RECORDS)


@pytest.fixture
def folder(run: Run, corpus: Path, tmp_path: Path) -> Path:
    options = ("--metadata-fields", "year,lang", "--fields", "year")
    assert run("add", tmp_path / "c", corpus, *options).code == 0
    return tmp_path / "c"


def ids(run: Run, folder: Path, *arguments: object) -> list[str]:
    ended = run("search", folder, *arguments, "--json")
    assert ended.code == 0, ended.err
    return [hit["id"] for hit in ended.json["hits"]]


def test_add_makes_a_collection_with_metadata_and_fields(run: Run, folder: Path) -> None:
    with Collection(folder, HashingEncoder(), read_only=True) as collection:
        assert [document.metadata for document in collection] == [
            {"year": 2020, "lang": "en"},
            {"year": 2021, "lang": "en"},
            {"year": 2022, "lang": "ar"},
        ]
        assert collection.fields == ("year",)
    assert run("info", folder, "--json").json["fields"] == ["year"]
    assert run("info", folder, "--json").json["segments"] == 0


def test_add_makes_no_collection_with_no_create(run: Run, corpus: Path, tmp_path: Path) -> None:
    ended = run("add", tmp_path / "c", corpus, "--no-create")
    assert ended.code == 1
    assert "no such collection" in ended.err
    assert run("add", tmp_path / "c", tmp_path / "absent.jsonl").code == 1
    assert not (tmp_path / "c").exists()


def test_unchanged_documents_are_counted_and_not_encoded_again(
    run: Run, corpus: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []
    encode = HashingEncoder.encode

    def count(self: HashingEncoder, texts: Sequence[str], **options: Any) -> Any:
        encoded.extend(texts)
        return encode(self, texts, **options)

    monkeypatch.setattr(HashingEncoder, "encode", count)
    options = ("--metadata-fields", "year,lang")
    assert "3 unchanged" in run("add", folder, corpus, *options).out
    assert encoded == []
    changed = [RECORDS[0], {**RECORDS[1], "text": "bees hum"}, {**RECORDS[2], "lang": "fa"}]
    new = {"_id": "n", "text": "new"}
    done = run("add", folder, write(corpus, [*changed, new]), *options, "--json").json
    names = ("added", "replaced", "updated", "unchanged", "documents")
    assert [done[name] for name in names] == [1, 1, 1, 1, 4]
    assert encoded == ["bees hum", "new"]


@pytest.mark.parametrize(
    ("choice", "code", "text"),
    [("skip", 0, "bees dance in the hive"), ("replace", 0, "hum"), ("error", 1, "bees dance")],
)
def test_a_conflict_ends_as_chosen(
    run: Run, folder: Path, tmp_path: Path, choice: str, code: int, text: str
) -> None:
    path = write(tmp_path / "more.jsonl", [{"id": "b", "text": "bees hum"}])
    ended = run("add", folder, path, "--on-conflict", choice)
    assert ended.code == code
    assert ("'b' is already in the collection" in ended.err) == (choice == "error")
    with Collection(folder, read_only=True) as collection:
        document = collection.get("b")
        assert document is not None
        assert text in document.text


def test_stdin_is_added_as_texts_or_records(run: Run, folder: Path) -> None:
    assert "2 added" in run("add", folder, "-", stdin="one text\n\nanother text\n").out
    assert "2 unchanged" in run("add", folder, "-", stdin="another text\none text\n").out
    record = '{"id": "j", "text": "of JSON", "metadata": {"year": 1}}'
    assert "1 added" in run("add", folder, "-", stdin=record).out
    assert ids(run, folder, "text", "--where", '{"year": 1}') == ["j"]
    ended = run("add", folder, "-", stdin=f"{record}\nplain\n")
    assert ended.code == 1
    assert "stdin, line 2" in ended.err


def test_an_interrupted_add_resumes_from_what_was_committed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = write(
        tmp_path / "many.jsonl", [{"id": str(i), "text": f"text {i}"} for i in range(5000)]
    )
    patience = "nestling.collection.ingestor._MAX_COMMIT_SECONDS"
    monkeypatch.setattr(patience, 0.0)
    encode = HashingEncoder.encode
    calls = []

    def interrupt(self: HashingEncoder, texts: Sequence[str], **options: Any) -> Any:
        calls.append(len(texts))
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return encode(self, texts, **options)

    monkeypatch.setattr(HashingEncoder, "encode", interrupt)
    assert run("add", tmp_path / "c", many).code == 130
    assert run("check", tmp_path / "c").code == 0
    monkeypatch.setattr(patience, 10.0)
    done = run("add", tmp_path / "c", many, "--json").json
    assert done["unchanged"] == calls[0] > 0
    assert done["added"] == 5000 - calls[0]
    assert done["documents"] == 5000


def test_a_document_that_cannot_be_stored_is_named_with_its_corpus(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    path = write(tmp_path / "bad.jsonl", [{"text": "a"}, {"text": "b", "metadata": {"n": 2**70}}])
    ended = run("add", folder, path)
    assert ended.code == 1
    assert "bad.jsonl, line 2: metadata['n']" in " ".join(ended.err.split())
    assert len(ids(run, folder, "a")) == 3


def test_splitting_unlike_the_collection_is_wrong_usage(
    run: Run, corpus: Path, folder: Path
) -> None:
    ended = run("add", folder, corpus, "--passages", 10)
    assert ended.code == 2
    assert "was made with passages" in " ".join(ended.err.replace("│", " ").split())
    assert run("add", folder, corpus, "--precision", "float32").code == 2
    assert run("search", folder, "whales", "--precision", "float32").code == 2
    assert run("add", folder, corpus, "--model", "e5").code == 1


def test_passages_are_split_as_requested(run: Run, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("One sentence. Another one. The third.")
    done = run("add", tmp_path / "c", tmp_path / "long.txt", "--passages", 28, "--overlap", 0)
    assert done.code == 0
    (hit,) = run("search", tmp_path / "c", "the third", "--json").json["hits"]
    assert (hit["text"], hit["passage"], hit["start"], hit["end"]) == ("The third.", 1, 27, 37)
    assert run("info", tmp_path / "c", "--json").json["split"] == {"size": 28, "overlap": 0}


def test_titles_count_as_often_as_requested(run: Run, tmp_path: Path) -> None:
    lines = [{"id": "text", "text": "whales sing"}, {"id": "title", "title": "whales", "text": "a"}]
    corpus = tmp_path / "c.jsonl"
    corpus.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert run("add", tmp_path / "c", corpus, "--title-weight", 9).code == 0
    assert ids(run, tmp_path / "c", "whales", "--mode", "lexical") == ["title", "text"]
    assert run("info", tmp_path / "c", "--json").json["title_weight"] == 9
    assert run("add", tmp_path / "c", corpus, "--title-weight", 8).code == 2


def test_filters_and_modes_choose_documents(run: Run, folder: Path) -> None:
    assert ids(run, folder, "bees", "--where", '{"year": {"$gte": 2021}}') == ["b", "c"]
    assert sorted(ids(run, folder, "sea bees", "--mode", "lexical")) == ["b", "w"]
    assert ids(run, folder, "عاصمه", "--mode", "lexical") == ["c"]
    assert ids(run, folder, "bees", "--mode", "hybrid", "-k", 1) == ["b"]
    assert run("search", folder, "bees", "--mode", "hybrid", "--json").json["mode"] == "hybrid"
    ended = run("search", folder, "bees", "--where", '{"year": {"$most": 1}}')
    assert (ended.code, ended.out) == (1, "")
    assert "$most" in ended.err
    assert "nothing found" in run("search", folder, "bees", "--where", '{"year": 1}').out


def test_a_file_of_synonyms_is_searched_by(run: Run, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("# honey\napiary, bees\n")
    by_words = ("search", folder, "apiary", "--synonyms", tmp_path / "s.txt", "--mode", "lexical")
    assert [hit["id"] for hit in run(*by_words, "--json").json["hits"]] == ["b"]
    assert ids(run, folder, "apiary", "--mode", "lexical") == []
    dense = run("search", folder, "apiary", "--synonyms", tmp_path / "s.txt")
    assert dense.code == 2
    assert "searches by words" in dense.err
    (tmp_path / "s.txt").write_text("apiary\n")
    assert run(*by_words).code == 1
    assert "line 1: 'apiary' has one member" in run(*by_words).err


def test_misspelt_words_are_searched_for_if_so_chosen(run: Run, folder: Path) -> None:
    assert ids(run, folder, "beess", "--mode", "lexical") == []
    assert ids(run, folder, "beess", "--mode", "lexical", "--fuzzy") == ["b"]
    dense = run("search", folder, "beess", "--fuzzy")
    assert dense.code == 2
    assert "searches by words" in dense.err


def test_vectors_search_a_collection(run: Run, folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "q.npy", HashingEncoder().encode(["bees dance", "whales sing"]))
    ended = run("search", folder, "--vector", tmp_path / "q.npy", "-k", 1, "--json")
    answers = [json.loads(line) for line in ended.out.splitlines()]
    assert [answer["hits"][0]["id"] for answer in answers] == ["b", "w"]
    np.save(tmp_path / "q.npy", np.ones((1, 8), np.float32))
    assert run("search", folder, "--vector", tmp_path / "q.npy").code == 1


def test_a_nest_file_has_no_words_and_no_metadata(run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.eye(5, 8, dtype=np.float32))
    run("index", tmp_path / "v.npy", "--out", tmp_path / "v.nest")
    query = ("--vector", tmp_path / "v.npy")
    assert run("search", tmp_path / "v.nest", *query, "--where", "{}").code == 2
    assert run("search", tmp_path / "v.nest", "whales", "--mode", "lexical").code == 2


def test_matched_words_are_highlighted_on_a_terminal(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hit = run("search", folder, "whales which sings", "-k", 1, "--json").json["hits"][0]
    marked = [hit["text"][start:end] for start, end in hit["highlights"]]
    assert marked == ["whales", "sing"]
    monkeypatch.setattr(
        "nestling.cli.results.console",
        lambda: Console(force_terminal=True, color_system="standard", soft_wrap=True, width=80),
    )
    out = run("search", folder, "whales which sings", "-k", 1).out
    assert "\x1b[1;33mwhales\x1b[0m" in out
    assert '{"year": 2020, "lang": "en"}' in out


def test_explain_shows_the_filter_and_the_stages(run: Run, folder: Path) -> None:
    arguments = ("search", folder, "bees", "--where", '{"year": 2021}', "--explain")
    out = run(*arguments).out
    assert all(word in out for word in ("rows seen", "bytes read", "1 row passed the filter"))
    found = run(*arguments, "--json").json["explanation"]
    assert found["allowed"] == 1
    assert found["stages"][-1]["rows_kept"] == 1


def test_documents_are_deleted_by_id_and_by_filter(run: Run, folder: Path) -> None:
    assert run("delete", folder, "w", "absent", "--json").json["removed"] == 1
    arguments = ("delete", folder, "b", "c", "--where", '{"lang": "ar"}')
    assert run(*arguments, "--json").json == {"folder": str(folder), "removed": 1, "documents": 1}
    assert ids(run, folder, "whales") == ["b"]
    assert "1 removed" in run("delete", folder, "--where", "{}").out
    assert run("check", folder).code == 0


def test_compact_merges_segments_and_frees_space(run: Run, folder: Path, tmp_path: Path) -> None:
    run("compact", folder)
    run("add", folder, write(tmp_path / "more.jsonl", [{"id": "n", "text": "new"}]))
    run("delete", folder, "w")
    report = run("compact", folder, "--json").json
    assert (report["before"]["segments"], report["before"]["removed"]) == (1, 1)
    assert (report["after"]["segments"], report["after"]["removed"]) == (1, 0)
    assert "segments: 1 → 1" in run("compact", folder).out


def damage(folder: Path) -> None:
    (segment,) = (folder / "segments").glob("*.nest")
    content = bytearray(segment.read_bytes())
    content[-70] ^= 1
    segment.write_bytes(content)


def test_check_lists_problems_and_repairs_them(run: Run, folder: Path) -> None:
    assert run("check", folder, "--json").json["ok"]
    run("compact", folder)
    found = ids(run, folder, "whales")
    damage(folder)
    ended = run("check", folder)
    assert ended.code == 1
    assert "problems" in ended.out
    ended = run("check", folder, "--json")
    assert (ended.code, ended.json["ok"], ended.json["repaired"]) == (1, False, [])
    assert any(".nest" in problem for problem in ended.json["problems"])
    ended = run("check", folder, "--repair", "--json")
    assert (ended.code, ended.json["ok"], len(ended.json["repaired"])) == (0, True, 1)
    assert run("check", folder, "--repair", "--json").json["repaired"] == []
    assert ids(run, folder, "whales") == found


def test_check_fails_where_nothing_can_be_rebuilt(run: Run, folder: Path) -> None:
    run("compact", folder)
    for left in folder.glob("collection.db-*"):
        left.unlink()
    database = folder / "collection.db"
    database.write_bytes(database.read_bytes().replace(b"bees dance", b"bees prance"[:10]))
    ended = run("check", folder, "--repair", "--json")
    assert ended.code == 1
    assert not ended.json["ok"]
    assert any("corrupted" in problem for problem in ended.json["problems"])


def test_a_backup_is_a_collection(run: Run, folder: Path, tmp_path: Path) -> None:
    ended = run("backup", folder, tmp_path / "copy", "--json")
    assert ended.json["documents"] == 3
    assert ids(run, tmp_path / "copy", "whales", "-k", 1) == ["w"]
    ended = run("backup", folder, tmp_path / "copy")
    assert ended.code == 1
    assert "the target exists" in ended.err


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_an_export_is_added_without_being_encoded(
    run: Run, folder: Path, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    out = tmp_path / f"out{suffix}"
    assert run("export", folder, out, "--where", '{"lang": "en"}', "--json").json["documents"] == 2
    assert run("export", folder, out).code == 1
    assert run("export", folder, out, "--force").code == 0
    with monkeypatch.context() as patched:
        patched.setattr(HashingEncoder, "encode", lambda *_: pytest.fail("encoded"))
        assert run("add", tmp_path / "d", out, "--json").json["added"] == 3
        assert run("index", out, "--out", tmp_path / "e").code == 0
    assert run("export", folder, out, "--no-vectors", "--force").code == 0
    assert run("add", tmp_path / "f", out, "--json").json["added"] == 3
    first = run("search", folder, "whales", "bees", "--json").out
    for other in "def":
        assert run("search", tmp_path / other, "whales", "bees", "--json").out == first
