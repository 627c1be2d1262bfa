"""Records that compare by value, with arrays in them too, and show themselves in few characters."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

import numpy as np

__all__ = ["Value", "short_repr"]

_REPR_CHARACTERS: Final = 1_500  # of all values together, names of fields not counted
_MIN_CHARACTERS: Final = 60
_SMALL_ARRAY: Final = 8


class Value:
    """The base of a dataclass with `eq=False, repr=False`: gives it `==`, a hash and a repr.

    Arrays are equal if shape, dtype and all elements are, and NaN equals NaN. Fields with
    `compare=False` do not count. A repr shows the first elements of what is long.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True, slots=True, eq=False, repr=False)
        ... class Point(Value):
        ...     at: np.ndarray
        ...     names: list[str]
        >>> Point(np.ones(2), ["a"]) == Point(np.ones(2), ["a"])
        True
        >>> Point(np.ones(2), ["a"] * 100_000)
        Point(at=array([1., 1.]), names=['a', 'a', 'a', 'a', 'a', 'a', ...])
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(map(_same, _compared(self), _compared(other)))

    def __hash__(self) -> int:
        return hash((type(self), *map(_hash, _compared(self))))

    def __repr__(self) -> str:
        shown = [field.name for field in fields(self) if field.repr]  # type: ignore[arg-type]
        writer = _Writer(max(_MIN_CHARACTERS, _REPR_CHARACTERS // max(1, len(shown))))
        values = ", ".join(f"{name}={writer.short(getattr(self, name))}" for name in shown)
        return f"{type(self).__qualname__}({values})"


def short_repr(value: object, most: int = 200) -> str:
    """Returns the repr of a value in at most `most` characters.

    Example:
        >>> short_repr("a" * 100_000, most=11)
        "'aa...aaa'"
    """
    return _Writer(most).short(value)


class _Writer(reprlib.Repr):
    """Writes a value in few characters."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = self.most = most

    def short(self, value: object) -> str:
        """Returns the value in at most `most` characters."""
        text = self.repr(value)
        return text if len(text) <= self.most else f"{text[: self.most - 3]}..."

    def repr_ndarray(self, array: np.ndarray[Any, Any], level: int) -> str:
        if array.size <= _SMALL_ARRAY:
            return " ".join(repr(array).split())
        return f"<array of shape {array.shape}, {array.dtype}>"

    def repr_mappingproxy(self, mapping: Mapping[Any, Any], level: int) -> str:
        return self.repr_dict(dict(mapping), level)


def _compared(value: Any) -> list[Any]:
    return [getattr(value, field.name) for field in fields(value) if field.compare]


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        if not (isinstance(first, np.ndarray) and isinstance(second, np.ndarray)):
            return False
        inexact = first.dtype.kind in "fc"
        return first.dtype == second.dtype and np.array_equal(first, second, equal_nan=inexact)
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return first.keys() == second.keys() and all(_same(first[k], second[k]) for k in first)
    for kind in (list, tuple):
        if isinstance(first, kind) and isinstance(second, kind):
            return len(first) == len(second) and all(map(_same, first, second))
    if isinstance(first, float) and isinstance(second, float) and math.isnan(first):
        return math.isnan(second)
    return bool(first == second)


def _hash(value: Any) -> int:
    """Returns a hash that is equal for values that are the same."""
    if isinstance(value, np.ndarray):
        return hash((value.shape, value.dtype))
    if isinstance(value, Mapping):
        return hash(frozenset(value))
    if isinstance(value, (list, tuple)):
        return hash(tuple(map(_hash, value)))
    if isinstance(value, (set, frozenset)):
        return hash(frozenset(value))
    if isinstance(value, float) and math.isnan(value):
        return 0
    return hash(value)
