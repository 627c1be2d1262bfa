"""Requests to a shard and its answers: plain data that can be pickled.

Every answer has a bounded size: in proportion to the hits, tokens or rows that were requested.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestling._util.value import Value
from nestling.collection.query.source import FoundPassage
from nestling.collection.query.terms import IndexedPart
from nestling.index.funnel import Funnel
from nestling.index.hits import StageStats

__all__ = [
    "Answer",
    "CompletionAnswer",
    "CompletionRequest",
    "CountAnswer",
    "CountRequest",
    "DenseAnswer",
    "DenseRequest",
    "DroppedAnswer",
    "DroppedRequest",
    "FoundRows",
    "LexicalAnswer",
    "LexicalQuery",
    "LexicalRequest",
    "PassageAnswer",
    "PassageRequest",
    "Request",
]

Rows = NDArray[np.int64]
Where = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class FoundRows(Value):
    """What is known of rows that were found, in the order of the answer.

    Attributes:
        firsts: (n,) the row of each one's document's first passage; None if it is the row itself.
        ids: The id of each one's document; None where it was not requested.
    """

    firsts: Rows | None
    ids: list[str] | list[int] | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class DenseRequest(Value):
    """The rows nearest to vectors.

    Attributes:
        vectors: (m, dim) float32.
        k: Rows per vector.
        funnel: As for `Index.search`; None for the shard's.
        probes: As for `Index.search`.
        where: A filter; None for no filter.
        ids: Whether the ids of the documents are requested.
    """

    vectors: NDArray[np.float32]
    k: int
    funnel: Funnel | None = None
    probes: int | None = None
    where: Where | None = None
    ids: bool = False


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class DenseAnswer(Value):
    """Answers `DenseRequest`, for one shard or for several that were searched as one.

    Attributes:
        rows: (m, up to k) rows of the dataset, best first; -1 for none.
        scores: float32 of the same shape, not clipped to 1 and -1; NaN for none.
        stages: What each stage did.
        found: Of those of `rows` that are not -1, in their order.
        allowed: Rows that passed the filter; None without one.
    """

    rows: Rows
    scores: NDArray[np.float32]
    stages: tuple[StageStats, ...]
    found: FoundRows
    allowed: int | None


@dataclass(frozen=True, slots=True)
class LexicalQuery:
    """The parts of a text, with how often each occurs in all shards.

    Attributes:
        parts: The parts.
        counts: Rows that have each part; one count for each token of a part of kind `ANY`.
    """

    parts: tuple[IndexedPart, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LexicalRequest:
    """The rows with the highest BM25.

    Attributes:
        queries: The queries.
        k: Rows per query.
        rows: Rows of all shards, from which the weights of words follow.
        tokens: Tokens of these rows.
        where: A filter; None for no filter.
        ids: Whether the ids of the documents are requested.
    """

    queries: tuple[LexicalQuery, ...]
    k: int
    rows: int
    tokens: int
    where: Where | None = None
    ids: bool = False


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LexicalAnswer(Value):
    """Answers `LexicalRequest`, for one shard or for several that were searched as one.

    Attributes:
        ends: (m + 1,) zero, and the end of each query's hits.
        rows: Rows of the dataset, best first for each query.
        scores: float64, their scores.
        found: Of `rows`.
        allowed: Rows that passed the filter; None without one.
    """

    ends: Rows
    rows: Rows
    scores: NDArray[np.float64]
    found: FoundRows
    allowed: int | None


@dataclass(frozen=True, slots=True)
class CountRequest:
    """In how many rows words occur.

    Attributes:
        tokens: Tokens, each with the `PartKind` PHRASE, or PREFIX for all that begin so: rows of
            each term are added up.
        parts: Parts as a search finds them, none of kind `ANY`: rows that have them.
    """

    tokens: tuple[tuple[str, int], ...] = ()
    parts: tuple[IndexedPart, ...] = ()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CountAnswer(Value):
    """Answers `CountRequest`, in its order."""

    tokens: NDArray[np.int64]
    parts: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """The most frequent tokens that begin so.

    Attributes:
        prefix: The beginning.
        most: How many tokens.
        tokens: Tokens of which the rows are requested in any case.
    """

    prefix: str
    most: int
    tokens: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CompletionAnswer:
    """Answers `CompletionRequest`.

    Attributes:
        tokens: Tokens, the most frequent first, each with its rows; all of them where
            fewer than requested begin so.
        rows: Rows of the tokens that were given.
    """

    tokens: tuple[tuple[str, int], ...]
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PassageRequest(Value):
    """What is shown of rows that were found.

    Attributes:
        rows: (n,) rows of the dataset, in the shard.
        text: Whether title, passage and metadata are requested.
        whole: Whether the texts of the documents are requested.
        vectors: Whether the stored embeddings are requested.
    """

    rows: Rows
    text: bool = False
    whole: bool = False
    vectors: bool = False


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PassageAnswer(Value):
    """Answers `PassageRequest`.

    Attributes:
        found: Of the rows, with ids.
        passages: A `FoundPassage` for each row, without vectors; None unless requested.
        vectors: (n, dim) float32; None unless requested.
    """

    found: FoundRows
    passages: list[FoundPassage] | None
    vectors: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class DroppedRequest(Value):
    """Which stage of a funnel drops each of some rows.

    Attributes:
        rows: (n,) rows of the dataset, in the shard.
        vector: (1, dim) the query.
        k: As for `DenseRequest`, like the other attributes.
        funnel: The stages.
        probes: See there.
        where: See there.
    """

    rows: Rows
    vector: NDArray[np.float32]
    k: int
    funnel: Funnel
    probes: int | None = None
    where: Where | None = None


@dataclass(frozen=True, slots=True)
class DroppedAnswer:
    """Answers `DroppedRequest`: the number of the stage for each row."""

    stages: tuple[int, ...]


Request = (
    DenseRequest
    | LexicalRequest
    | CountRequest
    | CompletionRequest
    | PassageRequest
    | DroppedRequest
)
Answer = (
    DenseAnswer | LexicalAnswer | CountAnswer | CompletionAnswer | PassageAnswer | DroppedAnswer
)
