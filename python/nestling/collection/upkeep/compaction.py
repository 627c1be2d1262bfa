"""Room given back: segments merged, the database shortened.

Segments are merged so that they stay few, and none consists mostly of removed rows. The database is
shortened by SQLite's incremental vacuum, not by VACUUM, which would copy all of it in a single
transaction: that takes its size again in memory and on the disk, and keeps writers out meanwhile.
Steps of a few megabytes each are commits of their own, so that others read and write in between,
and a crash or a full disk loses none of them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from nestling._util.progress import ProgressBar
from nestling._util.value import Value
from nestling.collection.storage.segments import segment_files
from nestling.collection.storage.state import State
from nestling.collection.storage.store import Store
from nestling.collection.storage.view import Part, View
from nestling.index import Index

__all__ = [
    "FAN",
    "CompactResult",
    "Run",
    "disk_size",
    "merge",
    "merge_run",
    "pack_documents",
    "plan",
    "shorten",
]

FAN: Final = 4
"""Segments of similar size that are merged into one."""
_MIN_SIZE: Final = 4_096  # rows: smaller segments count as of this size
_PAGES: Final = 1_000  # of the database that a step writes
_PACKED_FROM: Final = 0.1  # rows removed since the last time, of those that remain
_MAX_PACKED_PAGES: Final = 4  # of a document: longer ones have pages of their own, freed already


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CompactResult(Value):
    """What a compaction did.

    Attributes:
        segments: Segments that it merged or rewrote.
        freed: Bytes on the disk that it gave back; negative if others wrote more meanwhile.

    Example:
        >>> with nestling.Collection("notes", dim=2) as notes:
        ...     _ = notes.add(["bread " * 50_000, "river"], vectors=[[1, 0], [0, 1]])
        ...     _ = notes.delete(where={})
        ...     notes.compact().result().freed > 300_000
        True
    """

    segments: int
    freed: int


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring segments to merge into one: `parts[start:end]`."""

    start: int
    end: int


def plan(parts: Sequence[Part]) -> Run | None:
    """Returns the next merge that is due; None if there is none.

    Sizes fall into levels, each `FAN` times as large as the one before. `FAN` neighbours of one
    level or below are merged, so that n rows are in about 3 log4(n / 4,096) segments, and each row
    is written about log4(n / 4,096) times. A segment is also rewritten when more than half of it
    was removed. Source: O'Neil et al. 1996, "The log-structured merge-tree".
    """
    levels = [_level(len(part.index)) for part in parts]
    for end in range(len(parts), FAN - 1, -1):
        top = levels[end - 1]
        start = end
        while start > 0 and levels[start - 1] <= top:
            start -= 1
        if end - start >= FAN:
            return Run(start, end)
    for position, part in enumerate(parts):
        if part.dead > len(part.index):
            return Run(position, position + 1)
    return None


def merge_run(store: Store, view: View, run: Run) -> bool:
    """Merges segments of a view; returns False if another writer has changed them since.

    The caller holds the store's `lock.holding()`.
    """
    parts = view.segments[run.start : run.end]
    return store.replace(view, parts, lambda: merge(parts))


def merge(parts: Sequence[Part]) -> Index | None:
    """Returns one index of the rows of neighbouring parts; its ids count from their first row.

    Codes are copied bit for bit. Cells are rebuilt if the largest part has them. None if every row
    was removed.
    """
    living = [part for part in parts if len(part.index)]
    if not living:
        return None
    first = parts[0].first
    merged = Index.merge(
        [part.index for part in living], shifts=[part.first - first for part in living]
    )
    largest = max(living, key=lambda part: len(part.index)).index
    if largest.cells is not None:
        share = len(merged) / len(largest)
        count = max(1, round(largest.cells.count * share**0.5))
        merged.rebuild(cells=largest.cells.stored(count))
    return merged


def pack_documents(store: Store, *, progress: bool | None = None) -> None:
    """Fills the pages of documents that removed ones have left partly empty.

    Rows are taken out and put in again, range by range: SQLite then fills the pages between. The
    caller holds the store's `lock.holding()`.
    """
    with store.database.reading() as connection:
        state = State.read(connection)
        found = connection.execute("SELECT value FROM settings WHERE name = 'packed'").fetchone()
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
    removed = state.next_row - state.rows
    since = removed - (0 if found is None else int(found[0]))
    if since <= _PACKED_FROM * state.rows or pages > _MAX_PACKED_PAGES * state.documents:
        return
    together = max(1, _PAGES * state.documents // pages)
    last: int | None = -1
    with ProgressBar("packing documents", total=state.documents, show=progress) as bar:
        while last is not None:
            with store.lock.changing(patient=True), store.database.writing() as connection:
                last, count = _pack(connection, last, together)
                if last is None:
                    connection.execute(
                        "INSERT OR REPLACE INTO settings VALUES('packed', ?)", (str(removed),)
                    )
            bar.advance(count)


def _pack(connection: sqlite3.Connection, last: int, together: int) -> tuple[int | None, int]:
    """Packs the documents after row `last`; returns the last row and how many, None for none."""
    after = "SELECT row FROM documents WHERE row > ? ORDER BY row LIMIT ?"
    query = f"SELECT max(row), count(*) FROM ({after})"  # noqa: S608 - our own words
    end, count = connection.execute(query, (last, together)).fetchone()
    if end is not None:
        between = "row > ? AND row <= ?"
        taken = f"CREATE TEMP TABLE taken AS SELECT * FROM main.documents WHERE {between}"  # noqa: S608
        connection.execute(taken, (last, end))
        connection.execute(f"DELETE FROM main.documents WHERE {between}", (last, end))  # noqa: S608
        connection.execute("INSERT INTO main.documents SELECT * FROM temp.taken ORDER BY row")
        connection.execute("DROP TABLE temp.taken")
    return end, count


def shorten(store: Store, *, progress: bool | None = None) -> None:
    """Moves the pages of the database into the free ones before them, and cuts off the rest.

    The caller holds the store's `lock.holding()`.
    """
    with store.database.reading() as connection:
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    with ProgressBar("shortening the database", total=free, show=progress) as bar:
        while free:
            before = free
            with store.lock.changing(patient=True), store.database.writing() as connection:
                connection.execute(f"PRAGMA incremental_vacuum({_PAGES})").fetchall()
                (free,) = connection.execute("PRAGMA freelist_count").fetchone()
            if free >= before:  # made without auto_vacuum, or others free as much meanwhile
                break
            bar.advance(before - free)
    store.database.checkpoint()


def disk_size(store: Store) -> int:
    """Returns the bytes of the database, of its write-ahead log, and of the segments."""
    database = store.database.path
    files = [database, database.with_name(f"{database.name}-wal"), *segment_files(store.folder)]
    size = 0
    for path in files:
        with suppress(FileNotFoundError):  # others may merge segments meanwhile
            size += path.stat().st_size
    return size


def _level(rows: int) -> int:
    level, size = 0, _MIN_SIZE * FAN
    while rows >= size:
        level, size = level + 1, size * FAN
    return level
