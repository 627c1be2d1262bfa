"""Searches of a collection: dense, lexical, or both fused; documents by their best passages."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import repeat
from typing import Any, Final, Literal, NamedTuple, TypedDict, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestling import _core
from nestling.collection.ingest.analysis import Rewrite
from nestling.collection.ingest.encoder import EncoderSlot
from nestling.collection.query.completion import Unfinished, complete
from nestling.collection.query.fuzzy import FuzzyWords
from nestling.collection.query.highlight import Highlighter, snippet
from nestling.collection.query.hits import (
    BareHits,
    DocumentHit,
    DocumentHits,
    DroppedHit,
    Explanation,
    Fused,
)
from nestling.collection.query.refine import Refiner, margins
from nestling.collection.query.selection import Selection
from nestling.collection.query.source import LocalSource, Source
from nestling.collection.query.survivors import FunnelSearch, Survivors
from nestling.collection.query.synonyms import Synonyms
from nestling.collection.query.terms import PartKind, indexed, search_parts
from nestling.collection.query.weight import DEFAULT_WEIGHT, GRID, RANKS, WeightFit, fit, gains
from nestling.collection.storage import documents
from nestling.collection.storage.store import Store
from nestling.errors import ArgumentError, ArgumentTypeError, VectorError
from nestling.index.arguments import positive
from nestling.index.funnel import Funnel
from nestling.index.hits import Hits
from nestling.inputs.metadata import from_json
from nestling.inputs.texts import query_texts
from nestling.inputs.vectors import matrix

__all__ = [
    "INCLUDES",
    "Clock",
    "CommonKeywords",
    "Fusion",
    "Mode",
    "PreparedQueries",
    "Queries",
    "Refine",
    "Search",
    "SearchKeywords",
    "SearchOptions",
    "Searcher",
    "Weight",
    "prepared",
]

Mode = Literal["dense", "lexical", "hybrid"]
Fusion = Literal["rrf", "weighted"]
Refine = Literal["never", "auto", "always"]
Weight = float | Literal["auto"]
INCLUDES: Final = ("text", "metadata", "highlight", "snippet", "document", "vector")

Rows = NDArray[np.int64]

_NO_ROWS: Final = np.empty(0, np.int64)
_MODES: Final = get_args(Mode)
_FUSIONS: Final = get_args(Fusion)
_REFINES: Final = get_args(Refine)
_INCLUDED: Final = frozenset(INCLUDES)
_HIGHLIGHTED: Final = frozenset(("highlight", "snippet"))  # of these, what shows words of the query
_IN_MEMORY: Final = frozenset(("vector",))  # of these, what is not in the database
_MIN_CANDIDATES: Final = 100  # of each ranking that is fused
_DEEPER: Final = 4  # passages per requested document, and the factor if these are too few
_FITTED_TOGETHER: Final = 256  # questions whose candidates are in memory at once


class CommonKeywords(TypedDict, total=False):
    """The keyword-only arguments of every `search`, for overloads."""

    mode: Mode
    include: Sequence[str]
    explain: bool
    fusion: Fusion
    weight: Weight
    fuzzy: bool
    prefix: bool
    probes: int | None
    refine: Refine
    vectors: ArrayLike | None


class SearchKeywords(CommonKeywords, total=False):
    """Those of `Collection.search`."""

    synonyms: Synonyms | None


# Not frozen: every search makes one, and an object of a frozen class takes five times as long.
@dataclass(slots=True, kw_only=True)
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
        weight: Share of the dense ranking in it, 0 to 1; "auto" for the collection's.
        synonyms: What else, or in its place, a word of the query is searched for by.
        fuzzy: Whether a word that no document has is replaced by those that differ in one letter.
        refine: When the collection's own encoder is used beside a query encoder.
        prefix: Whether the word that a query ends with is searched for by those that begin so.
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
    weight: Weight = "auto"
    synonyms: Synonyms | None = None
    fuzzy: bool = False
    refine: Refine = "never"
    prefix: bool = False
    explain: bool = False

    def __post_init__(self) -> None:
        positive("k", self.k)
        if self.mode not in _MODES:
            raise ArgumentError(f"mode must be one of {_MODES}, not {self.mode!r}")
        if self.fusion not in _FUSIONS:
            raise ArgumentError(f"fusion must be one of {_FUSIONS}, not {self.fusion!r}")
        if self.refine not in _REFINES:
            raise ArgumentError(f"refine must be one of {_REFINES}, not {self.refine!r}")
        if self.weight != "auto" and (isinstance(self.weight, str) or not 0 <= self.weight <= 1):
            raise ArgumentError(f"weight must be 0 to 1, or 'auto', not {self.weight!r}")
        if isinstance(self.include, str) or not _INCLUDED.issuperset(self.include):
            raise ArgumentError(f"include must be a list of {INCLUDES}, not {self.include!r}")
        if self.synonyms is not None and not isinstance(self.synonyms, Synonyms):
            raise ArgumentTypeError(
                f"synonyms must be Synonyms(lines) or Synonyms.read(path), not {self.synonyms!r}"
            )

    @property
    def words_alone(self) -> bool:
        """Whether hits are those of the words of a query as they are, and hold nothing else."""
        changed = self.synonyms is not None or self.fuzzy or self.prefix
        return self.mode == "lexical" and not (self.include or self.explain or changed)

    @property
    def meaning_alone(self) -> bool:
        """Whether hits are those of one embedding of a query, and hold nothing else."""
        return self.mode == "dense" and not (self.include or self.explain or self.refine == "auto")

    @property
    def reads_documents(self) -> bool:
        """Whether hits hold something that is in the database only."""
        return not _IN_MEMORY.issuperset(self.include)


@dataclass(slots=True)  # not frozen, as `SearchOptions`
class Queries:
    """Queries of one call: texts, vectors, or texts with their embeddings.

    Attributes:
        texts: The texts; None where queries are vectors.
        vectors: (m, dim) float32; None where there are none yet.
        refiner: How to refine them; None where the vectors are final.
    """

    texts: list[str] | None
    vectors: NDArray[np.float32] | None
    refiner: Refiner | None = None

    def __len__(self) -> int:
        if self.texts is not None:
            return len(self.texts)
        return 0 if self.vectors is None else len(self.vectors)

    def part(self, chosen: slice) -> Queries:
        """Returns some of the queries."""
        return Queries(
            None if self.texts is None else self.texts[chosen],
            None if self.vectors is None else self.vectors[chosen],
        )

    def one_by_one(self) -> list[Queries]:
        """Returns each query on its own."""
        return [self.part(slice(i, i + 1)) for i in range(len(self))]


class Clock:
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
        if options.words_alone and embedded is None and isinstance(query, str):
            hits = self._search_words(query, options)
            if hits is not None:
                return hits
        if options.meaning_alone and embedded is None and isinstance(query, str):
            embedded = self._encoded(query, options)
            hits = self._search_meaning(embedded, options)
            if hits is not None:
                return hits
        queries = prepared(query, options, embedded, self._encoder, self._store.settings.dim)
        if not queries.batches:
            return []
        found = None if options.reads_documents else self._search_latest(queries, options)
        if found is None:
            found = self._search_transaction(queries, options)
        return found[0] if queries.single else found

    def _search_words(self, query: str, options: SearchOptions) -> DocumentHits | None:
        """Answers as `Search` does where that has little to do; None where it has more.

        Postings answer in some 30 µs, so that it matters what else a search does.
        """
        (text,) = query_texts(query) or [query]
        with self._store.latest(words=True) as (connection, view):
            allowed = self._selection.known_rows(view, options.where)
            if view.split or (allowed is None and options.where is not None):
                return None
            words = view.words(connection)
            rows, scores = _core.search_words(
                words,
                indexed(search_parts(partial(_core.count_words, words), text)),
                k=min(options.k, max(view.rows, 1)),
                filter=view.row_filter(words, allowed),
            )
            return DocumentHits(BareHits(view.ids(rows), scores, None, None, None))

    def _encoded(self, query: str, options: SearchOptions) -> NDArray[np.float32]:
        """Returns the only embedding of a query that is not refined, (1, dim)."""
        texts = query_texts(query) or [query]
        return self._encoder.encode_queries(texts, exact=options.refine == "always")

    def _search_meaning(
        self, vectors: NDArray[np.float32], options: SearchOptions
    ) -> DocumentHits | None:
        """Answers as `Search` does where that has little to do; None where it has more.

        A query encoder and cells answer in some 150 µs, so that it matters what else a search does.
        """
        with self._store.latest() as (_, view):
            allowed = self._selection.known_rows(view, options.where)
            if view.split or (allowed is None and options.where is not None):
                return None
            rows = view.rows if allowed is None else min(view.rows, len(allowed))
            hits = view.search(
                vectors,
                max(min(options.k, rows), 1),
                funnel=options.funnel,
                probes=options.probes,
                allowed=allowed,
            )
            (ranked,) = _dense(hits)
            return DocumentHits(BareHits(view.ids(ranked.rows), ranked.scores, None, None, None))

    def _search_latest(
        self, queries: PreparedQueries, options: SearchOptions
    ) -> list[DocumentHits] | None:
        """Searches without a transaction; None if the rows of the filter are not known."""
        found: list[DocumentHits] = []
        with self._store.latest(words=options.mode != "dense") as (connection, view):
            for batch, clock in queries.batches:
                with clock.step("filter"):
                    allowed = self._selection.known_rows(view, options.where)
                if allowed is None and options.where is not None:
                    return None
                found += Search(LocalSource(connection, view, allowed), options, clock).run(batch)
        return found

    def _search_transaction(
        self, queries: PreparedQueries, options: SearchOptions
    ) -> list[DocumentHits]:
        found: list[DocumentHits] = []
        with self._store.reading() as (connection, view):
            for batch, clock in queries.batches:
                with clock.step("filter"):
                    allowed = self._selection.rows(connection, view, options.where)
                found += Search(LocalSource(connection, view, allowed), options, clock).run(batch)
        return found

    def survivors(self, query: str | ArrayLike, options: SearchOptions, limit: int) -> Survivors:
        """Returns what the stages of a dense search kept of one query.

        Raises:
            ArgumentError: There are several queries.
            VectorError: A vector does not fit, or the collection has no encoder.
            FilterError: The filter is malformed.
        """
        clock = Clock(runs=True)
        queries = self._prepared(query, options, None, clock)
        vectors = queries.vectors
        if vectors is None or len(vectors) != 1:
            raise ArgumentError(f"survivors are those of one query, not of {len(queries)}")
        with self._store.reading() as (connection, view):
            with clock.step("filter"):
                allowed = self._selection.rows(connection, view, options.where)
            search = Search(LocalSource(connection, view, allowed), options, clock)
            (hits,) = search.run(queries)
            funnel = options.funnel or view.template.funnel
            stages = FunnelSearch(view, vectors, search.searched, funnel, options.probes, allowed)
            return stages.survivors_of(hits, options.k, limit)

    def fit_weight(
        self,
        texts: list[str],
        relevant: Sequence[Mapping[str, float]],
        fusion: Fusion,
        embedded: ArrayLike | None = None,
    ) -> WeightFit:
        """Returns the weight by which hybrid searches rank judged documents the highest.

        Args:
            texts: Questions.
            relevant: Grades, above 0, of the relevant documents of each, by id.
            fusion: How both rankings are joined.
            embedded: As for `search`.

        Raises:
            ArgumentError: Fewer than 20 questions have a relevant document in the collection.
            VectorError: As for `search`.
        """
        options = SearchOptions(k=RANKS, mode="hybrid", fusion=fusion, include=())
        values = [np.empty((0, len(GRID)))]
        if not texts:
            return fit(values[0])
        queries = self._prepared(texts, options, embedded, Clock(runs=False))
        with self._store.reading() as (connection, view):
            source = LocalSource(connection, view, None)
            search = Search(source, options, Clock(runs=False))
            for start in range(0, len(texts), _FITTED_TOGETHER):
                part = slice(start, start + _FITTED_TOGETHER)
                judged = documents.find(connection, [id for each in relevant[part] for id in each])
                # Documents that are not stored are beyond reach, but count as relevant.
                grades = [
                    {
                        judged[id].row if id in judged else -1 - number: grade
                        for number, (id, grade) in enumerate(each.items())
                    }
                    for each in relevant[part]
                ]
                known = [any(row >= 0 for row in each) for each in grades]
                values.append(search.gains(queries.part(part), grades)[known])
        return fit(np.concatenate(values))

    def _prepared(
        self,
        query: str | Sequence[str] | ArrayLike,
        options: SearchOptions,
        embedded: ArrayLike | None,
        clock: Clock,
    ) -> Queries:
        dim = self._store.settings.dim
        return _encoded(_read(query, options, embedded, dim), options, self._encoder, clock)


class PreparedQueries(NamedTuple):
    """The queries of one call, encoded.

    Attributes:
        batches: Queries that are searched together, each batch with its clock.
        single: Whether the caller gave one query rather than a list.
    """

    batches: list[tuple[Queries, Clock]]
    single: bool


def prepared(
    query: str | Sequence[str] | ArrayLike,
    options: SearchOptions,
    embedded: ArrayLike | None,
    encoder: EncoderSlot,
    dim: int,
) -> PreparedQueries:
    """Reads and encodes the queries of one call.

    Args:
        query: A text or several, a vector or several.
        options: How to search.
        embedded: The embeddings of texts, if they are known.
        encoder: What encodes texts.
        dim: Dimensions of an embedding.

    Raises:
        ArgumentError: A query that is a vector needs words, or comes with an embedding.
        VectorError: A vector does not fit, or there is no encoder.
    """
    queries = _read(query, options, embedded, dim)
    single = isinstance(query, str) or (queries.texts is None and np.ndim(query) == 1)
    if queries.texts is not None and not queries.texts:
        return PreparedQueries([], single)
    # An explanation is of one query: its stages and times are measured on their own.
    batches = queries.one_by_one() if options.explain else [queries]
    found = []
    for batch in batches:
        clock = Clock(runs=options.explain)
        found.append((_encoded(batch, options, encoder, clock), clock))
    return PreparedQueries(found, single)


def _read(
    query: str | Sequence[str] | ArrayLike,
    options: SearchOptions,
    embedded: ArrayLike | None,
    dim: int,
) -> Queries:
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
        return Queries(None, matrix(query, dim, "queries"))
    vectors = None
    if embedded is not None and texts:
        vectors = matrix(embedded, dim, "vectors")
        if len(vectors) != len(texts):
            raise VectorError(f"{len(vectors)} vectors for {len(texts)} texts; give one per text")
    return Queries(texts, vectors)


def _encoded(queries: Queries, options: SearchOptions, slot: EncoderSlot, clock: Clock) -> Queries:
    if queries.vectors is not None or queries.texts is None or options.mode == "lexical":
        return queries
    exact = options.refine == "always" or slot.queries is None
    refiner = None
    if options.refine == "auto" and slot.queries is not None:
        if slot.queries.refine_below is None:
            raise ArgumentError(
                f"refine='auto' needs a query encoder that knows the margin below which its "
                f"order is in doubt; {slot.queries.source} has no refine_below"
            )
        refiner = Refiner(
            partial(slot.encode_queries, exact=True),
            slot.queries.refine_below,
            slot.queries.unknown_share,
        )
    with clock.step("encode"):
        vectors = slot.encode_queries(queries.texts, exact=exact)
    return Queries(queries.texts, vectors, refiner)


class _Ranked(NamedTuple):
    """The rows of one query, best first.

    Attributes:
        rows: The rows.
        scores: Their scores.
        fused: Their places in two rankings, if this is a fusion.
    """

    rows: Rows
    scores: NDArray[np.float32] | NDArray[np.float64]
    fused: Fused | None = None

    def at(self, places: slice | NDArray[np.int64]) -> _Ranked:
        """Returns some of the rows."""
        fused = None if self.fused is None else self.fused.at(places)
        return _Ranked(self.rows[places], self.scores[places], fused)


class Search:
    """One search in one snapshot.

    Args:
        source: The rows that may be found.
        options: How to search.
        clock: What measures the steps.

    Attributes:
        searched: Rows that the last dense search returned, of each query.
    """

    def __init__(self, source: Source, options: SearchOptions, clock: Clock) -> None:
        self._source = source
        self._options = options
        self._clock = clock
        self._split = source.split
        self.searched = options.k
        self._fuzzy: dict[str, FuzzyWords] = {}  # by query
        self._margins: NDArray[np.float64] | None = None  # once queries are refined
        self._refined: NDArray[np.bool_] | None = None
        self._unfinished: dict[str, Unfinished] = {}  # the same

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

    def _complete(self, text: str) -> Unfinished:
        """Returns a query without its unfinished word, and what this may become."""
        if not self._options.prefix:
            return Unfinished(text, [])
        if text not in self._unfinished:
            self._unfinished[text] = complete(self._source.counts, self._source.completions, text)
        return self._unfinished[text]

    def _count(self, tokens: Sequence[str]) -> list[int]:
        """Returns in how many rows each token is."""
        return self._source.counts([([token], PartKind.PHRASE) for token in tokens])

    def run(self, queries: Queries) -> list[DocumentHits]:
        """Returns the hits of each query."""
        k, depth, source = self._options.k, self._depth(), self._source
        if queries.refiner is not None:
            depth = max(depth, 2)
        while True:
            depth = max(min(depth, source.rows), 1)
            hits, rankings, queries = self._rank(queries, depth)
            with self._clock.step("fetch"):
                rankings = self._best_passages(rankings)
            # Too few documents may be because they have many passages each.
            if (
                not self._split
                or depth >= source.rows
                or all(len(ranked.rows) == k for ranked in rankings)
            ):
                break
            depth *= _DEEPER
        explanation = self._explain(queries, hits) if self._options.explain else None
        with self._clock.step("fetch"):
            found: list[tuple[DocumentHit, ...] | BareHits] = []
            if self._options.reads_documents:
                found += self._read_hits(rankings, queries.texts)
            else:
                found += self._bare_hits(rankings)
        if explanation is not None:
            explanation = replace(explanation, microseconds=dict(self._clock.microseconds))
        if self._refined is None:
            return [DocumentHits(each, explanation) for each in found]
        return [
            DocumentHits(each, explanation, refined)
            for each, refined in zip(found, self._refined.tolist(), strict=True)
        ]

    def gains(self, queries: Queries, grades: Sequence[Mapping[int, float]]) -> NDArray[np.float64]:
        """Returns what each query gains by each weight of a fusion, (m, `len(GRID)`).

        Args:
            queries: Texts with their embeddings.
            grades: Grades, above 0, of the relevant documents of each, by first row.
        """
        depth = max(min(self._depth(), self._source.rows), 1)
        hits, lexical, _ = self._candidates(queries, depth)
        pairs = list(zip([] if hits is None else _dense(hits), lexical, strict=True))
        values = np.empty((len(pairs), len(GRID)))
        for column, weight in enumerate(GRID):
            ranked = [self._fuse(*pair, weight) for pair in pairs]
            ranked = self._best_passages(ranked)
            firsts = [self._first_rows(each.rows).tolist() for each in ranked]
            values[:, column] = gains(firsts, grades)
        return values

    def _depth(self) -> int:
        """Returns how many rows a ranking first has."""
        k = self._options.k
        depth = max(_MIN_CANDIDATES, _DEEPER * k) if self._options.mode == "hybrid" else k
        return depth * _DEEPER if self._split else depth

    def _first_rows(self, rows: Rows) -> Rows:
        return self._source.first_rows(rows) if self._split else rows

    def _rank(self, queries: Queries, depth: int) -> tuple[Hits | None, list[_Ranked], Queries]:
        """Returns a ranking of the k best rows or more for each query, and the refined queries."""
        hits, lexical, queries = self._candidates(queries, depth)
        if hits is None:
            return hits, lexical, queries
        if self._options.mode == "dense":
            return hits, _dense(hits), queries
        weight = self._options.weight
        if weight == "auto":
            weight = self._source.weights.get(self._options.fusion, DEFAULT_WEIGHT)
        with self._clock.step("fuse"):
            pairs = zip(_dense(hits), lexical, strict=True)
            return hits, [self._fuse(dense, words, weight) for dense, words in pairs], queries

    def _candidates(
        self, queries: Queries, depth: int
    ) -> tuple[Hits | None, list[_Ranked], Queries]:
        """Returns what the mode needs of meaning and of words, and the refined queries."""
        options = self._options
        hits = None
        lexical: list[_Ranked] = []
        if queries.vectors is not None and options.mode != "lexical":
            hits = self._dense_hits(queries.vectors, depth)
            if queries.refiner is not None:
                hits, queries = self._refine(queries, queries.refiner, hits, depth)
        if queries.texts is not None and options.mode != "dense":
            with self._clock.step("lexical"):
                lexical = self._lexical(queries.texts, depth)
        return hits, lexical, queries

    def _dense_hits(self, vectors: NDArray[np.float32], depth: int) -> Hits:
        self.searched = depth
        with self._clock.step("dense"):
            return self._source.dense(vectors, depth, self._options.funnel, self._options.probes)

    def _refine(
        self, queries: Queries, refiner: Refiner, hits: Hits, depth: int
    ) -> tuple[Hits, Queries]:
        """Encodes and searches those queries again whose order is in doubt."""
        assert queries.texts is not None
        assert queries.vectors is not None
        self._margins = margins(hits.scores)
        self._refined = refiner.doubtful(queries.texts, self._margins)
        doubtful = np.flatnonzero(self._refined)
        if not len(doubtful):
            return hits, replace(queries, refiner=None)
        with self._clock.step("refine"):
            exact = refiner.encode([queries.texts[i] for i in doubtful.tolist()])
        again = self._dense_hits(exact, depth)
        if len(doubtful) == len(queries):
            return again, Queries(queries.texts, exact)
        vectors, ids, scores = queries.vectors.copy(), hits.ids.copy(), hits.scores.copy()
        vectors[doubtful], ids[doubtful], scores[doubtful] = exact, again.ids, again.scores
        return replace(hits, ids=ids, scores=scores), Queries(queries.texts, vectors)

    def _lexical(self, texts: list[str], depth: int) -> list[_Ranked]:
        queries = []
        for text in texts:
            head, completions = self._complete(text)
            parts = indexed(search_parts(self._source.counts, head, self._rewrite(head)))
            if completions:
                parts.append((completions, PartKind.ANY))
            queries.append(parts)
        return [_Ranked(*found) for found in self._source.lexical(queries, depth)]

    def _fuse(self, dense: _Ranked, lexical: _Ranked, weight: float) -> _Ranked:
        both = (dense.scores.astype(np.float64), lexical.scores.astype(np.float64, copy=False))
        rows, sums, places = _core.fuse(
            dense.rows,
            both[0],
            lexical.rows,
            both[1],
            weight=weight,
            by_ranks=self._options.fusion == "rrf",
            k=len(dense.rows) + len(lexical.rows) if self._split else self._options.k,
        )
        return _Ranked(rows, sums, Fused(places, both))

    def _best_passages(self, rankings: list[_Ranked]) -> list[_Ranked]:
        """Returns the best passages of the k best documents, by query."""
        k = self._options.k
        if not (self._split and rankings):
            return [ranked if len(ranked.rows) <= k else ranked.at(slice(k)) for ranked in rankings]
        firsts = self._source.first_rows(np.concatenate([ranked.rows for ranked in rankings]))
        found = []
        start = 0
        for ranked in rankings:
            end = start + len(ranked.rows)
            best = _firsts_of_each(firsts[start:end])[:k]
            found.append(ranked.at(best))
            start = end
        return found

    def _bare_hits(self, rankings: list[_Ranked]) -> list[BareHits]:
        """Returns the hits of each query, of which nothing is read from the database."""
        rows = _all_rows(rankings)
        ids = self._source.ids(rows)
        passages = rows - self._source.first_rows(rows) if self._split else None
        vectors = self._source.vectors(rows) if "vector" in self._options.include else None
        if len(rankings) == 1:
            (ranked,) = rankings
            return [BareHits(ids, ranked.scores, passages, vectors, ranked.fused)]
        found = []
        end = 0
        for ranked in rankings:
            here = slice(end, end := end + len(ranked.rows))
            found.append(
                BareHits(
                    ids[here],
                    ranked.scores,
                    None if passages is None else passages[here],
                    None if vectors is None else vectors[here],
                    ranked.fused,
                )
            )
        return found

    def _read_hits(
        self, rankings: list[_Ranked], texts: list[str] | None
    ) -> list[tuple[DocumentHit, ...]]:
        """Returns the hits of each query; what they hold of documents is read at once.

        It makes few objects beside the hits: Python's garbage collector visits all there are, again
        and again, where a call makes tens of thousands.
        """
        include, source = self._options.include, self._source
        every = _all_rows(rankings)
        ids = source.ids(every)
        firsts = self._first_rows(every)
        has_document = "document" in include
        passages = source.passages(
            every, firsts, ids, whole=has_document, vectors="vector" in include
        )
        places = zip(ids, (every - firsts).tolist(), passages, strict=True)
        highlighters = self._highlighters(texts, len(rankings))
        has_text, has_metadata = "text" in include, "metadata" in include
        has_highlight, has_snippet = "highlight" in include, "snippet" in include
        found = []
        for ranked, highlighter in zip(rankings, highlighters, strict=True):
            hits = []
            # The scores come first: what ends a `zip` is not taken from the others.
            for score, (id, passage, found_passage) in zip(
                ranked.scores.tolist(), places, strict=False
            ):
                title, text, metadata, start, end, whole, vector = found_passage
                spans_of_words = [] if highlighter is None else highlighter.spans(text)
                highlights = tuple(spans_of_words) if has_highlight else ()
                hits.append(
                    DocumentHit(
                        id,
                        score,
                        text if has_text or highlights else None,
                        title,
                        from_json(metadata) if has_metadata else None,
                        passage,
                        start,
                        end,
                        highlights,
                        whole,
                        vector,
                        snippet=snippet(text, spans_of_words) if has_snippet else None,
                    )
                )
            if ranked.fused is not None:
                for hit, dense, lexical in zip(hits, *ranked.fused.rankings(), strict=True):
                    hit.dense, hit.lexical = dense, lexical
            found.append(tuple(hits))
        return found

    def _highlighters(self, texts: list[str] | None, count: int) -> Iterable[Highlighter | None]:
        if texts is None or _HIGHLIGHTED.isdisjoint(self._options.include):
            return repeat(None, count)
        return map(self._highlighter, texts)

    def _highlighter(self, text: str) -> Highlighter:
        head, completions = self._complete(text)
        return Highlighter(head, self._rewrite(head), completions)

    def _explain(self, queries: Queries, hits: Hits | None) -> Explanation:
        """Explains the only query of this search."""
        dropped: list[DroppedHit] = []
        if queries.vectors is not None and hits is not None:
            dropped = self._dropped(queries.vectors)
        return Explanation(
            mode=self._options.mode,
            stages=() if hits is None else hits.stages,
            dropped=tuple(dropped),
            microseconds={},
            allowed=self._source.allowed,
            segments=self._source.segments,
            margin=None if self._margins is None else float(self._margins[0]),
        )

    def _dropped(self, vector: NDArray[np.float32]) -> list[DroppedHit]:
        """Searches again, exactly and stage by stage, for the hits that the funnel dropped."""
        source, options = self._source, self._options
        funnel = options.funnel or source.funnel
        last = len(funnel.stages) - 1
        rows = source.dense(vector, options.k, Funnel((funnel.stages[-1],)), 0).ids[0]
        rows = rows[rows >= 0]
        stages = source.dropped_by(rows, vector, self.searched, funnel, options.probes)
        ids = source.ids(rows)
        return [
            DroppedHit(id, rank, stage)
            for rank, (id, stage) in enumerate(zip(ids, stages, strict=True), 1)
            if stage < last
        ]


def _dense(hits: Hits) -> list[_Ranked]:
    """Returns the rows and scores of each query, without empty places."""
    if len(hits.ids) == 1 and hits.ids[0, -1] >= 0:
        return [_Ranked(hits.ids[0], hits.scores[0])]
    if (hits.ids[:, -1] >= 0).all():
        return list(map(_Ranked, hits.ids, hits.scores))
    ends = (hits.ids >= 0).sum(1).tolist()
    lines = zip(hits.ids, hits.scores, ends, strict=True)
    return [_Ranked(rows[:end], scores[:end]) for rows, scores, end in lines]


def _all_rows(rankings: list[_Ranked]) -> Rows:
    if len(rankings) == 1:
        return rankings[0].rows
    return np.concatenate([_NO_ROWS, *(ranked.rows for ranked in rankings)])


def _firsts_of_each(values: Rows) -> NDArray[np.int64]:
    """Returns where each value occurs first, in order."""
    order = values.argsort(kind="stable")
    sorted_values = values[order]
    new = np.ones(len(values), np.bool_)
    np.not_equal(sorted_values[1:], sorted_values[:-1], out=new[1:])
    places = order[new]
    places.sort()
    return places
