"""Opened shards: they answer requests with rows numbered as in the dataset.

Shards of one process that are sent the same search are searched as one, and share its answer.
Its files stay as they are. Documents that were removed since they were written are left out when
the shard is opened, as a collection leaves out what was deleted since its last compaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from nestling import _core
from nestling.cluster.manifest import ShardEntry
from nestling.cluster.requests import (
    Answer,
    CompletionAnswer,
    CompletionRequest,
    CountAnswer,
    CountRequest,
    DenseAnswer,
    DenseRequest,
    DroppedAnswer,
    DroppedRequest,
    FoundRows,
    LexicalAnswer,
    LexicalRequest,
    PassageAnswer,
    PassageRequest,
    Request,
    Where,
)
from nestling.collection.query.selection import Selection
from nestling.collection.query.source import LocalSource
from nestling.collection.query.survivors import FunnelSearch
from nestling.collection.storage import documents
from nestling.collection.storage.document_ids import DocumentIds
from nestling.collection.storage.options import AccessOptions
from nestling.collection.storage.row_filters import RowFilters
from nestling.collection.storage.settings import Settings
from nestling.collection.storage.state import State
from nestling.collection.storage.store import Store
from nestling.collection.storage.view import Part, View
from nestling.collection.storage.words import PlacedWords, Words
from nestling.errors import ArgumentError, FilterError, FormatError
from nestling.index import Index
from nestling.index.parts import search_parts

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["INDEX_FILE", "Shard", "ShardStatistics", "answers"]

INDEX_FILE: Final = "index.nest"
"""The file of a shard that is an index."""

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ShardStatistics:
    """What a shard holds, without the removed documents.

    Attributes:
        rows: Passages, one row each.
        documents: Documents.
        tokens: Words of all rows, repetitions included.
    """

    rows: int
    documents: int
    tokens: int


class Shard:
    """An opened shard, which any number of threads may call; made by `Shard.open`.

    Args:
        entry: Its line of the manifest.
        view: Its rows.
        words: Their words.
        documents: Living documents.
        store: Where its documents are; None for an index.

    Attributes:
        entry: As given.
        statistics: What it holds.

    Raises:
        FormatError: Its rows are not as many as the entry says.
    """

    def __init__(
        self,
        entry: ShardEntry,
        view: View,
        words: Sequence[PlacedWords],
        documents: int,
        store: Store | None,
    ) -> None:
        self.entry = entry
        self.statistics = ShardStatistics(
            view.rows, documents, sum(index.tokens for index, _ in words)
        )
        if view.rows != entry.rows:
            raise FormatError(
                f"shard {entry.name!r} has {view.rows:,} rows, the manifest {entry.rows:,}"
            )
        self._view = view
        self._words = words
        self._store = store
        self._shift = entry.first - view.parts[0].first
        self._selection = Selection()
        self._filters = RowFilters()  # of several shards, the first of which is this one

    @classmethod
    def open(
        cls, folder: Path, entry: ShardEntry, removed: Sequence[str] = (), *, threads: int | None
    ) -> Self:
        """Opens a shard; its files are mapped, not read.

        Args:
            folder: The folder with its files, whose checksums were compared.
            entry: Its line of the manifest.
            removed: Ids of the documents that were removed since it was written; of an index, row
                numbers of the dataset.
            threads: Threads that a call may use; None for the default.

        Raises:
            FormatError: The files are not those of a shard, or its rows are not those of the entry.
            StorageError: The operating system refused to read them.
        """
        if entry.kind == "index":
            return cls._open_index(folder, entry, removed, threads)
        store = Store(folder, AccessOptions(read_only=True, verify=False, threads=threads))
        try:
            with store.reading() as (connection, view):
                gone = documents.find(connection, removed)
                if gone:
                    view = view.without(np.array([key.row for key in gone.values()], np.int64))
                words = view.words(connection)
            return cls(entry, view, words, view.state.documents - len(gone), store)
        except BaseException:
            store.close()
            raise

    @classmethod
    def _open_index(
        cls, folder: Path, entry: ShardEntry, removed: Sequence[str], threads: int | None
    ) -> Self:
        index = Index.load(folder / INDEX_FILE, verify=False, threads=threads)
        if removed:
            gone = np.array([int(id) for id in removed], np.int64) - entry.first
            index.remove(gone[np.isin(gone, index.ids)])
        rows, last = len(index), entry.last - entry.first
        none = DocumentIds.of([], [], [])
        view = View(
            State(version=1, next_row=last + 1, documents=rows, rows=rows),
            Settings(index.dim, index.metric, index.funnel, None, None, {}),
            (Part(index, 0, last, none, Words((), 0), None),),
            index.empty(),
        )
        return cls(entry, view, (), rows, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the database; calls of other threads that still run may fail."""
        if self._store is not None:
            self._store.close()

    def call(self, request: Request) -> Answer:
        """Answers a request.

        Raises:
            ArgumentError: A value is out of range, or the shard has no words or documents.
            FilterError: The filter is malformed, or the shard has no metadata.
            FunnelError: The funnel has a stage that is not stored.
            VectorError: A vector does not fit.
            FormatError: The shard is corrupted.
        """
        match request:
            case DenseRequest():
                return _dense((self,), request)
            case LexicalRequest():
                return _lexical((self,), request)
            case DroppedRequest():
                return self._dropped(request)
            case PassageRequest():
                return self._passages(request)
        if self._store is None:
            raise ArgumentError("the dataset holds bare vectors: it cannot be searched for words")
        match request:
            case CountRequest():
                return self._count(request)
            case CompletionRequest():
                tokens = _core.complete_word(self._words, request.prefix, request.most)
                rows = _core.completion_rows(self._words, request.tokens)
                return CompletionAnswer(tuple(tokens), tuple(rows))
        raise ArgumentError(f"{type(request).__name__} is not a request to a shard")

    def _dropped(self, request: DroppedRequest) -> DroppedAnswer:
        allowed = self._allowed(request.where)
        depth = _depth(request.k, (self,), (allowed,))
        search = FunnelSearch(
            self._view, request.vector, depth, request.funnel, request.probes, allowed
        )
        return DroppedAnswer(
            tuple(search.dropped_by(row) for row in (request.rows - self._shift).tolist())
        )

    def _count(self, request: CountRequest) -> CountAnswer:
        singles = [([token], kind) for token, kind in request.tokens]
        return CountAnswer(
            np.array(_core.count_words(self._words, singles), np.int64),
            np.array(_core.count_matches(self._words, request.parts), np.int64),
        )

    def _passages(self, request: PassageRequest) -> PassageAnswer:
        rows, view = request.rows - self._shift, self._view
        found = self._found(rows, ids=True)
        passages = None
        if request.text and self._store is not None:
            firsts, ids = view.first_rows(rows), view.ids(rows)
            with self._store.database.reading() as connection:
                source = LocalSource(connection, view, None)
                passages = list(
                    source.passages(rows, firsts, ids, whole=request.whole, vectors=False)
                )
        vectors = view.reconstruct(rows) if request.vectors else None
        return PassageAnswer(found, passages, vectors)

    def _found(self, rows: Rows, *, ids: bool) -> FoundRows:
        view = self._view
        if self._store is None:
            return FoundRows(None, (rows + self._shift).tolist() if ids else None)
        firsts = view.first_rows(rows) + self._shift if view.split else None
        return FoundRows(firsts, view.ids(rows) if ids else None)

    def _allowed(self, where: Where | None) -> Rows | None:
        if where is None:
            return None
        if self._store is None:
            raise FilterError("where: the dataset holds bare vectors, without metadata")
        with self._store.database.reading() as connection:
            return self._selection.rows(connection, self._view, where)


def answers(
    shards: Mapping[str, Shard],
    requests: Mapping[str, Request],
    each: Callable[..., Iterable[Answer]] = map,
) -> dict[str, Answer]:
    """Answers requests by shard.

    Shards of which the request is the same object, a `DenseRequest` or a `LexicalRequest`, are
    searched as one: they have one answer, the same object, to which all of them contributed.

    Args:
        shards: Some shards of a dataset, in the order of their rows.
        requests: By shard.
        each: Maps a function over independent requests, as `map` does.

    Raises:
        NestlingError: As for `Shard.call`.
    """
    alike: dict[tuple[int, str], list[Shard]] = {}
    for name, shard in shards.items():
        request = requests.get(name)
        if request is not None:
            search = isinstance(request, (DenseRequest, LexicalRequest))
            alike.setdefault((id(request), "" if search else name), []).append(shard)

    def answer(together: Sequence[Shard]) -> Answer:
        request = requests[together[0].entry.name]
        match request:
            case DenseRequest():
                return _dense(together, request)
            case LexicalRequest():
                return _lexical(together, request)
        return together[0].call(request)

    groups = list(alike.values())
    found = (map if len(groups) == 1 else each)(answer, groups)
    return {
        shard.entry.name: one for group, one in zip(groups, found, strict=True) for shard in group
    }


def _dense(shards: Sequence[Shard], request: DenseRequest) -> DenseAnswer:
    allowed = [shard._allowed(request.where) for shard in shards]
    depth = _depth(request.k, shards, allowed)
    parts = [
        part
        for shard, rows in zip(shards, allowed, strict=True)
        for part in shard._view.searched(rows, shard._shift)
    ]
    if parts:
        hits = search_parts(
            parts,
            request.vectors,
            depth,
            funnel=request.funnel,
            probes=request.probes,
            clip=False,
        )
    else:  # checks the same arguments and reports the same stages
        hits = shards[0]._view.template.search(request.vectors, depth, funnel=request.funnel)
    return DenseAnswer(
        hits.ids,
        hits.scores,
        hits.stages,
        _found(shards, hits.ids[hits.ids >= 0], ids=request.ids),
        _total(allowed),
    )


def _lexical(shards: Sequence[Shard], request: LexicalRequest) -> LexicalAnswer:
    for shard in shards:
        if shard._store is None:
            raise ArgumentError("the dataset holds bare vectors: it cannot be searched for words")
    allowed = [shard._allowed(request.where) for shard in shards]
    words, chosen = _placed_words(shards, allowed)
    depth = _depth(request.k, shards, allowed)
    rows, scores = [np.empty(0, np.int64)], [np.empty(0, np.float64)]
    for query in request.queries:
        found = _core.search_words(
            words,
            query.parts,
            k=depth,
            filter=chosen,
            statistics=(request.rows, request.tokens, query.counts),
        )
        rows.append(found[0])
        scores.append(found[1])
    every = np.concatenate(rows)
    if len(shards) == 1:
        every += shards[0]._shift
    return LexicalAnswer(
        np.cumsum([len(each) for each in rows]),
        every,
        np.concatenate(scores),
        _found(shards, every, ids=request.ids),
        _total(allowed),
    )


def _placed_words(
    shards: Sequence[Shard], allowed: Sequence[Rows | None]
) -> tuple[Sequence[PlacedWords], _core.RowFilter | None]:
    """Returns the words of all rows, and the filter of those that are allowed.

    Of one shard they count its own rows, by which its view knows the filter already; of several,
    the rows of the dataset.
    """
    if len(shards) == 1:
        (shard,) = shards
        return shard._words, shard._view.row_filter(shard._words, allowed[0])
    words = [(index, first + shard._shift) for shard in shards for index, first in shard._words]
    chosen = [each for each in allowed if each is not None]
    if not chosen:
        return words, None

    def rows() -> Rows:
        shifted = [each + shard._shift for shard, each in zip(shards, chosen, strict=True)]
        return np.concatenate(shifted)

    return words, shards[0]._filters.of(chosen, words, rows)


def _found(shards: Sequence[Shard], rows: Rows, *, ids: bool) -> FoundRows:
    """Returns what is known of rows of the dataset, all of which are in these shards."""
    if len(shards) == 1:
        return shards[0]._found(rows - shards[0]._shift, ids=ids)
    firsts, found = rows.copy(), np.empty(len(rows), np.object_)
    numbers = np.searchsorted([shard.entry.first for shard in shards], rows, "right") - 1
    for number in np.unique(numbers).tolist():
        inside = numbers == number
        known = shards[number]._found(rows[inside] - shards[number]._shift, ids=ids)
        if known.firsts is not None:
            firsts[inside] = known.firsts
        if known.ids is not None:
            found[inside] = known.ids
    split = any(shard._view.split for shard in shards)
    return FoundRows(firsts if split else None, found.tolist() if ids else None)


def _depth(k: int, shards: Sequence[Shard], allowed: Sequence[Rows | None]) -> int:
    """Returns how many rows to find: k, but no more than there are.

    More would be empty places. A funnel that keeps as many rows as there are keeps them all, so the
    hits are the same.
    """
    counts = (
        shard._view.rows if rows is None else len(rows)
        for shard, rows in zip(shards, allowed, strict=True)
    )
    return max(min(k, sum(counts)), 1)


def _total(allowed: Sequence[Rows | None]) -> int | None:
    known = [len(rows) for rows in allowed if rows is not None]
    return sum(known) if known else None
