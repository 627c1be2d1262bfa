"""The database of a collection: its tables, its connections, its transactions.

One SQLite file in WAL mode holds the documents, their metadata and words, the manifest of the
segments, and the settings. A commit is durable once it returns (`synchronous=FULL`), and readers
see whole commits only.

| table | what |
|---|---|
| settings | one JSON value a name: dim, metric, funnel, encoder, passages, fields |
| state | one line: version (of the last commit), the next row, documents, rows |
| documents | one line a document; `row` is that of its first passage, and is never used again |
| fields | the declared fields of each document, as columns, indexed |
| words | the words of each passage (FTS5, without a copy of the text) |
| segments | the manifest: which files hold which rows |
| pending | the vectors of rows that are in no segment yet |
| removed | rows that are gone, but still in a segment |
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from nestling._util.fork import reset_after_fork
from nestling.collection.ingest.analysis import TOKENIZER
from nestling.errors import FormatError, LockedError, StorageError

__all__ = ["DATABASE_FILE", "Database", "quoted", "read_version"]

DATABASE_FILE: Final = "collection.db"
APPLICATION_ID: Final = 0x6E73746C  # "nstl"
FORMAT_VERSION: Final = 1
_BUSY_MS: Final = 10_000
_CACHE_KIB: Final = 32_768
_WAL_BYTES: Final = 16 << 20  # that are kept of a write-ahead log once it is folded in

_SCHEMA: Final = f"""
CREATE TABLE settings(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE state(
  one INTEGER PRIMARY KEY CHECK (one = 1),
  version INTEGER NOT NULL, next_row INTEGER NOT NULL,
  documents INTEGER NOT NULL, rows INTEGER NOT NULL
);
INSERT INTO state VALUES(1, 1, 0, 0, 0);
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

# Connections that a fork took over: SQLite forbids using or closing them in the child.
_foreign: Final[list[sqlite3.Connection]] = []


def quoted(name: str) -> str:
    """Returns a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def read_version(connection: sqlite3.Connection) -> int:
    """Returns the version of the commit that a transaction sees.

    Raises:
        FormatError: The line of state was altered.
    """
    lines = connection.execute("SELECT version, next_row, documents, rows FROM state").fetchall()
    if len(lines) != 1 or not all(isinstance(value, int) and value >= 0 for value in lines[0]):
        raise FormatError("the state in the database was altered; restore a backup")
    version: int = lines[0][0]
    return version


class Database:
    """The connections of one process to one database.

    Any thread may use them; each transaction takes a connection for its own.

    Args:
        folder: The collection's folder.
        read_only: Whether nothing may be written, not even beside the file.

    Raises:
        FormatError: There is no database of a collection, or one of another version.
        StorageError: The system refused to open it.
    """

    def __init__(self, folder: Path, *, read_only: bool) -> None:
        self.path = folder / DATABASE_FILE
        self.read_only = read_only
        self._immutable = False
        self._free: list[sqlite3.Connection] = []
        self._all: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._closed = False
        reset_after_fork(self)
        if not self.path.is_file():
            raise FormatError(f"{folder}: not a collection ({DATABASE_FILE} is missing)")
        try:
            with self._errors():
                self._check()
        except BaseException:
            self.close()
            raise

    @staticmethod
    def create(path: Path) -> None:
        """Writes an empty database."""
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(f"BEGIN;{_SCHEMA}COMMIT;")
        except sqlite3.OperationalError as error:
            if "fts5" in str(error):
                raise StorageError(
                    "this Python's SQLite lacks FTS5, which collections need for their words"
                ) from error
            raise
        finally:
            connection.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A transaction that sees one commit, whatever is written meanwhile."""
        with self._errors(), self._connection() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("COMMIT")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is committed when the block ends, and undone where it raises."""
        with self._errors(), self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def backup(self, target: Path) -> None:
        """Writes the database, as of one commit, to a new file."""
        with self._errors(), self._connection() as connection:
            copy = sqlite3.connect(target, isolation_level=None)
            try:
                connection.backup(copy)
                copy.execute("PRAGMA journal_mode = WAL")
            finally:
                copy.close()

    def close(self) -> None:
        """Closes every connection; the last one that a process closes folds the WAL away."""
        with self._lock:
            connections, self._all, self._free = self._all, [], []
            self._closed = True
        for connection in connections:
            connection.close()

    def after_fork(self) -> None:
        """Leaves the parent its connections."""
        _foreign.extend(self._all)
        self._all, self._free, self._lock = [], [], threading.Lock()

    def _check(self) -> None:
        with self._connection() as connection:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID:
            raise FormatError(f"{self.path}: a database, but of no collection")
        if version != FORMAT_VERSION:
            raise FormatError(
                f"{self.path}: format version {version}; this nestling reads {FORMAT_VERSION}"
            )

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._closed:
                raise ValueError(f"{self.path.parent}: the collection is closed")
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

    def _connect(self) -> sqlite3.Connection:
        if not self.read_only:
            durable = ("PRAGMA synchronous = FULL", f"PRAGMA journal_size_limit = {_WAL_BYTES}")
            return self._open("mode=rw", *durable)
        if self._immutable:
            return self._open("immutable=1")
        try:
            return self._open("mode=ro", "SELECT version FROM state")
        except sqlite3.OperationalError:
            # Storage that cannot be written has no room for the files that WAL mode keeps beside.
            wal = self.path.with_name(f"{DATABASE_FILE}-wal")
            if os.access(self.path.parent, os.W_OK) or (wal.exists() and wal.stat().st_size > 0):
                raise
            self._immutable = True
            return self._open("immutable=1")

    def _open(self, mode: str, *first: str) -> sqlite3.Connection:
        """Opens the database, and runs some statements."""
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?{mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
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

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Names what SQLite complains of."""
        try:
            yield
        except sqlite3.Error as error:
            named = self._named(error)
            if named is error:
                raise
            raise named from error
        except UnicodeDecodeError as error:  # of a message that names what was altered
            raise FormatError(f"{self.path}: altered or not whole: {error}") from error

    def _named(self, error: sqlite3.Error) -> Exception:
        message = str(error)
        for words, code in _REFUSED.items():
            if words in message:
                return StorageError(code, f"the database: {message}", str(self.path))
        if "locked" in message:
            return LockedError(f"{self.path}: another process is writing: {message}")
        if isinstance(error, sqlite3.ProgrammingError):
            if "closed" in message:
                return ValueError(f"{self.path.parent}: the collection is closed")
            return error
        return FormatError(
            f"{self.path}: altered or not whole: {message}; restore a backup, or save what can be "
            "read with `nestling export`"
        )


_REFUSED: Final = {
    "disk is full": errno.ENOSPC,
    "disk I/O error": errno.EIO,
    "unable to open": errno.EACCES,
    "readonly database": errno.EROFS,
}
