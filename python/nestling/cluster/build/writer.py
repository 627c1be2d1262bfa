"""The writers of shards: a collection with one segment, or an index; equal input, equal bytes.

Nothing random, no clock and no trace of earlier attempts is in a shard: so a build that was
interrupted ends with the same checksums as one that was not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nestling import _core
from nestling.cluster.digests import Digests, digests_of
from nestling.collection.ingest.records import Record
from nestling.collection.storage import documents
from nestling.collection.storage.connection import connect
from nestling.collection.storage.database import DATABASE_FILE, Database
from nestling.collection.storage.document_ids import DocumentIds
from nestling.collection.storage.segments import SEGMENTS_FOLDER, write_segment
from nestling.collection.storage.settings import Settings
from nestling.collection.storage.state import State
from nestling.collection.storage.words import PlacedWords, join_words, words_of
from nestling.index import Index
from nestling.index.cells import Cells

__all__ = ["INDEX_FILE", "CollectionWriter", "Written", "partitioned", "save_index", "write_index"]

INDEX_FILE: Final = "index.nest"
_TOKEN: Final = "00000000"  # of the segment's name  # noqa: S105
_TOGETHER: Final = 16  # word indexes of batches that are merged into one


@dataclass(frozen=True, slots=True)
class Written:
    """What a writer wrote.

    Attributes:
        rows: Living rows.
        last: The last row, counted from 0.
        documents: Documents.
        tokens: Words.
        digests: (documents, 2) digests of the ids; None for an index.
        firsts: (documents,) rows of their first passages; None for an index.
    """

    rows: int
    last: int
    documents: int
    tokens: int
    digests: Digests | None = None
    firsts: NDArray[np.int64] | None = None


@dataclass(slots=True)
class _Words:
    """Words of consecutive rows, merged step by step, so that they stay few."""

    levels: list[list[PlacedWords]] = field(default_factory=list)

    def add(self, words: PlacedWords) -> None:
        carried = words
        for level in self.levels:
            level.append(carried)
            if len(level) < _TOGETHER:
                return
            carried = (join_words(level, level[0][1]), level[0][1])
            level.clear()
        self.levels.append([carried])

    def joined(self) -> _core.WordIndex:
        return join_words([words for level in reversed(self.levels) for words in level], 0)


class CollectionWriter:
    """Writes a collection of one segment.

    Args:
        folder: A new folder.
        settings: Settings of the collection.
        template: An index without rows, with what all shards share.
    """

    def __init__(self, folder: Path, settings: Settings, template: Index) -> None:
        self._folder = folder
        self._template = template
        self._index = template.empty()
        self._words = _Words()
        self._ids: list[tuple[DocumentIds, int]] = []
        (folder / SEGMENTS_FOLDER).mkdir(parents=True)
        path = folder / DATABASE_FILE
        Database.create(path)
        self._connection = connect(path, "rw")
        # Nobody else sees the database, and after a crash it is written again.
        for statement in (
            *("PRAGMA journal_mode = DELETE", "PRAGMA journal_mode = OFF"),
            *("PRAGMA synchronous = OFF", "PRAGMA locking_mode = EXCLUSIVE", "BEGIN"),
        ):
            self._connection.execute(statement).fetchall()
        undeclared = replace(settings, fields={})
        self._settings = undeclared.declare(self._connection, list(settings.fields))

    def add(self, records: Sequence[Record], row: int) -> int:
        """Adds records that are split and encoded.

        Args:
            records: The records.
            row: The row of the first one's first passage, beyond all rows so far.

        Returns:
            The row after the last one.
        """
        vectors = [record.vectors for record in records if record.vectors is not None]
        if not vectors:
            return row
        counts = np.array([len(each) for each in vectors], np.int64)
        rows = np.cumsum(counts) - counts
        joined = np.concatenate(vectors)
        self._index.add(joined, ids=np.arange(row, row + len(joined)))
        ids = [record.id for record in records]
        passages = (
            passage
            for record in records
            for passage in documents.titled_passages(record.title, record.text, record.spans or ())
        )
        words = words_of(np.arange(len(joined)), passages, self._settings.title_weight)
        self._ids.append((DocumentIds.of(rows.tolist(), counts.tolist(), ids), row))
        self._words.add((words, row))
        return self.insert(records, row)

    def insert(self, records: Sequence[Record], row: int) -> int:
        """Stores documents whose rows are given to `write`.

        Args:
            records: The documents, split.
            row: The row of the first one's first passage, beyond all rows so far.

        Returns:
            The row after the last one.
        """
        return documents.insert(self._connection, records, row, self._settings.fields)

    def finish(self, cells: Cells | None) -> Written:
        """Writes the segment of the rows that were added, and closes the database.

        Raises:
            StorageError: The system refused to write.
        """
        if not self._ids:
            return Written(0, -1, 0, 0)
        ids = DocumentIds.joined(self._ids)
        return self.write(
            partitioned(self._index, cells, self._template), ids, self._words.joined()
        )

    def write(self, index: Index, ids: DocumentIds, words: _core.WordIndex) -> Written:
        """Writes a segment and the counts, and closes the database.

        Args:
            index: The rows.
            ids: Their documents, which were inserted.
            words: Their words.

        Raises:
            StorageError: The system refused to write.
        """
        last = int(index.ids.max())
        try:
            segment = write_segment(
                self._folder, index, ids, words, first=0, last=last, token=_TOKEN
            )
            segment.insert(self._connection)
            State.advance(self._connection, documents=len(ids), rows=len(index), next_row=last + 1)
            self._connection.execute("COMMIT")
            self._connection.execute("PRAGMA locking_mode = NORMAL").fetchall()
            self._connection.execute("PRAGMA journal_mode = WAL").fetchall()
        finally:
            self._connection.close()
        digests = digests_of(ids.ids(ids.rows))
        return Written(len(index), last, len(ids), words.tokens, digests, ids.rows)

    def close(self) -> None:
        """Closes the database, after a failure."""
        self._connection.close()


def write_index(
    path: Path, template: Index, vectors: Iterable[NDArray[np.float32]], cells: Cells | None
) -> Written:
    """Writes an index of vectors, whose ids count from 0.

    Raises:
        StorageError: The system refused to write.
    """
    index = template.empty()
    for rows in vectors:
        if len(rows):
            index.add(rows)
    return save_index(path, partitioned(index, cells, template))


def save_index(path: Path, index: Index) -> Written:
    """Writes an index whose ids count from 0.

    Raises:
        StorageError: The system refused to write.
    """
    index.save(path)
    last = int(index.ids.max()) if len(index) else -1
    return Written(len(index), last, len(index), 0)


def partitioned(index: Index, cells: Cells | None, template: Index) -> Index:
    """Returns an index with its rows in cells: those of the template, if it has some.

    Fewer rows than the template has cells stay without: to scan them all costs less than to find
    the nearest centroids.
    """
    if cells is None or not len(index):
        return index
    if template.cells is None:
        return index.partitioned(cells)
    return index if len(index) < template.cells.count else index.partitioned(like=template)
