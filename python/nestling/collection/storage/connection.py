"""A connection to a collection's database whose errors are those of nestling.

Errors are named where a statement runs. So an error of another database, such as one that an
encoder or a document's source uses meanwhile, is left as it is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from nestling.collection.storage.errors import named_error
from nestling.errors import FormatError

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Connection", "Cursor", "connect"]

_Result = TypeVar("_Result")

_ERRORS: Final = (sqlite3.Error, UnicodeDecodeError)  # SQLite's message may quote corrupted bytes

_ROWS_TOGETHER: Final = 16  # of an iteration: a row at a time takes twice as long


class Cursor(sqlite3.Cursor):
    """The rows of a statement. Iterate or fetch; `next` alone would leave errors unnamed."""

    connection: Connection

    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        """Runs a statement."""
        self.connection.run(super().execute, sql, parameters)
        return self

    def executemany(self, sql: str, parameters: Any, /) -> Self:
        """Runs a statement once for each set of parameters."""
        self.connection.run(super().executemany, sql, parameters)
        return self

    def executescript(self, script: str, /) -> Self:
        """Runs several statements."""
        self.connection.run(super().executescript, script)
        return self

    def fetchone(self) -> Any:
        """Returns the next row, or None."""
        return self.connection.run(super().fetchone)

    def fetchmany(self, size: int | None = 1) -> list[Any]:
        """Returns the next rows."""
        return self.connection.run(super().fetchmany, size)

    def fetchall(self) -> list[Any]:
        """Returns all remaining rows."""
        return self.connection.run(super().fetchall)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        while rows := self.fetchmany(_ROWS_TOGETHER):
            yield from rows


class Connection(sqlite3.Connection):
    """A connection whose statements raise nestling's errors.

    Attributes:
        path: The database.
        damage: Returns what is corrupted in a database; None if nothing is.
    """

    path: Path
    damage: Callable[[sqlite3.Connection], str | None] | None = None

    def cursor(self, factory: Any = Cursor) -> Any:
        """Returns a new cursor."""
        return self.run(super().cursor, factory)

    def execute(self, sql: str, parameters: Any = (), /) -> Cursor:
        """Runs a statement on a new cursor."""
        cursor: Cursor = self.cursor()
        return cursor.execute(sql, parameters)

    def begin(self) -> None:
        """Begins a transaction that reads; faster than by a `Cursor`."""
        try:
            sqlite3.Cursor(self).execute("BEGIN")
        except _ERRORS as error:
            raise self.named(error) from error

    def first_row(self, sql: str) -> Any:
        """Returns the first row that a statement finds, or None; faster than by a `Cursor`."""
        try:
            return sqlite3.Cursor(self).execute(sql).fetchone()
        except _ERRORS as error:
            raise self.named(error) from error

    def executemany(self, sql: str, parameters: Any, /) -> Cursor:
        """Runs a statement once for each set of parameters."""
        cursor: Cursor = self.cursor()
        return cursor.executemany(sql, parameters)

    def executescript(self, script: str, /) -> Cursor:
        """Runs several statements."""
        cursor: Cursor = self.cursor()
        return cursor.executescript(script)

    def __exit__(self, *raised: Any) -> Literal[False]:
        """Commits, or rolls back if the block raised."""
        return self.run(super().__exit__, *raised)

    def copy_to(self, target: Connection) -> None:
        """Copies the database; what the system refuses is said of the copy."""
        try:
            self.backup(target)
        except _ERRORS as error:
            named = self.named(error)
            raise (target.named(error) if isinstance(named, OSError) else named) from error

    def run(self, call: Callable[..., _Result], *arguments: Any, **options: Any) -> _Result:
        """Calls a function of sqlite3, and names its errors."""
        try:
            return call(*arguments, **options)
        except _ERRORS as error:
            raise self.named(error) from error

    def named(self, error: sqlite3.Error | UnicodeDecodeError) -> Exception:
        """Returns the exception of nestling for an error of SQLite."""
        return named_error(error, self.path, self._damage)

    def _damage(self) -> str | None:
        if self.damage is None:
            return None
        try:
            # Of the same file as of now: this connection may be in the middle of a statement.
            uri = f"{self.path.absolute().as_uri()}?mode=ro"
            other = sqlite3.connect(uri, uri=True, isolation_level=None)
            try:
                return self.damage(other)
            finally:
                other.close()
        except _ERRORS as error:
            found = named_error(error, self.path)
            return str(error) if isinstance(found, FormatError) else None


def connect(
    path: Path,
    mode: str = "rwc",
    *,
    damage: Callable[[sqlite3.Connection], str | None] | None = None,
) -> Connection:
    """Opens a database in autocommit mode, for any thread.

    Args:
        path: The database.
        mode: "ro", "rw", "rwc" to create it, or "immutable" for storage that nobody can write.
        damage: As `Connection.damage`.

    Raises:
        NestlingError: As `named_error` says.
    """
    choice = "immutable=1" if mode == "immutable" else f"mode={mode}"
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?{choice}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
            factory=Connection,
        )
    except sqlite3.Error as error:
        raise named_error(error, path) from error
    connection.path = path
    connection.damage = damage
    return connection
