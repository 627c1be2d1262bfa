"""The metadata of documents: what it may hold, and how it is written down.

Metadata is a JSON object: a mapping of names to JSON values, nested as one likes. Only what every
version of SQLite's JSON gives back unaltered is let in, so that filters find what was stored.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np

from nestling.errors import MetadataError

__all__ = [
    "DEEPEST",
    "LONGEST",
    "Scalar",
    "check_metadata",
    "field_value",
    "from_json",
    "place_name",
    "plain_scalar",
    "quote",
    "string_fault",
    "to_json",
]

Scalar: TypeAlias = "str | int | float | bool | None"

DEEPEST: Final = 100  # objects and lists within each other; SQLite reads 1,000
LONGEST: Final = 100_000_000  # characters of text; SQLite stores 10^9 bytes
_MOST: Final = 1_000_000  # values in one document's metadata

_encode = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")
).encode


def check_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a copy of metadata as plain dicts, lists and scalars.

    Scalars of NumPy and subclasses of Python's (enumerations, say) become plain ones, tuples lists.

    Args:
        metadata: Names to JSON values: str, int, float, bool, None, and lists and mappings of them.

    Raises:
        MetadataError: It holds what JSON or SQLite cannot keep: another type, NaN or infinity, an
            integer beyond 64 signed bits, a lone surrogate or NUL in a string, a key that is no
            string, a cycle, or more than 100 levels. The message names the place.

    Example:
        >>> check_metadata({"year": np.int64(2020), "tags": ("a", "b")})
        {'year': 2020, 'tags': ['a', 'b']}
    """
    if type(metadata) is not dict:
        return _Checker().top(metadata)
    for key, value in metadata.items():  # most metadata is flat, and passes here
        if type(key) is not str or string_fault(key):
            return _Checker().top(metadata)
        kind = type(value)
        if kind is str:
            fine = not string_fault(value)
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
    """Returns metadata that `check_metadata` gave as compact JSON, not escaped to ASCII.

    Raises:
        MetadataError: The text has more than 100,000,000 characters.
    """
    text = _encode(metadata)
    if len(text) > LONGEST:
        raise MetadataError(f"metadata takes {len(text):,} characters; at most {LONGEST:,} fit")
    return text


def from_json(text: str) -> dict[str, Any]:
    """Returns the metadata that `to_json` wrote down.

    Raises:
        MetadataError: The text is no JSON object.
    """
    try:
        metadata = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise MetadataError(f"stored metadata is no JSON: {error}") from None
    if not isinstance(metadata, dict):
        raise MetadataError("stored metadata is JSON, but no object")
    return metadata


def field_value(metadata: Mapping[str, Any], name: str) -> str | int | float | None:
    """Returns what a declared field's column holds for a document.

    A name is a key of the metadata if it has such a key. If not, and the name has dots, it is a
    path into nested objects: "author.name" is `metadata["author"]["name"]`.

    Returns:
        A number or string; a boolean as 0 or 1; None where the field is missing, null, a list or
        an object.

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
    """Returns a scalar as str, int, float, bool or None itself.

    Raises:
        ValueError: It is none of these, or one that JSON or SQLite cannot keep; says why.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if fault := string_fault(value):
            raise ValueError(fault)
        return str.__str__(value)
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise ValueError("an integer beyond 64 signed bits")
        return int.__int__(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{float.__repr__(value)} is no JSON number")
        return float.__float__(value)
    raise ValueError(f"{type(value).__name__} is no str, int, float, bool or None")


def string_fault(text: str) -> str:
    """Returns what keeps a string from being stored, nothing if it can be.

    Versions of SQLite end a string of JSON at a NUL.
    """
    if "\0" in text:
        return "a string with a NUL character"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "a string with a lone surrogate"
    return ""


def quote(value: Any) -> str:
    """Returns a value's repr, cut short, for messages."""
    try:
        text = repr(value) if isinstance(value, str | int | float) else type(value).__name__
    except ValueError:  # an integer with more digits than Python prints
        text = "an integer of very many digits"
    return text if len(text) <= 60 else text[:57] + "..."


def place_name(root: str, steps: Sequence[str | int]) -> str:
    """Returns a place within nested values, as one would write it in Python."""
    return root + "".join(f"[{quote(step)}]" for step in steps[:8]) + "[...]" * (len(steps) > 8)


class _Checker:
    """Goes through one document's metadata.

    Attributes:
        place: Keys and positions from the top to the value at hand.
        open: Identities of the containers that the value at hand is in.
        count: Values seen.
    """

    def __init__(self) -> None:
        self.place: list[str | int] = []
        self.open: set[int] = set()
        self.count = 0

    def fault(self, text: str) -> MetadataError:
        return MetadataError(f"{place_name('metadata', self.place)}: {text}")

    def top(self, metadata: Any) -> dict[str, Any]:
        if not isinstance(metadata, Mapping):
            raise self.fault(f"expected a mapping, not {type(metadata).__name__}")
        return self.mapping(metadata)

    def value(self, value: Any) -> Any:
        self.count += 1
        if self.count > _MOST:
            raise self.fault(f"more than {_MOST:,} values")
        if isinstance(value, Mapping):
            return self.mapping(value)
        if isinstance(value, list | tuple):
            self.enter(value)
            items = []
            for i, item in enumerate(value):
                self.place.append(i)
                items.append(self.value(item))
                self.place.pop()
            self.open.remove(id(value))
            return items
        try:
            return plain_scalar(value)
        except ValueError as error:
            hint = "; .tolist() makes a list of it" if isinstance(value, np.ndarray) else ""
            raise self.fault(f"{error}{hint}") from None

    def mapping(self, mapping: Mapping[Any, Any]) -> dict[str, Any]:
        self.enter(mapping)
        plain: dict[str, Any] = {}
        for key, item in mapping.items():
            if not isinstance(key, str):
                raise self.fault(f"a key must be a string, not {type(key).__name__} {quote(key)}")
            if fault := string_fault(key):
                raise self.fault(f"the key {quote(key)} is {fault}")
            self.place.append(str.__str__(key))
            plain[str.__str__(key)] = self.value(item)
            self.place.pop()
        self.open.remove(id(mapping))
        return plain

    def enter(self, container: Any) -> None:
        if id(container) in self.open:
            raise self.fault("holds itself")
        if len(self.place) >= DEEPEST:
            raise self.fault(f"nested deeper than {DEEPEST} levels")
        self.open.add(id(container))
