"""The storage of a collection: commits in, snapshots out."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from nestling._util.fork import reset_after_fork
from nestling.collection.ingest.records import Record
from nestling.collection.storage import documents
from nestling.collection.storage.blobs import pack_vectors
from nestling.collection.storage.database import Database, read_version
from nestling.collection.storage.lock import WriterLock
from nestling.collection.storage.segments import Segment, read_manifest, sweep, write_segment
from nestling.collection.storage.settings import Settings
from nestling.collection.storage.view import Part, View, ViewLoader
from nestling.collection.upkeep import compaction
from nestling.errors import FormatError, LockedError
from nestling.index import Index

__all__ = ["Changes", "Store"]

PENDING_ROWS: Final = 4_096
"""So many rows wait in the database before they become a segment."""
_ANALYSED: Final = 1_000  # documents: of fewer, any order of look-ups will do
_TRIES: Final = 100  # of a reader that another process's compactions overtake


@dataclass(slots=True)
class Changes:
    """What one transaction does.

    Attributes:
        insert: New documents, split and encoded.
        update: Documents whose metadata alone changes, by row.
        remove: First rows of the documents to remove.
    """

    insert: list[Record] = field(default_factory=list)
    update: list[tuple[int, Record]] = field(default_factory=list)
    remove: list[int] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.insert or self.update or self.remove)


class Store:
    """Documents and vectors of one folder, as a sequence of commits.

    Args:
        folder: An existing collection.
        read_only: Whether nothing may be written.
        lock_timeout: Seconds to wait for another writer.
        verify: Whether segments are read whole and checked when they are opened.
        threads: Threads that a search may use.

    Raises:
        FormatError: The folder is no collection, or not whole.
        StorageError: The system refused to read it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        read_only: bool,
        lock_timeout: float,
        verify: bool,
        threads: int | None,
    ) -> None:
        self.folder = folder
        self.database = Database(folder, read_only=read_only)
        self.lock = WriterLock(folder, lock_timeout)
        self._refreshing = threading.Lock()
        reset_after_fork(self)
        try:
            if not read_only:
                self._sweep()
            with self.database.reading() as connection:
                made = Settings.load(connection)
            empty = Index(made.dim, funnel=made.funnel, metric=made.metric, threads=threads)
            self._loader = ViewLoader(folder, empty, verify, threads)
            self._view: View | None = None
            with self.reading():
                pass
        except BaseException:
            self.database.close()
            raise

    @contextmanager
    def reading(self) -> Iterator[tuple[sqlite3.Connection, View]]:
        """A transaction of the database, and the view of the same commit."""
        for left in reversed(range(_TRIES)):
            with self.database.reading() as connection:
                view = self._view_of(connection, patient=left > 0)
                if view is not None:
                    yield connection, view
                    return

    @property
    def settings(self) -> Settings:
        """The settings, as of the last commit that was seen."""
        view = self._view
        return self.view().settings if view is None else view.settings

    def view(self) -> View:
        """Returns the view of the last commit."""
        with self.reading() as (_, view):
            return view

    def commit(self, changes: Changes, *, flush: bool = False) -> None:
        """Does all of `changes` in one transaction, or nothing of it.

        To be called with `lock.changing()`. With `flush`, pending rows become a segment.
        """
        with self.reading() as (connection, view):
            version, next_row = connection.execute("SELECT version, next_row FROM state").fetchone()
        new = sum(len(record.vectors) for record in changes.insert if record.vectors is not None)
        pending = view.pending
        segment = None
        if flush or len(pending.index) + new >= PENDING_ROWS:
            segment = self._new_segment(view, changes.insert, next_row)
        try:
            with self.database.writing() as connection:
                gone = documents.remove(connection, changes.remove)
                for row, record in changes.update:
                    documents.update(connection, row, record, self.settings.fields)
                connection.executemany(
                    "DELETE FROM pending WHERE row = ?", [(row,) for row in changes.remove]
                )
                if segment is not None or flush:
                    connection.execute("DELETE FROM pending")
                    connection.execute("DELETE FROM removed WHERE row >= ?", (pending.first,))
                if segment is not None:
                    segment.insert(connection)
                else:
                    _insert_pending(connection, changes.insert, next_row)
                end = documents.insert(connection, changes.insert, next_row, self.settings.fields)
                connection.executemany(
                    "INSERT INTO removed VALUES(?, ?)", [(row, version + 1) for row in gone]
                )
                connection.execute(
                    "UPDATE state SET version = version + 1, next_row = ?, "
                    "documents = documents + ?, rows = rows + ?",
                    (end, len(changes.insert) - len(changes.remove), end - next_row - len(gone)),
                )
        except BaseException:
            if segment is not None:
                segment.path(self.folder).unlink(missing_ok=True)
            raise
        self.view()

    def merge(self, view: View, run: compaction.Run) -> bool:
        """Makes one segment of several; False where another writer has changed them meanwhile.

        To be called with `lock.holding()`.
        """
        parts = view.segments[run.start : run.end]
        return self.replace(view, parts, lambda: compaction.merge(parts))

    def replace(
        self,
        view: View,
        parts: Sequence[Part],
        make: Callable[[], Index | None],
        settings: Settings | None = None,
    ) -> bool:
        """Puts one segment in the place of others.

        Args:
            view: A view; rows that were removed since are removed from the new segment too.
            parts: Segments of it, neighbours.
            make: Makes the index of their living rows, None where there are none. It is freed
                before the new segment is opened, so that memory holds the rows twice, not thrice.
            settings: New settings of the collection; None to keep them.

        Returns:
            Whether it was done: not, where these segments are no longer what they were.
        """
        first, last = parts[0].first, parts[-1].last
        segment = None
        if (index := make()) is not None:
            segment = write_segment(self.folder, index, first=first, last=last)
        del index
        done = False
        try:
            with self.lock.changing(patient=True), self.database.writing() as connection:
                manifest = set(read_manifest(connection))
                if all(part.segment in manifest for part in parts):
                    connection.execute(
                        "DELETE FROM segments WHERE first BETWEEN ? AND ?", (first, last)
                    )
                    connection.execute(
                        "DELETE FROM removed WHERE row BETWEEN ? AND ? AND version <= ?",
                        (first, last, view.version),
                    )
                    if segment is not None:
                        segment.insert(connection)
                    if settings is not None:
                        settings.save(connection)
                    connection.execute("UPDATE state SET version = version + 1")
                    done = True
        finally:
            if not done and segment is not None:
                segment.path(self.folder).unlink(missing_ok=True)
        if done:
            self.view()
            for part in parts:
                if part.segment is not None:
                    part.segment.path(self.folder).unlink(missing_ok=True)
        return done

    def analyse(self) -> None:
        """Tells SQLite how the fields' values are spread, where that may have changed much.

        So that of several fields in a filter the one that matches fewest is looked up. To be called
        with `lock.changing()`.
        """
        if not self.settings.fields:
            return
        with self.database.reading() as connection:
            (documents,) = connection.execute("SELECT documents FROM state").fetchone()
            found = connection.execute("SELECT value FROM settings WHERE name = 'analysed'")
            (analysed,) = found.fetchone() or ("0",)
        if documents >= max(2 * int(analysed), _ANALYSED):
            with self.database.writing() as connection:
                connection.execute("ANALYZE fields")
                connection.execute(
                    "INSERT OR REPLACE INTO settings VALUES('analysed', ?)", (str(documents),)
                )

    def after_fork(self) -> None:
        """Renews the lock, which another thread of the parent may hold."""
        self._refreshing = threading.Lock()

    def close(self) -> None:
        """Closes the database; a view that is in use stays whole."""
        self.database.close()

    def _view_of(self, connection: sqlite3.Connection, *, patient: bool) -> View | None:
        """Returns the view of the commit that `connection` sees; None where that is past."""
        view = self._view
        version = read_version(connection)
        if view is not None and view.version == version:
            return view
        with self._refreshing:
            view = self._view
            if view is not None and view.version > version:
                return None
            if view is None or view.version < version:
                try:
                    view = self._loader.load(connection, view)
                except FormatError:
                    # Another process may have merged and removed a segment since this commit.
                    if patient and self._version() != version:
                        return None
                    raise
                self._view = view
            return view

    def _version(self) -> int:
        with self.database.reading() as connection:
            return read_version(connection)

    def _new_segment(self, view: View, records: Sequence[Record], next_row: int) -> Segment | None:
        pending = view.pending
        parts = [pending] if len(pending.index) else []
        vectors = [record.vectors for record in records if record.vectors is not None]
        if vectors:
            index = view.template.empty()
            index.add(np.concatenate(vectors))
            parts.append(Part(index, next_row, next_row + len(index) - 1, None))
        if not parts:
            return None
        first = parts[0].first
        index = Index.merge(
            [part.index for part in parts], shifts=[part.first - first for part in parts]
        )
        return write_segment(self.folder, index, first=first, last=parts[-1].last)

    def _sweep(self) -> None:
        """Removes what a crash left; not while another process writes, whose files these may be."""
        try:
            with WriterLock(self.folder, 0).holding(), self.database.reading() as connection:
                sweep(self.folder, [segment.name for segment in read_manifest(connection)])
        except LockedError:
            pass


def _insert_pending(connection: sqlite3.Connection, records: Sequence[Record], first: int) -> None:
    lines = []
    row = first
    for record in records:
        if record.vectors is not None:
            lines.append((row, *pack_vectors(record.vectors)))
            row += len(record.vectors)
    connection.executemany("INSERT INTO pending VALUES(?, ?, ?)", lines)
