"""Whether a collection is whole, and what is wrong where it is not."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nestling._util.progress import ProgressBar
from nestling.collection.ingest.metadata import field_value
from nestling.collection.storage import documents
from nestling.collection.storage.database import Database, quoted, read_version
from nestling.collection.storage.segments import read_manifest, segment_files
from nestling.collection.storage.settings import Settings
from nestling.collection.storage.view import read_pending, read_rows
from nestling.errors import FormatError

__all__ = ["CheckReport", "check"]

_MOST = 20  # lines about one kind of problem


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check found.

    Attributes:
        problems: What is wrong, a line each; empty where all is well.
        documents: Documents read.
        rows: Rows of segments and pending ones that are alive.
        segments: Segments of the manifest.
        orphans: Files that no manifest names: left of a crash, removed by the next writer.
    """

    problems: tuple[str, ...]
    documents: int
    rows: int
    segments: int
    orphans: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def __str__(self) -> str:
        head = f"{self.documents:,} documents, {self.rows:,} rows, {self.segments} segments"
        if self.ok:
            return f"{head}: all is well"
        return "\n".join([f"{head}: {len(self.problems)} problems", *self.problems])


class _Checker:
    """One check, of one commit."""

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self._folder = folder
        self._connection = connection
        self._settings = Settings.load(connection)
        self.problems: list[str] = []
        self.orphans: list[str] = []
        self.segments = 0

    def run(self) -> CheckReport:
        read_version(self._connection)
        self._database()
        stored, wanted = self._documents()
        present = self._vectors()
        for rows, what in (
            (np.setdiff1d(wanted, present), "rows of documents are in no segment"),
            (np.setdiff1d(present, wanted), "rows of segments belong to no document"),
            (np.setxor1d(wanted, self._words()), "rows of documents and of their words differ"),
        ):
            if len(rows):
                shown = ", ".join(map(str, rows[:5]))
                self.problems.append(f"{len(rows):,} {what}: {shown}{' …' * (len(rows) > 5)}")
        counts = self._connection.execute("SELECT documents, rows FROM state").fetchone()
        if counts != (stored, len(wanted)):
            self.problems.append(
                f"the database counts {counts[0]:,} documents and {counts[1]:,} rows, but has "
                f"{stored:,} and {len(wanted):,}"
            )
        return CheckReport(
            tuple(self.problems), stored, len(present), self.segments, tuple(self.orphans)
        )

    def _database(self) -> None:
        for (line,) in self._connection.execute(f"PRAGMA integrity_check({_MOST})"):
            if line != "ok":
                self.problems.append(f"the database: {line}")

    def _documents(self) -> tuple[int, NDArray[np.int64]]:
        """Reads every document, and returns how many there are and the rows of their passages."""
        fields = self._settings.fields
        columns = "".join(f", {quoted(column)}" for column in fields.values())
        lines = self._connection.execute(
            f"SELECT row, passages{columns} FROM fields ORDER BY row"  # noqa: S608
        )
        stored_fields = {row: (passages, *values) for row, passages, *values in lines}
        (total,) = self._connection.execute("SELECT count(*) FROM documents").fetchone()
        rows: list[NDArray[np.int64]] = []
        with ProgressBar("checking documents", total=total) as bar:
            for document in self._read():
                bar.advance()
                rows.append(np.arange(document.row, document.row + len(document.spans)))
                values = [field_value(document.metadata, name) for name in fields]
                if stored_fields.pop(document.row, None) != (len(document.spans), *values):
                    self._add(f"the fields of the document {document.id!r} are not those of it")
        for row in stored_fields:
            self._add(f"fields of row {row}, which has no document")
        return total, np.concatenate(rows) if rows else np.empty(0, np.int64)

    def _read(self) -> Iterator[documents.StoredDocument]:
        """Yields the documents that can be read, and notes those that cannot."""
        rows = [row for (row,) in self._connection.execute("SELECT row FROM documents")]
        for row in rows:
            try:
                yield documents.document_at(self._connection, row)
            except FormatError as error:  # noqa: PERF203
                self._add(str(error))

    def _vectors(self) -> NDArray[np.int64]:
        """Reads every segment, and returns the rows that are alive."""
        removed = read_rows(self._connection, "SELECT row FROM removed")
        alive = [np.empty(0, np.int64)]
        manifest = read_manifest(self._connection)
        self.segments = len(manifest)
        before = -1
        with ProgressBar("checking segments", total=len(manifest)) as bar:
            for segment in manifest:
                if segment.first <= before:
                    self.problems.append(f"{segment.name} overlaps the segment before it")
                before = segment.last
                try:
                    index = segment.open(self._folder, verify=True, threads=None)
                    if (index.dim, index.metric) != (self._settings.dim, self._settings.metric):
                        self.problems.append(f"{segment.name} has another dim or metric")
                    alive.append(np.setdiff1d(index.ids + segment.first, removed))
                except FormatError as error:
                    self.problems.append(str(error))
                bar.advance()
        try:
            rows, _ = read_pending(self._connection, 0, self._settings.dim)
            alive.append(rows)
        except FormatError as error:
            self.problems.append(str(error))
        named = {segment.name for segment in manifest}
        files = segment_files(self._folder)
        self.orphans = [path.name for path in files if path.name not in named]
        return np.sort(np.concatenate(alive))

    def _words(self) -> NDArray[np.int64]:
        """Compares the words with the rows that they are of, and returns these rows."""
        self._connection.execute(
            "CREATE VIRTUAL TABLE temp.checked_words USING fts5vocab(main, words, instance)"
        )
        try:
            found = read_rows(self._connection, "SELECT DISTINCT doc FROM temp.checked_words")
        finally:
            self._connection.execute("DROP TABLE temp.checked_words")
        filled = "SELECT id FROM words_docsize WHERE sz <> x'00'"
        lost = len(np.setxor1d(found, read_rows(self._connection, filled)))
        if lost:
            self.problems.append(f"the words of {lost:,} rows were altered")
        return read_rows(self._connection, "SELECT id FROM words_docsize ORDER BY id")

    def _add(self, problem: str) -> None:
        if len(self.problems) < 5 * _MOST:
            self.problems.append(problem)


def check(folder: Path, database: Database | None = None) -> CheckReport:
    """Checks the last commit of the collection in a folder; see `Collection.check`.

    A collection that cannot be opened can be checked too: what is wrong is told.

    Args:
        folder: The collection's.
        database: Its database, where it is open.
    """
    opened = None
    try:
        if database is None:
            database = opened = Database(folder, read_only=True)
        with database.reading() as connection:
            return _Checker(folder, connection).run()
    except FormatError as error:
        return CheckReport((str(error),), 0, 0, 0, ())
    finally:
        if opened is not None:
            opened.close()
