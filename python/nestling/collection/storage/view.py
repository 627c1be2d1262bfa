"""What a search sees: the rows of one commit, in segments and in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nestling.collection.storage.blobs import unpack_vectors
from nestling.collection.storage.database import read_version
from nestling.collection.storage.segments import Segment, read_manifest
from nestling.collection.storage.settings import Settings
from nestling.errors import FormatError
from nestling.index import Index
from nestling.index.funnel import Funnel
from nestling.index.hits import Hits, StageStats

__all__ = ["Part", "View", "ViewLoader", "read_pending", "read_rows"]

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Part:
    """Rows that lie together: a segment, or the pending ones.

    Attributes:
        index: The rows, without the removed ones; its ids count from `first`.
        first: Number of the first row.
        last: Number of the last one.
        segment: The line of the manifest; None for pending rows.
    """

    index: Index
    first: int
    last: int
    segment: Segment | None

    @property
    def dead(self) -> int:
        """Rows of the file that were removed."""
        return 0 if self.segment is None else self.segment.rows - len(self.index)

    def without(self, rows: Rows) -> Part:
        """Returns this part without those of `rows` that are in it."""
        inside = rows[(rows >= self.first) & (rows <= self.last)] - self.first
        if not len(inside):
            return self
        index = self.index.copy()
        index.remove(inside)
        return replace(self, index=index)

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        funnel: Funnel | None,
        probes: int | None,
        allowed: Rows | None,
    ) -> Hits | None:
        """Searches the rows, those of the sorted `allowed` if given; None where there are none."""
        if not len(self.index):
            return None
        where: NDArray[np.int64] | NDArray[np.bool_] | None = None
        if allowed is not None:
            start, end = np.searchsorted(allowed, [self.first, self.last + 1])
            if start == end:
                return None
            where = allowed[start:end] - self.first
            if len(where) * 16 > self.last - self.first:
                mask = np.zeros(self.last - self.first + 1, np.bool_)
                mask[where] = True
                where = mask
        return self.index.search(queries, k, funnel=funnel, probes=probes, where=where)


@dataclass(frozen=True, slots=True)
class View:
    """The rows of one commit; never changed.

    Attributes:
        version: Of the commit.
        settings: Of the collection.
        parts: In the order of their rows; the last one holds the pending rows.
        template: An empty index that stores rows as all parts do.
    """

    version: int
    settings: Settings
    parts: tuple[Part, ...]
    template: Index

    @property
    def segments(self) -> tuple[Part, ...]:
        """The parts that are files."""
        return self.parts[:-1]

    @property
    def pending(self) -> Part:
        """The part of rows that are in no file yet."""
        return self.parts[-1]

    @property
    def rows(self) -> int:
        """Rows that are alive."""
        return sum(len(part.index) for part in self.parts)

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        *,
        funnel: Funnel | None = None,
        probes: int | None = None,
        allowed: Rows | None = None,
    ) -> Hits:
        """Finds the rows that score best in all parts; equal scores by row, the lower first.

        Args:
            queries: (m, dim) float32.
            k: Rows wanted a query.
            funnel: As for `Index.search`.
            probes: As for `Index.search`.
            allowed: Sorted rows that may be found; None for all.

        Returns:
            Hits of shape (m, k); ids are rows.
        """
        found: list[tuple[Part, Hits]] = []
        for part in self.parts:
            hits = part.search(queries, k, funnel, probes, allowed)
            if hits is not None:
                found.append((part, hits))
        if not found:  # the same arguments are checked, and the same stages reported
            return self.template.search(queries, k, funnel=funnel)
        rows = [np.where(hits.ids >= 0, hits.ids + part.first, -1) for part, hits in found]
        if len(found) == 1:
            return replace(found[0][1], ids=rows[0])
        ids = np.concatenate(rows, axis=1)
        scores = np.concatenate([hits.scores for _, hits in found], axis=1)
        # NaN, where there is no row, sorts last; parts are in the order of their rows.
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return Hits(
            np.take_along_axis(ids, order, 1),
            np.take_along_axis(scores, order, 1),
            _total([hits.stages for _, hits in found]),
            len(queries),
        )

    def reconstruct(self, rows: Rows) -> NDArray[np.float32]:
        """Returns the stored embeddings of rows, (n, dim).

        Raises:
            FormatError: A row is in no part.
        """
        out = np.empty((len(rows), self.template.dim), np.float32)
        done = np.zeros(len(rows), np.bool_)
        for part in self.parts:
            inside = (rows >= part.first) & (rows <= part.last)
            if inside.any():
                out[inside] = part.index.reconstruct(rows[inside] - part.first)
                done |= inside
        if not done.all():
            raise FormatError(f"row {rows[~done][0]} is in no segment")
        return out


@dataclass(frozen=True, slots=True)
class ViewLoader:
    """How views are made from the database and the segments of a folder."""

    folder: Path
    empty: Index
    verify: bool
    threads: int | None

    def load(self, connection: sqlite3.Connection, before: View | None) -> View:
        """Returns the view of the commit that `connection` sees.

        What has not changed since `before` is taken from there.

        Raises:
            FormatError: A segment is missing or altered, or a pending vector.
        """
        version = read_version(connection)
        manifest = read_manifest(connection)
        old = {} if before is None else {part.segment: part for part in before.segments}
        since = 0 if before is None else before.version
        changes = read_rows(connection, "SELECT row FROM removed WHERE version > ?", since)
        parts: list[Part] = []
        for segment in manifest:
            part = old.get(segment)
            if part is not None:
                parts.append(part.without(changes))
                continue
            index = segment.open(self.folder, verify=self.verify, threads=self.threads)
            if (index.dim, index.metric) != (self.empty.dim, self.empty.metric):
                raise FormatError("the settings in the database are not those of the segments")
            part = Part(index, segment.first, segment.last, segment)
            gone = "SELECT row FROM removed WHERE row BETWEEN ? AND ?"
            parts.append(part.without(read_rows(connection, gone, segment.first, segment.last)))
        template = before.template if before is not None else self.empty
        if parts and parts[0].segment not in old:
            template = parts[0].index.empty()
        first = manifest[-1].last + 1 if manifest else 0
        consecutive = version == since + 1
        parts.append(
            self._pending(connection, before, template, first, changes, consecutive=consecutive)
        )
        return View(version, Settings.load(connection), tuple(parts), template)

    def _pending(
        self,
        connection: sqlite3.Connection,
        before: View | None,
        template: Index,
        first: int,
        changes: Rows,
        *,
        consecutive: bool,
    ) -> Part:
        part = Part(template, first, first - 1, None)
        if before is not None and before.pending.first == first and before.template is template:
            kept = before.pending.without(changes)
            # Of commits that were not seen, some may have removed rows and their traces.
            if consecutive or _waiting(connection, kept.last, template.dim) == {
                row + first for row in kept.index.ids.tolist()
            }:
                part = kept
        rows, vectors = read_pending(connection, part.last + 1, template.dim)
        if not len(rows):
            return part
        index = part.index.copy()
        index.add(vectors, ids=rows - first)
        return Part(index, first, int(rows[-1]), None)


def read_pending(
    connection: sqlite3.Connection, start: int, dim: int
) -> tuple[Rows, NDArray[np.float32]]:
    """Returns the rows that are in no segment, from `start` on, and their vectors.

    Raises:
        FormatError: Vectors were altered.
    """
    rows: list[int] = []
    vectors = []
    query = "SELECT row, vectors, checksum FROM pending WHERE row >= ? ORDER BY row"
    for row, blob, checksum in connection.execute(query, (start,)):
        part = unpack_vectors(row, blob, checksum, dim)
        rows.extend(range(row, row + len(part)))
        vectors.append(part)
    joined = np.concatenate(vectors) if vectors else np.empty((0, dim), np.float32)
    return np.array(rows, np.int64), joined


def _waiting(connection: sqlite3.Connection, last: int, dim: int) -> set[int]:
    """Returns the rows up to `last` that are in no segment."""
    query = "SELECT row, length(vectors) FROM pending WHERE row <= ?"
    lines = connection.execute(query, (last,))
    return {row + place for row, size in lines for place in range(size // (4 * dim))}


def read_rows(connection: sqlite3.Connection, query: str, *parameters: int) -> Rows:
    """Returns the row numbers that a query finds.

    Raises:
        FormatError: One is no integer.
    """
    try:
        return np.array([row for (row,) in connection.execute(query, parameters)], np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise FormatError(f"the rows in the database were altered: {error}") from error


def _total(stages: Sequence[tuple[StageStats, ...]]) -> tuple[StageStats, ...]:
    return tuple(_sum(same) for same in zip(*stages, strict=True))


def _sum(stats: Sequence[StageStats]) -> StageStats:
    return StageStats(
        stats[0].dims,
        stats[0].bits,
        *(sum(getattr(stage, name) for stage in stats) for name in _COUNTS),
    )


_COUNTS = ("rows_seen", "rows_kept", "bytes_read", "microseconds")
