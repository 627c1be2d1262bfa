"""How to search a collection: the options, and the keyword arguments that they are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypedDict, get_args

from numpy.typing import ArrayLike

from nestling.collection.query.synonyms import Synonyms
from nestling.errors import ArgumentError, ArgumentTypeError
from nestling.index.arguments import positive
from nestling.index.funnel import Funnel

__all__ = [
    "INCLUDES",
    "CommonKeywords",
    "Fusion",
    "Mode",
    "Refine",
    "SearchKeywords",
    "SearchOptions",
    "Weight",
]

Mode = Literal["dense", "lexical", "hybrid"]
Fusion = Literal["rrf", "weighted"]
Refine = Literal["never", "auto", "always"]
Weight = float | Literal["auto"]
INCLUDES: Final = ("text", "metadata", "highlight", "snippet", "document", "vector")

_MODES: Final = get_args(Mode)
_FUSIONS: Final = get_args(Fusion)
_REFINES: Final = get_args(Refine)
_INCLUDED: Final = frozenset(INCLUDES)
_IN_MEMORY: Final = frozenset(("vector",))  # of these, what is not in the database


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
