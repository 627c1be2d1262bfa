"""The results of a search of a collection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from nestling._util.counted import counted
from nestling._util.value import Value
from nestling.collection.query.highlight import Snippet, mark
from nestling.index.hits import StageStats

__all__ = [
    "BareHits",
    "DocumentHit",
    "DocumentHits",
    "DroppedHit",
    "Explanation",
    "Fused",
    "RankedScore",
]


class RankedScore(NamedTuple):
    """The place of a passage in one of the two rankings that mode "hybrid" fuses.

    Attributes:
        rank: Its rank among the passages, from 1.
        score: Its score: a cosine or inner product, or BM25.

    Example:
        >>> from nestling.collection import RankedScore
        >>> RankedScore(1, 0.5).rank
        1
    """

    rank: int
    score: float


# Not frozen: an object of a frozen class takes five times as long to make, and a search of many
# queries makes tens of thousands.
@dataclass(slots=True, eq=False, repr=False)
class DocumentHit(Value):
    """A document that was found, by its best passage.

    Attributes:
        id: The document's id.
        score: In mode "dense" the cosine or inner product of the passage, in "lexical" its BM25, in
            "hybrid" the fused score; higher is better.
        text: The passage that was found; None unless included.
        title: The document's title; None where nothing is included that is read from the document.
        metadata: The document's metadata; None unless included.
        passage: Number of the passage in the document, from 0.
        start: First character of the passage in the document's text; None as the title is.
        end: End of the passage, exclusive; None as the title is.
        highlights: Start and end of the words of the query in `text`; empty unless included.
        document: The whole text; None unless included.
        vector: The passage's stored embedding, (dim,) float32; None unless included.
        dense: In mode "hybrid" its rank and score by meaning; None if it was not found so.
        lexical: The same by words.
        snippet: The part of the passage, of up to 200 characters, with the most words of the query,
            or its beginning if it has none; None unless included.

    Example:
        >>> with nestling.Collection("notes", dim=2) as notes:
        ...     _ = notes.add("Bread needs flour.", "bread", vectors=[1, 0])
        ...     hit = notes.search("flour", mode="lexical")[0]
        >>> hit.id, hit.text
        ('bread', 'Bread needs flour.')
    """

    id: str
    score: float
    text: str | None
    title: str | None
    metadata: dict[str, Any] | None
    passage: int
    start: int | None = None
    end: int | None = None
    highlights: tuple[tuple[int, int], ...] = ()
    document: str | None = None
    vector: NDArray[np.float32] | None = None
    dense: RankedScore | None = None
    lexical: RankedScore | None = None
    snippet: Snippet | None = None

    def marked(self, before: str = "**", after: str = "**") -> str:
        """Returns the passage with its highlights marked; it is not escaped.

        Args:
            before: Text to put before each highlight.
            after: Text to put after each highlight.

        Example:
            >>> hit = DocumentHit("a", 1.0, "rye bread", "", None, 0, 0, 9, highlights=((4, 9),))
            >>> hit.marked()
            'rye **bread**'
        """
        return mark(self.text or "", self.highlights, before, after)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class DroppedHit(Value):
    """A document of the exact result that a stage of the funnel dropped.

    Attributes:
        id: The document's id.
        rank: Its rank in the exact result, from 1.
        stage: Number of the stage that dropped it, from 0.

    Example:
        >>> DroppedHit("bread", rank=3, stage=0)
        DroppedHit(id='bread', rank=3, stage=0)
    """

    id: str
    rank: int
    stage: int


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Explanation(Value):
    """What a search did.

    Attributes:
        mode: Either "dense", "lexical" or "hybrid".
        stages: What each stage of the funnel did, summed over the segments; empty for "lexical".
        dropped: Documents of the exact top k that a stage dropped.
        microseconds: Time of each step: encode, filter, dense, refine, lexical, fuse, fetch.
        allowed: Rows that passed the filter; None without a filter.
        segments: Segments that have rows; pending rows count as one.
        margin: With `refine="auto"`, by how much the query encoder's best score exceeded the
            second; None without.

    Example:
        >>> with nestling.Collection("notes", dim=2) as notes:
        ...     _ = notes.add(["bread", "river"], vectors=[[1, 0], [0, 1]])
        ...     explanation = notes.search([1, 0], explain=True).explanation
        >>> explanation.mode, explanation.stages[0].rows_seen, explanation.dropped
        ('dense', 2, ())
    """

    mode: str
    stages: tuple[StageStats, ...]
    dropped: tuple[DroppedHit, ...]
    microseconds: dict[str, float] = field(compare=False)
    allowed: int | None
    segments: int
    margin: float | None = None

    def __str__(self) -> str:
        lines = []
        if self.stages:
            lines.append(
                f"{'stage':<10}{'rows seen':>14}{'rows kept':>12}{'bytes read':>14}{'µs':>10}"
            )
            lines += [
                f"{f'{s.dims}@{s.bits}':<10}{s.rows_seen:>14,}{s.rows_kept:>12,}{s.bytes_read:>14,}"
                f"{s.microseconds:>10,.1f}"
                for s in self.stages
            ]
            for dropped in self.dropped:
                stage = self.stages[dropped.stage]
                lines.append(
                    f"{stage.dims}@{stage.bits} dropped {dropped.id!r}, rank {dropped.rank} of the "
                    "exact result"
                )
        if self.allowed is not None:
            lines.append(f"{counted(self.allowed, 'row')} passed the filter")
        steps = ", ".join(f"{name} {took:,.0f}" for name, took in self.microseconds.items())
        if self.margin is not None:
            again = ", refined" if "refine" in self.microseconds else ""
            lines.append(f"margin of the query encoder {self.margin:.4f}{again}")
        lines.append(f"{self.mode}, {counted(self.segments, 'segment')}; µs: {steps}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True, eq=False)
class Fused:
    """Where the hits of a query are in the two rankings that were fused.

    Attributes:
        places: (n, 2) the place of each hit in either, from 1; 0 if it is not in it.
        scores: The scores of either.
    """

    places: NDArray[np.int32]
    scores: tuple[NDArray[np.float64], NDArray[np.float64]]

    def at(self, hits: slice | NDArray[np.int64]) -> Fused:
        """Returns those of some hits."""
        return Fused(self.places[hits], self.scores)

    def rankings(self) -> tuple[list[RankedScore | None], ...]:
        """Returns rank and score of each hit in either ranking."""
        found = []
        for places, scores in zip(self.places.T, self.scores, strict=True):
            ranked = scores[places - 1].tolist() if len(scores) else [0.0] * len(places)
            found.append(
                [
                    RankedScore(rank, score) if rank else None
                    for rank, score in zip(places.tolist(), ranked, strict=True)
                ]
            )
        return tuple(found)


@dataclass(slots=True, eq=False)  # not frozen, as `DocumentHit`
class BareHits:
    """Hits of which nothing was read from the database, in columns.

    Attributes:
        ids: The documents' ids.
        scores: (n,) their scores.
        passages: (n,) numbers of their passages; None if all are 0.
        vectors: (n, dim) embeddings, if included.
        fused: Their places in both rankings, in mode "hybrid".
    """

    ids: list[str]
    scores: NDArray[np.float32] | NDArray[np.float64]
    passages: NDArray[np.int64] | None
    vectors: NDArray[np.float32] | None
    fused: Fused | None

    def hits(self) -> tuple[DocumentHit, ...]:
        """Returns the hits as objects."""
        count = len(self.ids)
        dense, lexical = ((None,) * count,) * 2 if self.fused is None else self.fused.rankings()
        return tuple(
            [
                DocumentHit(
                    id, score, None, None, None, passage, None, None, (), None, vector, *places
                )
                for id, score, passage, vector, *places in zip(
                    self.ids,
                    self.scores.tolist(),
                    (0,) * count if self.passages is None else self.passages.tolist(),
                    (None,) * count if self.vectors is None else self.vectors,
                    dense,
                    lexical,
                    strict=True,
                )
            ]
        )


class DocumentHits(Sequence[DocumentHit]):
    """The hits of one query, best first: a sequence.

    Args:
        hits: The hits.
        explanation: What the search did; None unless requested.
        refined: Whether the order of a query encoder's hits was in doubt, so that the query was
            encoded again by the collection's own encoder (`refine="auto"`).
        coverage: The share of the rows that was searched: 1 but where shards of a cluster did not
            answer in time.
        late: The names of these shards.

    Where a search includes nothing of the documents, the objects of its hits are made when they are
    first needed; `ids`, `scores` and `passages` do not need them.

    Example:
        >>> with nestling.Collection("notes", dim=2) as notes:
        ...     _ = notes.add(["bread", "river"], ["a", "b"], vectors=[[1, 0], [0, 1]])
        ...     hits = notes.search([1, 0], k=2)
        >>> hits.ids, hits.scores, hits[0].text
        (['a', 'b'], [1.0, 0.0], 'bread')
    """

    __slots__ = ("_hits", "coverage", "explanation", "late", "refined")

    def __init__(
        self,
        hits: Iterable[DocumentHit] | BareHits,
        explanation: Explanation | None = None,
        refined: bool = False,
        coverage: float = 1.0,
        late: tuple[str, ...] = (),
    ) -> None:
        self.explanation = explanation
        self.refined = refined
        self.coverage = coverage
        self.late = late
        self._hits = hits if isinstance(hits, BareHits) else tuple(hits)

    @property
    def hits(self) -> tuple[DocumentHit, ...]:
        """The hits."""
        hits = self._hits
        if isinstance(hits, BareHits):
            hits = self._hits = hits.hits()
        return hits

    @property
    def ids(self) -> list[str]:
        """The ids of the documents."""
        hits = self._hits
        return hits.ids.copy() if isinstance(hits, BareHits) else [hit.id for hit in hits]

    @property
    def scores(self) -> list[float]:
        """The scores."""
        hits = self._hits
        if isinstance(hits, BareHits):
            scores: list[float] = hits.scores.tolist()
            return scores
        return [hit.score for hit in hits]

    @property
    def passages(self) -> list[int]:
        """The numbers of the passages in their documents, from 0."""
        hits = self._hits
        if isinstance(hits, BareHits):
            passages: list[int] = (
                [0] * len(hits.ids) if hits.passages is None else hits.passages.tolist()
            )
            return passages
        return [hit.passage for hit in hits]

    @overload
    def __getitem__(self, position: int) -> DocumentHit: ...

    @overload
    def __getitem__(self, position: slice) -> tuple[DocumentHit, ...]: ...

    def __getitem__(self, position: int | slice) -> DocumentHit | tuple[DocumentHit, ...]:
        return self.hits[position]

    def __len__(self) -> int:
        hits = self._hits
        return len(hits.ids) if isinstance(hits, BareHits) else len(hits)

    def __iter__(self) -> Iterator[DocumentHit]:
        return iter(self.hits)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash((type(self), self._parts()))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._parts()

    def _parts(self) -> tuple[Any, ...]:
        return self.hits, self.explanation, self.refined, self.coverage, self.late

    def __repr__(self) -> str:
        best = f", best {self.ids[0]!r} at {self.scores[0]:.4f}" if len(self) else ""
        part = f", coverage {self.coverage:.3f}" if self.coverage < 1 else ""
        return f"{type(self).__name__}({len(self)}{best}{part})"
