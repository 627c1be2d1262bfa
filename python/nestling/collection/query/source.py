"""What a search asks of the rows that it searches, and how one collection answers.

A search ranks, fuses, groups and shows; a source finds. The rows of one collection are a source,
and so are those of many shards on other machines: both are searched by the same code.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nestling import _core
from nestling.collection.query.survivors import FunnelSearch
from nestling.collection.query.terms import IndexedPart
from nestling.collection.storage import documents
from nestling.collection.storage.view import View
from nestling.errors import FormatError
from nestling.index.funnel import Funnel
from nestling.index.hits import Hits

__all__ = ["FoundPassage", "LocalSource", "Source"]

Rows = NDArray[np.int64]
RankedRows = tuple[Rows, NDArray[np.float64]]
"""Rows, best first, and their scores."""
FoundPassage = tuple[str, str, str, int, int, str | None, NDArray[np.float32] | None]
"""Title, passage, JSON of the metadata, start and end of the passage in the document's text, this
text, and the embedding; the last two None unless requested."""


class Source(Protocol):
    """Rows that may be found: those of one snapshot that pass one filter."""

    @property
    def rows(self) -> int:
        """How many rows may be found; more where that is not known before the first answer."""

    @property
    def allowed(self) -> int | None:
        """Rows that passed the filter; None without a filter. Known after the first answer."""

    @property
    def split(self) -> bool:
        """Whether a document has several passages."""

    @property
    def segments(self) -> int:
        """Parts that have rows and are searched each on its own."""

    @property
    def funnel(self) -> Funnel:
        """The funnel that a dense search runs by default."""

    @property
    def weights(self) -> Mapping[str, float]:
        """Fitted shares of the dense ranking in hybrid searches, by the name of the fusion."""

    def dense(
        self,
        vectors: NDArray[np.float32],
        depth: int,
        funnel: Funnel | None,
        probes: int | None,
    ) -> Hits:
        """Returns the rows nearest to each vector, (m, up to `depth`); ids are rows."""

    def lexical(self, queries: Sequence[Sequence[IndexedPart]], depth: int) -> list[RankedRows]:
        """Returns the rows with the highest BM25 for each query."""

    def counts(self, parts: Sequence[IndexedPart]) -> list[int]:
        """Returns in how many rows each part occurs; of a phrase, its rarest token.

        All rows count, also those that do not pass the filter.
        """

    def completions(self, prefix: str, most: int) -> list[str]:
        """Returns the most frequent tokens that begin with `prefix`, at most `most`."""

    def first_rows(self, rows: Rows) -> Rows:
        """Returns for each row that was found the row of its document's first passage."""

    def ids(self, rows: Rows) -> list[str]:
        """Returns for each row that was found the id of its document."""

    def vectors(self, rows: Rows) -> NDArray[np.float32]:
        """Returns the stored embeddings of rows that were found, (n, dim)."""

    def passages(
        self, rows: Rows, firsts: Rows, ids: Sequence[str], *, whole: bool, vectors: bool
    ) -> Iterable[FoundPassage]:
        """Yields the passage of each row.

        Args:
            rows: Rows that were found.
            firsts: Their `first_rows`.
            ids: Their `ids`.
            whole: Whether the whole texts of the documents are requested.
            vectors: Whether the embeddings are requested.

        Raises:
            FormatError: A document is corrupted.
        """

    def dropped_by(
        self,
        rows: Rows,
        vector: NDArray[np.float32],
        depth: int,
        funnel: Funnel,
        probes: int | None,
    ) -> list[int]:
        """Returns the stage that drops each row from a dense search; the last if none before does.

        Args:
            rows: Rows that were found.
            vector: (1, dim) the query.
            depth: As for `dense`, like the other arguments.
            funnel: The stages.
            probes: See there.
        """


class LocalSource:
    """The rows of one commit of a collection.

    Args:
        connection: A transaction that sees the commit; any, where nothing is read from the database
            and words are known.
        view: The rows.
        allowed: Sorted rows that may be found, which nobody changes; None for all.
    """

    __slots__ = ("_allowed", "_connection", "_view", "rows", "split")

    def __init__(self, connection: sqlite3.Connection, view: View, allowed: Rows | None) -> None:
        self._connection = connection
        self._view = view
        self._allowed = allowed
        # The count in the database may be corrupted.
        self.rows = view.rows if allowed is None else min(view.rows, len(allowed))
        self.split = view.split

    @property
    def allowed(self) -> int | None:
        """See `Source`, as for the other methods."""
        return None if self._allowed is None else len(self._allowed)

    @property
    def segments(self) -> int:
        """See `Source`."""
        return len(self._view.filled)

    @property
    def funnel(self) -> Funnel:
        """See `Source`."""
        return self._view.template.funnel

    @property
    def weights(self) -> Mapping[str, float]:
        """See `Source`."""
        return self._view.settings.weights

    def dense(
        self,
        vectors: NDArray[np.float32],
        depth: int,
        funnel: Funnel | None,
        probes: int | None,
    ) -> Hits:
        """See `Source`."""
        return self._view.search(
            vectors, depth, funnel=funnel, probes=probes, allowed=self._allowed
        )

    def lexical(self, queries: Sequence[Sequence[IndexedPart]], depth: int) -> list[RankedRows]:
        """See `Source`."""
        words = self._view.words(self._connection)
        chosen = self._view.row_filter(words, self._allowed)
        return [_core.search_words(words, parts, k=depth, filter=chosen) for parts in queries]

    def counts(self, parts: Sequence[IndexedPart]) -> list[int]:
        """See `Source`."""
        return _core.count_words(self._view.words(self._connection), parts)

    def completions(self, prefix: str, most: int) -> list[str]:
        """See `Source`."""
        words = self._view.words(self._connection)
        return [token for token, _ in _core.complete_word(words, prefix, most)]

    def first_rows(self, rows: Rows) -> Rows:
        """See `Source`."""
        return self._view.first_rows(rows)

    def ids(self, rows: Rows) -> list[str]:
        """See `Source`."""
        return self._view.ids(rows)

    def vectors(self, rows: Rows) -> NDArray[np.float32]:
        """See `Source`."""
        return self._view.reconstruct(rows)

    def passages(
        self, rows: Rows, firsts: Rows, ids: Sequence[str], *, whole: bool, vectors: bool
    ) -> Iterator[FoundPassage]:
        """See `Source`."""
        view = self._view
        numbers, starts = rows.tolist(), firsts.tolist()
        embeddings: Iterable[NDArray[np.float32] | None] = repeat(None, len(numbers))
        if vectors:
            embeddings = view.reconstruct(rows)
        lines = documents.lines_at(self._connection, dict.fromkeys(starts), view.verified)
        for row, first, id, vector in zip(numbers, starts, ids, embeddings, strict=True):
            _, stored_id, title, text, metadata, _, spans, _ = lines[first]
            if stored_id != id:
                raise FormatError(
                    f"row {row} is of the document {id!r} and of {stored_id!r}: the ids of a "
                    "segment, or the database, are corrupted"
                )
            start, end = documents.span(first, text, spans, row - first)
            yield title, text[start:end], metadata, start, end, text if whole else None, vector

    def dropped_by(
        self,
        rows: Rows,
        vector: NDArray[np.float32],
        depth: int,
        funnel: Funnel,
        probes: int | None,
    ) -> list[int]:
        """See `Source`."""
        search = FunnelSearch(self._view, vector, depth, funnel, probes, self._allowed)
        return [search.dropped_by(row) for row in rows.tolist()]
