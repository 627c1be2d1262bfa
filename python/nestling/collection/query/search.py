"""Searches of a collection: dense, lexical, or both fused; documents by their best passages."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import count, repeat
from typing import Any, Final, Literal, TypedDict, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestling import _core
from nestling.collection.ingest.analysis import Rewrite
from nestling.collection.ingest.encoder import EncoderSlot
from nestling.collection.query.fusion import reciprocal_rank, weighted
from nestling.collection.query.fuzzy import FuzzyWords
from nestling.collection.query.highlight import Highlighter
from nestling.collection.query.hits import (
    DocumentHit,
    DocumentHits,
    DroppedHit,
    Explanation,
    RankedScore,
)
from nestling.collection.query.selection import Selection
from nestling.collection.query.synonyms import Synonyms
from nestling.collection.query.terms import indexed, search_parts
from nestling.collection.storage import documents
from nestling.collection.storage.store import Store
from nestling.collection.storage.view import View
from nestling.errors import ArgumentError, ArgumentTypeError, FormatError, VectorError
from nestling.index.arguments import positive
from nestling.index.funnel import Funnel
from nestling.index.hits import Hits
from nestling.inputs.metadata import from_json
from nestling.inputs.texts import query_texts
from nestling.inputs.vectors import matrix

__all__ = [
    "INCLUDES",
    "Fusion",
    "Mode",
    "SearchKeywords",
    "SearchOptions",
    "Searcher",
]

Mode = Literal["dense", "lexical", "hybrid"]
Fusion = Literal["rrf", "weighted"]
INCLUDES: Final = ("text", "metadata", "highlight", "document", "vector")

Rows = NDArray[np.int64]
Ranking = tuple[Rows, NDArray[np.float64]]
Ranked = tuple[list[int], list[float]]

_MODES: Final = get_args(Mode)
_FUSIONS: Final = get_args(Fusion)
_INCLUDED: Final = frozenset(INCLUDES)
_IN_MEMORY: Final = frozenset(("vector",))  # of these, what is not in the database
_MIN_CANDIDATES: Final = 100  # of each ranking that is fused
_DEEPER: Final = 4  # passages per requested document, and the factor if these are too few


class SearchKeywords(TypedDict, total=False):
    """The keyword-only arguments of `Collection.search`, for its overloads."""

    mode: Mode
    include: Sequence[str]
    explain: bool
    fusion: Fusion
    weight: float
    synonyms: Synonyms | None
    fuzzy: bool
    probes: int | None
    vectors: ArrayLike | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """How to search.

    Attributes:
        k: Documents per query.
        where: A filter; None for no filter.
        mode: The ranking: "dense", "lexical" or "hybrid".
        funnel: As for `Index.search`.
        probes: As for `Index.search`.
        include: What hits hold, of `INCLUDES`.
        fusion: How "hybrid" joins the two rankings.
        weight: Share of the dense ranking in it, 0 to 1.
        synonyms: What else, or in its place, a word of the query is searched for by.
        fuzzy: Whether a word that no document has is replaced by those that differ in one letter.
        explain: Whether hits explain how they were found.

    Raises:
        ArgumentError: A value is out of range.
        ArgumentTypeError: The synonyms are not `Synonyms`.
        FunnelError: The funnel is malformed.
    """

    k: int = 10
    where: Mapping[str, Any] | None = None
    mode: Mode = "dense"
    funnel: Funnel | None = None
    probes: int | None = None
    include: Sequence[str] = ("text", "metadata")
    fusion: Fusion = "weighted"
    weight: float = 0.5
    synonyms: Synonyms | None = None
    fuzzy: bool = False
    explain: bool = False

    def __post_init__(self) -> None:
        positive("k", self.k)
        if self.mode not in _MODES:
            raise ArgumentError(f"mode must be one of {_MODES}, not {self.mode!r}")
        if self.fusion not in _FUSIONS:
            raise ArgumentError(f"fusion must be one of {_FUSIONS}, not {self.fusion!r}")
        if not 0 <= self.weight <= 1:
            raise ArgumentError(f"weight must be 0 to 1, not {self.weight}")
        if isinstance(self.include, str) or not _INCLUDED.issuperset(self.include):
            raise ArgumentError(f"include must be a list of {INCLUDES}, not {self.include!r}")
        if self.synonyms is not None and not isinstance(self.synonyms, Synonyms):
            raise ArgumentTypeError(
                f"synonyms must be Synonyms(lines) or Synonyms.read(path), not {self.synonyms!r}"
            )

    @property
    def reads_documents(self) -> bool:
        """Whether hits hold something that is in the database only."""
        return not _IN_MEMORY.issuperset(self.include)

    @property
    def reads_database(self) -> bool:
        """Whether anything is read from the database, beside the number of the last commit."""
        return self.mode != "dense" or self.where is not None or self.reads_documents


@dataclass(frozen=True, slots=True)
class _Queries:
    """Queries of one call: texts, vectors, or texts with their embeddings."""

    texts: list[str] | None
    vectors: NDArray[np.float32] | None

    def __len__(self) -> int:
        if self.texts is not None:
            return len(self.texts)
        return 0 if self.vectors is None else len(self.vectors)

    def one_by_one(self) -> list[_Queries]:
        """Returns each query on its own."""
        return [
            _Queries(
                None if self.texts is None else self.texts[i : i + 1],
                None if self.vectors is None else self.vectors[i : i + 1],
            )
            for i in range(len(self))
        ]


class _Clock:
    """Microseconds of each named step, if it runs."""

    def __init__(self, *, runs: bool) -> None:
        self.microseconds: dict[str, float] = {}
        self._runs = runs

    def step(self, name: str) -> AbstractContextManager[None]:
        """Measures a step."""
        return self._measure(name) if self._runs else _UNTIMED

    @contextmanager
    def _measure(self, name: str) -> Iterator[None]:
        start = time.perf_counter_ns()
        try:
            yield
        finally:
            elapsed = (time.perf_counter_ns() - start) / 1000
            self.microseconds[name] = self.microseconds.get(name, 0.0) + elapsed


_UNTIMED: Final = nullcontext()


class Searcher:
    """Searches one store."""

    def __init__(self, store: Store, encoder: EncoderSlot) -> None:
        self._store = store
        self._encoder = encoder
        self._selection = Selection()

    def search(
        self,
        query: str | Sequence[str] | ArrayLike,
        options: SearchOptions,
        embedded: ArrayLike | None = None,
    ) -> DocumentHits | list[DocumentHits]:
        """Returns the hits of one query, or a list for several.

        Raises:
            ArgumentError: A query that is a vector needs words, or comes with an embedding.
            VectorError: A vector does not fit, or the collection has no encoder.
            FilterError: The filter is malformed.
        """
        queries = self._read(query, options, embedded)
        single = isinstance(query, str) or (queries.texts is None and np.ndim(query) == 1)
        if queries.texts is not None and not queries.texts:
            return []
        # An explanation is of one query: its stages and times are measured on their own.
        batches = queries.one_by_one() if options.explain else [queries]
        clocks = [_Clock(runs=options.explain) for _ in batches]
        encoded = [
            self._encode(batch, options, clock)
            for batch, clock in zip(batches, clocks, strict=True)
        ]
        found: list[DocumentHits] = []
        store = self._store
        with store.reading() if options.reads_database else store.latest() as (connection, view):
            for batch, clock in zip(encoded, clocks, strict=True):
                with clock.step("filter"):
                    allowed = self._selection.rows(connection, view, options.where)
                found += _Search(connection, view, options, clock, allowed).run(batch)
        return found[0] if single else found

    def _read(
        self,
        query: str | Sequence[str] | ArrayLike,
        options: SearchOptions,
        embedded: ArrayLike | None,
    ) -> _Queries:
        dim = self._store.settings.dim
        texts = query_texts(query)
        if texts is None:
            if options.mode != "dense":
                raise ArgumentError(
                    f"mode {options.mode!r} searches for words: give a text instead of a vector"
                )
            if embedded is not None:
                raise ArgumentError(
                    "vectors are the embeddings of texts, but the query is a vector itself"
                )
            return _Queries(None, matrix(query, dim, "queries"))
        vectors = None
        if embedded is not None and texts:
            vectors = matrix(embedded, dim, "vectors")
            if len(vectors) != len(texts):
                raise VectorError(
                    f"{len(vectors)} vectors for {len(texts)} texts; give one per text"
                )
        return _Queries(texts, vectors)

    def _encode(self, queries: _Queries, options: SearchOptions, clock: _Clock) -> _Queries:
        if queries.vectors is not None or queries.texts is None or options.mode == "lexical":
            return queries
        with clock.step("encode"):
            return _Queries(queries.texts, self._encoder.encode_queries(queries.texts))


class _Search:
    """One search in one snapshot."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        view: View,
        options: SearchOptions,
        clock: _Clock,
        allowed: Rows | None,
    ) -> None:
        self._connection = connection
        self._view = view
        self._options = options
        self._clock = clock
        self._allowed = allowed
        self._split = view.split
        self._fused: list[tuple[Ranked, Ranked]] = []  # both rankings of each query
        self._fuzzy: dict[str, FuzzyWords] = {}  # by query

    def _rewrite(self, text: str) -> Rewrite | None:
        """Returns what adds synonyms to a query, and words near those that no document has."""
        synonyms = self._options.synonyms
        if not self._options.fuzzy:
            return None if synonyms is None else synonyms.rewrite
        fuzzy = self._fuzzy.setdefault(text, FuzzyWords(self._count))

        def rewrite(terms: Sequence[str]) -> Iterator[tuple[str, ...]]:
            parts = ((term,) for term in terms) if synonyms is None else synonyms.rewrite(terms)
            return fuzzy.rewrite(parts)

        return rewrite

    def _count(self, tokens: Sequence[str]) -> list[int]:
        """Returns in how many rows each token is."""
        words = self._view.words(self._connection)
        return _core.count_words(words, [([token], False) for token in tokens])

    def run(self, queries: _Queries) -> list[DocumentHits]:
        """Returns the hits of each query."""
        k = self._options.k
        depth = max(_MIN_CANDIDATES, _DEEPER * k) if self._options.mode == "hybrid" else k
        depth = depth * _DEEPER if self._split else depth
        # The count in the database may be corrupted.
        most = self._view.rows
        if self._allowed is not None:
            most = min(most, len(self._allowed))
        while True:
            depth = max(min(depth, most), 1)
            hits, rankings = self._rank(queries, depth)
            with self._clock.step("fetch"):
                chosen = self._best_passages(rankings)
            short = any(len(rows) < k for rows, _ in chosen)
            # Too few documents may be because they have many passages each.
            if not (self._split and short and depth < most):
                break
            depth *= _DEEPER
        explanation = self._explain(queries, hits) if self._options.explain else None
        with self._clock.step("fetch"):
            found = self._hits(chosen, queries.texts)
            for hits_of_query, (rows, _), fused in zip(found, chosen, self._fused, strict=False):
                _set_rankings(hits_of_query, rows, *fused)
        if explanation is not None:
            explanation = replace(explanation, microseconds=dict(self._clock.microseconds))
        return [DocumentHits(hits, explanation) for hits in found]

    def _rank(self, queries: _Queries, depth: int) -> tuple[Hits | None, list[Ranked]]:
        """Returns a ranking of at most `depth` rows for each query."""
        options = self._options
        hits = None
        lexical: list[Ranking] = []
        if queries.vectors is not None and options.mode != "lexical":
            with self._clock.step("dense"):
                hits = self._view.search(
                    queries.vectors,
                    depth,
                    funnel=options.funnel,
                    probes=options.probes,
                    allowed=self._allowed,
                )
        if queries.texts is not None and options.mode != "dense":
            with self._clock.step("lexical"):
                lexical = [self._lexical(text, depth) for text in queries.texts]
        if hits is None:
            return hits, [_listed(ranking) for ranking in lexical]
        if options.mode == "dense":
            return hits, _dense(hits)
        weights = (options.weight, 1 - options.weight)
        with self._clock.step("fuse"):
            fuse = reciprocal_rank if options.fusion == "rrf" else weighted
            pairs = list(zip(_dense(hits), lexical, strict=True))
            self._fused = [(dense, _listed(ranking)) for dense, ranking in pairs]
            return hits, [_listed(fuse(pair, weights=weights)) for pair in pairs]

    def _lexical(self, text: str, depth: int) -> Ranking:
        words = self._view.words(self._connection)
        parts = indexed(search_parts(words, text, self._rewrite(text)))
        chosen = self._view.row_filter(words, self._allowed)
        rows, scores = _core.search_words(words, parts, k=depth, filter=chosen)
        if not np.isfinite(scores).all():
            raise FormatError("the words of a segment are corrupted: a score is not a number")
        return rows, scores

    def _best_passages(self, rankings: list[Ranked]) -> list[Ranked]:
        """Returns rows and scores of the best passages of the k best documents, by query."""
        k = self._options.k
        if not (self._split and rankings):
            return [(rows[:k], scores[:k]) for rows, scores in rankings]
        every = np.array([row for rows, _ in rankings for row in rows], np.int64)
        firsts = iter(self._view.first_rows(every).tolist())
        found = []
        for rows, scores in rankings:
            best: dict[int, tuple[int, float]] = {}
            for row, score in zip(rows, scores, strict=True):
                best.setdefault(next(firsts), (row, score))
            pairs = list(best.values())[:k]
            found.append(([row for row, _ in pairs], [score for _, score in pairs]))
        return found

    def _hits(self, chosen: list[Ranked], texts: list[str] | None) -> list[tuple[DocumentHit, ...]]:
        """Returns the hits of each query; what they hold of documents is read at once.

        It makes few objects beside the hits: Python's garbage collector visits all there are, again
        and again, where a call makes tens of thousands.
        """
        include, view = self._options.include, self._view
        every = [row for rows, _ in chosen for row in rows]
        ids = view.ids(every)
        firsts = every
        if self._split:
            firsts = view.first_rows(np.array(every, np.int64)).tolist()
        vectors: Iterable[NDArray[np.float32] | None] = repeat(None, len(every))
        if "vector" in include:
            vectors = view.reconstruct(np.array(every, np.int64))
        places = zip(ids, firsts, vectors, strict=True)
        if not self._options.reads_documents:
            return [
                tuple(
                    [
                        DocumentHit(id, score, None, None, None, row - first, vector=vector)
                        for row, score, (id, first, vector) in zip(*ranked, places, strict=False)
                    ]
                )
                for ranked in chosen
            ]
        lines = documents.lines_at(self._connection, dict.fromkeys(firsts), view.verified)
        highlighters = self._highlighters(texts, len(chosen))
        has_text, has_metadata = "text" in include, "metadata" in include
        has_document = "document" in include
        found = []
        for ranked, highlighter in zip(chosen, highlighters, strict=True):
            hits = []
            for row, score, (id, first, vector) in zip(*ranked, places, strict=False):
                _, stored_id, title, whole, metadata, _, spans, _ = lines[first]
                if stored_id != id:
                    raise FormatError(
                        f"row {row} is of the document {id!r} and of {stored_id!r}: the ids of a "
                        "segment, or the database, are corrupted"
                    )
                start, end = documents.span(first, whole, spans, row - first)
                text = whole[start:end]
                highlights = () if highlighter is None else tuple(highlighter.spans(text))
                hits.append(
                    DocumentHit(
                        id,
                        score,
                        text if has_text or highlights else None,
                        title,
                        from_json(metadata) if has_metadata else None,
                        row - first,
                        start,
                        end,
                        highlights,
                        whole if has_document else None,
                        vector,
                    )
                )
            found.append(tuple(hits))
        return found

    def _highlighters(self, texts: list[str] | None, count: int) -> Iterable[Highlighter | None]:
        if texts is None or "highlight" not in self._options.include:
            return repeat(None, count)
        return (Highlighter(text, self._rewrite(text)) for text in texts)

    def _explain(self, queries: _Queries, hits: Hits | None) -> Explanation:
        """Explains the only query of this search."""
        dropped: list[DroppedHit] = []
        if queries.vectors is not None and hits is not None:
            dropped = self._dropped(queries.vectors)
        return Explanation(
            mode=self._options.mode,
            stages=() if hits is None else hits.stages,
            dropped=tuple(dropped),
            microseconds={},
            allowed=None if self._allowed is None else len(self._allowed),
            segments=sum(len(part.index) > 0 for part in self._view.parts),
        )

    def _dropped(self, vector: NDArray[np.float32]) -> list[DroppedHit]:
        """Searches again, exactly and stage by stage, for the hits that the funnel dropped."""
        options, view = self._options, self._view
        funnel = options.funnel or view.template.funnel
        last = Funnel((funnel.stages[-1],))
        exact = view.search(vector, options.k, funnel=last, probes=0, allowed=self._allowed).ids[0]
        dropped = []
        for rank, row in enumerate(exact[exact >= 0].tolist(), 1):
            part = next(part for part in view.parts if part.first <= row <= part.last)
            for position in range(len(funnel.stages) - 1):
                stage = funnel.stages[position]
                until = (*funnel.stages[:position], replace(stage, keep=None, margin=None))
                keep = max(stage.keep or options.k, options.k)
                kept = part.search(vector, keep, Funnel(until), options.probes, self._allowed)
                if kept is None or row - part.first not in kept.ids:
                    (id,) = view.ids([row])
                    dropped.append(DroppedHit(id, rank, position))
                    break
        return dropped


def _dense(hits: Hits) -> list[Ranked]:
    """Returns the rows and scores of each query, without empty places."""
    ranked = []
    for rows, scores in zip(hits.ids.tolist(), hits.scores.tolist(), strict=True):
        end = rows.index(-1) if rows[-1] < 0 else len(rows)
        ranked.append((rows[:end], scores[:end]))
    return ranked


def _set_rankings(
    hits: Iterable[DocumentHit], rows: list[int], dense: Ranked, lexical: Ranked
) -> None:
    """Tells hits their places in the two rankings that were fused."""
    dense_ranks, lexical_ranks = (dict(zip(found, count(1))) for found, _ in (dense, lexical))
    for hit, row in zip(hits, rows, strict=True):
        if rank := dense_ranks.get(row):
            hit.dense = RankedScore(rank, dense[1][rank - 1])
        if rank := lexical_ranks.get(row):
            hit.lexical = RankedScore(rank, lexical[1][rank - 1])


def _listed(ranking: Ranking) -> Ranked:
    return ranking[0].tolist(), ranking[1].tolist()
