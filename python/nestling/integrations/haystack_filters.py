"""Haystack's filters as filters of collections. Needs the extra `haystack`.

| of Haystack | of a collection |
|---|---|
| `==`, `!=`, `in`, `not in` | `$eq`, `$ne`, `$in`, `$nin` |
| `>`, `>=`, `<`, `<=` | `$gt`, `$gte`, `$lt`, `$lte`; compared with None they never match |
| `AND`, `OR`, `NOT` | `$and`, `$or`, `$not` of `$and` |

Fields are those of `meta`, with or without that prefix. Dates are compared as strings: in one
format and one time zone, these sort by time.
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
_NOT_METADATA: Final = ("id", "content", "blob", "embedding", "sparse_embedding", "score")


def nestling_filter(filters: Mapping[str, Any] | None) -> Where | None:
    """Returns Haystack's filters as one of a collection; None for none.

    Raises:
        FilterError: They are malformed, or use a field that is not metadata; Haystack's error.

    Example:
        >>> nestling_filter({"field": "meta.year", "operator": ">=", "value": 2020})
        {'year': {'$gte': 2020}}
    """
    return _part(filters) if filters else None


def _part(part: Any) -> Where:
    if not isinstance(part, Mapping):
        raise FilterError(f"a filter must be a mapping, not {part!r}")
    if "field" in part:
        return _comparison(part)
    operator, conditions = _required(part, "operator"), _required(part, "conditions")
    if operator not in _GROUPS:
        raise FilterError(f"unknown operator {operator!r}; known are {', '.join(_GROUPS)}")
    if not isinstance(conditions, list):
        raise FilterError(f"conditions must be a list, not {conditions!r}")
    group = {_GROUPS[operator]: [_part(condition) for condition in conditions]}
    return {"$not": group} if operator == "NOT" else group


def _comparison(part: Mapping[str, Any]) -> Where:
    operator, value = _required(part, "operator"), _required(part, "value")
    name = str(part["field"])
    if name.startswith("meta."):
        name = name.removeprefix("meta.")
    elif name in _NOT_METADATA:
        raise FilterError(f"the field {name!r} is not metadata; only metadata can be filtered")
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


def _required(part: Mapping[str, Any], key: str) -> Any:
    if key not in part:
        raise FilterError(f"the filter {dict(part)!r} has no {key!r}")
    return part[key]


def _is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return False
    return True
