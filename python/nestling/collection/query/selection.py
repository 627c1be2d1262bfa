"""The rows that pass a filter, read from the database and cached for one commit."""

from __future__ import annotations

import json
import marshal
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nestling._util.fork import reset_after_fork
from nestling._util.lease import locked
from nestling.collection.query.filters import Filter, compile_filter
from nestling.collection.storage.view import View
from nestling.errors import FormatError

__all__ = ["Selection", "count_documents", "document_rows", "passage_rows"]

_MAX_FILTERS: Final = 64
_MAX_ROWS: Final = 8_000_000  # cached in all; 8 bytes each
_MAX_SPELLING: Final = 1_000  # bytes
_PLAIN: Final = frozenset((str, int, float, bool))

_Key = tuple[str, tuple[Any, ...]]
"""A filter as SQL, with its parameters."""


def passage_rows(connection: sqlite3.Connection, chosen: Filter, limit: int) -> NDArray[np.int64]:
    """Returns the rows of all passages of the documents that pass a filter, sorted.

    Raises:
        FormatError: There would be more than `limit` rows: the database is corrupted.
    """
    # SQLite returns one string of numbers several times as fast as a tuple per row.
    rows, most = _listed(connection, "group_concat(f.row), max(f.passages)", chosen)
    if most is None or most == 1:
        return np.sort(_numbers(rows), kind="stable")
    pairs, total = _listed(
        connection, "group_concat(f.row || ',' || f.passages), total(f.passages)", chosen
    )
    if isinstance(most, int) and total is not None and total <= limit:
        starts, counts = _numbers(pairs).reshape(-1, 2).T
    else:
        starts = counts = np.zeros(1, np.int64)
    if counts.min() < 1:
        raise FormatError("the numbers of passages in the database are corrupted")
    before = np.cumsum(counts) - counts
    return np.sort(np.repeat(starts - before, counts) + np.arange(counts.sum()), kind="stable")


def document_rows(connection: sqlite3.Connection, chosen: Filter) -> list[int]:
    """Returns the first rows of the documents that pass a filter, sorted.

    Raises:
        FormatError: One is not a number.
    """
    query = f"SELECT f.row {_from(chosen)} ORDER BY f.row"
    rows = [row for (row,) in connection.execute(query, chosen.parameters)]
    if not all(isinstance(row, int) for row in rows):
        raise FormatError("the rows of documents are corrupted in the database")
    return rows


def count_documents(connection: sqlite3.Connection, chosen: Filter) -> int:
    """Returns how many documents pass a filter."""
    query = f"SELECT count(*) {_from(chosen)}"
    (count,) = connection.execute(query, chosen.parameters).fetchone()
    return int(count)


def _listed(
    connection: sqlite3.Connection, columns: str, chosen: Filter
) -> tuple[str | None, float | None]:
    query = f"SELECT {columns} {_from(chosen)}"
    rows, most = connection.execute(query, chosen.parameters).fetchone()
    return rows, most


def _numbers(listed: str | None) -> NDArray[np.int64]:
    return np.fromstring(listed or "", np.int64, sep=",")


def _from(chosen: Filter) -> str:
    join = "JOIN documents d ON d.row = f.row " if chosen.needs_documents else ""
    return f"FROM fields f {join}WHERE {chosen.sql}"


def _spelling(where: Mapping[str, Any]) -> bytes:
    """Returns bytes that no other filter has; none for a filter that is not of JSON's own types."""
    value: Any = where
    try:
        plain = _PLAIN.issuperset(map(type, where.values())) and {str}.issuperset(map(type, where))
        if not plain:
            json.dumps(value)  # refuses arrays and bytes, which `marshal` does not tell apart
        return marshal.dumps(value, 2)
    except (AttributeError, TypeError, ValueError, RecursionError):
        return b""


class Selection:
    """A cache of the rows that pass the last filters, for the newest commit seen."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._version = -1
        self._rows: OrderedDict[_Key, NDArray[np.int64]] = OrderedDict()
        # The same by the filters as they are spelled, which takes neither compiler nor lock: a dict
        # that is replaced where rows are forgotten.
        self._spelled: tuple[int, dict[bytes, NDArray[np.int64]]] = (-1, {})
        self._size = 0
        reset_after_fork(self)

    def after_fork(self) -> None:
        """Renews the lock, which another thread of the parent may hold."""
        self._lock = threading.Lock()

    def known_rows(self, view: View, where: Mapping[str, Any] | None) -> NDArray[np.int64] | None:
        """As `rows`, without the database: None if the rows are not cached, too.

        Raises:
            FilterError: The filter is malformed.
        """
        if where is None:
            return None
        spelling = _spelling(where)
        version, spelled = self._spelled
        if version == view.version and spelling in spelled:
            return spelled[spelling]
        chosen = compile_filter(where, view.settings.fields)
        key = (chosen.sql, chosen.parameters)
        known = self._known(view.version, key)
        if known is not None and 0 < len(spelling) <= _MAX_SPELLING:
            with locked(self._lock):
                if self._version == view.version and key in self._rows:
                    version, spelled = self._spelled
                    if version != view.version or len(spelled) >= _MAX_FILTERS:
                        spelled = {}
                    self._spelled = (view.version, {**spelled, spelling: known})
        return known

    def _known(self, version: int, key: _Key) -> NDArray[np.int64] | None:
        with locked(self._lock):
            if self._version != version or key not in self._rows:
                return None
            self._rows.move_to_end(key)
            return self._rows[key]

    def rows(
        self,
        connection: sqlite3.Connection,
        view: View,
        where: Mapping[str, Any] | None,
    ) -> NDArray[np.int64] | None:
        """Returns the rows of a view that pass `where`, sorted; None for no filter.

        Raises:
            FilterError: The filter is malformed.
        """
        if where is None:
            return None
        version = view.version
        chosen = compile_filter(where, view.settings.fields)
        key = (chosen.sql, chosen.parameters)
        known = self._known(version, key)
        if known is not None:
            return known
        rows = passage_rows(connection, chosen, view.rows + len(view.hidden))
        if len(view.hidden):
            rows = np.setdiff1d(rows, view.hidden, assume_unique=True)
        rows.flags.writeable = False
        with locked(self._lock):
            if version > self._version:
                self._version, self._size = version, 0
                self._rows.clear()
                self._spelled = (version, {})
            if version == self._version and key not in self._rows and len(rows) <= _MAX_ROWS:
                self._rows[key] = rows
                self._size += len(rows)
                while self._size > _MAX_ROWS or len(self._rows) > _MAX_FILTERS:
                    self._size -= len(self._rows.popitem(last=False)[1])
                    self._spelled = (version, {})
        return rows
