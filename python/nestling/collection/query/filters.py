"""Filters of documents by their metadata, as SQL.

The dialect is MongoDB's, as vector stores use it. A filter is a mapping, all of whose entries hold:

| entry | matches documents |
|---|---|
| `{"year": 2020}` | whose field equals the value; `None`: is missing or null |
| `{"year": {"$gte": 2020, "$lt": 2024}}` | for which every operator holds |
| `{"$and": [...]}`, `{"$or": ...}`, `{"$nor": ...}` | that match all, any, none of the filters |
| `{"$not": {...}}` | that do not match the filter |

| operator | the field |
|---|---|
| `$eq` | equals the value, like an entry without operator |
| `$gt`, `$gte`, `$lt`, `$lte` | is a number compared with a number, or a string with a string |
| `$in` | equals one of a list of values; never for an empty list |
| `$exists` | (True) is present and not null; (False) is missing or null |
| `$contains` | is a list with an element equal to the value, or a string that contains it |
| `$ne`, `$nin`, `$not_contains` | does not meet `$eq`, `$in`, `$contains` |
| `$not` | does not meet this mapping of operators |

So the negating operators match documents without the field; of the others only `None` and
`{"$exists": False}` do. Integers and floats compare by their exact value; booleans are 1 and 0, as
in Python; strings compare by code points and never equal a number. Lists and objects do not equal
any value. A name is a key of the metadata if a document has that key. Otherwise a name with dots is
a path into nested objects (`field_value`).

Declared fields have a column of their own and are compared there, by ranges that an index can
answer: SQLite sorts numbers before text, so `$gte: 2020` is `f.f0 >= ? AND +f.f0 < ''`. Other
fields are looked up in the JSON. Strings of the caller never become SQL: names and values are
bound. When SQLite parses decimal fractions, the last bit is sometimes wrong (rarely, but often at
magnitudes beyond 1e±25), so fractions compared with JSON are parsed by SQLite too; only
neighbouring floats may then compare as equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any, Final

from nestling.collection.query.conditions import (
    Condition,
    Field,
    Test,
    contains,
    holds,
    join,
    present,
)
from nestling.errors import FilterError, MetadataError
from nestling.inputs.columns import listed
from nestling.inputs.metadata import (
    MAX_CHARACTERS,
    Scalar,
    path_name,
    plain_scalar,
)
from nestling.inputs.texts import quote, string_problem

__all__ = ["Filter", "compile_filter"]

FilterPath = tuple[str | int, ...]

_MAX_DEPTH: Final = 100  # steps of a path; a group and its list are two
_MAX_ENTRIES: Final = 300  # filters and operators; SQLite takes expressions 1,000 deep
_MAX_NAME_PARTS: Final = 32  # of a dotted name; SQLite joins 64 tables
_MAX_PARAMETERS: Final = 32_000  # SQLite takes 32,766; the caller needs some
_GROUPS: Final = ("$and", "$or", "$nor", "$not")
_ORDER: Final = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_NEGATED: Final = {"$ne": "$eq", "$nin": "$in", "$not_contains": "$contains"}
_OPERATORS: Final = ("$eq", *_ORDER, "$in", "$exists", "$contains", *_NEGATED, "$not")


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter as SQL.

    Attributes:
        sql: A condition over the aliases `f` (table fields) and `d` (table documents); it may be
            NULL instead of false.
        parameters: Values of its question marks, in order.
        needs_documents: Whether it refers to `d`, so that documents must be joined.
    """

    sql: str
    parameters: tuple[str | int | float, ...]
    needs_documents: bool


def compile_filter(where: Mapping[str, Any], columns: Mapping[str, str]) -> Filter:
    r"""Returns a filter as SQL.

    Args:
        where: A filter, in the dialect of this module; an empty one matches every document.
        columns: Declared fields to their columns in the table `fields`.

    Raises:
        FilterError: The filter is malformed, nested too deep (about 50 groups), has more than 300
            filters and operators, or more values than SQLite takes. The message gives the path.

    Example:
        >>> compile_filter({"year": {"$gte": 2020}}, {"year": "f0"})
        Filter(sql='f."f0" >= ? AND +f."f0" < \'\'', parameters=(2020,), needs_documents=False)
    """
    condition = _Compiler(columns).filter(where, (), negate=False)
    if len(condition.parameters) > _MAX_PARAMETERS:
        raise FilterError(
            f"where: {len(condition.parameters):,} values to bind; at most {_MAX_PARAMETERS:,} "
            "are possible (a long $in is one value, unless its field is declared and it has "
            "fractions)"
        )
    return Filter(condition.sql, condition.parameters, condition.documents)


def _error(path: FilterPath, text: str) -> FilterError:
    return FilterError(f"{path_name('where', path)}: {text}")


class _Compiler:
    """Compiles one filter; negations are pushed down to the operators.

    Attributes:
        columns: Declared fields to columns.
        count: Filters and operators compiled.
    """

    def __init__(self, columns: Mapping[str, str]) -> None:
        self.columns = columns
        self.count = 0

    def step(self, path: FilterPath) -> None:
        self.count += 1
        if self.count > _MAX_ENTRIES:
            raise _error(path, f"more than {_MAX_ENTRIES} filters and operators in all")
        if len(path) > _MAX_DEPTH:
            raise _error(path, f"nested deeper than {_MAX_DEPTH} steps")

    def filter(self, where: Any, path: FilterPath, *, negate: bool) -> Condition:
        """Compiles a filter or, if `negate`, its opposite."""
        self.step(path)
        if not isinstance(where, Mapping):
            raise _error(path, f"expected a filter, a mapping, not {type(where).__name__}")
        parts = []
        for key, value in where.items():
            if not isinstance(key, str):
                raise _error(path, f"expected the name of a field, a string, not {quote(key)}")
            here = (*path, key)
            if key == "$not":
                parts.append(self.filter(value, here, negate=not negate))
            elif key in _GROUPS:
                parts.append(self.group(key, value, here, negate=negate))
            elif key in _OPERATORS:
                raise _error(path, f"{key} is an operator on a field: {{'year': {{'{key}': …}}}}")
            elif key.startswith("$"):
                raise _error(path, f"unknown operator {quote(key)}; known: {', '.join(_GROUPS)}")
            else:
                parts.append(self.field(self.named(key, here), value, here, negate=negate))
        return join("OR" if negate else "AND", parts)

    def group(self, key: str, value: Any, path: FilterPath, *, negate: bool) -> Condition:
        if not isinstance(value, list | tuple):
            raise _error(path, f"expected a list of filters, not {type(value).__name__}")
        inverted = negate != (key == "$nor")
        parts = [
            self.filter(part, (*path, number), negate=inverted) for number, part in enumerate(value)
        ]
        return join("OR" if (key == "$or") != negate else "AND", parts)

    def named(self, key: str, path: FilterPath) -> Field:
        if (problem := string_problem(key)) or len(key) > MAX_CHARACTERS:
            raise _error(path, f"a field's name cannot have {problem or 'that many characters'}")
        column = self.columns.get(key)
        if key.count(".") >= _MAX_NAME_PARTS:
            raise _error(path, f"a name has more than {_MAX_NAME_PARTS} parts")
        return Field(str.__str__(key), column)

    def field(self, field: Field, value: Any, path: FilterPath, *, negate: bool) -> Condition:
        if isinstance(value, Mapping):
            return self.operators(field, value, path, negate=negate)
        self.step(path)
        return self.equals(field, self.scalar(value, path), negate=negate)

    def operators(
        self, field: Field, operators: Mapping[Any, Any], path: FilterPath, *, negate: bool
    ) -> Condition:
        """Compiles a mapping of operators; comparisons share one look-up of the field."""
        self.step(path)
        if not operators:
            raise _error(path, f"expected an operator, one of {', '.join(_OPERATORS)}")
        tests = []
        parts = []
        for key, value in operators.items():
            here = (*path, key if isinstance(key, str) else quote(key))
            self.step(here)
            inverted = negate != (key in _NEGATED)
            known = _NEGATED.get(key, key) if isinstance(key, str) else None
            if known == "$eq":
                parts.append(self.equals(field, self.scalar(value, here), negate=inverted))
            elif known in _ORDER:
                tests.append(Test(_ORDER[known], (self.not_null(value, here),)))
            elif known == "$in":
                parts.append(self.among(field, self.values(value, here), negate=inverted))
            elif known == "$exists":
                parts.append(present(field, negate=negate != (not self.boolean(value, here))))
            elif known == "$contains":
                parts.append(contains(field, self.not_null(value, here), negate=inverted))
            elif known == "$not":
                if not isinstance(value, Mapping):
                    raise _error(here, "expected a mapping of operators; $ne takes a value")
                parts.append(self.operators(field, value, here, negate=not negate))
            else:
                raise self.unknown(key, path)
        if tests:
            parts.append(holds(field, tests, negate=negate))
        return join("OR" if negate else "AND", parts)

    def unknown(self, key: Any, path: FilterPath) -> FilterError:
        if isinstance(key, str) and key in _GROUPS:
            return _error(
                path, f"{key} applies to filters, not to a field: {{'{key}': [{{'year': …}}, …]}}"
            )
        if isinstance(key, str) and not key.startswith("$"):
            dotted = quote(f"{path[-1]}.{key}")
            return _error(path, f"expected operators; a field of an object is {dotted}")
        return _error(path, f"unknown operator {quote(key)}; known: {', '.join(_OPERATORS)}")

    def equals(self, field: Field, value: Scalar, *, negate: bool) -> Condition:
        if value is None:
            return present(field, negate=not negate)
        return holds(field, [Test("=", (value,))], negate=negate)

    def among(self, field: Field, values: list[Scalar], *, negate: bool) -> Condition:
        given = tuple(dict.fromkeys(value for value in values if value is not None))
        parts = [holds(field, [Test("IN", given)], negate=negate)] if given else []
        if None in values:
            parts.append(present(field, negate=not negate))
        return join("AND" if negate else "OR", parts)

    def values(self, value: Any, path: FilterPath) -> list[Scalar]:
        given = value if isinstance(value, Set) else listed(value)
        if given is None:
            raise _error(path, f"expected a list of values, not {type(value).__name__}")
        scalars = [self.scalar(item, (*path, number)) for number, item in enumerate(given)]
        if sum(len(scalar) + 8 for scalar in scalars if isinstance(scalar, str)) > MAX_CHARACTERS:
            raise _error(path, f"more than {MAX_CHARACTERS:,} characters")
        return scalars

    def scalar(self, value: Any, path: FilterPath) -> Scalar:
        try:
            scalar = plain_scalar(value)
        except MetadataError as error:
            if isinstance(value, Set) or listed(value) is not None:
                raise _error(
                    path, "expected one value, not a list; see $in and $contains"
                ) from None
            raise _error(path, f"expected a value that metadata can store: {error}") from None
        if isinstance(scalar, str) and len(scalar) > MAX_CHARACTERS:
            raise _error(path, f"a string of more than {MAX_CHARACTERS:,} characters")
        return scalar

    def not_null(self, value: Any, path: FilterPath) -> str | int | float:
        scalar = self.scalar(value, path)
        if scalar is None:
            raise _error(path, "expected a string, a number or a boolean, not None")
        return scalar

    def boolean(self, value: Any, path: FilterPath) -> bool:
        scalar = self.scalar(value, path)
        if not isinstance(scalar, bool):
            raise _error(path, f"expected True or False, not {quote(value)}")
        return scalar
