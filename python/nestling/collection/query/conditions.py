"""SQL conditions on a field: on its column if it has one, else on the JSON of the metadata."""
# ruff: noqa: S608 - only this module's own strings and quoted columns become SQL

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["Condition", "Field", "Test", "contains", "holds", "join", "present"]

Value = str | int | float
Word = Literal["AND", "OR"]

_MAX_BOUND: Final = 100  # values of an IN; more are bound as one JSON list


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition in SQL; NULL counts as false.

    Attributes:
        sql: The condition.
        parameters: Values of its question marks, in order.
        documents: Whether it refers to documents, `d`.
        word: The operator that joins its parts at the top; None if it is one part.
        depth: Approximate depth of the stack of SQLite's parser.
    """

    sql: str
    parameters: tuple[Value, ...] = ()
    documents: bool = False
    word: Word | None = None
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Field:
    """A field: its name, and its column in the table `fields`, or None."""

    name: str
    column: str | None

    @property
    def quoted(self) -> str:
        """The column, as SQL."""
        return 'f."' + (self.column or "").replace('"', '""') + '"'


@dataclass(frozen=True, slots=True)
class Test:
    """A comparison: =, <, <=, >, >= with one value, or IN with several."""

    operator: str
    values: tuple[Value, ...]


def join(word: Word, parts: Sequence[Condition]) -> Condition:
    """Joins conditions; without any, AND is true and OR is false.

    The deepest comes first: before it, SQLite's parser has only an opening bracket on its stack,
    which holds 100 tokens before version 3.46.
    """
    if not parts:
        return Condition("1" if word == "AND" else "0")
    if len(parts) == 1:
        return parts[0]
    parts = sorted(parts, key=lambda part: (-part.depth, part.documents))
    enclosed = [part.word not in (None, word) for part in parts]
    return Condition(
        f" {word} ".join(
            f"({part.sql})" if bracket else part.sql
            for part, bracket in zip(parts, enclosed, strict=True)
        ),
        tuple(value for part in parts for value in part.parameters),
        any(part.documents for part in parts),
        word,
        max(
            part.depth + bracket + 2 * (position > 0)
            for position, (part, bracket) in enumerate(zip(parts, enclosed, strict=True))
        ),
    )


def holds(field: Field, tests: Sequence[Test], *, negate: bool) -> Condition:
    """The field's value passes all tests; negated: it does not, or is not a scalar."""
    stored = field.column is None
    of = "j.atom" if stored else field.quoted
    sql, parameters = zip(*(_compare(of, test, stored=stored) for test in tests), strict=True)
    whole = " AND ".join(sql)
    bound = tuple(value for some in parameters for value in some)
    if stored:
        return _exists(field, whole, bound, negate=negate)
    if negate:
        return Condition(f"({whole}) IS NOT TRUE", bound)
    return Condition(whole, bound, word="AND" if " AND " in whole else None)


def present(field: Field, *, negate: bool) -> Condition:
    """The field is present and not null; negated: it is missing or null.

    A column is NULL for lists and objects too, so only the JSON distinguishes them.
    """
    if field.column is None:
        return _exists(field, "j.type <> 'null'", (), negate=negate)
    container = _exists(field, "j.type IN ('array', 'object')", (), negate=negate)
    column = Condition(f"{field.quoted} IS {'' if negate else 'NOT '}NULL")
    return join("AND" if negate else "OR", [column, container])


def contains(field: Field, value: Value, *, negate: bool) -> Condition:
    """The field is a list that contains the value, or a string that contains it."""
    equal, bound = _compare("e.atom", Test("=", (value,)), stored=True)
    sql = (
        "EXISTS (SELECT 1 FROM json_each(CASE j.type WHEN 'array' THEN j.value ELSE '[]' END) AS e "
        f"WHERE {equal})"
    )
    if isinstance(value, str):
        sql = f"({sql} OR j.type = 'text' AND instr(j.atom, ?) > 0)"
        bound = (*bound, value)
    return _exists(field, sql, bound, negate=negate)


def _exists(
    field: Field, condition: str, parameters: tuple[Value, ...], *, negate: bool
) -> Condition:
    """Whether the field's value in the JSON, the row `j` of json_each, meets a condition."""
    path = field.name.split(".")
    if len(path) == 1:
        source = "json_each(d.metadata) AS j WHERE j.key = ? AND"
        names = [field.name]
    else:
        steps = "".join(
            f" CROSS JOIN json_each(CASE p{i}.type WHEN 'object' THEN p{i}.value ELSE '{{}}' END)"
            f" AS p{i + 1}"
            for i in range(len(path) - 1)
        )
        last = f"p{len(path) - 1}"
        keys = " AND ".join(f"p{i}.key = ?" for i in range(len(path)))
        source = (
            "(SELECT k.type, k.atom, k.value FROM json_each(d.metadata) AS k WHERE k.key = ?"
            f" UNION ALL SELECT {last}.type, {last}.atom, {last}.value"
            f" FROM json_each(d.metadata) AS p0{steps} WHERE {keys} AND NOT EXISTS"
            " (SELECT 1 FROM json_each(d.metadata) AS k WHERE k.key = ?)) AS j WHERE"
        )
        names = [field.name, *path, field.name]
    sql = f"{'NOT ' if negate else ''}EXISTS (SELECT 1 FROM {source} {condition})"
    return Condition(sql, (*names, *parameters), documents=True, depth=1)


def _compare(of: str, test: Test, *, stored: bool) -> tuple[str, tuple[Value, ...]]:
    """Returns a test of an expression as SQL, and its parameters.

    Args:
        of: The expression.
        test: The test.
        stored: Whether the expression's numbers were read from JSON by SQLite.
    """
    if test.operator == "IN":
        return _among(of, test.values, stored=stored)
    (value,) = test.values
    mark, bound = "?", int(value) if isinstance(value, bool) else value
    if stored and _fraction(value):
        mark, bound = "json_extract(?, '$[0]')", json.dumps([value])
    # Text sorts after numbers, and nothing that is stored after text. The plus keeps SQLite from
    # searching an index by this bound: of two upper bounds it takes the first, and a range of one
    # year would extend to the last number.
    kind = ""
    if isinstance(value, str) and test.operator in ("<", "<="):
        kind = f" AND +{of} >= ''"
    elif not isinstance(value, str) and test.operator in (">", ">="):
        kind = f" AND +{of} < ''"
    return f"{of} {test.operator} {mark}{kind}", (bound,)


def _among(of: str, values: Sequence[Value], *, stored: bool) -> tuple[str, tuple[Value, ...]]:
    """Returns the SQL of an expression being one of several values, and its parameters.

    Many values are bound as one JSON list. This must not change fractions: those compared with a
    column are bound one by one, those compared with JSON are read from JSON.
    """
    fractions = any(map(_fraction, values))
    plain = [
        value if isinstance(value, str) or _fraction(value) else int(value) for value in values
    ]
    if stored if fractions else len(plain) > _MAX_BOUND:
        text = json.dumps(plain, ensure_ascii=False)
        return f"{of} IN (SELECT v.value FROM json_each(?) AS v)", (text,)
    return f"{of} IN ({', '.join('?' * len(plain))})", tuple(plain)


def _fraction(value: Value) -> bool:
    """Whether SQLite may read the value differently from Python: neither integer nor string."""
    return isinstance(value, float) and not (value.is_integer() and abs(value) < 2**63)
