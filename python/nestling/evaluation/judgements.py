"""Relevance judgements: which documents answer which queries, and how well."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestling.errors import ArgumentError

__all__ = ["Judgements"]


class Judgements:
    """Graded judgements of pairs of a query and a document, both given by position.

    A document is relevant to a query if its grade is above 0. Grades of 0 and below, and pairs
    without a judgement, count alike: not relevant, no gain.

    Args:
        queries: (j,) positions of queries, each 0 to `count` - 1.
        documents: (j,) positions of documents, 0 or more. A pair may occur once.
        grades: (j,) integers.
        count: Number of queries, with and without judgements.

    Raises:
        ArgumentError: The three differ in length or hold other than integers, a position is out of
            range, or a pair occurs twice.

    Example:
        >>> judgements = Judgements([0, 0, 1], [4, 7, 4], [2, 1, 0], count=2)
        >>> judgements.relevant
        array([2, 0])
        >>> judgements.grades_of(np.array([[7, 5, 4], [4, 7, -1]]))
        array([[1, 0, 2],
               [0, 0, 0]])
    """

    def __init__(
        self, queries: ArrayLike, documents: ArrayLike, grades: ArrayLike, *, count: int
    ) -> None:
        query_rows, document_rows, given = (_integers(x) for x in (queries, documents, grades))
        if not len(query_rows) == len(document_rows) == len(given):
            raise ArgumentError(
                f"{len(query_rows)} queries, {len(document_rows)} documents, {len(given)} grades: "
                "give as many of each"
            )
        known = len(query_rows) and query_rows.min() >= 0 and query_rows.max() < count
        if len(query_rows) and not (known and document_rows.min() >= 0):
            raise ArgumentError(f"a position is out of range; queries are 0 to {count - 1}")
        self._count = count
        self._stride = int(document_rows.max()) + 1 if len(document_rows) else 1
        keys = query_rows * self._stride + document_rows
        order = np.argsort(keys, kind="stable")
        self._keys, self._queries, self._grades = keys[order], query_rows[order], given[order]
        if (self._keys[1:] == self._keys[:-1]).any():
            raise ArgumentError("a pair of a query and a document is judged twice")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Judgements):
            return NotImplemented
        mine, theirs = self._judged(), other._judged()
        return self._count == other._count and all(map(np.array_equal, mine, theirs))

    def __hash__(self) -> int:
        return hash((self._count, len(self._keys)))

    def __repr__(self) -> str:
        return f"Judgements({len(self):,} pairs, {self._count:,} queries)"

    def _judged(self) -> tuple[NDArray[np.int64], ...]:
        return self._queries, self._keys % self._stride, self._grades

    def __len__(self) -> int:
        """Number of judged pairs."""
        return len(self._keys)

    @property
    def count(self) -> int:
        """Number of queries."""
        return self._count

    @property
    def relevant(self) -> NDArray[np.int64]:
        """Number of relevant documents of each query, (count,) int64."""
        return np.bincount(self._queries[self._grades > 0], minlength=self._count)

    def pairs(self) -> NDArray[np.int64]:
        """Returns the positions of each query with each of its relevant documents, (r, 2) int64.

        Example:
            >>> Judgements([0, 0], [4, 7], [2, 0], count=1).pairs()
            array([[0, 4]])
        """
        good = self._grades > 0
        return np.stack([self._queries[good], self._keys[good] % self._stride], axis=1)

    def grades_of(self, ranking: NDArray[np.int64]) -> NDArray[np.int64]:
        """Looks up the grades of a ranking.

        Args:
            ranking: (count, k) int64 positions of documents; -1 for no document.

        Returns:
            (count, k) int64; 0 where the pair is not judged or not relevant.

        Example:
            >>> Judgements([0, 0], [4, 7], [2, 1], count=1).grades_of(np.array([[7, 5, -1]]))
            array([[1, 0, 0]])
        """
        if not len(self._keys):
            return np.zeros(ranking.shape, np.int64)
        keys = np.arange(self._count)[:, None] * self._stride + ranking
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        # Positions beyond the judged ones would run into the keys of the next query.
        judged = (self._keys[at] == keys) & (ranking >= 0) & (ranking < self._stride)
        grades: NDArray[np.int64] = np.where(judged, np.maximum(self._grades[at], 0), 0)
        return grades

    def ideal(self, k: int) -> NDArray[np.int64]:
        """Returns the best grades that each query could get: (count, k) int64, falling, then 0.

        Example:
            >>> Judgements([0, 0], [4, 7], [1, 2], count=1).ideal(3)
            array([[2, 1, 0]])
        """
        order = np.lexsort((-self._grades, self._queries))
        queries, grades = self._queries[order], np.maximum(self._grades[order], 0)
        ranks = np.arange(len(queries)) - np.searchsorted(queries, queries)
        best = np.zeros((self._count, k), np.int64)
        near = ranks < k
        best[queries[near], ranks[near]] = grades[near]
        return best


def _integers(values: ArrayLike) -> NDArray[np.int64]:
    array: NDArray[Any] = np.asarray(values)
    if array.size == 0:
        return np.zeros(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ArgumentError(
            f"expected a list of integers, not {array.dtype} of shape {array.shape}"
        )
    return array.astype(np.int64)
