"""Filters of documents by their metadata, as SQL.

The dialect is MongoDB's, as vector stores know it. A filter is a mapping; all of its entries hold:

| entry | matches documents |
|---|---|
| `{"year": 2020}` | whose field equals the value; `None`: where it is missing or null |
| `{"year": {"$gte": 2020, "$lt": 2024}}` | for which every operator holds |
| `{"$and": [...]}`, `{"$or": ...}`, `{"$nor": ...}` | that all, any, none of the filters match |
| `{"$not": {...}}` | that the filter does not match |

| operator | the field |
|---|---|
| `$eq` | equals the value, as an entry without operator |
| `$gt`, `$gte`, `$lt`, `$lte` | is a number beyond a number, or a string beyond a string |
| `$in` | equals one of a list of values; of an empty list, none |
| `$exists` | (True) is there and not null; (False) is missing or null |
| `$contains` | is a list with an element that equals the value, or a string with it in it |
| `$ne`, `$nin`, `$not_contains` | does not `$eq`, `$in`, `$contains` |
| `$not` | does not fulfil this mapping of operators |

So all that negate match documents without the field, and nothing else does but `None` and
`{"$exists": False}`. Numbers equal numbers, whether int or float, by their exact value; booleans
are 1 and 0, as in Python; strings compare by code points; no string equals a number. A list or an
object equals no value. A name is a key of the metadata if a document has that key; if not, and the
name has dots, it is a path into objects within objects (`field_value`).

Fields with a column of their own (declared ones) are compared there, by ranges that an index
serves: SQLite sorts numbers before text, so `$gte: 2020` is `f.f0 >= ? AND +f.f0 < ''`. Others are
looked up in the JSON. No string of the caller's becomes part of the SQL: names and values are
bound. SQLite's reading of decimal fractions errs in the last bit now and then (rarely, but at
magnitudes beyond 1e±25 often), so fractions compared with JSON pass through the same reading; only
neighbouring floats may then be taken for equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any, Final

from nestling.collection.ingest.metadata import (
    LONGEST,
    Scalar,
    place_name,
    plain_scalar,
    quote,
    string_fault,
)
from nestling.collection.query.conditions import (
    Condition,
    Field,
    Test,
    contains,
    holds,
    join,
    present,
)
from nestling.errors import FilterError

__all__ = ["Filter", "compile_filter"]

Place = tuple[str | int, ...]

_DEEPEST: Final = 100  # steps of a place; a group and its list are two
_MOST: Final = 300  # filters and operators; an expression of SQLite's may be 1,000 deep
_PARTS: Final = 32  # of a dotted name; SQLite joins 64 tables
_PARAMETERS: Final = 32_000  # SQLite takes 32,766; some are left to the caller
_GROUPS: Final = ("$and", "$or", "$nor", "$not")
_ORDER: Final = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_NEGATED: Final = {"$ne": "$eq", "$nin": "$in", "$not_contains": "$contains"}
_OPERATORS: Final = ("$eq", *_ORDER, "$in", "$exists", "$contains", *_NEGATED, "$not")


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter as SQL.

    Attributes:
        sql: A condition over the aliases `f` (table fields) and `d` (table documents); it may be
            NULL where it does not hold.
        parameters: What its question marks stand for, in order.
        needs_documents: Whether it refers to `d`, so that documents must be joined.
    """

    sql: str
    parameters: tuple[str | int | float, ...]
    needs_documents: bool


def compile_filter(where: Mapping[str, Any], columns: Mapping[str, str]) -> Filter:
    r"""Returns a filter as SQL.

    Args:
        where: A filter, in the dialect of this module; an empty one matches every document.
        columns: Declared fields to their columns of the table `fields`.

    Raises:
        FilterError: The filter is malformed, nested too deep (about 50 groups), has more than 300
            filters and operators, or more values than SQLite takes. The message names the place.

    Example:
        >>> compile_filter({"year": {"$gte": 2020}}, {"year": "f0"})
        Filter(sql='f."f0" >= ? AND +f."f0" < \'\'', parameters=(2020,), needs_documents=False)
    """
    condition = _Compiler(columns).filter(where, (), negate=False)
    if len(condition.parameters) > _PARAMETERS:
        raise FilterError(
            f"where: {len(condition.parameters):,} values to bind; at most {_PARAMETERS:,} fit "
            "(a long $in is one value, unless it has fractions and its field is declared)"
        )
    return Filter(condition.sql, condition.parameters, condition.documents)


def _fault(place: Place, text: str) -> FilterError:
    return FilterError(f"{place_name('where', place)}: {text}")


class _Compiler:
    """Goes through one filter; negations are pushed down to the operators.

    Attributes:
        columns: Declared fields to columns.
        count: Filters and operators seen.
    """

    def __init__(self, columns: Mapping[str, str]) -> None:
        self.columns = columns
        self.count = 0

    def step(self, place: Place) -> None:
        self.count += 1
        if self.count > _MOST:
            raise _fault(place, f"more than {_MOST} filters and operators in all")
        if len(place) > _DEEPEST:
            raise _fault(place, f"nested deeper than {_DEEPEST} steps")

    def filter(self, where: Any, place: Place, *, negate: bool) -> Condition:
        """Compiles a filter or, if `negate`, its opposite."""
        self.step(place)
        if not isinstance(where, Mapping):
            raise _fault(place, f"expected a filter, a mapping, not {type(where).__name__}")
        parts = []
        for key, value in where.items():
            if not isinstance(key, str):
                raise _fault(place, f"expected the name of a field, a string, not {quote(key)}")
            here = (*place, key)
            if key == "$not":
                parts.append(self.filter(value, here, negate=not negate))
            elif key in _GROUPS:
                parts.append(self.group(key, value, here, negate=negate))
            elif key in _OPERATORS:
                raise _fault(place, f"{key} is an operator on a field: {{'year': {{'{key}': …}}}}")
            elif key.startswith("$"):
                raise _fault(place, f"unknown operator {quote(key)}; known: {', '.join(_GROUPS)}")
            else:
                parts.append(self.field(self.named(key, here), value, here, negate=negate))
        return join("OR" if negate else "AND", parts)

    def group(self, key: str, value: Any, place: Place, *, negate: bool) -> Condition:
        if not isinstance(value, list | tuple):
            raise _fault(place, f"expected a list of filters, not {type(value).__name__}")
        inverted = negate != (key == "$nor")
        parts = [
            self.filter(part, (*place, number), negate=inverted)
            for number, part in enumerate(value)
        ]
        return join("OR" if (key == "$or") != negate else "AND", parts)

    def named(self, key: str, place: Place) -> Field:
        if (fault := string_fault(key)) or len(key) > LONGEST:
            raise _fault(place, f"no field's name is {fault or 'that long'}")
        column = self.columns.get(key)
        if key.count(".") >= _PARTS:
            raise _fault(place, f"a name of more than {_PARTS} parts")
        return Field(str.__str__(key), column)

    def field(self, field: Field, value: Any, place: Place, *, negate: bool) -> Condition:
        if isinstance(value, Mapping):
            return self.operators(field, value, place, negate=negate)
        self.step(place)
        return self.equals(field, self.scalar(value, place), negate=negate)

    def operators(
        self, field: Field, operators: Mapping[Any, Any], place: Place, *, negate: bool
    ) -> Condition:
        """Compiles a mapping of operators; those that compare share one look-up of the field."""
        self.step(place)
        if not operators:
            raise _fault(place, f"expected an operator, one of {', '.join(_OPERATORS)}")
        tests = []
        parts = []
        for key, value in operators.items():
            here = (*place, key if isinstance(key, str) else quote(key))
            self.step(here)
            inverted = negate != (key in _NEGATED)
            known = _NEGATED.get(key, key) if isinstance(key, str) else None
            if known == "$eq":
                parts.append(self.equals(field, self.scalar(value, here), negate=inverted))
            elif known in _ORDER:
                tests.append(Test(_ORDER[known], (self.given(value, here),)))
            elif known == "$in":
                parts.append(self.among(field, self.values(value, here), negate=inverted))
            elif known == "$exists":
                parts.append(present(field, negate=negate != (not self.boolean(value, here))))
            elif known == "$contains":
                parts.append(contains(field, self.given(value, here), negate=inverted))
            elif known == "$not":
                if not isinstance(value, Mapping):
                    raise _fault(here, "expected a mapping of operators; $ne takes a value")
                parts.append(self.operators(field, value, here, negate=not negate))
            else:
                raise self.unknown(key, place)
        if tests:
            parts.append(holds(field, tests, negate=negate))
        return join("OR" if negate else "AND", parts)

    def unknown(self, key: Any, place: Place) -> FilterError:
        if isinstance(key, str) and key in _GROUPS:
            return _fault(place, f"{key} goes before fields: {{'{key}': [{{'year': …}}, …]}}")
        if isinstance(key, str) and not key.startswith("$"):
            dotted = quote(f"{place[-1]}.{key}")
            return _fault(place, f"expected operators; a field of an object is {dotted}")
        return _fault(place, f"unknown operator {quote(key)}; known: {', '.join(_OPERATORS)}")

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

    def values(self, value: Any, place: Place) -> list[Scalar]:
        if isinstance(value, str) or not isinstance(value, list | tuple | Set):
            raise _fault(place, f"expected a list of values, not {type(value).__name__}")
        scalars = [self.scalar(item, (*place, number)) for number, item in enumerate(value)]
        if sum(len(scalar) + 8 for scalar in scalars if isinstance(scalar, str)) > LONGEST:
            raise _fault(place, f"more than {LONGEST:,} characters")
        return scalars

    def scalar(self, value: Any, place: Place) -> Scalar:
        if isinstance(value, list | tuple | Set):
            raise _fault(place, "expected one value, not a list; see $in and $contains")
        try:
            scalar = plain_scalar(value)
        except ValueError as error:
            raise _fault(place, f"expected a value that metadata can hold: {error}") from None
        if isinstance(scalar, str) and len(scalar) > LONGEST:
            raise _fault(place, f"a string of more than {LONGEST:,} characters")
        return scalar

    def given(self, value: Any, place: Place) -> str | int | float:
        scalar = self.scalar(value, place)
        if scalar is None:
            raise _fault(place, "expected a string, a number or a boolean, not None")
        return scalar

    def boolean(self, value: Any, place: Place) -> bool:
        scalar = self.scalar(value, place)
        if not isinstance(scalar, bool):
            raise _fault(place, f"expected True or False, not {quote(value)}")
        return scalar
