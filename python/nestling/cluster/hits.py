"""The hits of a cluster: those of a collection, with what share of the rows was searched."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from nestling.collection.query.hits import BareHits, DocumentHit, DocumentHits, Explanation

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["ClusterHits"]


class ClusterHits(DocumentHits):
    """The hits of one query in a cluster, best first: a sequence.

    Args:
        hits: As for `DocumentHits`, like the next four.
        explanation: See there.
        refined: See there.
        coverage: The share of the rows that was searched, of all those in the shards that the query
            was sent to: all shards, unless it was routed by cells.
        late: See there.
        shards: How many shards the query was sent to.

    Example:
        >>> hits = ClusterHits((), coverage=0.875, late=("shard-3",), shards=8)
        >>> hits.coverage, hits.late
        (0.875, ('shard-3',))
    """

    __slots__ = ("shards",)

    def __init__(
        self,
        hits: Iterable[DocumentHit] | BareHits,
        explanation: Explanation | None = None,
        refined: bool = False,
        coverage: float = 1.0,
        late: tuple[str, ...] = (),
        shards: int = 0,
    ) -> None:
        super().__init__(hits, explanation, refined, coverage, late)
        self.shards = shards

    @classmethod
    def of(cls, hits: DocumentHits, coverage: float, late: tuple[str, ...], shards: int) -> Self:
        """Returns hits of a search of the shards that answered.

        Example:
            >>> from nestling.collection import DocumentHits
            >>> hits = ClusterHits.of(DocumentHits(()), coverage=0.5, late=("b",), shards=2)
            >>> hits.coverage, hits.late
            (0.5, ('b',))
        """
        return cls(hits._hits, hits.explanation, hits.refined, coverage, late, shards)

    def _parts(self) -> tuple[Any, ...]:
        return *super()._parts(), self.shards
