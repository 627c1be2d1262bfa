"""What a search sees: the rows of one commit, in segments and in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nestling import _core
from nestling.collection.storage import documents
from nestling.collection.storage.blobs import unpack_vectors
from nestling.collection.storage.document_ids import DocumentIds
from nestling.collection.storage.row_filters import RowFilters
from nestling.collection.storage.segments import Segment, read_manifest
from nestling.collection.storage.settings import Settings
from nestling.collection.storage.state import State
from nestling.collection.storage.words import PlacedWords, Words
from nestling.errors import FormatError
from nestling.index import Index
from nestling.index.funnel import Funnel
from nestling.index.hits import Hits
from nestling.index.parts import IndexPart, search_parts

__all__ = ["Part", "View", "ViewLoader", "read_pending", "read_rows"]

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Part:
    """Rows stored together: a segment, or the pending ones.

    Attributes:
        index: The rows, without the removed ones; its ids count from `first`.
        first: Number of the first row.
        last: Number of the last row.
        ids: The documents of the rows, removed ones included, which count from `first` as well.
        words: The words of the rows, without the removed ones.
        segment: The line of the manifest; None for pending rows.
    """

    index: Index
    first: int
    last: int
    ids: DocumentIds
    words: Words
    segment: Segment | None

    @property
    def dead(self) -> int:
        """Removed rows that are still in the file."""
        return 0 if self.segment is None else self.segment.rows - len(self.index)

    def without(self, rows: Rows) -> Part:
        """Returns this part without those of `rows` that are in it."""
        inside = rows[(rows >= self.first) & (rows <= self.last)] - self.first
        if not len(inside):
            return self
        index = self.index.copy()
        index.remove(inside)
        return replace(self, index=index, words=self.words.without(inside + self.first))

    def allowing(self, allowed: Rows | None, shift: int = 0) -> IndexPart | None:
        """Returns what to search for the rows, or for those of the sorted `allowed`.

        Args:
            allowed: Sorted rows of any part; None for all.
            shift: What is added to the rows that are found.

        Returns:
            None if there are no such rows.
        """
        if not len(self.index):
            return None
        if allowed is None:
            return IndexPart(self.index, self.first + shift)
        start, end = np.searchsorted(allowed, [self.first, self.last + 1])
        if start == end:
            return None
        where: NDArray[np.int64] | NDArray[np.bool_] = allowed[start:end] - self.first
        if len(where) * 16 > self.last - self.first:
            mask = np.zeros(self.last - self.first + 1, np.bool_)
            mask[where] = True
            where = mask
        return IndexPart(self.index, self.first + shift, where)


@dataclass(frozen=True, slots=True)
class View:
    """The rows of one commit; immutable.

    Attributes:
        state: The counts of the commit.
        settings: Settings of the collection.
        parts: The parts in the order of their rows; the last one holds the pending rows.
        template: An empty index that stores rows as all parts do.
        verified: First rows of documents whose digests this process has compared for this commit.
        filters: The last filters of words, by the identity of their rows, which they hold.
        known_words: The words of all rows, once they were read.
        hidden: Sorted rows that the database has, but that are removed from this view.
        filled: The parts that have rows.
        split: Whether a document has several passages.
        rows: Rows that were not removed.
    """

    state: State
    settings: Settings
    parts: tuple[Part, ...]
    template: Index
    verified: set[int] = field(default_factory=set)
    filters: RowFilters = field(default_factory=RowFilters)
    known_words: list[list[PlacedWords]] = field(default_factory=list)
    hidden: Rows = field(default_factory=lambda: np.empty(0, np.int64))
    filled: tuple[Part, ...] = field(init=False)
    split: bool = field(init=False)
    rows: int = field(init=False)

    def __post_init__(self) -> None:
        filled = tuple(part for part in self.parts if len(part.index))
        object.__setattr__(self, "filled", filled)
        object.__setattr__(self, "split", any(part.ids.split for part in self.parts))
        object.__setattr__(self, "rows", sum(len(part.index) for part in filled))

    @property
    def version(self) -> int:
        """Number of the commit."""
        return self.state.version

    @property
    def segments(self) -> tuple[Part, ...]:
        """The parts that are files."""
        return self.parts[:-1]

    @property
    def pending(self) -> Part:
        """The rows that are not in a file yet."""
        return self.parts[-1]

    def without(self, firsts: Rows) -> View:
        """Returns this view without the documents of these first rows.

        The database and the files stay as they are.

        Raises:
            FormatError: A row belongs to no document.
        """
        gone = [self.hidden]
        for part, inside in self._by_part(firsts):
            gone.append(part.ids.passage_rows(firsts[inside] - part.first) + part.first)
        hidden = np.unique(np.concatenate(gone))
        new = np.setdiff1d(hidden, self.hidden, assume_unique=True)
        parts = tuple(part.without(new) for part in self.parts)
        return replace(
            self, parts=parts, hidden=hidden, verified=set(), filters=RowFilters(), known_words=[]
        )

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        *,
        funnel: Funnel | None = None,
        probes: int | None = None,
        allowed: Rows | None = None,
        clip: bool = True,
    ) -> Hits:
        """Finds the best rows of all parts; equal scores are ordered by row, the lower first.

        Args:
            queries: (m, dim) float32.
            k: Rows per query.
            funnel: As for `Index.search`.
            probes: As for `Index.search`.
            allowed: Sorted rows that may be found; None for all.
            clip: As for `Index.search`. What is not clipped can be merged with hits of other views.

        Returns:
            Hits of shape (m, k); ids are rows.
        """
        parts = self.searched(allowed)
        if not parts:  # checks the same arguments and reports the same stages
            return self.template.search(queries, k, funnel=funnel)
        return search_parts(parts, queries, k, funnel=funnel, probes=probes, clip=clip)

    def searched(self, allowed: Rows | None, shift: int = 0) -> list[IndexPart]:
        """Returns what a search goes through, without the parts that have none of the rows.

        Args:
            allowed: Sorted rows; None for all.
            shift: What is added to the rows that are found.
        """
        parts = (part.allowing(allowed, shift) for part in self.filled)
        return [part for part in parts if part is not None]

    def words(self, connection: sqlite3.Connection) -> list[PlacedWords]:
        """Returns the words of all rows, in their order.

        Args:
            connection: A transaction that sees the same commit; any, once words are known.

        Raises:
            FormatError: Words must be read from the database, and a document is corrupted.
        """
        if not self.known_words:
            weight = self.settings.title_weight
            parts = [part.words.read(connection, part.last, weight) for part in self.parts]
            self.known_words.append([placed for words in parts for placed in words])
        return self.known_words[0]

    def row_filter(
        self, words: Sequence[PlacedWords], allowed: Rows | None
    ) -> _core.RowFilter | None:
        """Returns a filter of the words of all rows, made once for the same array of sorted rows.

        Args:
            words: What `words` returned.
            allowed: Sorted rows, which nobody changes; None for no filter.
        """
        return None if allowed is None else self.filters.of((allowed,), words, lambda: allowed)

    def first_rows(self, rows: Rows) -> Rows:
        """Returns for each row of any passage the row of its document's first passage.

        Raises:
            FormatError: A row belongs to no document.
        """
        firsts = np.empty_like(rows)
        for part, inside in self._by_part(rows):
            firsts[inside] = part.ids.firsts(rows[inside] - part.first) + part.first
        return firsts

    def ids(self, rows: Rows) -> list[str]:
        """Returns for each row of any passage the id of its document.

        Raises:
            FormatError: A row belongs to no document.
        """
        if len(self.filled) == 1:  # which saves twenty microseconds
            return self.filled[0].ids.ids(rows, self.filled[0].first)
        ids = np.empty(len(rows), np.object_)
        for part, inside in self._by_part(rows):
            ids[inside] = part.ids.ids(rows[inside], part.first)
        return ids.tolist()  # type: ignore[no-any-return]

    def _by_part(self, rows: Rows) -> list[tuple[Part, NDArray[np.bool_]]]:
        """Returns the parts that hold some of the rows, each with where these are among them.

        Raises:
            FormatError: A row is not in any part.
        """
        found = []
        outside = np.ones(len(rows), np.bool_)
        for part in self.filled:
            inside = (rows >= part.first) & (rows <= part.last)
            if inside.any():
                found.append((part, inside))
                outside &= ~inside
        if outside.any():
            raise FormatError(f"row {rows[outside][0]} is not in any segment")
        return found

    def reconstruct(self, rows: Rows) -> NDArray[np.float32]:
        """Returns the stored embeddings of rows, (n, dim).

        Raises:
            FormatError: A row is not in any part.
        """
        out = np.empty((len(rows), self.template.dim), np.float32)
        for part, inside in self._by_part(rows):
            out[inside] = part.index.reconstruct(rows[inside] - part.first)
        return out


@dataclass(frozen=True, slots=True)
class ViewLoader:
    """Loads views from the database and the segments of a folder."""

    folder: Path
    empty: Index
    verify: bool
    threads: int | None

    def load(self, connection: sqlite3.Connection, before: View | None) -> View:
        """Returns the view of the commit that `connection` sees.

        Parts that have not changed since `before` are shared with it.

        Raises:
            FormatError: A segment is missing, or a segment or a pending vector is corrupted.
        """
        state = State.read(connection)
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
                raise FormatError("the settings in the database do not match the segments")
            ids = self._ids(connection, segment)
            words = self._words(segment)
            part = Part(index, segment.first, segment.last, ids, words, segment)
            gone = "SELECT row FROM removed WHERE row BETWEEN ? AND ?"
            parts.append(part.without(read_rows(connection, gone, segment.first, segment.last)))
        template = before.template if before is not None else self.empty
        if parts and parts[0].segment not in old:
            template = parts[0].index.empty()
        first = manifest[-1].last + 1 if manifest else 0
        consecutive = state.version == since + 1
        parts.append(
            self._pending(connection, before, template, first, changes, consecutive=consecutive)
        )
        return View(state, Settings.load(connection), tuple(parts), template)

    def _ids(self, connection: sqlite3.Connection, segment: Segment) -> DocumentIds:
        """Returns the documents of a segment: from the database, if their file is lost."""
        try:
            return segment.open_ids(self.folder, verify=self.verify)
        except FormatError:
            return documents.ids_between(connection, segment.first, segment.last)

    def _words(self, segment: Segment) -> Words:
        """Returns the words of a segment: to be read from the database, if their file is lost."""
        try:
            words = segment.open_words(self.folder, verify=self.verify)
        except FormatError:
            return Words((), segment.first)
        return Words([(words, segment.first)], segment.last + 1)

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
        none = DocumentIds.of([], [], [])
        part = Part(template, first, first - 1, none, Words((), first), None)
        if before is not None and before.pending.first == first and before.template is template:
            kept = before.pending.without(changes)
            # Commits in between may have removed rows and the records of it.
            if consecutive or _waiting(connection, kept.last, template.dim) == {
                row + first for row in kept.index.ids.tolist()
            }:
                part = kept
        rows, vectors = read_pending(connection, part.last + 1, template.dim)
        if not len(rows):
            return part
        index = part.index.copy()
        index.add(vectors, ids=rows - first)
        last = int(rows[-1])
        new = documents.ids_between(connection, part.last + 1, last)
        ids = DocumentIds.joined([(part.ids, 0), (new, part.last + 1 - first)])
        return Part(index, first, last, ids, part.words.copy(), None)


def read_pending(
    connection: sqlite3.Connection, start: int, dim: int
) -> tuple[Rows, NDArray[np.float32]]:
    """Returns the rows from `start` on that are not in a segment, and their vectors.

    Raises:
        FormatError: Vectors are corrupted.
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
    """Returns the rows up to `last` that are not in a segment."""
    query = "SELECT row, length(vectors) FROM pending WHERE row <= ?"
    lines = connection.execute(query, (last,))
    return {row + offset for row, size in lines for offset in range(size // (4 * dim))}


def read_rows(connection: sqlite3.Connection, query: str, *parameters: int) -> Rows:
    """Returns the row numbers that a query finds.

    Raises:
        FormatError: One is not an integer.
    """
    try:
        return np.array([row for (row,) in connection.execute(query, parameters)], np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise FormatError(f"the rows in the database are corrupted: {error}") from error
