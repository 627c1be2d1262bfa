"""Relevance judgements: which documents answer which questions, and how well."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestling.errors import ArgumentError

__all__ = ["Judgements"]


class Judgements:
    """Graded judgements of pairs of a question and a document, both by their places.

    A document is relevant to a question where its grade is above 0. Grades of 0 and below, and
    documents that nobody judged, count alike: not relevant, without gain.

    Args:
        queries: (j,) places of questions, each 0 to `count` - 1.
        documents: (j,) places of documents, 0 or more. A pair may come once.
        grades: (j,) whole numbers.
        count: How many questions there are, with and without judgements.

    Raises:
        ArgumentError: The three differ in length, a place is out of range, or a pair comes twice.

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
        asked, found, given = (_integers(x) for x in (queries, documents, grades))
        if not len(asked) == len(found) == len(given):
            raise ArgumentError(
                f"{len(asked)} queries, {len(found)} documents, {len(given)} grades: "
                "give as many of each"
            )
        if len(asked) and not (asked.min() >= 0 and asked.max() < count and found.min() >= 0):
            raise ArgumentError(f"a place is out of range; queries are 0 to {count - 1}")
        self._count = count
        self._stride = int(found.max()) + 1 if len(found) else 1
        keys = asked * self._stride + found
        order = np.argsort(keys, kind="stable")
        self._keys, self._queries, self._grades = keys[order], asked[order], given[order]
        if (self._keys[1:] == self._keys[:-1]).any():
            raise ArgumentError("a pair of a query and a document is judged twice")

    def __len__(self) -> int:
        """How many pairs are judged."""
        return len(self._keys)

    @property
    def count(self) -> int:
        """How many questions there are."""
        return self._count

    @property
    def relevant(self) -> NDArray[np.int64]:
        """(count,) relevant documents of each question."""
        return np.bincount(self._queries[self._grades > 0], minlength=self._count)

    def pairs(self) -> NDArray[np.int64]:
        """Returns the places of every question and each of its relevant documents: (r, 2)."""
        good = self._grades > 0
        return np.stack([self._queries[good], self._keys[good] % self._stride], axis=1)

    def grades_of(self, ranking: NDArray[np.int64]) -> NDArray[np.int64]:
        """Looks up the grades of a ranking.

        Args:
            ranking: (count, k) places of documents; -1 stands for none.

        Returns:
            (count, k) int64: 0 where the pair is not judged, or not relevant.
        """
        if not len(self._keys):
            return np.zeros(ranking.shape, np.int64)
        keys = np.arange(self._count)[:, None] * self._stride + ranking
        places = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        # Other places than the judged ones would run into the keys of the next question.
        judged = (self._keys[places] == keys) & (ranking >= 0) & (ranking < self._stride)
        grades: NDArray[np.int64] = np.where(judged, np.maximum(self._grades[places], 0), 0)
        return grades

    def ideal(self, k: int) -> NDArray[np.int64]:
        """Returns the best grades that each question could bring: (count, k), falling, then 0."""
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
