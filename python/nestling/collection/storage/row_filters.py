"""Filters of words that were used lately."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nestling import _core
from nestling.collection.storage.words import PlacedWords

__all__ = ["RowFilters"]

Rows = NDArray[np.int64]

_MOST: Final = 4  # that are kept: a bit per row, and the rows


class RowFilters:
    """Keeps a few filters, by the identity of the arrays that they were made from.

    Example:
        >>> rows = np.array([1, 5])
        >>> filters = RowFilters()
        >>> made = filters.of([rows], [], lambda: rows)
        >>> filters.of([rows], [], lambda: rows) is made
        True
    """

    def __init__(self) -> None:
        self._kept: dict[
            tuple[int, ...], tuple[Sequence[Rows], Sequence[PlacedWords], _core.RowFilter]
        ] = {}

    def of(
        self, arrays: Sequence[Rows], words: Sequence[PlacedWords], rows: Callable[[], Rows]
    ) -> _core.RowFilter:
        """Returns the filter of some words, made once for the same arrays.

        Args:
            arrays: What decides the rows, which nobody changes.
            words: The words.
            rows: Gives the rows, which rise, where the filter is not known.
        """
        key = tuple(map(id, arrays))
        known = self._kept.get(key)
        if known is None or known[1] != words:
            if len(self._kept) >= _MOST:
                self._kept.clear()
            # With the arrays, whose identity is another's when they are gone.
            known = self._kept[key] = (arrays, words, _core.RowFilter(words, rows()))
        return known[2]
