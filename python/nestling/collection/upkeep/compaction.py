"""Which segments to merge, and how: so that there are few, and none is mostly removed rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from nestling.collection.storage.view import Part
from nestling.index import Index

__all__ = ["FAN", "Run", "merge", "plan"]

FAN: Final = 4
"""So many segments of like size become one."""
_SMALLEST: Final = 4_096  # rows: segments below count as of this size


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring segments that are to become one: `parts[start:end]`."""

    start: int
    end: int


def plan(parts: Sequence[Part]) -> Run | None:
    """Returns the next merge that pays; None where there is none.

    Sizes fall into levels, each `FAN` times as large as the one before. `FAN` neighbours of one
    level, or below, are merged, so that n rows lie in about 3 log4(n / 4,096) segments, and each is
    written about log4(n / 4,096) times. A segment is also written anew when half of it is gone.
    Source: O'Neil et al. 1996, "The log-structured merge-tree".
    """
    levels = [_level(len(part.index)) for part in parts]
    for end in range(len(parts), FAN - 1, -1):
        top = levels[end - 1]
        start = end
        while start > 0 and levels[start - 1] <= top:
            start -= 1
        if end - start >= FAN:
            return Run(start, end)
    for place, part in enumerate(parts):
        if part.dead > len(part.index):
            return Run(place, place + 1)
    return None


def merge(parts: Sequence[Part]) -> Index | None:
    """Returns one index of the rows of neighbouring parts, ids from the first part's first row on.

    Codes are copied bit for bit; cells, where the largest part has them, are made anew. None where
    every row is gone.
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
    level, size = 0, _SMALLEST * FAN
    while rows >= size:
        level, size = level + 1, size * FAN
    return level
