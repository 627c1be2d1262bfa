"""The check of a collection: every byte read, every inconsistency listed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nestling._util.counted import counted
from nestling._util.progress import ProgressBar
from nestling._util.value import Value
from nestling.collection.storage import documents
from nestling.collection.storage.database import Database, quoted
from nestling.collection.storage.segments import read_manifest, segment_files
from nestling.collection.storage.settings import Settings
from nestling.collection.storage.state import State
from nestling.collection.storage.view import read_pending, read_rows
from nestling.collection.storage.words import stored_words
from nestling.errors import FormatError
from nestling.inputs.metadata import field_value

__all__ = ["CheckReport", "check"]

_MAX_LINES = 20  # about one kind of problem


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CheckReport(Value):
    """The result of a check.

    Attributes:
        problems: One line per problem; empty if there is none.
        documents: Documents read.
        rows: Rows that were not removed, pending ones included.
        segments: Segments in the manifest.
        orphans: Files that the manifest does not name: left by a crash, removed by the next writer.

    Example:
        >>> with nestling.Collection("notes", dim=2) as notes:
        ...     _ = notes.add("bread", vectors=[1, 0])
        ...     report = notes.check()
        >>> report.ok, report.documents, report.rows
        (True, 1, 1)
    """

    problems: tuple[str, ...]
    documents: int
    rows: int
    segments: int
    orphans: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return not self.problems

    def __str__(self) -> str:
        head = ", ".join(
            counted(getattr(self, f"{thing}s"), thing) for thing in ("document", "row", "segment")
        )
        if self.ok:
            return f"{head}: no problems"
        return "\n".join([f"{head}: {counted(len(self.problems), 'problem')}", *self.problems])


class _Checker:
    """One check of one commit."""

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self._folder = folder
        self._connection = connection
        self._settings = Settings.load(connection)
        self.problems: list[str] = []
        self.orphans: list[str] = []
        self.segments = 0

    def run(self) -> CheckReport:
        state = State.read(self._connection)
        self._database()
        stored, expected = self._documents()
        present = self._vectors()
        for rows, what in (
            (np.setdiff1d(expected, present), "rows of documents are not in any segment"),
            (np.setdiff1d(present, expected), "rows of segments do not belong to a document"),
        ):
            if len(rows):
                shown = ", ".join(map(str, rows[:5]))
                self.problems.append(f"{len(rows):,} {what}: {shown}{' …' * (len(rows) > 5)}")
        if (state.documents, state.rows) != (stored, len(expected)):
            self.problems.append(
                f"the database counts {state.documents:,} documents and {state.rows:,} rows, but "
                f"has {stored:,} and {len(expected):,}"
            )
        return CheckReport(
            tuple(self.problems), stored, len(present), self.segments, tuple(self.orphans)
        )

    def _database(self) -> None:
        for (line,) in self._connection.execute(f"PRAGMA integrity_check({_MAX_LINES})"):
            if line != "ok":
                self.problems.append(f"the database: {line}")

    def _documents(self) -> tuple[int, NDArray[np.int64]]:
        """Reads every document; returns their number and the rows of their passages."""
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
                    self._add(
                        f"the fields of the document {document.id!r} differ from its metadata"
                    )
        for row in stored_fields:
            self._add(f"the fields of row {row} do not belong to a document")
        return total, np.concatenate(rows) if rows else np.empty(0, np.int64)

    def _read(self) -> Iterator[documents.StoredDocument]:
        """Yields the documents that can be read; the others become problems."""
        rows = [row for (row,) in self._connection.execute("SELECT row FROM documents")]
        for row in rows:
            try:
                yield documents.document_at(self._connection, row)
            except FormatError as error:  # noqa: PERF203
                self._add(str(error))

    def _vectors(self) -> NDArray[np.int64]:
        """Reads every segment, and returns the rows that were not removed."""
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
                    stored = documents.ids_between(self._connection, segment.first, segment.last)
                    segment.check_ids(self._folder, stored)
                    words = stored_words(
                        self._connection, segment.first, segment.last, self._settings.title_weight
                    )
                    segment.check_words(self._folder, *words)
                except FormatError as error:
                    if str(error) not in self.problems:  # a document was read before
                        self.problems.append(str(error))
                bar.advance()
        try:
            rows, _ = read_pending(self._connection, 0, self._settings.dim)
            alive.append(rows)
        except FormatError as error:
            self.problems.append(str(error))
        named = {path for segment in manifest for path in segment.files(self._folder)}
        files = segment_files(self._folder)
        self.orphans = [path.name for path in files if path not in named]
        return np.sort(np.concatenate(alive))

    def _add(self, problem: str) -> None:
        if len(self.problems) < 5 * _MAX_LINES:
            self.problems.append(problem)


def check(folder: Path, database: Database | None = None) -> CheckReport:
    """Checks the last commit of the collection in a folder, as `Collection.check` does.

    Works for a collection that cannot be opened: the report says why.

    Args:
        folder: The collection's folder.
        database: Its database, if it is open.

    Raises:
        StorageError: The operating system refused to read.

    Example:
        >>> from pathlib import Path
        >>> check(Path("missing")).problems
        ('missing: not a collection (collection.db is missing)',)
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
