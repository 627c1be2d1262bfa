"""What an adaptor is trained on: anchors, candidates, and each anchor's nearest candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nestling.index.exact import chunks, exact_top

__all__ = ["Anchors", "Batch", "from_pairs", "from_texts"]

_NEIGHBOURS: Final = 32  # kept for each anchor; a step draws a few of them
_NONE: Final = -1
_BLOCK: Final = 1024  # anchors whose similarities to a chunk of candidates are held at once

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The anchors and candidates of a step.

    Attributes:
        anchors: (a, dim) float32.
        candidates: (c, dim) float32.
        self_ids: (a,) int64, the candidate that is the anchor itself, which is excluded; -1 for
            none.
        positive: (a,) int64, the right candidate; -1 where it is unknown.
    """

    anchors: Floats
    candidates: Floats
    self_ids: Ids
    positive: Ids


@dataclass(frozen=True, slots=True, eq=False)
class Anchors:
    """Embeddings whose prefixes should rank the candidates as the whole embedding does.

    Attributes:
        vectors: (m, dim) float32 at unit length.
        candidates: (n, dim) float32 at unit length.
        neighbours: (m, k) int64, the nearest candidates of each anchor, except itself.
        self_ids: (m,) int64, the candidate that the anchor is; -1 for none.
        positive: (m,) int64, the right candidate; -1 where it is unknown.
        held_out: Anchors that are not trained on.
        trained: The others.
        weight: Weight of their loss beside that of other anchors.
    """

    vectors: Floats
    candidates: Floats
    neighbours: Ids
    self_ids: Ids
    positive: Ids
    held_out: Ids
    trained: Ids
    weight: float = 1.0

    def draw(self, rng: np.random.Generator, size: int, neighbours: int) -> Batch:
        """Draws anchors to train on, with some of the nearest candidates of each."""
        return self._batch(rng.choice(self.trained, size), rng, neighbours)

    def held_out_batches(self, size: int, neighbours: int) -> list[Batch]:
        """Returns the held-out anchors as batches, the same every time."""
        rng = np.random.default_rng(0)
        parts = range(0, len(self.held_out), size)
        return [
            self._batch(self.held_out[start : start + size], rng, neighbours) for start in parts
        ]

    def _batch(self, chosen: Ids, rng: np.random.Generator, neighbours: int) -> Batch:
        drawn = rng.integers(self.neighbours.shape[1], size=(len(chosen), neighbours))
        nearest = np.take_along_axis(self.neighbours[chosen], drawn, axis=1).ravel()
        positive = self.positive[chosen]
        rows = np.unique(np.concatenate([nearest, positive[positive != _NONE]]))
        return Batch(
            self.vectors[chosen],
            self.candidates[rows],
            _positions(rows, self.self_ids[chosen]),
            _positions(rows, positive),
        )


def from_texts(
    vectors: Floats, *, most: int, holdout: int, rng: np.random.Generator, weight: float = 1.0
) -> Anchors:
    """Makes anchors of embeddings, each of which is also a candidate for the others.

    Args:
        vectors: (n, dim) float32 at unit length, at least two.
        most: Most anchors.
        holdout: Most that are held out; a tenth of the anchors where that is less.
        rng: Draws the anchors, and those that are held out.
        weight: Weight of their loss beside that of other anchors.
    """
    self_ids = rng.permutation(len(vectors))[:most]
    neighbours = _nearest(vectors, vectors[self_ids], min(_NEIGHBOURS, len(vectors) - 1), self_ids)
    held_out = min(holdout, len(self_ids) // 10)
    return Anchors(
        vectors=vectors[self_ids],
        candidates=vectors,
        neighbours=neighbours,
        self_ids=self_ids,
        positive=np.full(len(self_ids), _NONE, np.int64),
        held_out=np.arange(held_out),
        trained=np.arange(held_out, len(self_ids)),
        weight=weight,
    )


def from_pairs(
    questions: Floats,
    candidates: Floats,
    positive: Sequence[int],
    *,
    most: int,
    holdout: int,
    rng: np.random.Generator,
) -> Anchors:
    """Makes anchors of questions; the answers of all are their candidates.

    Questions of one answer are held out together.

    Args:
        questions: (m, dim) float32 at unit length.
        candidates: (n, dim) float32 at unit length.
        positive: The candidate that answers each question.
        most: Most anchors.
        holdout: How many are held out at most, or a few more; a tenth where that is less.
        rng: Draws the anchors, and those that are held out.
    """
    chosen = rng.permutation(len(questions))[:most]
    vectors, right = questions[chosen], np.asarray(positive, np.int64)[chosen]
    neighbours = _nearest(candidates, vectors, min(_NEIGHBOURS, len(candidates)), None)
    requested = min(holdout, len(chosen) // 10)
    counts = np.bincount(right, minlength=len(candidates))
    order = rng.permutation(len(candidates))
    held_answers = order[: int(np.searchsorted(np.cumsum(counts[order]), requested))]
    held_out = np.isin(right, held_answers)
    return Anchors(
        vectors=vectors,
        candidates=candidates,
        neighbours=neighbours,
        self_ids=np.full(len(chosen), _NONE, np.int64),
        positive=right,
        held_out=np.flatnonzero(held_out),
        trained=np.flatnonzero(~held_out),
    )


def _nearest(candidates: Floats, anchors: Floats, count: int, leave_out: Ids | None) -> Ids:
    """Returns the (m, count) nearest candidates of each anchor, except its own in `leave_out`."""
    found = [
        exact_top(
            chunks(candidates),
            anchors[start : start + _BLOCK],
            count,
            leave_out=None if leave_out is None else leave_out[start : start + _BLOCK],
        ).rows
        for start in range(0, len(anchors), _BLOCK)
    ]
    return np.concatenate(found)


def _positions(rows: Ids, values: Ids) -> Ids:
    """Returns the position of each value in the sorted `rows`; -1 where it is missing."""
    positions = np.minimum(np.searchsorted(rows, values), len(rows) - 1)
    return np.where(rows[positions] == values, positions, _NONE)
