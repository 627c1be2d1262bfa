"""The results of a search of a collection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from nestling._util.value import Value
from nestling.collection.query.highlight import mark
from nestling.index.hits import StageStats

__all__ = ["DocumentHit", "DocumentHits", "DroppedHit", "Explanation", "RankedScore"]


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
        microseconds: Time of each step: encode, filter, dense, lexical, fuse, fetch.
        allowed: Rows that passed the filter; None without a filter.
        segments: Segments that have rows; pending rows count as one.

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
            lines.append(f"{self.allowed:,} rows passed the filter")
        steps = ", ".join(f"{name} {took:,.0f}" for name, took in self.microseconds.items())
        parts = "1 segment" if self.segments == 1 else f"{self.segments} segments"
        lines.append(f"{self.mode}, {parts}; µs: {steps}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class DocumentHits(Value, Sequence[DocumentHit]):
    """The hits of one query, best first: a sequence.

    Attributes:
        hits: The hits.
        explanation: What the search did; None unless requested.

    Example:
        >>> with nestling.Collection("notes", dim=2) as notes:
        ...     _ = notes.add(["bread", "river"], ["a", "b"], vectors=[[1, 0], [0, 1]])
        ...     hits = notes.search([1, 0], k=2)
        >>> [hit.id for hit in hits], len(hits), hits[0].id
        (['a', 'b'], 2, 'a')
    """

    hits: tuple[DocumentHit, ...]
    explanation: Explanation | None = None

    @overload
    def __getitem__(self, position: int) -> DocumentHit: ...

    @overload
    def __getitem__(self, position: slice) -> tuple[DocumentHit, ...]: ...

    def __getitem__(self, position: int | slice) -> DocumentHit | tuple[DocumentHit, ...]:
        return self.hits[position]

    def __len__(self) -> int:
        return len(self.hits)

    def __iter__(self) -> Iterator[DocumentHit]:
        return iter(self.hits)

    def __repr__(self) -> str:
        best = f", best {self.hits[0].id!r} at {self.hits[0].score:.4f}" if self.hits else ""
        return f"DocumentHits({len(self.hits)}{best})"
