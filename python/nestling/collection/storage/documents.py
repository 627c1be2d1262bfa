"""Documents in the database, with their fields and words: insert, find, update, remove."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from nestling._util.value import Value
from nestling.collection.ingest.analysis import index_text
from nestling.collection.ingest.records import Record, Span, digest_of
from nestling.collection.storage.blobs import pack_spans, row_checksum, unpack_spans
from nestling.collection.storage.database import quoted
from nestling.errors import FormatError
from nestling.inputs.metadata import field_value, from_json

__all__ = [
    "DocumentKey",
    "StoredDocument",
    "document_at",
    "document_of",
    "documents_at",
    "documents_where",
    "find",
    "first_rows",
    "insert",
    "passage_texts",
    "remove",
    "update",
]

_COLUMNS: Final = "d.row, d.id, d.title, d.text, d.metadata, d.digest, d.spans, d.row_checksum"
_IDS_TOGETHER: Final = 10_000  # that are looked up in one statement
# Characters of the title that passages after the first one repeat: titles are shorter, and the work
# of a longer one must not be multiplied by the number of passages.
_REPEATED_TITLE: Final = 500
_FIRST: Final = "(SELECT max(row) FROM documents WHERE row <= given.value)"


class DocumentKey(NamedTuple):
    """What is compared before a document with the same id is stored.

    Attributes:
        row: Row of its first passage.
        digest: Digest of its contents.
    """

    row: int
    digest: bytes


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class StoredDocument(Value):
    """A document of a collection.

    Attributes:
        id: Its id, unique in the collection.
        text: The body.
        title: A heading, "" for none.
        metadata: The values that filters compare.
        spans: Start and end of each of its passages, in characters of the text.
        row: Row of its first passage; the rows of the next ones follow.

    Example:
        >>> with nestling.Collection("notes", dim=2) as notes:
        ...     _ = notes.add("bread", "a", {"year": 2024}, vectors=[1, 0])
        ...     notes.get("a")
        StoredDocument(id='a', text='bread', title='', metadata={'year': 2024}, spans=[(0, 5)], ...)
    """

    id: str
    text: str
    title: str
    metadata: dict[str, Any]
    spans: list[Span]
    row: int


def passage_texts(title: str, text: str, spans: Iterable[Span]) -> Iterator[str]:
    r"""Yields the text of each passage that is encoded and indexed: below the title, if any.

    The first passage has the whole title, the others its first 500 characters, to a whole word.

    Example:
        >>> list(passage_texts("Bread", "Flour. Water.", [(0, 6), (7, 13)]))
        ['Bread\nFlour.', 'Bread\nWater.']
    """
    for start, end in spans:
        yield f"{title}\n{text[start:end]}" if title else text[start:end]
        if len(title) > _REPEATED_TITLE:
            title = "".join(title[:_REPEATED_TITLE].rsplit(None, 1)[:1])


def insert(
    connection: sqlite3.Connection,
    records: Sequence[Record],
    first: int,
    columns: Mapping[str, str],
) -> int:
    """Stores records that have spans, from row `first` on; returns the row after the last."""
    documents, fields, words = [], [], []
    row = first
    for record in records:
        spans = record.spans or [(0, len(record.text))]
        blob = pack_spans(spans, len(record.text))
        documents.append(
            (
                row,
                record.id,
                record.title,
                record.text,
                record.json,
                record.digest,
                blob,
                row_checksum(row, record.digest, blob),
            )
        )
        fields.append((row, len(spans), *_values(record.metadata, columns)))
        texts = passage_texts(record.title, record.text, spans)
        words += [(row + offset, index_text(text)) for offset, text in enumerate(texts)]
        row += len(spans)
    connection.executemany("INSERT INTO documents VALUES(?, ?, ?, ?, ?, ?, ?, ?)", documents)
    marks = ", ".join("?" * (2 + len(columns)))
    names = "".join(f", {quoted(column)}" for column in columns.values())
    connection.executemany(f"INSERT INTO fields(row, passages{names}) VALUES({marks})", fields)
    connection.executemany("INSERT INTO words(rowid, text) VALUES(?, ?)", words)
    return row


def update(
    connection: sqlite3.Connection, row: int, record: Record, columns: Mapping[str, str]
) -> None:
    """Replaces the metadata of the document of `row`; its title and text stay."""
    (spans,) = connection.execute("SELECT spans FROM documents WHERE row = ?", (row,)).fetchone()
    connection.execute(
        "UPDATE documents SET metadata = ?, digest = ?, row_checksum = ? WHERE row = ?",
        (record.json, record.digest, row_checksum(row, record.digest, spans), row),
    )
    if columns:
        sets = ", ".join(f"{quoted(column)} = ?" for column in columns.values())
        connection.execute(
            f"UPDATE fields SET {sets} WHERE row = ?",  # noqa: S608 - names of columns
            (*_values(record.metadata, columns), row),
        )


def remove(connection: sqlite3.Connection, rows: Iterable[int]) -> list[int]:
    """Removes documents by their first rows, and returns the rows of all their passages."""
    gone: list[int] = []
    for row in rows:
        document = _read(connection, "d.row = ?", row)
        if document is None:
            continue
        texts = passage_texts(document.title, document.text, document.spans)
        words = [(row + offset, index_text(text)) for offset, text in enumerate(texts)]
        gone += range(row, row + len(document.spans))
        # A table without content removes words only if it is given the same text again.
        connection.executemany(
            "INSERT INTO words(words, rowid, text) VALUES('delete', ?, ?)", words
        )
        connection.execute("DELETE FROM documents WHERE row = ?", (row,))
        connection.execute("DELETE FROM fields WHERE row = ?", (row,))
    return gone


def find(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, DocumentKey]:
    """Returns the documents of these ids that are stored, by id."""
    query = "SELECT id, row, digest FROM documents WHERE id IN (SELECT value FROM json_each(?))"
    found = {}
    for start in range(0, len(ids), _IDS_TOGETHER):
        some = json.dumps(list(ids[start : start + _IDS_TOGETHER]))
        for id, row, digest in connection.execute(query, (some,)):
            found[id] = DocumentKey(row, digest)
    return found


def first_rows(connection: sqlite3.Connection, rows: Sequence[int]) -> list[int]:
    """Returns for each row of any passage the row of its document's first passage."""
    query = f"SELECT {_FIRST} FROM json_each(?) given"  # noqa: S608 - our own words
    return [first for (first,) in connection.execute(query, (json.dumps(list(rows)),))]


def documents_at(connection: sqlite3.Connection, rows: Sequence[int]) -> list[StoredDocument]:
    """Returns for each row of any passage its document.

    Raises:
        FormatError: A row has no document, or the document is corrupted.
    """
    query = f"SELECT {_COLUMNS} FROM json_each(?) given LEFT JOIN documents d ON d.row = {_FIRST}"  # noqa: S608
    found = []
    for row, line in zip(rows, connection.execute(query, (json.dumps(list(rows)),)), strict=True):
        document = None if line[0] is None else _document(line)
        if document is None or row >= document.row + len(document.spans):
            raise FormatError(f"the database lacks the document of row {row}")
        found.append(document)
    return found


def document_at(connection: sqlite3.Connection, row: int) -> StoredDocument:
    """Returns the document that has a passage in `row`.

    Raises:
        FormatError: There is none, or it is corrupted.
    """
    return documents_at(connection, [row])[0]


def document_of(connection: sqlite3.Connection, id: str, row: int) -> StoredDocument:
    """Returns the document at a row, and checks that it has this id.

    Raises:
        FormatError: It has another id, or it is corrupted.
    """
    document = document_at(connection, row)
    if document.id != id:
        raise FormatError(
            f"the id {id!r} leads to the document {document.id!r}: the database is corrupted"
        )
    return document


def documents_where(
    connection: sqlite3.Connection, condition: str, parameters: Sequence[Any], limit: int = -1
) -> Iterator[StoredDocument]:
    """Yields the documents that meet a condition over `d` (documents) and `f` (fields), by row.

    At most `limit` of them; all if it is negative.

    Raises:
        FormatError: A document is corrupted.
    """
    query = (
        f"SELECT {_COLUMNS} FROM documents d JOIN fields f ON f.row = d.row "  # noqa: S608
        f"WHERE {condition} ORDER BY d.row LIMIT ?"
    )
    for line in connection.execute(query, (*parameters, limit)):
        yield _document(line)


def _read(connection: sqlite3.Connection, condition: str, row: int) -> StoredDocument | None:
    query = f"SELECT {_COLUMNS} FROM documents d WHERE {condition}"  # noqa: S608 - our own words
    line = connection.execute(query, (row,)).fetchone()
    return None if line is None else _document(line)


def _document(line: tuple[Any, ...]) -> StoredDocument:
    row, id, title, text, metadata, digest, spans, checksum = line
    try:
        intact = digest_of(title, text, metadata, id=id) == digest
        if not intact or row_checksum(row, digest, spans) != checksum:
            raise FormatError(f"the document {id!r} is corrupted in the database")
        return StoredDocument(
            id, text, title, from_json(metadata), unpack_spans(spans, len(text)), row
        )
    except FormatError:
        raise
    except (TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"the document of row {row} is corrupted in the database") from error


def _values(metadata: Mapping[str, Any], columns: Mapping[str, str]) -> list[Any]:
    return [field_value(metadata, name) for name in columns]
