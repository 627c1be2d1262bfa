"""Haystack's filters as filters of collections. Needs the extra `haystack`.

| of Haystack | of a collection |
|---|---|
| `==`, `!=`, `in`, `not in` | `$eq`, `$ne`, `$in`, `$nin` |
| `>`, `>=`, `<`, `<=` | `$gt`, `$gte`, `$lt`, `$lte`; beyond None there is nothing |
| `AND`, `OR`, `NOT` | `$and`, `$or`, `$not` of `$and` |

Fields are those of `meta`, with or without that word before them. Dates are compared as the strings
that they are: written alike, in one time zone, they sort as they should.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from nestling.errors import PackageError

try:
    from haystack.errors import FilterError
except ImportError as error:
    raise PackageError("this needs haystack-ai: pip install 'nestling[haystack]'") from error

__all__ = ["nestling_filter"]

Where = Mapping[str, Any]

_EQUAL: Final = {"==": "$eq", "!=": "$ne"}
_ORDER: Final = {">": "$gt", ">=": "$gte", "<": "$lt", "<=": "$lte"}
_AMONG: Final = {"in": "$in", "not in": "$nin"}
_GROUPS: Final = {"AND": "$and", "OR": "$or", "NOT": "$and"}
_NO_METADATA: Final = ("id", "content", "blob", "embedding", "sparse_embedding", "score")


def nestling_filter(filters: Mapping[str, Any] | None) -> Where | None:
    """Returns Haystack's filters as one of a collection; None for none.

    Raises:
        FilterError: They are malformed, or ask what is no metadata; Haystack's error.

    Example:
        >>> nestling_filter({"field": "meta.year", "operator": ">=", "value": 2020})
        {'year': {'$gte': 2020}}
    """
    return _part(filters) if filters else None


def _part(part: Any) -> Where:
    if not isinstance(part, Mapping):
        raise FilterError(f"a filter is a mapping, not {part!r}")
    if "field" in part:
        return _comparison(part)
    operator, conditions = _given(part, "operator"), _given(part, "conditions")
    if operator not in _GROUPS:
        raise FilterError(f"unknown operator {operator!r}; known are {', '.join(_GROUPS)}")
    if not isinstance(conditions, list):
        raise FilterError(f"conditions are a list, not {conditions!r}")
    group = {_GROUPS[operator]: [_part(condition) for condition in conditions]}
    return {"$not": group} if operator == "NOT" else group


def _comparison(part: Mapping[str, Any]) -> Where:
    operator, value = _given(part, "operator"), _given(part, "value")
    name = str(part["field"])
    if name.startswith("meta."):
        name = name.removeprefix("meta.")
    elif name in _NO_METADATA:
        raise FilterError(f"the field {name!r} is no metadata, which alone can be asked")
    if operator in _EQUAL:
        return {name: {_EQUAL[operator]: value}}
    if operator in _AMONG:
        if not isinstance(value, list):
            raise FilterError(f"{name}: {operator!r} takes a list, not {value!r}")
        return {name: {_AMONG[operator]: value}}
    if operator in _ORDER:
        if value is None:
            return {name: {"$in": []}}
        if isinstance(value, list) or (isinstance(value, str) and not _is_date(value)):
            raise FilterError(f"{name}: {operator!r} takes a number or an ISO date, not {value!r}")
        return {name: {_ORDER[operator]: value}}
    known = ", ".join((*_EQUAL, *_ORDER, *_AMONG))
    raise FilterError(f"{name}: unknown operator {operator!r}; known are {known}")


def _given(part: Mapping[str, Any], key: str) -> Any:
    if key not in part:
        raise FilterError(f"the filter {dict(part)!r} has no {key!r}")
    return part[key]


def _is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return False
    return True
