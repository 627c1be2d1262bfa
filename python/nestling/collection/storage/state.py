"""The state of a collection: one row of the database that counts commits, rows and documents."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import ClassVar

from nestling.collection.storage.connection import Connection
from nestling.errors import FormatError

__all__ = ["State"]


@dataclass(frozen=True, slots=True)
class State:
    """The state as of one commit. Every statement about the table `state` is in this class.

    Attributes:
        version: Number of the last commit, from 1.
        next_row: Number of the row that the next passage gets; no row number is used twice.
        documents: Documents stored.
        rows: Passages stored, one row each.
    """

    version: int
    next_row: int
    documents: int
    rows: int

    SCHEMA: ClassVar[str] = """
CREATE TABLE state(
  one INTEGER PRIMARY KEY CHECK (one = 1),
  version INTEGER NOT NULL, next_row INTEGER NOT NULL,
  documents INTEGER NOT NULL, rows INTEGER NOT NULL
);
INSERT INTO state VALUES(1, 1, 0, 0, 0);
"""

    @classmethod
    def read(cls, connection: sqlite3.Connection) -> State:
        """Returns the state that a transaction sees.

        Raises:
            FormatError: The row is missing or corrupted.
        """
        query = "SELECT version, next_row, documents, rows FROM state"
        lines = connection.execute(query).fetchall()
        if len(lines) != 1 or not all(isinstance(value, int) and value >= 0 for value in lines[0]):
            raise FormatError("the state in the database is corrupted; restore a backup")
        return cls(*lines[0])

    @staticmethod
    def version_is(connection: Connection, version: int) -> bool:
        """Returns whether the last commit has this number; cheaper than `read`."""
        line: object = connection.first_row("SELECT version FROM state")
        return line == (version,)

    @staticmethod
    def advance(
        connection: sqlite3.Connection,
        *,
        documents: int = 0,
        rows: int = 0,
        next_row: int | None = None,
    ) -> None:
        """Counts one more commit, within a transaction that writes.

        Args:
            connection: The transaction.
            documents: Documents added, less those removed.
            rows: Rows added, less those removed.
            next_row: The new `next_row`; None to keep it.
        """
        connection.execute(
            "UPDATE state SET version = version + 1, documents = documents + ?, rows = rows + ?, "
            "next_row = coalesce(?, next_row)",
            (documents, rows, next_row),
        )
