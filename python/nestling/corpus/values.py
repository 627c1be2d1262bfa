"""Values of files and data frames as the ids and JSON values of documents.

| value | in metadata, at any depth | as an id |
|---|---|---|
| string, integer of 64 bits, boolean | itself | itself; a boolean is refused |
| float | itself; NaN and infinity: absent, or null in a list | an integer if whole; NaN: absent |
| date, time, date and time | `isoformat()` | refused |
| duration | seconds | refused |
| decimal | an integer where whole, else the nearest float | where whole |
| UUID | its usual form | its usual form |
| bytes | hexadecimal digits | hexadecimal digits |
| enumeration, NumPy scalar | its plain value | its plain value |
| list, array, set, object, map | list or object of such values | refused |
| NA, NaT; null; empty cell of a table | absent, or null in a list or object | absent |
"""

from __future__ import annotations

import datetime
import decimal
import math
import uuid
from collections.abc import Mapping, Set
from typing import Any, Final

import numpy as np

from nestling.corpus.log import ReadLog
from nestling.errors import IdError, MetadataError
from nestling.inputs.ids import text_id
from nestling.inputs.metadata import MAX_DEPTH, path_name, plain_scalar
from nestling.inputs.texts import quote

__all__ = ["id_of", "is_missing", "json_value"]

_MISSING: Final = ("NAType", "NaTType")  # of pandas
_WHOLE_FLOATS: Final = 2**53  # beyond it, a float stands for several integers


def is_missing(value: Any) -> bool:
    """Returns whether a cell is empty: None, NaN, NA or NaT.

    Example:
        >>> is_missing(float("nan")), is_missing(np.datetime64("NaT")), is_missing("")
        (True, True, False)
    """
    if value is None or type(value).__name__ in _MISSING:
        return True
    if isinstance(value, (float, np.floating)):
        return bool(np.isnan(value))
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return bool(np.isnat(value))
    return isinstance(value, decimal.Decimal) and value.is_nan()


def id_of(value: Any) -> str | None:
    r"""Returns the id that a cell or a field holds; None where it is empty.

    Raises:
        IdError: It is not an id.

    Example:
        >>> id_of(7), id_of(7.0), id_of(b"\x01\xff"), id_of("")
        ('7', '7', '01ff', None)
    """
    if isinstance(value, str):
        return text_id(value, "the id") if value else None
    if is_missing(value):
        return None
    if isinstance(value, np.generic) and value.dtype.kind != "m":
        value = value.item()
    if isinstance(value, (float, decimal.Decimal)):
        if not math.isfinite(value) or value != int(value):
            raise IdError(f"the id is {quote(float(value))}; an id is a string or an integer")
        if isinstance(value, float) and abs(value) > _WHOLE_FLOATS:
            raise IdError(
                f"the id is {quote(value)}: a float cannot hold so large an integer exactly; write "
                "the ids as strings or integers"
            )
        value = int(value)
    elif isinstance(value, uuid.UUID):
        value = str(value)
    elif isinstance(value, (bytes, bytearray, memoryview)):
        value = bytes(value).hex()
    if isinstance(value, Mapping) and len(value) == 1:
        (key,) = value
        raise IdError(f"the id is an object with the key {quote(key)}; write it as a string")
    return text_id(value, "the id")


def json_value(value: Any, log: ReadLog, depth: int = 0) -> Any:
    """Returns a value, so many levels deep in metadata, as a JSON value; None where it is missing.

    Raises:
        MetadataError: It cannot be stored; the message gives the path within it.

    Example:
        >>> json_value({"day": datetime.date(2024, 1, 5), "scores": [0.5, float("nan")]}, ReadLog())
        {'day': '2024-01-05', 'scores': [0.5, None]}
    """
    try:
        return _plain(value, log, depth)
    except _RefusedError as error:
        place = path_name("", error.path[::-1])
        raise MetadataError(f"{place}: {error}" if place else str(error)) from None


class _RefusedError(Exception):
    """A value cannot be stored; `path` has the steps to it, the innermost first."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.path: list[str | int] = []


def _plain(value: Any, log: ReadLog, depth: int) -> Any:
    kind = type(value)
    if kind is str:
        return value if value.isascii() and "\0" not in value else log.text(value)
    if kind is int:
        if -(2**63) <= value < 2**63:
            return value
        raise _RefusedError("an integer beyond 64 signed bits")
    if kind is float and math.isfinite(value):
        return value
    if kind is bool or value is None:
        return value
    if kind is not dict and kind is not list:
        value = _converted(value, log)
        if not isinstance(value, (dict, list)):
            return value
    if depth >= MAX_DEPTH:
        raise _RefusedError(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, list):
        return _plain_list(value, log, depth + 1)
    return _plain_object(value, log, depth + 1)


def _plain_list(items: list[Any], log: ReadLog, depth: int) -> list[Any]:
    found: list[Any] = []
    try:
        for item in items:
            found.append(_plain(item, log, depth))  # noqa: PERF401 - its length is the place
    except _RefusedError as error:
        error.path.append(len(found))
        raise
    return found


def _plain_object(items: dict[Any, Any], log: ReadLog, depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    key: Any = None
    try:
        for key, item in items.items():
            if not isinstance(key, str):
                raise _RefusedError("a key that is not a string")
            name = log.text(str.__str__(key))
            if name in found:
                raise _RefusedError("a key that is there twice")
            plain = _plain(item, log, depth)
            if plain is not None or item is None:
                found[name] = plain
    except _RefusedError as error:
        error.path.append(key)
        raise
    return found


def _converted(value: Any, log: ReadLog) -> Any:
    """Returns what JSON has in place of a value of another type; containers are dicts and lists."""
    if is_missing(value):
        return None
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return _numpy_time(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (float, decimal.Decimal)):
        return _number(value, log)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    if isinstance(value, np.ndarray):
        return list(value) if value.dtype.kind in "mM" else value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, Set):
        return sorted(value, key=str)
    try:
        scalar = plain_scalar(value)
    except MetadataError as error:
        raise _RefusedError(str(error)) from None
    return log.text(scalar) if isinstance(scalar, str) else scalar


def _number(value: float | decimal.Decimal, log: ReadLog) -> int | float | None:
    if math.isinf(value):
        log.infinite += 1
        return None
    if isinstance(value, decimal.Decimal):
        whole = value == value.to_integral_value()
        if whole and abs(value) < 2**63:
            return int(value)
        return _number(float(value), log)
    return float(value)


def _numpy_time(value: np.datetime64 | np.timedelta64) -> str | float:
    if isinstance(value, np.datetime64):
        return str(value)
    return float(value / np.timedelta64(1, "s"))
