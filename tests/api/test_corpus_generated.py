"""Generated files of every form: a reader accepts and refuses exactly what the oracle says.

What it accepts, a collection stores; what is exported and imported again is the same, and filters
find every document that has a value.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpus_oracle import (
    ENTRIES,
    Generated,
    delimited_files,
    jsonl_files,
    make_folder,
    parquet_tables,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from nestling import Collection, CorpusError
from nestling.corpus import Document, Fields, ReadLog, read_documents
from nestling.inputs.bad_records import BadRecord

FIELDS = Fields(metadata=("*",))
MANY = 2_500  # files of each form, in the long tests


def typed(value: Any) -> Any:
    """A value with the types of its parts."""
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [typed(item) for item in value]
    return type(value), repr(value)


def parts(document: Any) -> tuple[Any, ...]:
    return document.text, document.id, document.title, typed(dict(document.metadata))


def check(source: Path, made: Generated) -> list[Document]:
    """Reads a file or folder with and without a log, and compares both with the oracle."""
    bad: list[BadRecord] = []
    notes: list[str] = []
    log = ReadLog(on_bad_record=bad.append, on_note=notes.append)
    if made.fault:
        with pytest.raises(CorpusError, match=source.name):
            list(read_documents(source, fields=FIELDS, log=log))
        return []
    documents = list(read_documents(source, fields=FIELDS, log=log))
    assert [parts(document) for document in documents] == [parts(d) for d in made.documents]
    assert [record.line for record in bad] == made.bad, bad
    assert len(notes) == made.notes, notes
    strict = read_documents(source, fields=FIELDS, log=ReadLog(on_note=notes.append))
    if made.bad:
        with pytest.raises(CorpusError) as caught:
            list(strict)
        assert bad[0].reason in str(caught.value)
        assert bad[0].source in str(caught.value)
    elif documents:
        assert list(strict) == documents
    else:
        with pytest.raises(CorpusError, match="found"):
            list(strict)
    return documents


def check_stored(folder: Path, documents: list[Document]) -> None:
    """Adds documents, exports and imports them, and counts by filters."""
    unique = {document.id: document for document in documents if document.id is not None}
    given = list(unique.values())
    with Collection(folder / "one", dim=2) as one, Collection(folder / "two", dim=2) as two:
        one.add(given, vectors=np.ones((len(given), 2)), progress=False)
        assert {d.id: parts(d) for d in one} == {d.id: parts(d) for d in given}
        for document in given:
            for name, value in document.metadata.items():
                if isinstance(value, (str, int, float)) and name:
                    same = [d for d in given if d.metadata.get(name) == value]
                    assert one.count({name: value}) == len(same), (name, value)
        one.export(folder / "export.jsonl")
        two.import_file(folder / "export.jsonl", progress=False)
        assert [parts(d) for d in two] == [parts(d) for d in one]


def both(examples: int, *marks: Any) -> Callable[[Any], Any]:
    """Decorates a test of generated files with the number of its examples."""

    def decorate(test: Any) -> Any:
        test = settings(max_examples=examples)(test)
        for mark in marks:
            test = mark(test)
        return test

    return decorate


def run_jsonl(file: tuple[bytes, Generated]) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "c.jsonl")
        path.write_bytes(file[0])
        documents = check(path, file[1])
        if len(documents) > 2:
            check_stored(Path(name), documents)


def run_delimited(file: tuple[bytes, Generated], suffix: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, f"c{suffix}")
        path.write_bytes(file[0])
        documents = check(path, file[1])
        if len(documents) > 2:
            check_stored(Path(name), documents)


def run_parquet(data: st.DataObject) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table, made = data.draw(parquet_tables(pa))
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "c.parquet")
        parquet.write_table(table, path)
        documents = check(path, made)
        if len(documents) > 2:
            check_stored(Path(name), documents)


def run_folder(kinds: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        check(Path(name), make_folder(Path(name), kinds))


KINDS = st.lists(st.sampled_from(ENTRIES), max_size=8)


@both(100)
@given(jsonl_files())
def test_jsonl_files(file: tuple[bytes, Generated]) -> None:
    run_jsonl(file)


@both(100)
@given(delimited_files())
def test_csv_files(file: tuple[bytes, Generated]) -> None:
    run_delimited(file, ".csv")


@both(60)
@given(st.data())
def test_parquet_files(data: st.DataObject) -> None:
    run_parquet(data)


@both(60)
@given(KINDS)
def test_folders(kinds: list[str]) -> None:
    run_folder(kinds)


@both(MANY, pytest.mark.long, pytest.mark.timeout(1800))
@given(jsonl_files())
def test_thousands_of_jsonl_files(file: tuple[bytes, Generated]) -> None:
    run_jsonl(file)


@both(MANY, pytest.mark.long, pytest.mark.timeout(1800))
@given(delimited_files("\t"))
def test_thousands_of_tsv_files(file: tuple[bytes, Generated]) -> None:
    run_delimited(file, ".tsv")


@both(MANY, pytest.mark.long, pytest.mark.timeout(1800))
@given(delimited_files())
def test_thousands_of_csv_files(file: tuple[bytes, Generated]) -> None:
    run_delimited(file, ".csv")


@both(MANY, pytest.mark.long, pytest.mark.timeout(1800))
@given(st.data())
def test_thousands_of_parquet_files(data: st.DataObject) -> None:
    run_parquet(data)


@both(MANY, pytest.mark.long, pytest.mark.timeout(1800))
@given(KINDS)
def test_thousands_of_folders(kinds: list[str]) -> None:
    run_folder(kinds)
