"""A corrupted database: each operation is right, or raises a NestlingError."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from collection_helpers import (
    TEXTS,
    execute,
    flip,
    opened,
    segments,
)

from nestling import (
    ClosedError,
    Collection,
    FormatError,
    MetadataError,
    NestlingError,
)
from nestling.collection import check
from nestling.collection.storage.database import DATABASE_FILE
from nestling.inputs.metadata import from_json


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("UPDATE documents SET text = 'forged' WHERE id = 'd5'", "d5"),
        ("UPDATE documents SET title = 'forged' WHERE id = 'd5'", "d5"),
        ("UPDATE documents SET metadata = '{}' WHERE id = 'd5'", "d5"),
        ("UPDATE documents SET id = 'forged' WHERE id = 'd5'", "forged"),
        ("UPDATE documents SET digest = x'00' WHERE id = 'd5'", "d5"),
        (
            "UPDATE documents SET spans = x'0000000000000000030000000000000000' WHERE id='d5'",
            "d5",
        ),
        (  # another place for the end of its passage
            "UPDATE documents SET spans = x'00000000000000000300000000000000' WHERE id = 'd5'",
            "d5",
        ),
        ("UPDATE documents SET row_checksum = '00' WHERE id = 'd5'", "d5"),
        ("UPDATE documents SET spans = 'text' WHERE id = 'd5'", "row 5"),
        ("UPDATE documents SET spans = 7 WHERE id = 'd5'", "row 5"),
        ("UPDATE documents SET text = x'ff' WHERE id = 'd5'", "row 5"),
    ],
)
def test_a_corrupted_document_is_never_returned(folder: Path, script: str, words: str) -> None:
    execute(folder, script)
    with opened(folder) as collection:
        for call in (
            lambda: collection.get(["d5", "forged"]),
            lambda: list(collection),
            lambda: collection.search("bread5", 100),
            lambda: collection.search("bread5", 100, mode="lexical"),
            lambda: collection.export(folder.parent / "e.jsonl"),
        ):
            with pytest.raises(FormatError, match=words):
                call()
        assert not (folder.parent / "e.jsonl").exists()
        problems = "\n".join(collection.check().problems)
        assert words in problems
        assert collection.get("d6") is not None


@pytest.mark.parametrize(
    "script",
    [
        "UPDATE segments SET first = first + 1 WHERE first = 12",
        "UPDATE segments SET last = last + 1 WHERE first = 12",
        "UPDATE segments SET last = last - 1 WHERE first = 24",
        "UPDATE segments SET rows = 'many'",
        "UPDATE segments SET name = '../../etc/passwd' WHERE first = 0",
        "UPDATE segments SET name = x'00' WHERE first = 0",
        "DELETE FROM segments WHERE first = 12",
        "UPDATE pending SET vectors = zeroblob(64)",
        "UPDATE pending SET vectors = 'x'",
        "UPDATE pending SET row = row + 100",
        "DELETE FROM pending",
        "UPDATE settings SET value = '[' WHERE name = 'encoder'",
        "UPDATE settings SET value = '17' WHERE name = 'dim'",
        "UPDATE settings SET value = '0' WHERE name = 'dim'",
        "UPDATE settings SET value = '\"ip\"' WHERE name = 'metric'",
        "UPDATE settings SET value = '{\"n\": \"f9\"}' WHERE name = 'fields'",
        "UPDATE settings SET value = '{\"n\": 3}' WHERE name = 'fields'",
        "DELETE FROM settings",
        "UPDATE fields SET f0 = f0 + 1",
        "UPDATE fields SET passages = 2 WHERE row = 5",
        "UPDATE fields SET passages = 'x' WHERE row = 5",
        "DELETE FROM fields WHERE row = 5",
        "INSERT INTO fields VALUES(1000, 1, 1)",
        "UPDATE state SET documents = documents + 1",
        "UPDATE state SET version = 'x'",
        "DELETE FROM state",
        "DELETE FROM documents WHERE id = 'd5'",
        "DELETE FROM removed",
        "INSERT INTO removed VALUES(5, 1)",
        "INSERT INTO removed VALUES(5, 'x')",
        "DROP TABLE state",
        "DROP TABLE documents",
    ],
)
def test_a_check_reports_every_corruption(folder: Path, script: str) -> None:
    execute(folder, script)
    report = check(folder)
    assert not report.ok
    assert len(str(report).splitlines()) > 1
    use(folder)


def use(folder: Path) -> str | None:
    """Uses all of a collection and checks every result; returns the name of the error, if any."""
    try:
        with opened(folder, lock_timeout=0) as collection:
            assert_right(collection)
    except NestlingError as error:
        return type(error).__name__
    return None


def assert_right(collection: Collection) -> None:
    """Every operation is right or raises a NestlingError; no document is wrong."""
    faults: list[str] = []

    def attempt(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except NestlingError as error:
            faults.append(str(error))
            return ()

    def right(id: str, text: str | None, metadata: Any) -> None:
        assert id in TEXTS
        assert text == TEXTS[id]
        assert metadata == {"n": int(id[1:]), "m": "x"}

    for document in attempt(lambda: list(collection)):
        right(document.id, document.text, document.metadata)
    for id in TEXTS:
        document = attempt(lambda id=id: collection.get(id))
        if document:
            assert document.id == id
            right(id, document.text, document.metadata)
    for mode in ("dense", "lexical", "hybrid"):
        for where in (None, {"n": {"$lt": 20}}, {"m": "x"}):
            for hit in attempt(
                lambda mode=mode, where=where: collection.search(
                    "apple bread7", 9, where, mode=mode, include=["text", "metadata", "vector"]
                )
            ):
                right(hit.id, hit.text, hit.metadata)
    attempt(collection.check)
    attempt(lambda: len(collection))
    attempt(lambda: collection.count({"n": 3}))
    attempt(lambda: collection.add(["stone"], ids=["new"]))
    attempt(lambda: collection.add(["river"], ids=["d1"]))
    attempt(lambda: collection.delete(["d2", "new"]))
    attempt(lambda: collection.delete(where={"n": {"$gt": 30}}))
    attempt(lambda: collection.declare("m"))
    attempt(lambda: collection.compact())


def flips(content: bytes, count: int, seed: int) -> Iterator[tuple[int, int]]:
    rng = random.Random(seed)
    for place in range(count):  # spread over the whole file
        low = len(content) * place // count
        yield (
            rng.randrange(low, max(low + 1, len(content) * (place + 1) // count)),
            rng.randrange(8),
        )


def flip_everywhere(folder: Path, tmp_path: Path, count: int, seed: int) -> None:
    content = (folder / DATABASE_FILE).read_bytes()
    for place, bit in flips(content, count, seed):
        copy = tmp_path / "copy"
        shutil.copytree(folder, copy)
        flip(copy / DATABASE_FILE, place, bit)
        try:
            check(copy)
            use(copy)
        except Exception as error:
            raise AssertionError(f"bit {bit} of byte {place:,}: {error!r}") from error
        shutil.rmtree(copy)


def test_a_flipped_bit_of_the_database_raises_or_is_harmless(folder: Path, tmp_path: Path) -> None:
    flip_everywhere(folder, tmp_path, 40, 1)


@pytest.mark.parametrize("value", [None, 3, "[]", "{", b"\xff"])
def test_stored_metadata_that_is_not_an_object_raises(value: Any) -> None:
    with pytest.raises(MetadataError, match="stored metadata"):
        from_json(value)


def test_a_schema_that_is_not_text_raises(folder: Path) -> None:
    """The module sqlite3 fails to decode SQLite's error message."""
    content = (folder / DATABASE_FILE).read_bytes()
    flip(folder / DATABASE_FILE, content.index(b"removed(version)") + 7, bit=7)
    assert use(folder) == "FormatError"
    assert not check(folder).ok


@pytest.mark.parametrize("column", [b"  bytes INTEGER", b"checksum TEXT NOT NULL\n) WITHOUT"])
@pytest.mark.parametrize("bit", [0, 7])
def test_a_column_with_another_name_raises(folder: Path, column: bytes, bit: int) -> None:
    content = (folder / DATABASE_FILE).read_bytes()
    flip(folder / DATABASE_FILE, content.index(column) + 2, bit)
    assert use(folder) == "FormatError"
    report = check(folder)
    assert any("lacks its column" in problem for problem in report.problems), report


@pytest.mark.parametrize("table", [b"documents", b"fields"])
def test_rows_without_their_number_raise(folder: Path, table: bytes) -> None:
    """Where the schema says another type, the column is not the number of the row."""
    content = (folder / DATABASE_FILE).read_bytes()
    place = content.index(b"row INTEGER", content.index(b"CREATE TABLE " + table))
    flip(folder / DATABASE_FILE, place + 4, bit=1)
    use(folder)
    assert not check(folder).ok


def test_a_database_that_cannot_be_opened_is_closed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def remembered(*arguments: Any, **options: Any) -> sqlite3.Connection:
        made.append(connect(*arguments, **options))
        return made[-1]

    execute(folder, "PRAGMA user_version = 99")
    monkeypatch.setattr(sqlite3, "connect", remembered)
    assert use(folder) == "FormatError"
    (folder / DATABASE_FILE).write_bytes(b"noise" * 2_000)
    assert use(folder) == "FormatError"
    assert made
    for connection in made:
        with pytest.raises((sqlite3.ProgrammingError, ClosedError), match="closed"):
            connection.execute("SELECT 1")


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_thousands_of_flipped_bits_raise_or_are_harmless(folder: Path, tmp_path: Path) -> None:
    flip_everywhere(folder, tmp_path, 3_000, 2)


def test_a_flipped_bit_of_a_segment_is_detected(folder: Path, tmp_path: Path) -> None:
    path = segments(folder)[0]
    content = path.read_bytes()
    for place, bit in flips(content, 60, 3):
        flip(path, place, bit)
        with pytest.raises(FormatError, match=path.name):
            opened(folder)
        path.write_bytes(content)
    assert use(folder) is None
