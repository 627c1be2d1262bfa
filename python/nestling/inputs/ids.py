"""Ids: integers of an index, strings of a collection; and filters of an index."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from typing import Any, Final, SupportsIndex, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestling.errors import IdError
from nestling.inputs.columns import is_table, listed
from nestling.inputs.texts import quote, string_problem

__all__ = [
    "MAX_ID_CHARACTERS",
    "NO_IDS",
    "filter_arrays",
    "id_array",
    "id_column",
    "is_id",
    "text_id",
    "text_ids",
]

MAX_ID_CHARACTERS: Final = 10_000
NO_IDS: Final[NDArray[np.int64]] = np.empty(0, np.int64)

_LARGEST: Final = 2**63 - 1


def is_id(value: object) -> bool:
    """Returns whether a value has the type of one id: a string or an integer, NumPy's included.

    Example:
        >>> is_id("a"), is_id(np.int64(5)), is_id(True), is_id(5.0)
        (True, True, False, False)
    """
    return isinstance(value, str) or _is_integer(value)


def _is_integer(value: object) -> TypeGuard[SupportsIndex]:
    return isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.timedelta64))


def id_array(ids: ArrayLike, name: str = "ids") -> NDArray[np.int64]:
    """Returns integer ids as int64; errors call them `name`.

    Raises:
        IdError: They are not a list of integers of 64 bits. The message gives position and value.

    Example:
        >>> id_array([7, np.uint8(3)])
        array([7, 3])
    """
    if type(ids) is np.ndarray and ids.ndim == 1 and ids.dtype.kind in "iu":
        array: NDArray[Any] = ids
    else:
        if isinstance(ids, np.ndarray) and ids.size == 0:
            return NO_IDS
        values = listed(ids)
        if values is None:
            kind = (
                f"{ids.dtype} of shape {ids.shape}" if isinstance(ids, np.ndarray) else quote(ids)
            )
            raise IdError(f"{name} must be a list of integers, not {kind}")
        if not all(type(value) is int for value in values):
            values = [_whole(value, name, position) for position, value in enumerate(values)]
        try:
            array = np.array(values, np.int64)
        except OverflowError:
            position = next(i for i, value in enumerate(values) if abs(value) > _LARGEST)
            raise _too_large(values[position], name, position) from None
    if array.size == 0:
        return NO_IDS
    if array.dtype.kind == "u" and array.max() > _LARGEST:
        position = int(np.argmax(array > _LARGEST))
        raise _too_large(int(array[position]), name, position)
    return np.ascontiguousarray(array, dtype=np.int64)


def _whole(value: Any, name: str, position: int) -> int:
    if not _is_integer(value):
        raise IdError(f"{name}[{position}] is {quote(value)}, which is not an integer")
    return operator.index(value)


def _too_large(value: int, name: str, position: int) -> IdError:
    size = "too large" if value > 0 else "negative"
    return IdError(f"{name}[{position}] is {quote(value)}, which is {size}; ids are 0 to 2^63 - 1")


def filter_arrays(
    where: ArrayLike | None,
) -> tuple[NDArray[np.uint8] | None, NDArray[np.int64] | None]:
    """Returns a filter as a mask or as ids, the other being None; both are None for no filter.

    Raises:
        IdError: It is neither.
    """
    if where is None:
        return None, None
    if type(where) is np.ndarray:
        if where.dtype == np.bool_ and where.ndim == 1:
            return np.ascontiguousarray(where).view(np.uint8), None
        return None, id_array(where, "where")
    values = listed(where)
    if values and all(isinstance(value, (bool, np.bool_)) for value in values):
        return np.array(values, np.bool_).view(np.uint8), None
    return None, id_array(where, "where")


def text_id(value: object, what: str) -> str:
    """Returns an id of a document as text; errors call it `what`.

    Raises:
        IdError: It is neither a string nor an integer, or is empty, too long or not Unicode text.

    Example:
        >>> text_id(np.int64(5), "id"), text_id("a", "id")
        ('5', 'a')
    """
    if isinstance(value, str):
        text = str.__str__(value)
        if problem := string_problem(text):
            raise IdError(f"{what} has {problem}: {quote(text)}")
        if not text:
            raise IdError(f"{what} is empty")
    elif _is_integer(value):
        try:
            text = str(operator.index(value))
        except ValueError:
            raise IdError(f"{what} is an integer with very many digits") from None
    else:
        raise IdError(f"{what} is {quote(value)}; an id is a string or an integer")
    if len(text) > MAX_ID_CHARACTERS:
        raise IdError(
            f"{what} has {len(text):,} characters; an id may have at most {MAX_ID_CHARACTERS:,}"
        )
    return text


def id_column(ids: object, name: str = "ids", *, ordered: bool = False) -> Iterable[Any]:
    """Returns one or several ids as an iterable of values that `text_id` checks.

    Raises:
        IdError: They are neither an id nor a collection of ids; or a set, if `ordered`.

    Example:
        >>> id_column(5), id_column(("a", "b"))
        ([5], ['a', 'b'])
    """
    if ordered and isinstance(ids, (set, frozenset)):
        raise IdError(f"{name} are a set, which has no order: give a list")
    if is_id(ids):
        return [ids]
    values = listed(ids)
    if values is not None:
        return values
    wrong = isinstance(ids, (bytes, bytearray, memoryview, Mapping, np.ndarray)) or is_table(ids)
    if wrong or not isinstance(ids, Iterable):
        raise IdError(f"{name} is {quote(ids)}; give a string, an integer, or a list of them")
    return ids


def text_ids(ids: object, name: str = "ids") -> list[str]:
    """Returns one or several ids of documents as texts.

    Raises:
        IdError: One is not an id; the message gives its position and value.

    Example:
        >>> text_ids(5), text_ids(np.array([5, 6])), text_ids({"a"})
        (['5'], ['5', '6'], ['a'])
    """
    if is_id(ids):
        return [text_id(ids, "the id")]
    column = id_column(ids, name)
    return [text_id(value, f"{name}[{position}]") for position, value in enumerate(column)]
