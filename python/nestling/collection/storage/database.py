"""The database of a collection: its tables, connections and transactions.

One SQLite file in WAL mode holds the documents, their metadata, the manifest of the segments,
and the settings. A commit is durable once it returns (`synchronous=FULL`), and readers
see whole commits only.

| table | contents |
|---|---|
| settings | one JSON value per name: dim, metric, funnel, encoder, passages, fields, weights |
| state | a single line: version of the last commit, next row, documents, rows (`State`) |
| documents | one line per document; `row` is the row of its first passage and is never reused |
| fields | the declared fields of each document, as indexed columns |
| segments | the manifest: which file holds which rows |
| pending | the vectors of rows that are not in a segment yet |
| removed | rows that were removed but are still in a segment |
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

from nestling._util.fork import reset_after_fork
from nestling._util.lease import Lease
from nestling.collection.storage.connection import Connection, connect
from nestling.collection.storage.gate import Gate
from nestling.collection.storage.state import State
from nestling.errors import ClosedError, FormatError, StorageError

__all__ = ["DATABASE_FILE", "FORMAT_VERSION", "Database", "quoted"]

DATABASE_FILE: Final = "collection.db"
APPLICATION_ID: Final = 0x6E73746C  # "nstl"
FORMAT_VERSION: Final = 1
_BUSY_MS: Final = 10_000
_INTERRUPT_SECONDS: Final = 1.0  # that interrupted statements take to return
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

_TABLES: Final = tuple(re.findall(r"CREATE TABLE (\w+)", _SCHEMA))

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

    Any thread may use them: each transaction takes a connection of its own, and gives it back when
    it ends, or closes it if it failed: a statement that was interrupted may be left in its middle.
    So a connection is only ever closed by whoever holds it.

    Args:
        folder: The collection's folder, an absolute path.
        read_only: Whether nothing may be written, not even files beside the database.

    Raises:
        FormatError: The folder has no collection's database, or one of another version.
        StorageError: The operating system refused to open it.
    """

    def __init__(self, folder: Path, *, read_only: bool) -> None:
        self.path = folder / DATABASE_FILE
        self.read_only = read_only
        self.gate = Gate(str(folder))
        self._immutable = False
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        # Open as long as the database, so that to close a connection that failed is never to close
        # the last one: on a full disk, SQLite could not open the next.
        self._anchor: list[Connection] = []
        reset_after_fork(self)
        if not self.path.is_file():
            raise FormatError(f"{folder}: not a collection ({DATABASE_FILE} is missing)")
        self._place = self._current_place()
        with Lease(self.lend) as connection:
            self._check(connection)
            self._anchor.append(self._connect())

    @staticmethod
    def create(path: Path) -> None:
        """Writes an empty database."""
        connection = connect(path)
        try:
            # Before the first table: `compact` can then shorten the file in steps.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(f"BEGIN;{_SCHEMA}COMMIT;")
        finally:
            connection.close()

    def reading(self) -> Lease[Connection]:
        """A transaction that sees one commit, even while others are written.

        Raises:
            ClosedError: The database was closed.
        """
        return Lease(self._begin_reading, self.translated)

    def connected(self) -> Lease[Connection]:
        """A connection outside of any transaction: each statement sees the commit of its time.

        Raises:
            ClosedError: The database was closed.
        """
        return Lease(self.lend, self.translated)

    def writing(self) -> Lease[Connection]:
        """A transaction: committed when the block ends, rolled back when it raises.

        Raises:
            ClosedError: The database was closed.
            StorageError: The folder or the database was moved, removed or replaced.
        """
        return Lease(self._begin_writing, self.translated)

    def backup(self, target: Path) -> None:
        """Copies the database, as of one commit, to a new file."""
        with (
            self.connected() as connection,
            closing(connect(target)) as copy,
        ):
            connection.copy_to(copy)
            copy.execute("PRAGMA journal_mode = WAL")

    def checkpoint(self) -> None:
        """Moves the write-ahead log into the database and empties it, if nobody reads from it."""
        with self.connected() as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            # This one would wait for readers.
            connection.execute("PRAGMA busy_timeout = 0")
            try:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")

    def close(self, seconds: float = 0.0) -> None:
        """Closes the idle connections; those in use are closed by their users.

        Closing the last one checkpoints the write-ahead log.

        Args:
            seconds: The most to wait for calls of other threads. Statements that take longer are
                interrupted.
        """
        try:
            if not self.gate.close(seconds):
                for connection in self._busy.copy():
                    with suppress(sqlite3.ProgrammingError):  # its user has closed it
                        connection.interrupt()
                self.gate.wait(_INTERRUPT_SECONDS)
        finally:
            self._close_idle()

    def after_fork(self) -> None:
        """Leaves the inherited connections alone: they belong to the parent."""
        _inherited.extend([*self._idle, *self._busy, *self._anchor])
        self._idle, self._busy, self._anchor = [], set(), []

    def _begin_reading(self, lease: Lease[Connection]) -> Connection:
        connection = self.lend(lease)
        lease.enter(connection)  # its exit commits, or rolls back
        connection.begin()
        return connection

    def _begin_writing(self, lease: Lease[Connection]) -> Connection:
        connection = self.lend(lease)
        lease.enter(connection)
        connection.execute("BEGIN IMMEDIATE")
        self._check_place()
        return connection

    def lend(self, lease: Lease[Any]) -> Connection:
        """Returns a connection that a lease gives back when it ends."""
        self.gate.admit(lease)
        lease.defer(self._after_use)
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        lease.lend(connection, self._idle)
        lease.defer(self._busy.discard, (connection,))
        self._busy.add(connection)
        return connection

    def _after_use(self) -> None:
        if self.gate.closed:
            self._close_idle()

    def _close_idle(self) -> None:
        for connections in (self._idle, self._anchor):
            while connections:
                with suppress(IndexError):  # another thread closes them as well
                    connections.pop().close()

    def _current_place(self) -> list[tuple[int, int]]:
        """Returns what identifies the folder and the database, whatever their names."""
        return [(s.st_dev, s.st_ino) for s in (self.path.parent.stat(), self.path.stat())]

    def _check_place(self) -> None:
        """Raises an error if the path now leads to something else than when it was opened.

        What is written to a file that has lost its name, or beside one that has taken its name, is
        lost, or damages the other.
        """
        try:
            if self._current_place() == self._place:
                return
            what = "replaced by another one"
        except (FileNotFoundError, NotADirectoryError):
            what = "moved or deleted"
        raise StorageError(
            errno.ESTALE,
            f"the collection was {what} while it was open; open it again",
            str(self.path.parent),
        )

    def translated(self, error: BaseException) -> BaseException | None:
        """Returns the exception to raise in place of `error`; None for `error` itself."""
        interrupted = isinstance(error, StorageError) and error.errno == errno.EINTR
        if self.gate.closed and interrupted:
            return ClosedError(f"{self.path.parent}: the collection is closed")
        return None

    def _check(self, connection: Connection) -> None:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID:
            raise FormatError(f"{self.path}: not the database of a collection")
        if version != FORMAT_VERSION:
            raise FormatError(
                f"{self.path}: format version {version}; this nestling reads {FORMAT_VERSION}"
            )

    def _connect(self) -> Connection:
        connection = self._open_as_allowed()
        try:
            self._check_place()
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_as_allowed(self) -> Connection:
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
    for table, column in _columns():
        # Its name is not fetched: one with a flipped bit need not be text.
        query = "SELECT count(*) FROM pragma_table_info(?) WHERE name = ?"
        if connection.execute(query, (table, column)).fetchone() != (1,):
            return f"the table {table} lacks its column {column}"
    for (line,) in connection.execute("PRAGMA quick_check(1)"):
        if line != "ok":
            return str(line)
    (texts,) = connection.execute(
        "SELECT count(*) FROM documents WHERE NOT json_valid(metadata)"
    ).fetchone()
    return f"the metadata of {texts:,} documents is not JSON" if texts else None


def _columns() -> list[tuple[str, str]]:
    """Returns the columns that every database has, each with its table."""
    with closing(sqlite3.connect(":memory:")) as made:
        made.executescript(_SCHEMA)
        query = "SELECT m.name, p.name FROM sqlite_master m, pragma_table_info(m.name) p"
        return made.execute(f"{query} WHERE m.type = 'table'").fetchall()
