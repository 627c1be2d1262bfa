"""One search in one snapshot: dense, lexical, or both fused; documents by their best passages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import repeat
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nestling import _core
from nestling.collection.ingest.analysis import Rewrite
from nestling.collection.query.clock import Clock
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
from nestling.collection.query.options import SearchOptions
from nestling.collection.query.queries import Queries
from nestling.collection.query.refine import Refiner, margins
from nestling.collection.query.source import Source
from nestling.collection.query.terms import PartKind, indexed, search_parts
from nestling.collection.query.weight import DEFAULT_WEIGHT, GRID, gains
from nestling.index.funnel import Funnel
from nestling.index.hits import Hits
from nestling.inputs.metadata import from_json

__all__ = ["Ranked", "Search", "ranked_hits"]

Rows = NDArray[np.int64]

_NO_ROWS: Final = np.empty(0, np.int64)
_HIGHLIGHTED: Final = frozenset(("highlight", "snippet"))  # included: shows words of the query
_MIN_CANDIDATES: Final = 100  # of each ranking that is fused
_DEEPER: Final = 4  # passages per requested document, and the factor if these are too few


class Ranked(NamedTuple):
    """The rows of one query, best first.

    Attributes:
        rows: The rows.
        scores: Their scores.
        fused: Their places in two rankings, if this is a fusion.
    """

    rows: Rows
    scores: NDArray[np.float32] | NDArray[np.float64]
    fused: Fused | None = None

    def at(self, places: slice | NDArray[np.int64]) -> Ranked:
        """Returns some of the rows."""
        fused = None if self.fused is None else self.fused.at(places)
        return Ranked(self.rows[places], self.scores[places], fused)


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
        pairs = list(zip([] if hits is None else ranked_hits(hits), lexical, strict=True))
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

    def _rank(self, queries: Queries, depth: int) -> tuple[Hits | None, list[Ranked], Queries]:
        """Returns a ranking of the k best rows or more for each query, and the refined queries."""
        hits, lexical, queries = self._candidates(queries, depth)
        if hits is None:
            return hits, lexical, queries
        if self._options.mode == "dense":
            return hits, ranked_hits(hits), queries
        weight = self._options.weight
        if weight == "auto":
            weight = self._source.weights.get(self._options.fusion, DEFAULT_WEIGHT)
        with self._clock.step("fuse"):
            pairs = zip(ranked_hits(hits), lexical, strict=True)
            return hits, [self._fuse(dense, words, weight) for dense, words in pairs], queries

    def _candidates(
        self, queries: Queries, depth: int
    ) -> tuple[Hits | None, list[Ranked], Queries]:
        """Returns what the mode needs of meaning and of words, and the refined queries."""
        options = self._options
        hits = None
        lexical: list[Ranked] = []
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

    def _lexical(self, texts: list[str], depth: int) -> list[Ranked]:
        queries = []
        for text in texts:
            head, completions = self._complete(text)
            parts = indexed(search_parts(self._source.counts, head, self._rewrite(head)))
            if completions:
                parts.append((completions, PartKind.ANY))
            queries.append(parts)
        return [Ranked(*found) for found in self._source.lexical(queries, depth)]

    def _fuse(self, dense: Ranked, lexical: Ranked, weight: float) -> Ranked:
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
        return Ranked(rows, sums, Fused(places, both))

    def _best_passages(self, rankings: list[Ranked]) -> list[Ranked]:
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

    def _bare_hits(self, rankings: list[Ranked]) -> list[BareHits]:
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
        self, rankings: list[Ranked], texts: list[str] | None
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


def ranked_hits(hits: Hits) -> list[Ranked]:
    """Returns the rows and scores of each query, without empty places."""
    if len(hits.ids) == 1 and hits.ids[0, -1] >= 0:
        return [Ranked(hits.ids[0], hits.scores[0])]
    if (hits.ids[:, -1] >= 0).all():
        return list(map(Ranked, hits.ids, hits.scores))
    ends = (hits.ids >= 0).sum(1).tolist()
    lines = zip(hits.ids, hits.scores, ends, strict=True)
    return [Ranked(rows[:end], scores[:end]) for rows, scores, end in lines]


def _all_rows(rankings: list[Ranked]) -> Rows:
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
