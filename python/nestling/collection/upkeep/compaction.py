"""Which segments to merge: so that they stay few, and none consists mostly of removed rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from nestling.collection.storage.store import Store
from nestling.collection.storage.view import Part, View
from nestling.index import Index

__all__ = ["FAN", "Run", "merge", "merge_run", "plan"]

FAN: Final = 4
"""Segments of similar size that are merged into one."""
_MIN_SIZE: Final = 4_096  # rows: smaller segments count as of this size


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring segments to merge into one: `parts[start:end]`."""

    start: int
    end: int


def plan(parts: Sequence[Part]) -> Run | None:
    """Returns the next merge that is due; None if there is none.

    Sizes fall into levels, each `FAN` times as large as the one before. `FAN` neighbours of one
    level or below are merged, so that n rows are in about 3 log4(n / 4,096) segments, and each row
    is written about log4(n / 4,096) times. A segment is also rewritten when more than half of it
    was removed. Source: O'Neil et al. 1996, "The log-structured merge-tree".
    """
    levels = [_level(len(part.index)) for part in parts]
    for end in range(len(parts), FAN - 1, -1):
        top = levels[end - 1]
        start = end
        while start > 0 and levels[start - 1] <= top:
            start -= 1
        if end - start >= FAN:
            return Run(start, end)
    for position, part in enumerate(parts):
        if part.dead > len(part.index):
            return Run(position, position + 1)
    return None


def merge_run(store: Store, view: View, run: Run) -> bool:
    """Merges segments of a view; returns False if another writer has changed them since.

    The caller holds the store's `lock.holding()`.
    """
    parts = view.segments[run.start : run.end]
    return store.replace(view, parts, lambda: merge(parts))


def merge(parts: Sequence[Part]) -> Index | None:
    """Returns one index of the rows of neighbouring parts; its ids count from their first row.

    Codes are copied bit for bit. Cells are rebuilt if the largest part has them. None if every row
    was removed.
    """
    living = [part for part in parts if len(part.index)]
    if not living:
        return None
    first = parts[0].first
    merged = Index.merge(
        [part.index for part in living], shifts=[part.first - first for part in living]
    )
    largest = max(living, key=lambda part: len(part.index)).index
    if largest.cells is not None:
        share = len(merged) / len(largest)
        count = max(1, round(largest.cells.count * share**0.5))
        merged.rebuild(cells=largest.cells.stored(count))
    return merged


def _level(rows: int) -> int:
    level, size = 0, _MIN_SIZE * FAN
    while rows >= size:
        level, size = level + 1, size * FAN
    return level
