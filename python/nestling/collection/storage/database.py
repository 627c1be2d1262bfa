"""The database of a collection: its tables, connections and transactions.

One SQLite file in WAL mode holds the documents, their metadata and words, the manifest of the
segments, and the settings. A commit is durable once it returns (`synchronous=FULL`), and readers
see whole commits only.

| table | contents |
|---|---|
| settings | one JSON value per name: dim, metric, funnel, encoder, passages, fields |
| state | a single line: version of the last commit, next row, documents, rows (`State`) |
| documents | one line per document; `row` is the row of its first passage and is never reused |
| fields | the declared fields of each document, as indexed columns |
| words | the words of each passage (FTS5, without a copy of the text) |
| segments | the manifest: which file holds which rows |
| pending | the vectors of rows that are not in a segment yet |
| removed | rows that were removed but are still in a segment |
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from nestling._util.fork import reset_after_fork
from nestling.collection.ingest.analysis import TOKENIZER
from nestling.collection.storage.connection import Connection, connect
from nestling.collection.storage.state import State
from nestling.errors import ClosedError, FormatError, StorageError

__all__ = ["DATABASE_FILE", "FORMAT_VERSION", "Database", "quoted"]

DATABASE_FILE: Final = "collection.db"
APPLICATION_ID: Final = 0x6E73746C  # "nstl"
FORMAT_VERSION: Final = 1
_BUSY_MS: Final = 10_000
_CACHE_KIB: Final = 32_768
_WAL_BYTES: Final = 16 << 20  # kept of a write-ahead log after a checkpoint

_SCHEMA: Final = f"""
CREATE TABLE settings(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
{State.SCHEMA}
CREATE TABLE documents(
  row INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  title TEXT NOT NULL,
  text TEXT NOT NULL,
  metadata TEXT NOT NULL,
  digest BLOB NOT NULL,
  spans BLOB,
  row_checksum TEXT NOT NULL
);
CREATE TABLE fields(row INTEGER PRIMARY KEY, passages INTEGER NOT NULL);
CREATE VIRTUAL TABLE words USING fts5(text, content='', tokenize="{TOKENIZER}");
CREATE TABLE segments(
  name TEXT PRIMARY KEY,
  first INTEGER NOT NULL, last INTEGER NOT NULL, rows INTEGER NOT NULL,
  bytes INTEGER NOT NULL, checksum TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE pending(row INTEGER PRIMARY KEY, vectors BLOB NOT NULL, checksum TEXT NOT NULL);
CREATE TABLE removed(row INTEGER PRIMARY KEY, version INTEGER NOT NULL);
CREATE INDEX removed_version ON removed(version);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT_VERSION};
"""

_TABLES: Final = tuple(re.findall(r"CREATE (?:VIRTUAL )?TABLE (\w+)", _SCHEMA))

# Connections inherited through a fork: SQLite forbids using or closing them in the child.
_inherited: Final[list[Connection]] = []


def quoted(name: str) -> str:
    """Returns a name as an SQL identifier.

    Example:
        >>> quoted('a"b')
        '"a""b"'
    """
    return '"' + name.replace('"', '""') + '"'


class Database:
    """The connections of one process to one database.

    Any thread may use them: each transaction takes a connection of its own.

    Args:
        folder: The collection's folder.
        read_only: Whether nothing may be written, not even files beside the database.

    Raises:
        FormatError: The folder has no collection's database, or one of another version.
        StorageError: The operating system refused to open it.
    """

    def __init__(self, folder: Path, *, read_only: bool) -> None:
        self.path = folder / DATABASE_FILE
        self.read_only = read_only
        self._immutable = False
        self._free: list[Connection] = []
        self._all: list[Connection] = []
        self._lock = threading.Lock()
        self._closed = False
        reset_after_fork(self)
        if not self.path.is_file():
            raise FormatError(f"{folder}: not a collection ({DATABASE_FILE} is missing)")
        found = self.path.stat()
        self._identity = (found.st_dev, found.st_ino)
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    @staticmethod
    def create(path: Path) -> None:
        """Writes an empty database."""
        connection = connect(path)
        try:
            # Before the first table: `shrink` can then free pages in steps, without a second copy.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(f"BEGIN;{_SCHEMA}COMMIT;")
        finally:
            connection.close()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one commit, even while others are written."""
        with self._connection() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("COMMIT")

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction: committed when the block ends, rolled back when it raises."""
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                self._check_in_place()
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def backup(self, target: Path) -> None:
        """Copies the database, as of one commit, to a new file."""
        with self._connection() as connection:
            copy = connect(target)
            try:
                connection.copy_to(copy)
                copy.execute("PRAGMA journal_mode = WAL")
            finally:
                copy.close()

    def checkpoint(self) -> None:
        """Moves the write-ahead log into the database and empties it, if nobody reads from it."""
        with self._connection() as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            # This one would wait for readers.
            connection.execute("PRAGMA busy_timeout = 0")
            try:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")

    def close(self) -> None:
        """Closes every connection; closing the last one checkpoints the write-ahead log."""
        with self._lock:
            connections, self._all, self._free = self._all, [], []
            self._closed = True
        for connection in connections:
            connection.close()

    def after_fork(self) -> None:
        """Leaves the inherited connections alone: they belong to the parent."""
        _inherited.extend(self._all)
        self._all, self._free, self._lock = [], [], threading.Lock()

    def _check_in_place(self) -> None:
        """Raises an error if the open file is no longer the one that its path leads to."""
        try:
            now = self.path.stat()
        except FileNotFoundError:
            now = None
        if now is None or (now.st_dev, now.st_ino) != self._identity:
            raise StorageError(
                errno.ESTALE,
                "the database was moved, deleted or replaced while it was open; open it again",
                str(self.path),
            )

    def _check(self) -> None:
        with self._connection() as connection:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID:
            raise FormatError(f"{self.path}: not the database of a collection")
        if version != FORMAT_VERSION:
            raise FormatError(
                f"{self.path}: format version {version}; this nestling reads {FORMAT_VERSION}"
            )

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        with self._lock:
            if self._closed:
                raise ClosedError(f"{self.path.parent}: the collection is closed")
            connection = self._free.pop() if self._free else None
        if connection is None:
            connection = self._connect()
            with self._lock:
                self._all.append(connection)
        try:
            yield connection
        finally:
            with self._lock:
                self._free.append(connection)

    def _connect(self) -> Connection:
        if not self.read_only:
            durable = ("PRAGMA synchronous = FULL", f"PRAGMA journal_size_limit = {_WAL_BYTES}")
            return self._open("rw", *durable)
        if self._immutable:
            return self._open("immutable")
        try:
            return self._open("ro", "SELECT name FROM sqlite_master")
        except StorageError:
            # On storage that cannot be written, SQLite cannot create the files of WAL mode.
            wal = self.path.with_name(f"{DATABASE_FILE}-wal")
            if os.access(self.path.parent, os.W_OK) or (wal.exists() and wal.stat().st_size > 0):
                raise
            self._immutable = True
            return self._open("immutable")

    def _open(self, mode: str, *first: str) -> Connection:
        """Opens the database and runs `first`, statements of the connection's setup."""
        connection = connect(self.path, mode, damage=_damage)
        try:
            connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute("PRAGMA trusted_schema = OFF")
            for statement in first:
                connection.execute(statement).fetchall()
        except BaseException:
            connection.close()
            raise
        return connection


def _damage(connection: sqlite3.Connection) -> str | None:
    """Returns what is corrupted in a database, as far as SQLite can say; None if nothing is."""
    found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    for table in _TABLES:
        if table not in found:
            return f"the table {table} is missing"
    for (line,) in connection.execute("PRAGMA quick_check(1)"):
        if line != "ok":
            return str(line)
    (texts,) = connection.execute(
        "SELECT count(*) FROM documents WHERE NOT json_valid(metadata)"
    ).fetchone()
    return f"the metadata of {texts:,} documents is not JSON" if texts else None
