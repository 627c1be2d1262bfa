"""Corpora: every form is read as it is written, and every fault names its file and line."""

from __future__ import annotations

import datetime
import decimal
import io
import json
from pathlib import Path
from typing import Any

import pytest

from nestling.corpus import Document, Fields, read_documents, read_lines, read_stream
from nestling.errors import CorpusError

ARABIC = "القاهرة عاصمة مصر، وهي أكبر مدنها."


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(path: Path, **fields: Any) -> list[Document]:
    return list(read_documents(path, fields=Fields(**fields)))


def test_a_folder_gives_its_text_files_by_path_at_any_depth(tmp_path: Path) -> None:
    write(tmp_path / "b.md", "# Beta\n\nbody\n")
    write(tmp_path / "a.TXT", ARABIC)
    write(tmp_path / "deep" / "er" / "c.txt", "sea")
    assert read(tmp_path) == [
        Document(ARABIC, id="a.TXT"),
        Document("# Beta\n\nbody", id="b.md"),
        Document("sea", id="deep/er/c.txt"),
    ]


def test_a_folder_passes_over_hidden_empty_and_other_files(tmp_path: Path) -> None:
    write(tmp_path / "kept.txt", "kept")
    write(tmp_path / ".hidden.txt", "hidden")
    write(tmp_path / ".git" / "description.txt", "hidden")
    write(tmp_path / "blank.txt", " \n")
    write(tmp_path / "picture.png", b"\x89PNG")
    assert [document.id for document in read(tmp_path)] == ["kept.txt"]


def test_one_text_file_is_one_document(tmp_path: Path) -> None:
    path = write(tmp_path / "note.txt", "two\nlines\n")
    assert read(path) == [Document("two\nlines", id="note.txt")]


def test_the_layout_of_beir_is_read_as_it_is(tmp_path: Path) -> None:
    lines = [{"_id": "7", "title": "Cairo", "text": ARABIC, "metadata": {}}, {"text": "no more"}]
    path = write(tmp_path / "c.jsonl", "\n\n".join(map(json.dumps, lines)))
    assert read(path) == [Document(ARABIC, id="7", title="Cairo"), Document("no more")]


def test_a_passage_is_the_title_above_the_text() -> None:
    assert Document("body", title="Head").passage == "Head\nbody"
    assert Document("body").passage == "body"


def test_fields_have_other_names_where_they_are_given(tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", '{"body": "b", "key": 3, "id": "other", "text": "t"}')
    assert read(path, text="body", id="key") == [Document("b", id="3")]


@pytest.mark.parametrize("id_", [0, 12, "0"])
def test_an_id_is_a_string_even_if_it_is_zero(tmp_path: Path, id_: object) -> None:
    path = write(tmp_path / "c.jsonl", json.dumps({"id": id_, "text": "t"}))
    assert read(path)[0].id == str(id_)


def test_csv_fields_may_hold_quotes_commas_and_line_ends(tmp_path: Path) -> None:
    path = write(tmp_path / "c.csv", 'id,text\r\n1,"a, ""b""\r\nc"\r\n2,plain\r\n')
    assert read(path) == [Document('a, "b"\nc', id="1"), Document("plain", id="2")]


def test_a_csv_field_may_be_long(tmp_path: Path) -> None:
    path = write(tmp_path / "c.csv", f"text\n{'word ' * 60_000}\n")
    assert len(read(path)[0].text) == 300_000


def test_tsv_is_separated_by_tabs(tmp_path: Path) -> None:
    assert read(write(tmp_path / "c.tsv", "id\ttext\n1\ta, b\n")) == [Document("a, b", id="1")]


def test_parquet_rows_are_documents(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"id": [1, 2], "text": ["one", ARABIC], "more": [0.5, 1.5]})
    parquet.write_table(table, tmp_path / "c.parquet")
    assert read(tmp_path / "c.parquet") == [Document("one", id="1"), Document(ARABIC, id="2")]


def test_parquet_that_is_none_says_so(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow.parquet")
    with pytest.raises(CorpusError, match=r"c\.parquet: not a readable parquet file"):
        read(write(tmp_path / "c.parquet", "text\n"))


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(CorpusError, match=r"pip install 'nestling\[parquet\]'"):
        read(write(tmp_path / "c.parquet", "PAR1"))


def test_the_metadata_of_a_record_is_that_of_the_document(tmp_path: Path) -> None:
    known = {"year": 2020, "tags": ["a", "b"], "author": {"name": "Ibn Sina"}}
    lines = [{"text": "t", "metadata": known, "more": 1}, {"text": "u", "metadata": None}]
    path = write(tmp_path / "c.jsonl", "\n".join(map(json.dumps, lines)))
    assert [document.metadata for document in read(path)] == [known, {}]
    path = write(tmp_path / "c.csv", 'text,metadata\nt,"{""year"": 2020}"\nu,\n')
    assert [document.metadata for document in read(path)] == [{"year": 2020}, {}]


def test_named_fields_become_metadata_beside_it(tmp_path: Path) -> None:
    record = {"_id": 1, "text": "t", "title": "T", "metadata": {"a": 1, "b": 2}, "b": 3, "c": [4]}
    path = write(tmp_path / "c.jsonl", json.dumps({**record, "d": None}))
    assert read(path, metadata=("b", "d", "absent"))[0].metadata == {"a": 1, "b": 3}
    assert read(path, metadata=("*",))[0].metadata == {"a": 1, "b": 3, "c": [4]}
    assert read(path, metadata=("*",), text="title")[0].metadata["text"] == "t"


def test_numbers_of_a_csv_file_are_numbers_and_empty_cells_absent(tmp_path: Path) -> None:
    cells = {"a": "2020", "b": "-1.50", "c": "007", "d": "", "e": "1e3", "f": "9" * 30, "g": "0"}
    path = write(tmp_path / "c.csv", f"text,{','.join(cells)}\nt,{','.join(cells.values())}")
    found = {"a": 2020, "b": -1.5, "c": "007", "e": 1000.0, "f": "9" * 30, "g": 0}
    assert read(path, metadata=("*",))[0].metadata == found
    assert read(path, metadata=("a", "d"))[0].metadata == {"a": 2020}
    assert read(path)[0].metadata == {}


def test_parquet_values_become_json_values(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {
        "text": ["t"],
        "day": [datetime.date(2020, 5, 1)],
        "price": [decimal.Decimal("1.50")],
        "gone": [float("nan")],
        "tags": [["a"]],
        "metadata": [{"lang": "ar"}],
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "c.parquet")
    found = {"lang": "ar", "day": "2020-05-01", "price": 1.5, "tags": ["a"]}
    assert read(tmp_path / "c.parquet", metadata=("*",))[0].metadata == found
    found = {"lang": "ar", "tags": ["a"]}
    assert read(tmp_path / "c.parquet", metadata=("tags",))[0].metadata == found


@pytest.mark.parametrize("name", ["c.jsonl", "c.csv", "c.txt"])
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path, name: str) -> None:
    content = {"c.jsonl": '{"text": "t"}', "c.csv": "text\nt\n", "c.txt": "t"}[name]
    path = write(tmp_path / name, b"\xef\xbb\xbf" + content.encode())
    assert [document.text for document in read(path)] == ["t"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.jsonl", '{"text": "a"}\n{"text": ', r"c\.jsonl, line 2: not JSON"),
        ("c.jsonl", '{"text": "a"}\n["b"]\n', r"line 2: expected a JSON object, not a list"),
        (
            "c.jsonl",
            '{"body": "a"}',
            r"line 1: no field 'text'; .* are 'body'.*--text-field",
        ),
        ("c.jsonl", '{"text": 3}', r"line 1: field 'text' must be a string, but is 3"),
        ("c.jsonl", '{"text": null}', r"line 1: field 'text' must be a string, but is absent"),
        ("c.jsonl", "[" * 100_000, r"line 1: not JSON"),
        ("c.jsonl", b'{"text": "a"}\n{"text": "\xe9"}', r"line 2: not UTF-8 \(byte 0xe9"),
        ("c.jsonl", '{"text": "a"}'.encode("utf-16"), r"the file is UTF-16; save it as UTF-8"),
        ("c.jsonl", "\n\n", r"c\.jsonl: no documents found"),
        ("c.csv", "body\na\n", r"c\.csv, line 1: no field 'text'"),
        ("c.csv", "id,text\n1,a\n2\n", r"line 3: 1 cells, but there are 2 columns"),
        ("c.csv", 'text\n"open\n', r"c\.csv, line 2: not CSV"),
        ("c.csv", 'text\na\n"b\nc\nd\n', r"line 5: not CSV.*begins in line 3: is a quote"),
        ("c.csv", b"text\na\n\xff\n", r"line 3: not UTF-8"),
        ("c.csv", "text\n", r"no documents found"),
        ("c.csv", "", r"no documents found"),
        ("c.jsonl", '{"text": "a", "metadata": "b"}', r"line 1: field 'metadata' must be a JSON"),
        ("c.jsonl", '{"text": "a", "metadata": "{"}', r"line 1: field 'metadata' is not JSON"),
        ("c.jsonl", '{"text": "a", "metadata": [1]}', r"line 1: .* but is list"),
        ("c.txt", b"caf\xe9", r"c\.txt: not UTF-8"),
        ("c.pdf", "%PDF", r"c\.pdf: this form cannot be read; expected a folder"),
    ],
)
def test_a_fault_names_its_place(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(CorpusError, match=message):
        read(write(tmp_path / name, content))


def test_a_missing_id_field_that_was_asked_for_is_a_fault(tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", '{"text": "a", "id": 1}')
    with pytest.raises(CorpusError, match=r"no field 'key'.*--id-field"):
        read(path, id="key")


def test_a_column_that_was_asked_for_is_in_every_table(tmp_path: Path) -> None:
    path = write(tmp_path / "c.csv", "text,year\na,2020\n")
    with pytest.raises(CorpusError, match=r"no field 'yaer'; .* 'year'.*--metadata-fields"):
        read(path, metadata=("yaer",))


def test_what_is_not_there_is_told_before_reading(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no such file or folder"):
        read_documents(tmp_path / "absent.jsonl")


def test_a_folder_without_text_is_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"no \.txt or \.md file"):
        read(tmp_path)


def test_reading_streams(tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", '{"text": "a"}\n' * 3 + "broken\n")
    documents = read_documents(path)
    assert next(documents).text == "a"


def test_lines_of_a_stream_keep_their_count() -> None:
    stream = io.BytesIO(f"\ufeffone\r\n\n{ARABIC}".encode())
    assert list(read_lines(stream, "stdin")) == ["one", "", ARABIC]
    with pytest.raises(CorpusError, match="stdin, line 2: not UTF-8"):
        list(read_lines(io.BytesIO(b"a\n\xff\n"), "stdin"))


def stream(content: str, **fields: Any) -> list[Document]:
    return list(read_stream(io.BytesIO(content.encode()), "stdin", fields=Fields(**fields)))


def test_a_stream_holds_texts_or_records() -> None:
    assert stream(f"\n one \n{ARABIC}\n") == [Document("one"), Document(ARABIC)]
    records = '\n{"_id": 1, "text": "one", "year": 2020}\n\n{"text": "two"}'
    assert stream(records, metadata=("year",)) == [
        Document("one", id="1", metadata={"year": 2020}),
        Document("two"),
    ]
    with pytest.raises(CorpusError, match="stdin, line 2: not JSON"):
        stream('{"text": "one"}\ntwo')
    with pytest.raises(CorpusError, match="stdin: no documents found"):
        stream("\n \n")


def test_a_document_with_metadata_can_be_in_a_set() -> None:
    assert len({Document("a", metadata={"b": 1}), Document("a", metadata={"b": 1})}) == 1
