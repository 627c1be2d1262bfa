"""Values of one column in whatever holds them: a list, a NumPy array, a Series, an Arrow array."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

__all__ = ["is_table", "listed"]

# Methods of the classes of pandas, polars and Arrow (and of what has their interface).
_TABLE: Final = ("__dataframe__", "iterrows", "iter_rows", "to_batches")
_COLUMN: Final = ("tolist", "to_list", "to_pylist")


def is_table(values: object) -> bool:
    """Returns whether values are a data frame or an Arrow table; iterating one may give names.

    Example:
        >>> is_table([{"text": "bread"}]), is_table(np.eye(2))
        (False, False)
    """
    return any(hasattr(type(values), name) for name in _TABLE)


def listed(values: object) -> list[Any] | None:
    """Returns the elements of one column as Python objects; None if it is not such a column.

    A list is returned as it is. A NumPy date stays one: as an integer it would pass for an id.

    Example:
        >>> listed(np.array([1, 2])), listed((3, "a")), listed("ab"), listed(np.eye(2))
        ([1, 2], [3, 'a'], None, None)
    """
    if isinstance(values, list):
        return values
    if isinstance(values, (tuple, range)):
        return list(values)
    if isinstance(values, (str, bytes, bytearray, memoryview, np.generic)) or is_table(values):
        return None
    if isinstance(values, np.ndarray):
        if values.ndim != 1:
            return None
        return list(values) if values.dtype.kind in "mM" else values.tolist()
    for name in _COLUMN:
        if hasattr(type(values), name):
            found = getattr(values, name)()
            return found if isinstance(found, list) else None
    return None
