"""Searches of a collection: dense, lexical, or both fused; documents by their best passages."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeGuard, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestling.collection.ingest.analysis import match_expression
from nestling.collection.ingest.encoder import EncoderSlot
from nestling.collection.query.fusion import reciprocal_rank, weighted
from nestling.collection.query.highlight import highlight
from nestling.collection.query.hits import DocumentHit, DocumentHits, DroppedHit, Explanation
from nestling.collection.query.selection import Selection
from nestling.collection.storage import documents
from nestling.collection.storage.documents import StoredDocument
from nestling.collection.storage.store import Store
from nestling.collection.storage.view import View
from nestling.errors import FormatError, VectorError
from nestling.index.arguments import matrix, positive
from nestling.index.funnel import Funnel
from nestling.index.hits import Hits

__all__ = ["INCLUDES", "Fusion", "Mode", "Query", "Searcher", "are_texts"]

Mode = Literal["dense", "lexical", "hybrid"]
Fusion = Literal["rrf", "weighted"]
INCLUDES: Final = ("text", "metadata", "highlight", "document", "vector")

Rows = NDArray[np.int64]
Ranking = tuple[Rows, NDArray[np.float64]]

_CANDIDATES: Final = 100  # of each list that is fused, at least
_LISTED: Final = 50_000  # rows of a filter that SQLite is given as a list
_DEEPER: Final = 4  # times as many passages as documents wanted, and again where these are too few


@dataclass(frozen=True, slots=True)
class Query:
    """How to search.

    Attributes:
        k: Documents wanted.
        where: A filter; None for none.
        mode: Which ranking.
        funnel: As for `Index.search`.
        probes: As for `Index.search`.
        include: What hits hold, of `INCLUDES`.
        fusion: How "hybrid" joins the two rankings.
        weight: Share of the dense ranking in it, 0 to 1.
        explain: Whether to tell what was done.

    Raises:
        ValueError: A value is out of range.
        FunnelError: The funnel is malformed.
    """

    k: int
    where: Mapping[str, Any] | None
    mode: Mode
    funnel: Funnel | None
    probes: int | None
    include: Sequence[str]
    fusion: Fusion
    weight: float
    explain: bool

    def __post_init__(self) -> None:
        positive("k", self.k)
        if self.mode not in get_args(Mode):
            raise ValueError(f"mode must be one of {get_args(Mode)}, not {self.mode!r}")
        if self.fusion not in get_args(Fusion):
            raise ValueError(f"fusion must be one of {get_args(Fusion)}, not {self.fusion!r}")
        if not 0 <= self.weight <= 1:
            raise ValueError(f"weight must be 0 to 1, not {self.weight}")
        unknown = set(self.include) - set(INCLUDES)
        if isinstance(self.include, str) or unknown:
            raise ValueError(f"include must be some of {INCLUDES}, not {self.include!r}")


class _Clock:
    """Microseconds that each named step took."""

    def __init__(self) -> None:
        self.took: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measures a step."""
        start = time.perf_counter_ns()
        try:
            yield
        finally:
            took = (time.perf_counter_ns() - start) / 1000
            self.took[name] = self.took.get(name, 0.0) + took


class Searcher:
    """Searches one store."""

    def __init__(self, store: Store, encoder: EncoderSlot) -> None:
        self._store = store
        self._encoder = encoder
        self._selection = Selection()

    def search(
        self,
        query: str | Sequence[str] | ArrayLike,
        how: Query,
        embedded: ArrayLike | None = None,
    ) -> DocumentHits | list[DocumentHits]:
        """Returns the hits of one query, or a list for several.

        Raises:
            ValueError: A vector asks for words, or has an embedding given.
            VectorError: A vector does not fit, or the collection has no encoder.
            FilterError: The filter is malformed.
        """
        clock = _Clock()
        texts: list[str] | None = None
        vectors: NDArray[np.float32] | None = None
        alone = isinstance(query, str) or np.ndim(query) == 1
        if isinstance(query, str):
            texts = [query]
        elif are_texts(query):
            texts, alone = list(query), False
            if not texts:
                return []
        else:
            vectors = matrix(query, self._store.settings.dim, "queries")
        if texts is None and how.mode != "dense":
            raise ValueError(f"mode {how.mode!r} looks for words: ask with texts, not vectors")
        if embedded is not None:
            if texts is None:
                raise ValueError("vectors go with texts; a query that is a vector has none beside")
            vectors = matrix(embedded, self._store.settings.dim, "vectors")
            if len(vectors) != len(texts):
                raise VectorError(f"{len(vectors)} vectors for {len(texts)} texts; give one each")
        elif texts is not None and how.mode != "lexical":
            with clock.step("encode"):
                vectors = self._encoder.encode_queries(texts)
        with self._store.reading() as (connection, view):
            search = _Search(connection, view, how, clock)
            with clock.step("filter"):
                search.allowed = self._selection.rows(connection, view, how.where)
            found = search.run(texts, vectors)
        return found[0] if alone else found


class _Search:
    """One search in one snapshot."""

    def __init__(
        self, connection: sqlite3.Connection, view: View, how: Query, clock: _Clock
    ) -> None:
        self._connection = connection
        self._view = view
        self._how = how
        self._clock = clock
        self.allowed: Rows | None = None
        documents_stored, rows = connection.execute("SELECT documents, rows FROM state").fetchone()
        self._split = rows > documents_stored
        self._documents: dict[int, StoredDocument] = {}

    def run(
        self, texts: list[str] | None, vectors: NDArray[np.float32] | None
    ) -> list[DocumentHits]:
        how = self._how
        count = len(texts) if texts is not None else len(vectors) if vectors is not None else 0
        wanted = how.k if how.mode != "hybrid" else max(_CANDIDATES, _DEEPER * how.k)
        depth = wanted * _DEEPER if self._split else wanted
        # Not what the database counts, which may have been altered.
        most = self._view.rows
        if self.allowed is not None:
            most = min(most, len(self.allowed))
        while True:
            depth = max(min(depth, most), 1)
            hits, rankings = self._rank(texts, vectors, count, depth)
            with self._clock.step("fetch"):
                chosen = [self._best_passages(ranking) for ranking in rankings]
            short = any(len(best) < how.k for best in chosen)
            # What is short of documents may have had too many passages of the same ones.
            if not (self._split and short and depth < most):
                break
            depth *= _DEEPER
        explanations: list[Explanation | None] = [None] * count
        if how.explain:
            explanations = [
                self._explain(None if vectors is None else vectors[i : i + 1], hits)
                for i in range(count)
            ]
        with self._clock.step("fetch"):
            self._fetch(row for best in chosen for row, _ in best)
            found = [
                tuple(
                    self._hit(row, score, None if texts is None else texts[i])
                    for row, score in chosen[i]
                )
                for i in range(count)
            ]
        return [
            DocumentHits(hits_of, explanation)
            for hits_of, explanation in zip(found, explanations, strict=True)
        ]

    def _rank(
        self,
        texts: list[str] | None,
        vectors: NDArray[np.float32] | None,
        count: int,
        depth: int,
    ) -> tuple[Hits | None, list[Ranking]]:
        """Returns a ranking of rows for each query, `depth` long at most."""
        how = self._how
        hits = None
        dense: list[Ranking] = []
        lexical: list[Ranking] = []
        if vectors is not None and how.mode != "lexical":
            with self._clock.step("dense"):
                hits = self._view.search(
                    vectors, depth, funnel=how.funnel, probes=how.probes, allowed=self.allowed
                )
                for ids, scores in zip(hits.ids, hits.scores, strict=True):
                    there = ids >= 0
                    dense.append((ids[there], scores[there].astype(np.float64)))
        if texts is not None and how.mode != "dense":
            with self._clock.step("lexical"):
                lexical = [self._lexical(text, depth) for text in texts]
        if how.mode == "dense":
            return hits, dense
        if how.mode == "lexical":
            return hits, lexical
        weights = (how.weight, 1 - how.weight)
        with self._clock.step("fuse"):
            fuse = reciprocal_rank if how.fusion == "rrf" else weighted
            return hits, [fuse([dense[i], lexical[i]], weights=weights) for i in range(count)]

    def _lexical(self, text: str, depth: int) -> Ranking:
        expression = match_expression(text)
        lines: list[tuple[int, float]] = []
        if expression is not None:
            # To score a row takes twenty times as long as to find it: those that a filter does not
            # let pass are left out before, where they are few enough to be listed.
            query = "SELECT rowid, -bm25(words) AS score FROM words WHERE words MATCH ? {} ORDER BY"
            query += " score DESC, rowid"
            if self.allowed is None:
                limited = f"{query.format('')} LIMIT ?"
                lines = self._connection.execute(limited, (expression, depth)).fetchall()
            elif len(self.allowed) <= _LISTED:
                listed = query.format("AND +rowid IN (SELECT value FROM json_each(?))")
                rows_text = json.dumps(self.allowed.tolist())
                parameters = (expression, rows_text, depth)
                lines = self._connection.execute(f"{listed} LIMIT ?", parameters).fetchall()
            else:
                cursor = self._connection.execute(query.format(""), (expression,))
                while len(lines) < depth and (some := cursor.fetchmany(1_000)):
                    rows = np.array([row for row, _ in some], np.int64)
                    passed = _contains(self.allowed, rows)
                    lines += [line for line, passes in zip(some, passed, strict=True) if passes]
                del lines[depth:]
        scores = np.array([score for _, score in lines], np.float64)
        if not np.isfinite(scores).all():
            raise FormatError("the words in the database were altered: a score is no number")
        return np.array([row for row, _ in lines], np.int64), scores

    def _best_passages(self, ranking: Ranking) -> list[tuple[int, float]]:
        """Returns the row and the score of the best passage of each of the k best documents."""
        rows, scores = ranking[0].tolist(), ranking[1].tolist()
        firsts = documents.first_rows(self._connection, rows) if self._split else rows
        best: dict[int, tuple[int, float]] = {}
        for first, row, score in zip(firsts, rows, scores, strict=True):
            best.setdefault(first, (row, score))
            if len(best) == self._how.k:
                break
        return list(best.values())

    def _fetch(self, rows: Iterable[int]) -> None:
        """Reads the documents of rows that were not read yet."""
        unread = [row for row in dict.fromkeys(rows) if row not in self._documents]
        found = documents.documents_at(self._connection, unread) if unread else []
        self._documents.update(zip(unread, found, strict=True))

    def _hit(self, row: int, score: float, text: str | None) -> DocumentHit:
        include = self._how.include
        document = self._documents[row]
        passage = row - document.row
        start, end = document.spans[passage]
        shown = document.text[start:end]
        highlights: tuple[tuple[int, int], ...] = ()
        if "highlight" in include and text is not None:
            highlights = tuple(highlight(shown, text))
        vector = None
        if "vector" in include:
            vector = self._view.reconstruct(np.array([row], np.int64))[0]
        return DocumentHit(
            id=document.id,
            score=score,
            text=shown if "text" in include or highlights else None,
            title=document.title,
            metadata=document.metadata if "metadata" in include else None,
            passage=passage,
            start=start,
            end=end,
            highlights=highlights,
            document=document.text if "document" in include else None,
            vector=vector,
        )

    def _explain(self, vector: NDArray[np.float32] | None, hits: Hits | None) -> Explanation:
        dropped: list[DroppedHit] = []
        if vector is not None and hits is not None:
            dropped = self._dropped(vector)
        return Explanation(
            self._how.mode,
            () if hits is None else hits.stages,
            tuple(dropped),
            dict(self._clock.took),
            None if self.allowed is None else len(self.allowed),
            sum(len(part.index) > 0 for part in self._view.parts),
        )

    def _dropped(self, vector: NDArray[np.float32]) -> list[DroppedHit]:
        """Searches once more, exactly, and stage by stage, for what the funnel dropped."""
        how, view = self._how, self._view
        funnel = how.funnel or view.template.funnel
        last = Funnel((funnel.stages[-1],))
        exact = view.search(vector, how.k, funnel=last, probes=0, allowed=self.allowed).ids[0]
        dropped = []
        for rank, row in enumerate(exact[exact >= 0].tolist(), 1):
            part = next(part for part in view.parts if part.first <= row <= part.last)
            for place in range(len(funnel.stages) - 1):
                stage = funnel.stages[place]
                until = (*funnel.stages[:place], replace(stage, keep=None, margin=None))
                keep = max(stage.keep or how.k, how.k)
                kept = part.search(vector, keep, Funnel(until), how.probes, self.allowed)
                if kept is None or row - part.first not in kept.ids:
                    self._fetch([row])
                    dropped.append(DroppedHit(self._documents[row].id, rank, place))
                    break
        return dropped


def are_texts(query: object) -> TypeGuard[Sequence[str]]:
    """Returns whether a query is a sequence of texts, not of numbers."""
    return (
        isinstance(query, Sequence)
        and not isinstance(query, (bytes, bytearray))
        and all(isinstance(text, str) for text in query)
    )


def _contains(sorted_rows: Rows, rows: Rows) -> NDArray[np.bool_]:
    places = np.searchsorted(sorted_rows, rows)
    inside = places < len(sorted_rows)
    inside[inside] = sorted_rows[places[inside]] == rows[inside]
    return inside
