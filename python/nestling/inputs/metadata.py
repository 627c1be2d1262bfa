"""The metadata of documents: what it may hold, and how it is stored.

Metadata is a JSON object: a mapping of names to JSON values, nested up to 100 levels. It may hold
only what every version of SQLite's JSON functions returns unchanged, so that filters find it.
"""

from __future__ import annotations

import datetime
import decimal
import json
import math
import uuid
from collections.abc import Mapping, Sequence, Set
from typing import Any, Final, TypeAlias

import numpy as np

from nestling.errors import MetadataError
from nestling.inputs.texts import quote, string_problem

__all__ = [
    "MAX_CHARACTERS",
    "MAX_DEPTH",
    "Scalar",
    "check_metadata",
    "field_value",
    "from_json",
    "path_name",
    "plain_scalar",
    "to_json",
]

Scalar: TypeAlias = "str | int | float | bool | None"

MAX_DEPTH: Final = 100  # nested objects and lists; SQLite reads 1,000
MAX_CHARACTERS: Final = 100_000_000  # SQLite stores 10^9 bytes
_MAX_VALUES: Final = 1_000_000  # values in one document's metadata

_encode = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")
).encode
_decode = json.JSONDecoder().raw_decode  # `json.loads` also looks for what `_encode` never writes


def check_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a copy of metadata as plain dicts, lists and scalars.

    NumPy scalars and instances of subclasses (such as enumerations) become plain scalars, tuples
    become lists.

    Args:
        metadata: Names to JSON values: str, int, float, bool, None, and lists and mappings of them.

    Raises:
        MetadataError: It holds a value that JSON or SQLite cannot store: another type, NaN or
            infinity, an integer beyond 64 signed bits, a lone surrogate or NUL in a string, a key
            that is not a string, a cycle, or more than 100 levels. The message gives the path.

    Example:
        >>> check_metadata({"year": np.int64(2020), "tags": ("a", "b")})
        {'year': 2020, 'tags': ['a', 'b']}
    """
    if type(metadata) is not dict:
        return _Checker().top(metadata)
    for key, value in metadata.items():  # most metadata is flat, and passes here
        if type(key) is not str or string_problem(key):
            return _Checker().top(metadata)
        kind = type(value)
        if kind is str:
            fine = not string_problem(value)
        elif kind is int:
            fine = -(2**63) <= value < 2**63
        elif kind is float:
            fine = math.isfinite(value)
        else:
            fine = value is None or kind is bool
        if not fine:
            return _Checker().top(metadata)
    return metadata.copy()


def to_json(metadata: Mapping[str, Any]) -> str:
    """Returns metadata from `check_metadata` as compact JSON, not escaped to ASCII.

    Raises:
        MetadataError: The text has more than 100,000,000 characters.
    """
    text = _encode(metadata)
    if len(text) > MAX_CHARACTERS:
        raise MetadataError(
            f"metadata takes {len(text):,} characters; at most {MAX_CHARACTERS:,} can be stored"
        )
    return text


def from_json(text: str) -> dict[str, Any]:
    """Returns the metadata that `to_json` wrote.

    Raises:
        MetadataError: The text is not a JSON object.
    """
    if text == "{}":  # most documents of many collections have none
        return {}
    try:
        metadata, end = _decode(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise MetadataError(f"stored metadata is not JSON: {error}") from None
    if end != len(text):
        raise MetadataError("stored metadata is not JSON: something follows it")
    if not isinstance(metadata, dict):
        raise MetadataError("stored metadata is JSON, but not an object")
    return metadata


def field_value(metadata: Mapping[str, Any], name: str) -> str | int | float | None:
    """Returns the value of a declared field's column for a document.

    A name is a key of the metadata if there is such a key. Otherwise a name with dots is a path
    into nested objects: "author.name" is `metadata["author"]["name"]`.

    Returns:
        A number or string; a boolean as 0 or 1; None if the field is missing, null, a list or an
        object.

    Example:
        >>> field_value({"author": {"name": "Ibn Sina"}}, "author.name")
        'Ibn Sina'
    """
    value: Any = metadata
    if name in metadata:
        value = metadata[name]
    elif "." in name:
        for key in name.split("."):
            if not isinstance(value, dict) or key not in value:
                return None
            value = value[key]
    if isinstance(value, bool):
        return int(value)
    return value if isinstance(value, str | int | float) else None


def plain_scalar(value: Any) -> Scalar:
    """Returns a scalar as plain str, int, float, bool or None.

    Raises:
        MetadataError: It has another type, or JSON or SQLite cannot store it.
    """
    if isinstance(value, np.generic) and value.dtype.kind not in "mM":
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if problem := string_problem(value):
            raise MetadataError(f"a string with {problem}")
        return str.__str__(value)
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise MetadataError("an integer beyond 64 signed bits")
        return int.__int__(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise MetadataError(
                f"{float.__repr__(value)} is not a JSON number; leave a missing value out"
            )
        return float.__float__(value)
    kind = type(value).__name__
    raise MetadataError(f"{kind} is not a str, int, float, bool or None{_advice(value, kind)}")


def _advice(value: Any, kind: str) -> str:
    """Returns what makes a value of another type storable, for messages."""
    if kind in ("NaTType", "NAType"):  # of pandas
        return "; leave a missing value out"
    if isinstance(value, np.ndarray):
        return "; .tolist() makes it a list"
    if isinstance(value, Set):
        return "; make it a list"
    if isinstance(value, (datetime.date, datetime.time)):
        return "; .isoformat() makes it a string that sorts by time"
    if isinstance(value, (np.datetime64, datetime.timedelta, np.timedelta64, uuid.UUID)):
        return "; str() makes it a string"
    if isinstance(value, decimal.Decimal):
        return "; float() makes it a number"
    if isinstance(value, (bytes, bytearray)):
        return "; .decode() or .hex() makes it a string"
    return ""


def path_name(root: str, steps: Sequence[str | int]) -> str:
    """Returns a path within nested values, as Python code writes it."""
    return root + "".join(f"[{quote(step)}]" for step in steps[:8]) + "[...]" * (len(steps) > 8)


class _Checker:
    """Checks one document's metadata.

    Attributes:
        path: Keys and positions from the top to the current value.
        open: Identities of the containers that the current value is in.
        count: Values checked.
    """

    def __init__(self) -> None:
        self.path: list[str | int] = []
        self.open: set[int] = set()
        self.count = 0

    def error(self, text: str) -> MetadataError:
        return MetadataError(f"{path_name('metadata', self.path)}: {text}")

    def top(self, metadata: Any) -> dict[str, Any]:
        if not isinstance(metadata, Mapping):
            raise self.error(f"expected a mapping, not {type(metadata).__name__}")
        return self.mapping(metadata)

    def value(self, value: Any) -> Any:
        self.count += 1
        if self.count > _MAX_VALUES:
            raise self.error(f"more than {_MAX_VALUES:,} values")
        if isinstance(value, Mapping):
            return self.mapping(value)
        if isinstance(value, list | tuple):
            self.enter(value)
            items = []
            for i, item in enumerate(value):
                self.path.append(i)
                items.append(self.value(item))
                self.path.pop()
            self.open.remove(id(value))
            return items
        try:
            return plain_scalar(value)
        except MetadataError as error:
            raise self.error(str(error)) from None

    def mapping(self, mapping: Mapping[Any, Any]) -> dict[str, Any]:
        self.enter(mapping)
        plain: dict[str, Any] = {}
        for key, item in mapping.items():
            if not isinstance(key, str):
                raise self.error(f"a key must be a string, not {type(key).__name__} {quote(key)}")
            if problem := string_problem(key):
                raise self.error(f"the key {quote(key)} has {problem}")
            self.path.append(str.__str__(key))
            plain[str.__str__(key)] = self.value(item)
            self.path.pop()
        self.open.remove(id(mapping))
        return plain

    def enter(self, container: Any) -> None:
        if id(container) in self.open:
            raise self.error("contains itself")
        if len(self.path) >= MAX_DEPTH:
            raise self.error(f"nested deeper than {MAX_DEPTH} levels")
        self.open.add(id(container))
