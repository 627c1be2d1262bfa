"""Searches one store: the snapshot they see, the rows that may be found, and two short paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestling import _core
from nestling.collection.ingest.encoder import EncoderSlot
from nestling.collection.query.clock import Clock
from nestling.collection.query.hits import BareHits, DocumentHits
from nestling.collection.query.options import Fusion, SearchOptions
from nestling.collection.query.queries import PreparedQueries, prepared, prepared_together
from nestling.collection.query.search import Search, ranked_hits
from nestling.collection.query.selection import Selection
from nestling.collection.query.source import LocalSource
from nestling.collection.query.survivors import FunnelSearch, Survivors
from nestling.collection.query.terms import indexed, search_parts
from nestling.collection.query.weight import GRID, RANKS, WeightFit, fit
from nestling.collection.storage import documents
from nestling.collection.storage.store import Store
from nestling.errors import ArgumentError
from nestling.inputs.texts import query_texts
from nestling.inputs.vectors import matrix

__all__ = ["Searcher"]

_FITTED_TOGETHER: Final = 256  # questions whose candidates are in memory at once


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
        if options.meaning_alone and embedded is None:
            vector = self._only_vector(query, options)
            hits = None if vector is None else self._search_meaning(vector, options)
            if hits is not None:
                return hits
            if isinstance(query, str):
                embedded = vector
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

    def _only_vector(
        self, query: str | Sequence[str] | ArrayLike, options: SearchOptions
    ) -> NDArray[np.float32] | None:
        """Returns the vector of a text that is not refined, or of an array, (1, dim); else None."""
        if isinstance(query, str):
            texts = query_texts(query) or [query]
            return self._encoder.encode_queries(texts, exact=options.refine == "always")
        if type(query) is np.ndarray and query.ndim == 1 and query.dtype.kind == "f":
            return matrix(query, self._store.settings.dim, "queries")
        return None

    def _search_meaning(
        self, vectors: NDArray[np.float32], options: SearchOptions
    ) -> DocumentHits | None:
        """Answers as `Search` does where that has little to do; None where it has more.

        A vector in cells takes some 100 µs, so that it matters what else a search does.
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
            (ranked,) = ranked_hits(hits)
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
        dim = self._store.settings.dim
        queries = prepared_together(query, options, None, self._encoder, dim, clock)
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
        clock, dim = Clock(runs=False), self._store.settings.dim
        queries = prepared_together(texts, options, embedded, self._encoder, dim, clock)
        with self._store.reading() as (connection, view):
            source = LocalSource(connection, view, None)
            search = Search(source, options, clock)
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
