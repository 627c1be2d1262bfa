"""LlamaIndex's metadata filters as filters of collections. Needs the extra `llama-index`.

| of LlamaIndex | of a collection |
|---|---|
| `==`, `!=`, `>`, `>=`, `<`, `<=`, `in`, `nin` | `$eq`, `$ne`, `$gt`, `$gte`, `$lt`, `$lte`, … |
| `contains`, `text_match` | `$contains` |
| `any`, `all` | `$or`, `$and` of `$contains` |
| `is_empty` | missing, null or an empty string |
| conditions `and`, `or`, `not` | `$and`, `$or`, `$nor` |

`text_match_insensitive` cannot be expressed: a collection compares strings by code points. An empty
list is not empty for `is_empty`: filters of a collection cannot compare the length of a list.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from nestling.errors import FilterError, PackageError

try:
    from llama_index.core.vector_stores.types import (
        FilterCondition,
        FilterOperator,
        MetadataFilter,
        MetadataFilters,
    )
except ImportError as error:
    raise PackageError(
        "this needs llama-index-core: pip install 'nestling[llama-index]'"
    ) from error

__all__ = ["both", "nestling_filter"]

Where = Mapping[str, Any]

_GROUPS: Final = {
    FilterCondition.AND: "$and",
    FilterCondition.OR: "$or",
    FilterCondition.NOT: "$nor",
}
_OPERATORS: Final = {
    FilterOperator.EQ: "$eq",
    FilterOperator.NE: "$ne",
    FilterOperator.GT: "$gt",
    FilterOperator.GTE: "$gte",
    FilterOperator.LT: "$lt",
    FilterOperator.LTE: "$lte",
    FilterOperator.IN: "$in",
    FilterOperator.NIN: "$nin",
    FilterOperator.CONTAINS: "$contains",
    FilterOperator.TEXT_MATCH: "$contains",
}
_SEVERAL: Final = {FilterOperator.ANY: "$or", FilterOperator.ALL: "$and"}


def both(first: Where | None, second: Where | None) -> Where | None:
    """Returns the filter that requires both; None means no filter.

    Example:
        >>> both({"year": 2024}, {"lang": "en"})
        {'$and': [{'year': 2024}, {'lang': 'en'}]}
    """
    if first is None or second is None:
        return second if first is None else first
    return {"$and": [first, second]}


def nestling_filter(filters: MetadataFilters | None) -> Where | None:
    """Returns LlamaIndex's filters as one of a collection; None for none.

    Raises:
        FilterError: An operator cannot be expressed, or its value has a wrong type.

    Example:
        >>> nestling_filter(MetadataFilters.from_dicts([{"key": "year", "value": 2024}]))
        {'$and': [{'year': {'$eq': 2024}}]}
    """
    if filters is None or not filters.filters:
        return None
    group = _GROUPS[filters.condition or FilterCondition.AND]
    parts = [
        nestling_filter(part) or {} if isinstance(part, MetadataFilters) else _one(part)
        for part in filters.filters
    ]
    return {group: parts}


def _one(part: MetadataFilter) -> Where:
    name, operator, value = part.key, part.operator, part.value
    if operator in _OPERATORS:
        return {name: {_OPERATORS[operator]: value}}
    if operator in _SEVERAL:
        if not isinstance(value, list):
            raise FilterError(f"{name}: {operator.value!r} takes a list, not {value!r}")
        return {_SEVERAL[operator]: [{name: {"$contains": item}} for item in value]}
    if operator == FilterOperator.IS_EMPTY:
        return {"$or": [{name: None}, {name: ""}]}
    known = ", ".join(known.value for known in (*_OPERATORS, *_SEVERAL, FilterOperator.IS_EMPTY))
    raise FilterError(f"{name}: a collection has no operator {operator.value!r}; known are {known}")
