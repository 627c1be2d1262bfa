#!/usr/bin/env python3
"""Metadata of documents: refused with a MetadataError, or stored and read back exactly.

An input is the metadata of one document.
"""

from __future__ import annotations

import json
import math
import sqlite3
from types import MappingProxyType
from typing import Any

import json_inputs

with json_inputs.instrumented(__name__ == "__main__"):
    from filter_oracle import CONTAINERS, KEYS, NAMES, NUMBERS, STRINGS

    from nestling import MetadataError
    from nestling.inputs.metadata import check_metadata, field_value, from_json, to_json

CONNECTION = sqlite3.connect(":memory:")


def exact(value: Any) -> Any:
    """A value with the types of its parts and the signs of its zeros; tuples count as lists."""
    if isinstance(value, dict):
        return [(key, exact(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return [exact(item) for item in value]
    return type(value), repr(value)


def refused(metadata: Any) -> bool:
    try:
        check_metadata(metadata)
    except MetadataError as error:
        if not str(error).startswith("metadata"):
            raise AssertionError("the message does not name the place") from error
        return True
    return False


def check(value: Any) -> None:
    try:
        from_json(json.dumps(value, default=repr))
    except MetadataError:
        assert not isinstance(value, dict)
    if refused(value):
        assert not isinstance(value, dict) or refused(MappingProxyType(value))
        return
    plain = check_metadata(value)
    assert exact(plain) == exact(value)
    assert exact(check_metadata(MappingProxyType(value))) == exact(value)
    text = to_json(plain)
    assert exact(from_json(text)) == exact(plain)
    rows = CONNECTION.execute("SELECT key, type, atom FROM json_each(?)", (text,)).fetchall()
    assert [key for key, _, _ in rows] == list(plain)
    for key, kind, atom in rows:
        stored = field_value(plain, key)
        if kind in ("array", "object", "null"):
            assert stored is None
        elif isinstance(stored, float):
            assert math.isclose(atom, stored, rel_tol=1e-9, abs_tol=5e-324)
        else:
            assert exact(atom) == exact(stored)
    for name in NAMES:
        assert field_value(plain, name) is None or isinstance(
            field_value(plain, name), str | int | float
        )


if __name__ == "__main__":
    json_inputs.main(
        check, keys=[*NAMES, *KEYS], scalars=[*STRINGS, *NUMBERS, True, False, None, *CONTAINERS]
    )
