"""An oracle of the filter dialect in Python, a database like a collection's, random filters."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import strategies as st

from nestling.collection.query.filters import compile_filter
from nestling.inputs.metadata import field_value, to_json

TABLES = """
CREATE TABLE documents(row INTEGER PRIMARY KEY, metadata TEXT NOT NULL);
CREATE TABLE fields(row INTEGER PRIMARY KEY, passages INTEGER NOT NULL{columns});
"""
MISSING = object()
Documents = list[dict[str, Any]]


def database(documents: Documents, fields: list[str]) -> tuple[sqlite3.Connection, dict[str, str]]:
    """A database of documents as a collection has it, and the columns of its declared fields."""
    columns = {name: f"f{i}" for i, name in enumerate(fields)}
    connection = sqlite3.connect(":memory:")
    connection.executescript(TABLES.format(columns="".join(f", {c}" for c in columns.values())))
    for column in columns.values():
        connection.execute(f"CREATE INDEX i{column} ON fields({column}, passages)")
    for row, metadata in enumerate(documents):
        connection.execute("INSERT INTO documents VALUES(?, ?)", (row, to_json(metadata)))
        values = [row, 1, *(field_value(metadata, name) for name in columns)]
        connection.execute(f"INSERT INTO fields VALUES({', '.join('?' * len(values))})", values)
    return connection, columns


def query(where: Mapping[str, Any], columns: dict[str, str]) -> tuple[str, tuple[Any, ...]]:
    found = compile_filter(where, columns)
    assert found.needs_documents == ("d.metadata" in found.sql)
    join = " JOIN documents d ON d.row = f.row" if found.needs_documents else ""
    return f"SELECT f.row, f.passages FROM fields f{join} WHERE {found.sql}", found.parameters


def rows(connection: sqlite3.Connection, where: Any, columns: dict[str, str]) -> list[int]:
    return sorted(row for row, _ in connection.execute(*query(where, columns)))


def find(documents: Documents, where: Any, fields: list[str] | None = None) -> list[int]:
    """The documents that match, the same whether their fields are declared or not."""
    names = fields if fields is not None else sorted({key for doc in documents for key in doc})
    connection, columns = database(documents, names)
    declared = rows(connection, where, columns)
    assert rows(connection, where, {}) == declared
    connection.close()
    return declared


# The oracle: the dialect as its table defines it, without SQL.


def look_up(metadata: Mapping[str, Any], name: str) -> Any:
    if name in metadata:
        return metadata[name]
    value: Any = metadata
    for key in name.split("."):
        if not isinstance(value, dict) or key not in value:
            return MISSING
        value = value[key]
    return value


def equal(value: Any, other: Any) -> bool:
    if other is None:
        return value is None or value is MISSING
    if isinstance(value, list | dict) or value is None or value is MISSING:
        return False
    return isinstance(value, str) == isinstance(other, str) and bool(value == other)


def ordered(value: Any, other: Any, holds: Callable[[Any, Any], bool]) -> bool:
    text, number = (isinstance(value, kind) for kind in (str, int | float))
    return (text if isinstance(other, str) else number) and holds(value, other)


def contained(value: Any, other: Any) -> bool:
    if isinstance(value, list):
        return any(equal(item, other) for item in value)
    return isinstance(value, str) and isinstance(other, str) and other in value


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": equal,
    "$ne": lambda value, other: not equal(value, other),
    "$gt": lambda value, other: ordered(value, other, lambda a, b: a > b),
    "$gte": lambda value, other: ordered(value, other, lambda a, b: a >= b),
    "$lt": lambda value, other: ordered(value, other, lambda a, b: a < b),
    "$lte": lambda value, other: ordered(value, other, lambda a, b: a <= b),
    "$in": lambda value, others: any(equal(value, other) for other in others),
    "$nin": lambda value, others: not any(equal(value, other) for other in others),
    "$exists": lambda value, present: present != equal(value, None),
    "$contains": contained,
    "$not_contains": lambda value, other: not contained(value, other),
    "$not": lambda value, operators: not operate(value, operators),
}


def operate(value: Any, operators: Mapping[str, Any]) -> bool:
    return all(OPERATORS[name](value, operand) for name, operand in operators.items())


def matches(metadata: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
    def entry(key: str, value: Any) -> bool:
        if key == "$and":
            return all(matches(metadata, part) for part in value)
        if key == "$or":
            return any(matches(metadata, part) for part in value)
        if key == "$nor":
            return not any(matches(metadata, part) for part in value)
        if key == "$not":
            return not matches(metadata, value)
        operators = value if isinstance(value, dict) else {"$eq": value}
        return operate(look_up(metadata, key), operators)

    return all(entry(key, value) for key, value in where.items())


# Few values and names, so that they meet; each a trap of SQLite's or of JSON's.

STRINGS = ["", "a", "b", "ab", "A", "1", "1.0", "true", "null", "[1]", "{}", '"', "\\", "\\u0000"]
STRINGS += [
    "a\\",
    'a"b',
    "\n",
    "\x01\x1f\x7f",
    "é",
    "e\u0301",
    "العربية",
    "عرب",
    "😀",
    "\uffff",
    "'",
]
STRINGS += ["\ufeff", "\ud7ff", "%", "_", "a.b", "$a", "--", "\u2028"]
NUMBERS = [0, 1, -1, 2, 2020, 0.0, -0.0, 1.0, 0.5, 0.1, 0.3, 1.5, 2019.5, 1e308, -1e308, 5e-324]
NUMBERS += [2**53, 2**53 + 1, float(2**53), 2**63 - 1, -(2**63), float(2**63), -float(2**63)]
NUMBERS += [2**62 + 1, 1e18, 10**18, 1e19, 1e22, 1e23, 123456789.123456, 1.7976931348623157e308]
CONTAINERS: list[Any] = [[], {}, [1], ["a"], {"k": "a"}, {"a": 1}, [None], [[1]], [{}], ["[1]"]]
CONTAINERS += [[True], [0.1, 1e23], ["\\", '"'], [2**53 + 1], ["العربية"], {"a": {"a": "a"}}]
NAMES = [
    "a",
    "b",
    "a.b",
    "a.b.c",
    "b.a",
    "",
    ".",
    "a.",
    ".a",
    "é",
    "سنة",
    'a"',
    "a'",
    "\\",
    "\t",
    "?",
]
NAMES += ["a\\u0062", "[0]", "a[0]", "*", "😀", "a.$b", "-1", "#", "b.سنة", 'b.a"']
KEYS = sorted({part for name in NAMES for part in (name, *name.split("."))} | {"$b", "c"})


def spaced(number: float) -> bool:
    """Whether a float is not a close neighbour of one in NUMBERS, which may equal it in SQLite."""
    return all(number == other or not math.isclose(number, other) for other in NUMBERS)


texts = st.one_of(
    st.sampled_from(STRINGS),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4),
)
numbers = st.one_of(
    st.sampled_from(NUMBERS),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda x: float(f"{x:.9g}")),
).filter(lambda x: isinstance(x, int) or (math.isfinite(x) and spaced(x)))
scalars = st.one_of(texts, numbers, st.booleans())
optional = st.none() | scalars
metadatas = st.dictionaries(
    st.sampled_from(KEYS),
    st.recursive(
        optional,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3)
        ),
        max_leaves=6,
    ),
    max_size=5,
)
names = st.sampled_from(NAMES)
lists = st.lists(optional, max_size=5) | st.lists(optional, max_size=5).map(lambda x: x * 25 + [0])


def operators(depth: int = 2) -> st.SearchStrategy[dict[str, Any]]:
    known: dict[str, st.SearchStrategy[Any]] = {
        **dict.fromkeys(["$eq", "$ne"], optional),
        **dict.fromkeys(["$gt", "$gte", "$lt", "$lte", "$contains", "$not_contains"], scalars),
        **dict.fromkeys(["$in", "$nin"], lists),
        "$exists": st.booleans(),
    }
    if depth:
        known["$not"] = operators(depth - 1)
    return st.lists(st.sampled_from(sorted(known)), min_size=1, max_size=3, unique=True).flatmap(
        lambda some: st.fixed_dictionaries({name: known[name] for name in some})
    )


entries = st.dictionaries(names, operators() | optional, max_size=3)
filters = st.recursive(
    entries,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"$not": inner}),
        st.dictionaries(
            st.sampled_from(["$and", "$or", "$nor"]), st.lists(inner, max_size=3), min_size=1
        ),
        st.tuples(entries, st.fixed_dictionaries({"$or": st.lists(inner, max_size=3)})).map(
            lambda both: both[0] | both[1]
        ),
    ),
    max_leaves=6,
)


def borrow(draw: st.DrawFn, where: Any, pool: list[Any]) -> Any:
    """Replaces some scalars of a filter by ones that documents hold, so that more match."""
    if isinstance(where, dict):
        return {
            key: value if key == "$exists" else borrow(draw, value, pool)
            for key, value in where.items()
        }
    if isinstance(where, list):
        return [borrow(draw, item, pool) for item in where]
    return draw(st.sampled_from(pool)) if pool and draw(st.booleans()) else where


def held(value: Any) -> list[Any]:
    if isinstance(value, dict | list):
        return [
            x for item in (value.values() if isinstance(value, dict) else value) for x in held(item)
        ]
    return [] if value is None else [value]


@st.composite
def problems(draw: st.DrawFn) -> tuple[Documents, dict[str, Any]]:
    documents = draw(st.lists(metadatas, min_size=1, max_size=6))
    return documents, borrow(draw, draw(filters), held(documents))
