"""Which rows each stage of a funnel kept for one query, and which stage dropped the others."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nestling._util.value import Value
from nestling.collection.query.hits import DocumentHits
from nestling.collection.storage.view import Part, View
from nestling.index.funnel import Funnel
from nestling.index.parts import search_parts

__all__ = ["FunnelSearch", "Survivors"]

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Survivors(Value):
    """Passages that the first stage of a funnel kept, and the stage that dropped each.

    Passages of the exact result that the first stage dropped are among them, with stage 0.

    Attributes:
        hits: The hits, with their explanation.
        ids: The document of each passage.
        passages: (n,) int64, the number of each passage in its document, from 0.
        stages: (n,) int64, the number of the stage that dropped it, from 0; the number of stages
            for hits.
        vectors: (n, dim) float32, the stored embeddings.
        query: (dim,) float32, the embedding of the query.
        total: Passages before they were limited.

    Example:
        >>> with nestling.Collection("notes", dim=2, funnel="1@32:2 > 2@32") as notes:
        ...     _ = notes.add(["bread", "river"], ["a", "b"], vectors=[[1, 0], [0, 1]])
        ...     survivors = notes.survivors([1, 0], k=1)
        >>> survivors.ids, survivors.stages.tolist()
        (('a', 'b'), [2, 1])
    """

    hits: DocumentHits
    ids: tuple[str, ...]
    passages: NDArray[np.int64]
    stages: NDArray[np.int64]
    vectors: NDArray[np.float32]
    query: NDArray[np.float32]
    total: int


@dataclass(frozen=True, slots=True)
class FunnelSearch:
    """A dense search of one query in one snapshot, which can be cut after any stage.

    Attributes:
        view: The snapshot.
        vector: (1, dim) float32.
        k: Rows that the search returns; more than the hits where documents have many passages.
        funnel: Its stages.
        probes: As for `Index.search`.
        allowed: Sorted rows that may be found; None for all.
    """

    view: View
    vector: NDArray[np.float32]
    k: int
    funnel: Funnel
    probes: int | None
    allowed: Rows | None

    def exact(self, k: int) -> Rows:
        """Returns the k best rows by the last stage alone, best first."""
        last = Funnel((self.funnel.stages[-1],))
        hits = self.view.search(self.vector, k, funnel=last, probes=0, allowed=self.allowed)
        rows: Rows = hits.ids[0]
        return rows[rows >= 0]

    def dropped_by(self, row: int) -> int:
        """Returns the number of the stage that drops a row; the last one's, if none before does."""
        part = next(part for part in self.view.parts if part.first <= row <= part.last)
        last = len(self.funnel.stages) - 1
        for position in range(last):
            if row not in self.kept(part, position):
                return position
        return last

    def survivors(self) -> tuple[Rows, NDArray[np.int64]]:
        """Returns the rows that the first stage keeps, and the stage that drops each.

        Rows come in the order of the first stage; the last stage counts as dropping all rows that
        reach it. A funnel of one stage keeps only what it returns.
        """
        last = len(self.funnel.stages) - 1
        rows, stages = [], []
        for part in self.view.filled:
            first = self.kept(part, 0)
            reached = np.full(len(first), last, np.int64)
            for position in range(last - 1, 0, -1):
                reached[~np.isin(first, self.kept(part, position))] = position
            rows.append(first)
            stages.append(reached)
        if not rows:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        return np.concatenate(rows), np.concatenate(stages)

    def kept(self, part: Part, position: int) -> Rows:
        """Returns the rows of a part that survive the stage at `position`, best first."""
        stage = self.funnel.stages[position]
        until = (*self.funnel.stages[:position], replace(stage, keep=None, margin=None))
        keep = max(stage.keep or self.k, self.k)
        searched = part.allowing(self.allowed)
        if searched is None:
            return np.empty(0, np.int64)
        hits = search_parts([searched], self.vector, keep, funnel=Funnel(until), probes=self.probes)
        rows, scores = hits.ids[0], hits.scores[0]
        if stage.margin is not None and self.k <= len(rows):
            # As the engine keeps by score: relative to the k-th best of this stage.
            rows = rows[~(1 - scores > stage.margin * (1 - scores[self.k - 1]))]
        kept: Rows = rows[rows >= 0]
        return kept

    def survivors_of(self, hits: DocumentHits, k: int, limit: int) -> Survivors:
        """Returns what the stages kept of the query, whose k hits are known: at most `limit`."""
        view = self.view
        rows, stages = self.survivors()
        lost = np.setdiff1d(self.exact(k), rows)  # which the first stage dropped
        rows = np.concatenate([rows, lost])
        stages = np.concatenate([stages, np.zeros(len(lost), np.int64)])
        found = {(hit.id, hit.passage) for hit in hits}
        ids = view.ids(rows)
        passages = rows - view.first_rows(rows)
        is_hit = [pair in found for pair in zip(ids, passages.tolist(), strict=True)]
        stages[is_hit] = len(self.funnel.stages)
        chosen = _spread(stages, limit)
        return Survivors(
            hits,
            tuple(ids[place] for place in chosen.tolist()),
            passages[chosen],
            stages[chosen],
            view.reconstruct(rows[chosen]),
            self.vector[0],
            len(rows),
        )


def _spread(stages: Rows, limit: int) -> Rows:
    """Returns where at most `limit` passages are: the furthest ones, and a spread of the others."""
    order = np.argsort(-stages, kind="stable")
    if len(order) <= limit:
        return order
    best = order[: limit // 2]
    others = order[limit // 2 :]
    places = np.linspace(0, len(others) - 1, limit - len(best)).astype(np.int64)
    return np.concatenate([best, others[places]])
