"""Documents in the database, with their fields: insert, find, update, remove."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import repeat
from typing import Any, Final, NamedTuple

from nestling._util.value import Value
from nestling.collection.ingest.records import Record, Span, digest_of
from nestling.collection.storage.blobs import (
    SPAN_BYTES,
    pack_spans,
    row_checksum,
    unpack_span,
    unpack_spans,
)
from nestling.collection.storage.database import quoted
from nestling.collection.storage.document_ids import DocumentIds
from nestling.errors import FormatError
from nestling.inputs.metadata import field_value, from_json

__all__ = [
    "DocumentKey",
    "DocumentLine",
    "StoredDocument",
    "document_at",
    "document_of",
    "documents_where",
    "find",
    "ids_between",
    "insert",
    "lines_at",
    "passage_texts",
    "passages_between",
    "remove",
    "span",
    "titled_passages",
    "titled_passages_between",
    "update",
]

_FEW: Final = 32  # rows that a statement names one by one, which is faster than a list in JSON
_MAX_VERIFIED: Final = 1_000_000  # rows that are remembered as verified
_IDS_TOGETHER: Final = 10_000  # that are looked up in one statement
# Characters of the title that passages after the first one repeat: titles are shorter, and the work
# of a longer one must not be multiplied by the number of passages.
_REPEATED_TITLE: Final = 500


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


Line = tuple[int, str, str, str, str, bytes, bytes | None, str]
"""The fields of a `DocumentLine`."""


class DocumentLine(NamedTuple):
    """A document as the database holds it.

    Attributes:
        row: Row of its first passage.
        id: Its id.
        title: Its heading.
        text: The body.
        metadata: JSON.
        digest: Digest of the id, the title, the text and the metadata.
        packed_spans: Its passages; None for a single one of the whole text.
        checksum: Checksum of the row, the digest and the spans.
    """

    row: int
    id: str
    title: str
    text: str
    metadata: str
    digest: bytes
    packed_spans: bytes | None
    checksum: str

    @property
    def passages(self) -> int:
        """Number of its passages."""
        return 1 if self.packed_spans is None else len(self.packed_spans) // SPAN_BYTES

    def verify(self) -> None:
        """Compares the digest and the checksum.

        Raises:
            FormatError: The document is corrupted.
        """
        try:
            digest = digest_of(self.title, self.text, self.metadata, id=self.id)
            checksum = row_checksum(self.row, self.digest, self.packed_spans)
        except (TypeError, ValueError, AttributeError) as error:
            raise self._corrupted() from error
        if digest != self.digest or checksum != self.checksum:
            raise FormatError(f"the document {self.id!r} is corrupted in the database")

    def document(self) -> StoredDocument:
        """Returns the document.

        Raises:
            FormatError: It is corrupted, and was not verified.
        """
        try:
            spans = unpack_spans(self.packed_spans, len(self.text))
            metadata = from_json(self.metadata)
        except (TypeError, ValueError) as error:
            raise self._corrupted() from error
        return StoredDocument(self.id, self.text, self.title, metadata, spans, self.row)

    def _corrupted(self) -> FormatError:
        return _corrupted(self.row)


_SELECT: Final = (
    "SELECT d.row, d.id, d.title, d.text, d.metadata, d.digest, d.spans, d.row_checksum "
    "FROM documents d"
)
_AT: Final = f"{_SELECT} WHERE d.row IN (SELECT value FROM json_each(?))"  # noqa: S608 - no values


def passage_texts(title: str, text: str, spans: Iterable[Span]) -> Iterator[str]:
    r"""Yields the text of each passage that is encoded and indexed: below the title, if any.

    The first passage has the whole title, the others its first 500 characters, to a whole word.

    Example:
        >>> list(passage_texts("Bread", "Flour. Water.", [(0, 6), (7, 13)]))
        ['Bread\nFlour.', 'Bread\nWater.']
    """
    for start, end in spans:
        yield f"{title}\n{text[start:end]}" if title else text[start:end]
        title = _repeated(title)


def titled_passages(title: str, text: str, spans: Iterable[Span]) -> Iterator[tuple[str, str]]:
    r"""Yields what passages repeat of the title, with the text of each as `passage_texts` has it.

    Example:
        >>> list(titled_passages("Bread", "Flour. Water.", [(0, 6), (7, 13)]))
        [('Bread', 'Bread\nFlour.'), ('Bread', 'Bread\nWater.')]
    """
    return zip(repeat(_repeated(title)), passage_texts(title, text, spans))


def _repeated(title: str) -> str:
    if len(title) <= _REPEATED_TITLE:
        return title
    return "".join(title[:_REPEATED_TITLE].rsplit(None, 1)[:1])


def insert(
    connection: sqlite3.Connection,
    records: Sequence[Record],
    first: int,
    columns: Mapping[str, str],
) -> int:
    """Stores records that have spans, from row `first` on; returns the row after the last."""
    documents, fields = [], []
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
        row += len(spans)
    connection.executemany("INSERT INTO documents VALUES(?, ?, ?, ?, ?, ?, ?, ?)", documents)
    marks = ", ".join("?" * (2 + len(columns)))
    names = "".join(f", {quoted(column)}" for column in columns.values())
    connection.executemany(f"INSERT INTO fields(row, passages{names}) VALUES({marks})", fields)
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
        line = connection.execute(f"{_SELECT} WHERE d.row = ?", (row,)).fetchone()
        if line is None:
            continue
        document = _verified(line).document()
        gone += range(row, row + len(document.spans))
        connection.execute("DELETE FROM documents WHERE row = ?", (row,))
        connection.execute("DELETE FROM fields WHERE row = ?", (row,))
    return gone


def ids_between(connection: sqlite3.Connection, first: int, last: int) -> DocumentIds:
    """Returns the documents whose first rows are `first` to `last`, counted from `first`.

    Corrupted ones are left out, so that the others can still be found.
    """
    rows, passages, ids = [], [], []
    query = f"{_SELECT} WHERE d.row BETWEEN ? AND ? ORDER BY d.row"
    for values in connection.execute(query, (first, last)):
        with suppress(FormatError):
            line = _verified(values)
            rows.append(line.row - first)
            passages.append(line.passages)
            ids.append(line.id)
    return DocumentIds.of(rows, passages, ids)


def passages_between(
    connection: sqlite3.Connection, first: int, last: int
) -> Iterator[tuple[int, str]]:
    """Yields row and text of each passage of the documents whose first rows are `first` to `last`.

    Raises:
        FormatError: A document is corrupted.
    """
    for row, (_, text) in titled_passages_between(connection, first, last):
        yield row, text


def titled_passages_between(
    connection: sqlite3.Connection, first: int, last: int
) -> Iterator[tuple[int, tuple[str, str]]]:
    """Yields row and `titled_passages` of the documents whose first rows are `first` to `last`.

    Raises:
        FormatError: A document is corrupted.
    """
    query = f"{_SELECT} WHERE d.row BETWEEN ? AND ? ORDER BY d.row"
    for values in connection.execute(query, (first, last)):
        document = _verified(values).document()
        passages = titled_passages(document.title, document.text, document.spans)
        yield from enumerate(passages, document.row)


def find(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, DocumentKey]:
    """Returns the documents of these ids that are stored, by id.

    Raises:
        FormatError: A row is not a number.
    """
    query = "SELECT id, row, digest FROM documents WHERE id IN (SELECT value FROM json_each(?))"
    found = {}
    for start in range(0, len(ids), _IDS_TOGETHER):
        some = json.dumps(list(ids[start : start + _IDS_TOGETHER]))
        for id, row, digest in connection.execute(query, (some,)):
            if not isinstance(row, int):
                raise FormatError(f"the row of the document {id!r} is corrupted in the database")
            found[id] = DocumentKey(row, digest)
    return found


def lines_at(
    connection: sqlite3.Connection, rows: Iterable[int], verified: set[int]
) -> dict[int, Line]:
    """Returns documents by their first rows, read by one statement.

    Args:
        connection: A transaction.
        rows: The first rows.
        verified: Rows whose digests need not be compared; those that were compared are added.

    Raises:
        FormatError: A row has no document, or the document is corrupted.
    """
    given = list(rows)
    if len(given) <= _FEW:
        found = connection.execute(_at(len(given)), given).fetchall()
    else:
        found = connection.execute(_AT, (json.dumps(given),)).fetchall()
    lines: dict[int, Line] = {line[0]: line for line in found}
    if len(lines) < len(given):
        row = next(row for row in given if row not in lines)
        raise FormatError(f"the database lacks the document of row {row}")
    if len(verified) > _MAX_VERIFIED:
        verified.clear()
    for row, line in lines.items():
        if row not in verified:
            DocumentLine._make(line).verify()
            verified.add(row)
    return lines


@cache
def _at(count: int) -> str:
    return f"{_SELECT} WHERE d.row IN ({', '.join('?' * count)})"


def span(row: int, text: str, packed_spans: bytes | None, passage: int) -> Span:
    """Returns the start and the end of a passage of the document at `row`, in characters.

    Raises:
        FormatError: There is no such passage.
    """
    if packed_spans is None and passage == 0:
        return 0, len(text)
    try:
        return unpack_span(packed_spans, len(text), passage)
    except (TypeError, ValueError) as error:
        raise _corrupted(row) from error


def _corrupted(row: int) -> FormatError:
    return FormatError(f"the document of row {row} is corrupted in the database")


def document_at(connection: sqlite3.Connection, row: int) -> StoredDocument:
    """Returns the document whose first passage is in `row`.

    Raises:
        FormatError: There is none, or it is corrupted.
    """
    return DocumentLine._make(lines_at(connection, [row], set())[row]).document()


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
    query = f"{_SELECT} JOIN fields f ON f.row = d.row WHERE {condition} ORDER BY d.row LIMIT ?"
    for line in connection.execute(query, (*parameters, limit)):
        yield _verified(line).document()


def _values(metadata: Mapping[str, Any], columns: Mapping[str, str]) -> list[Any]:
    return [field_value(metadata, name) for name in columns]


def _verified(values: tuple[Any, ...]) -> DocumentLine:
    line = DocumentLine._make(values)
    line.verify()
    return line
