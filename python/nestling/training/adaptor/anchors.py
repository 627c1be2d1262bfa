"""What an adaptor learns from: anchors, candidates, and who is near whom by the whole embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nestling.index.exact import chunks, exact_top

__all__ = ["Anchors", "Batch", "from_pairs", "from_texts"]

_NEIGHBOURS: Final = 32  # of an anchor that are remembered; steps draw a few of them
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
        itself: (a,) int64, the candidate that is the anchor itself, which it may not find; -1 for
            none.
        positive: (a,) int64, the candidate that is right; -1 where nothing tells.
    """

    anchors: Floats
    candidates: Floats
    itself: Ids
    positive: Ids


@dataclass(frozen=True, slots=True, eq=False)
class Anchors:
    """Embeddings whose prefixes are to see the candidates as the whole embedding does.

    Attributes:
        vectors: (m, dim) float32 at unit length.
        candidates: (n, dim) float32 at unit length.
        near: (m, k) int64, the nearest candidates of each anchor, itself left out.
        itself: (m,) int64, the candidate that the anchor is; -1 for none.
        positive: (m,) int64, the candidate that is right; -1 where nothing tells.
        held: Anchors that are not trained on.
        trained: The others.
        weight: Of their loss beside that of other anchors.
    """

    vectors: Floats
    candidates: Floats
    near: Ids
    itself: Ids
    positive: Ids
    held: Ids
    trained: Ids
    weight: float = 1.0

    def draw(self, rng: np.random.Generator, size: int, near: int) -> Batch:
        """Draws anchors to train on, with `near` of the nearest candidates of each."""
        return self._batch(rng.choice(self.trained, size), rng, near)

    def held_out(self, size: int, near: int) -> list[Batch]:
        """Returns what is held out as batches, the same every time."""
        rng = np.random.default_rng(0)
        parts = range(0, len(self.held), size)
        return [self._batch(self.held[start : start + size], rng, near) for start in parts]

    def _batch(self, chosen: Ids, rng: np.random.Generator, near: int) -> Batch:
        places = rng.integers(self.near.shape[1], size=(len(chosen), near))
        neighbours = np.take_along_axis(self.near[chosen], places, axis=1).ravel()
        positive = self.positive[chosen]
        rows = np.unique(np.concatenate([neighbours, positive[positive != _NONE]]))
        return Batch(
            self.vectors[chosen],
            self.candidates[rows],
            _places(rows, self.itself[chosen]),
            _places(rows, positive),
        )


def from_texts(
    vectors: Floats, *, most: int, holdout: int, rng: np.random.Generator, weight: float = 1.0
) -> Anchors:
    """Makes anchors of embeddings, each of which is also a candidate for the others.

    Args:
        vectors: (n, dim) float32 at unit length, at least two.
        most: Most anchors.
        holdout: Most that are held out; a tenth of the anchors where that is less.
        rng: Draws the anchors, and what is held out.
        weight: Of their loss beside that of other anchors.
    """
    itself = rng.permutation(len(vectors))[:most]
    near = _nearest(vectors, vectors[itself], min(_NEIGHBOURS, len(vectors) - 1), itself)
    held = min(holdout, len(itself) // 10)
    return Anchors(
        vectors=vectors[itself],
        candidates=vectors,
        near=near,
        itself=itself,
        positive=np.full(len(itself), _NONE, np.int64),
        held=np.arange(held),
        trained=np.arange(held, len(itself)),
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
    """Makes anchors of questions, whose candidates are the answers of all.

    Questions of one answer are held out together.

    Args:
        questions: (m, dim) float32 at unit length.
        candidates: (n, dim) float32 at unit length.
        positive: The candidate that answers each question.
        most: Most anchors.
        holdout: How many are held out at most, or a few more; a tenth where that is less.
        rng: Draws the anchors, and what is held out.
    """
    chosen = rng.permutation(len(questions))[:most]
    vectors, right = questions[chosen], np.asarray(positive, np.int64)[chosen]
    near = _nearest(candidates, vectors, min(_NEIGHBOURS, len(candidates)), None)
    wanted = min(holdout, len(chosen) // 10)
    counts = np.bincount(right, minlength=len(candidates))
    order = rng.permutation(len(candidates))
    held_answers = order[: int(np.searchsorted(np.cumsum(counts[order]), wanted))]
    held = np.isin(right, held_answers)
    return Anchors(
        vectors=vectors,
        candidates=candidates,
        near=near,
        itself=np.full(len(chosen), _NONE, np.int64),
        positive=right,
        held=np.flatnonzero(held),
        trained=np.flatnonzero(~held),
    )


def _nearest(candidates: Floats, anchors: Floats, count: int, leave_out: Ids | None) -> Ids:
    """Returns the (m, count) nearest candidates of each anchor; `leave_out` has one not to find."""
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


def _places(rows: Ids, wanted: Ids) -> Ids:
    """Returns where in the sorted `rows` each wanted one is; -1 where it is not."""
    places = np.minimum(np.searchsorted(rows, wanted), len(rows) - 1)
    return np.where(rows[places] == wanted, places, _NONE)
