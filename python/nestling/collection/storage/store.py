"""The storage of a collection: commits in, snapshots out."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Final

import numpy as np

from nestling import _core
from nestling._util.fork import reset_after_fork
from nestling._util.lease import Lease, locked
from nestling.collection.ingest.records import Record
from nestling.collection.storage import documents
from nestling.collection.storage.blobs import pack_vectors
from nestling.collection.storage.connection import Connection
from nestling.collection.storage.database import Database
from nestling.collection.storage.document_ids import DocumentIds
from nestling.collection.storage.lock import WriterLock
from nestling.collection.storage.options import AccessOptions
from nestling.collection.storage.segments import (
    Segment,
    read_manifest,
    segment_files,
    write_segment,
)
from nestling.collection.storage.settings import Settings
from nestling.collection.storage.state import State
from nestling.collection.storage.view import Part, View, ViewLoader
from nestling.collection.storage.words import Words, join_words, words_of
from nestling.errors import FormatError, LockedError, NestlingError
from nestling.index import Index

__all__ = ["Changes", "Store"]

PENDING_ROWS: Final = 4_096
"""Rows that wait in the database before they become a segment."""
_MIN_ANALYSED: Final = 1_000  # documents: below, the order of look-ups does not matter
_READ_ATTEMPTS: Final = 100  # while another process compacts faster than this one reads


@dataclass(slots=True)
class Changes:
    """What one transaction does.

    Attributes:
        insert: New documents, split and encoded.
        update: Documents of which only the metadata changes, by row.
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
        access: How to open it.

    Raises:
        FormatError: The folder is not a collection, or it is corrupted.
        StorageError: The operating system refused to read it.
    """

    def __init__(self, folder: Path, access: AccessOptions) -> None:
        self.folder = folder
        self.database = Database(folder, read_only=access.read_only)
        self.lock = WriterLock(folder, access.lock_timeout, self.database.gate)
        self._refreshing = threading.RLock()  # a signal handler may search meanwhile
        reset_after_fork(self)
        try:
            if not access.read_only:
                self._sweep()
            with self.database.reading() as connection:
                made = Settings.load(connection)
            empty = Index(made.dim, funnel=made.funnel, metric=made.metric, threads=access.threads)
            self._loader = ViewLoader(folder, empty, access.verify, access.threads)
            self._view: View | None = None
            with self.reading():
                pass
        except BaseException:
            self.database.close()
            raise

    def reading(self) -> Lease[tuple[Connection, View]]:
        """A transaction of the database, and the view of the same commit.

        Raises:
            ClosedError: The store was closed.
            FormatError: The database or a segment is corrupted.
            LockedError: Others committed faster than a view could be loaded.
        """
        return Lease(self._read)

    def latest(self, *, words: bool = False) -> Lease[tuple[Connection, View]]:
        """As `reading`, without a transaction: for what is in the view, not in the database.

        Args:
            words: Whether this includes words: those of pending rows are read once for a view.

        Raises:
            ClosedError, FormatError, LockedError: As for `reading`.
        """
        return Lease(partial(self._read_latest, words), self.database.translated)

    @property
    def settings(self) -> Settings:
        """The settings as of the last commit that was read."""
        view = self._view
        return self.view().settings if view is None else view.settings

    def view(self) -> View:
        """Returns the view of the last commit."""
        with self.latest() as (_, view):
            return view

    def commit(self, changes: Changes, *, flush: bool = False) -> None:
        """Applies all of `changes` in one transaction, or none of them.

        The caller holds `lock.changing()`. With `flush`, pending rows become a segment.
        """
        with self.reading() as (connection, view):
            before = State.read(connection)
        next_row = before.next_row
        new = sum(len(record.vectors) for record in changes.insert if record.vectors is not None)
        pending = view.pending
        segment = None
        try:
            if flush or len(pending.index) + new >= PENDING_ROWS:
                self._sweep_unnamed()
                segment = self._new_segment(view, changes.insert, next_row)
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
                    "INSERT INTO removed VALUES(?, ?)", [(row, before.version + 1) for row in gone]
                )
                State.advance(
                    connection,
                    documents=len(changes.insert) - len(changes.remove),
                    rows=end - next_row - len(gone),
                    next_row=end,
                )
        except BaseException:
            self._discard(segment)
            raise
        self.view()

    def replace(
        self,
        view: View,
        parts: Sequence[Part],
        make: Callable[[], Index | None],
        settings: Settings | None = None,
    ) -> bool:
        """Replaces neighbouring segments with one; the caller holds `lock.holding()`.

        Args:
            view: A view; rows removed since then are removed from the new segment too.
            parts: Neighbouring segments of the view.
            make: Makes the index of their remaining rows, None if none remain. It is freed before
                the new segment is opened, so that memory holds the rows twice rather than thrice.
            settings: New settings of the collection; None to keep them.

        Returns:
            Whether they were replaced: False if another writer has changed them since.
        """
        first, last = parts[0].first, parts[-1].last
        segment = None
        done = False
        try:
            if (index := make()) is not None:
                ids = DocumentIds.joined([(part.ids, part.first - first) for part in parts])
                ids = ids.of_rows(index.ids)
                with self.database.reading() as connection:
                    words = _words(connection, parts, view.settings.title_weight)
                segment = write_segment(self.folder, index, ids, words, first=first, last=last)
                del ids, words
            del index
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
                    State.advance(connection)
                    done = True
        except BaseException:
            self._discard(segment)
            raise
        if not done:
            self._discard(segment)
        else:
            self.view()
            for part in parts:
                if part.segment is not None:
                    for path in part.segment.files(self.folder):
                        path.unlink(missing_ok=True)
        return done

    def declare(self, fields: Sequence[str]) -> None:
        """Gives metadata fields an indexed column each.

        Raises:
            LockedError: Another thread or process is writing.
            StorageError: The operating system refused to write.
        """
        with self.lock.changing(), self.database.writing() as connection:
            Settings.load(connection).declare(connection, fields)
            State.advance(connection)
        self.view()

    def change_settings(self, change: Callable[[Settings], Settings]) -> None:
        """Stores other settings.

        Args:
            change: Returns the new settings, given the present ones.

        Raises:
            LockedError: Another thread or process is writing.
            StorageError: The operating system refused to write.
        """
        with self.lock.changing(), self.database.writing() as connection:
            change(Settings.load(connection)).save(connection)
            State.advance(connection)
        self.view()

    def analyse(self) -> None:
        """Updates SQLite's statistics of the fields once they may have changed much.

        With them, a filter of several fields looks up the one that matches the fewest documents
        first. The caller holds `lock.changing()`.
        """
        if not self.settings.fields:
            return
        with self.database.reading() as connection:
            count = State.read(connection).documents
            found = connection.execute("SELECT value FROM settings WHERE name = 'analysed'")
            (analysed,) = found.fetchone() or ("0",)
        if count >= max(2 * int(analysed), _MIN_ANALYSED):
            with self.database.writing() as connection:
                connection.execute("ANALYZE fields")
                connection.execute(
                    "INSERT OR REPLACE INTO settings VALUES('analysed', ?)", (str(count),)
                )

    def after_fork(self) -> None:
        """Renews the lock, which another thread of the parent may hold."""
        self._refreshing = threading.RLock()  # a signal handler may search meanwhile

    def close(self, seconds: float = 0.0) -> None:
        """Closes the database, as `Database.close`; a view in use stays valid."""
        self.database.close(seconds)

    def _read(self, lease: Lease[tuple[Connection, View]]) -> tuple[Connection, View]:
        for left in reversed(range(_READ_ATTEMPTS)):
            connection = lease.enter(self.database.reading())
            view = self._view_of(connection, patient=left > 0)
            if view is not None:
                return connection, view
            lease.release()
        raise LockedError(
            f"{self.folder}: others changed the collection {_READ_ATTEMPTS} times before one "
            "commit could be read; try again"
        )

    def _read_latest(
        self, words: bool, lease: Lease[tuple[Connection, View]]
    ) -> tuple[Connection, View]:
        connection = self.database.lend(lease)
        view = self._view
        if (
            view is not None
            and (view.known_words or not words)
            and State.version_is(connection, view.version)
        ):
            return connection, view
        lease.release()
        return self._read(lease)

    def _view_of(self, connection: Connection, *, patient: bool) -> View | None:
        """Returns the view of the commit that `connection` sees; None if it is outdated."""
        view = self._view
        if view is not None and State.version_is(connection, view.version):
            return view
        version = State.read(connection).version
        with locked(self._refreshing):
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
                if self._view is None or self._view.version < version:
                    self._view = view
            return view

    def _version(self) -> int:
        with self.database.reading() as connection:
            return State.read(connection).version

    def _new_segment(self, view: View, records: Sequence[Record], next_row: int) -> Segment | None:
        pending = view.pending
        parts = [pending] if len(pending.index) else []
        vectors = [record.vectors for record in records if record.vectors is not None]
        if vectors:
            index = view.template.empty()
            index.add(np.concatenate(vectors))
            counts = list(map(len, vectors))
            rows = list(accumulate(counts[:-1], initial=0))
            ids = DocumentIds.of(rows, counts, [record.id for record in records])
            last = next_row + len(index) - 1
            made = words_of(np.arange(len(index)), _passages(records), view.settings.title_weight)
            words = Words([(made, next_row)], last + 1)
            parts.append(Part(index, next_row, last, ids, words, None))
        if not parts:
            return None
        first = parts[0].first
        with self.database.reading() as connection:
            joined = _words(connection, parts, view.settings.title_weight)
        index = Index.merge(
            [part.index for part in parts], shifts=[part.first - first for part in parts]
        )
        ids = DocumentIds.joined([(part.ids, part.first - first) for part in parts])
        ids = ids.of_rows(index.ids)
        return write_segment(self.folder, index, ids, joined, first=first, last=parts[-1].last)

    def _sweep(self) -> None:
        """Removes files left by a crash, unless another process is writing: they may be its own."""
        with suppress(LockedError), WriterLock(self.folder, 0).holding():
            self._remove_unnamed(segment_files(self.folder))

    def _sweep_unnamed(self) -> None:
        """Removes segments that interrupted calls have left; the caller holds `lock.changing()`."""
        files = segment_files(self.folder)
        if self.lock.is_held_once:  # otherwise one may be the work of a compaction
            self._remove_unnamed(files)

    def _discard(self, segment: Segment | None) -> None:
        """Removes a new segment after a failure, unless it was committed before that."""
        if segment is not None:
            with suppress(NestlingError):
                self._remove_unnamed(segment.files(self.folder))

    def _remove_unnamed(self, files: Sequence[Path]) -> None:
        """Removes those of `files` that the manifest does not name."""
        if files:
            with self.database.reading() as connection:
                manifest = read_manifest(connection)
            named = {path for segment in manifest for path in segment.files(self.folder)}
            for path in files:
                if path not in named:
                    path.unlink(missing_ok=True)


def _passages(records: Sequence[Record]) -> Iterator[tuple[str, str]]:
    """Yields the titled passages of records that are split."""
    for record in records:
        yield from documents.titled_passages(record.title, record.text, record.spans or ())


def _words(
    connection: sqlite3.Connection, parts: Sequence[Part], title_weight: int
) -> _core.WordIndex:
    """Returns the words of neighbouring parts, whose rows count from the first one."""
    placed = [
        placed for part in parts for placed in part.words.read(connection, part.last, title_weight)
    ]
    return join_words(placed, parts[0].first)


def _insert_pending(connection: sqlite3.Connection, records: Sequence[Record], first: int) -> None:
    lines = []
    row = first
    for record in records:
        if record.vectors is not None:
            lines.append((row, *pack_vectors(record.vectors)))
            row += len(record.vectors)
    connection.executemany("INSERT INTO pending VALUES(?, ?, ?)", lines)
