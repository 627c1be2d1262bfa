"""Filters: their SQL finds what an oracle in Python finds, with the help of an index."""

from __future__ import annotations

import json
import math
import re
import sqlite3
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from filter_oracle import (
    CONTAINERS,
    NAMES,
    NUMBERS,
    OPERATORS,
    STRINGS,
    Documents,
    database,
    equal,
    filters,
    find,
    matches,
    metadatas,
    names,
    problems,
    query,
    rows,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nestling import FilterError
from nestling.collection.query.filters import compile_filter
from nestling.inputs.metadata import check_metadata, from_json, to_json


@settings(max_examples=max(250, settings.default.max_examples))
@given(problems(), st.sets(names))
@example(([{"a": {"b": 1}, "a.b": None}, {"a": {"b": 1}}], {"a.b": 1}), set())
@example(([{"a": [1]}, {"a": None}, {}], {"a": None}), set())
@example(([{"a": "\\u0000"}], {"a": {"$in": ["\\u0000"] * 200}}), set())
def test_sql_finds_what_a_plain_reading_finds(
    problem: tuple[Documents, dict[str, Any]], some: set[str]
) -> None:
    documents, where = problem
    expected = [row for row, metadata in enumerate(documents) if matches(metadata, where)]
    connection, columns = database(documents, NAMES)
    assert rows(connection, where, {}) == expected
    assert rows(connection, where, columns) == expected
    assert rows(connection, where, {name: columns[name] for name in some}) == expected
    connection.close()


@pytest.mark.parametrize("operator", [name for name in OPERATORS if name != "$not"])
def test_each_operator_on_each_pair_of_values(operator: str) -> None:
    """Every trap against every other, rather than by chance."""
    values = [*STRINGS, *NUMBERS, True, False, None]
    documents: Documents = [{"a": value} for value in [*values, *CONTAINERS]] + [{}]
    operands: list[Any] = [value for value in values if value is not None]
    if operator == "$exists":
        operands = [True, False]
    elif operator in ("$in", "$nin"):
        operands = [[value, other] for value in values for other in (0.3, None)]
    elif operator in ("$eq", "$ne"):
        operands = values
    connection, columns = database(documents, ["a"])
    for operand in operands:
        operators = {operator: operand}
        expected = [i for i, doc in enumerate(documents) if matches(doc, {"a": operators})]
        others = sorted(set(range(len(documents))) - set(expected))
        for declared in ({}, columns):
            assert rows(connection, {"a": operators}, declared) == expected, operators
            assert rows(connection, {"a": {"$not": operators}}, declared) == others, operators
            assert rows(connection, {"$not": {"a": operators}}, declared) == others, operators
    connection.close()


junk = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(st.characters(), max_size=5),
        st.binary(max_size=2),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner),
        st.dictionaries(
            st.one_of(
                st.sampled_from([*OPERATORS, "$and", "$or", "$nor", "$where", "a", "b.c", ""]),
                st.text(max_size=3),
                st.integers(),
            ),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=12,
)


def nested(depth: int, shape: Callable[[Any], Any], innermost: Any) -> Any:
    for _ in range(depth):
        innermost = shape(innermost)
    return innermost


SHAPES: dict[str, Callable[[Any], Any]] = {
    "and": lambda x: {"$and": [{"b": 1}, x]},
    "or": lambda x: {"$or": [x, {"b": {"$gte": 1, "$lte": 3}}, x]},
    "alternating": lambda x: {"$or": [{"b": 1}, {"c": 1, "$and": [{"a": None}, x]}]},
    "nor": lambda x: {"$nor": [x], "b": {"$gt": 1}},
    "not": lambda x: {"$not": {"b": 1, "$not": x}},
    "field": lambda x: {"a": {"$not": x}},
    "operator": lambda x: {"$not": x},
    "list": lambda x: [x],
}
deep = st.builds(
    lambda depth, shape, innermost: nested(depth, SHAPES[shape], innermost),
    st.sampled_from([1, 5, 20, 49, 51, 101, 5000]),
    st.sampled_from([shape for shape in sorted(SHAPES) if shape != "or"]),
    junk | st.just({"a": {"$contains": "x", "$nin": [0.1, "b"]}}),
)


def run_or_refuse(connection: sqlite3.Connection, where: Any, columns: dict[str, str]) -> bool:
    """Runs a filter; returns whether it raised no FilterError. Other errors fail the test."""
    try:
        found = query(where, columns)
    except FilterError as error:
        assert str(error).startswith("where")  # noqa: PT017
        return False
    connection.execute(*found).fetchall()
    return True


@settings(max_examples=max(300, settings.default.max_examples))
@given(junk | deep | st.fixed_dictionaries({"a": junk}) | filters)
def test_any_value_is_a_filter_that_sqlite_accepts_or_a_filter_error(where: Any) -> None:
    connection, columns = database([{"a": "x"}, {"b": {"c": 1}}], ["a"])
    for declared in ({}, columns):
        run_or_refuse(connection, where, declared)
    connection.close()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [("and", 49), ("or", 5), ("alternating", 24), ("nor", 49), ("not", 49), ("list", 0)],
)
@pytest.mark.parametrize("declared", [[], ["a", "b"]])
def test_filters_nest_up_to_a_limit(shape: str, expected: int, declared: list[str]) -> None:
    connection, columns = database([{"a": 2}, {"b": 3}], declared)
    leaf = {"a.b.c": {"$contains": "x"}}
    accepted = 0
    for depth in range(1, 110):
        where = nested(depth if shape != "or" else min(depth, 12), SHAPES[shape], leaf)
        if run_or_refuse(connection, where, columns):
            accepted = depth
    assert accepted == expected
    connection.close()


def test_negated_operators_nest() -> None:
    where = {"a": nested(97, lambda x: {"$not": x}, {"$gte": 1})}
    assert find([{"a": 1}, {"a": 0}, {}], where) == [1, 2]


@pytest.mark.parametrize(
    ("operators", "uses"),
    [
        (2020, "f0=?"),
        ({"$eq": "x"}, "f0=?"),
        ({"$gte": 2020, "$lt": 2024}, "f0>? AND f0<?"),
        ({"$gt": 2019.5}, "f0>?"),
        ({"$lte": 5}, "f0<?"),
        ({"$lt": "b"}, "f0<?"),
        ({"$gte": "b"}, "f0>?"),
        ({"$in": [2020, 2021]}, "f0=?"),
        ({"$in": [0.5, "x"]}, "f0=?"),
        ({"$in": list(range(10_000))}, "f0=?"),
    ],
)
def test_declared_fields_are_found_by_their_index_alone(operators: Any, uses: str) -> None:
    connection, columns = database([{"year": year} for year in range(100)], ["year", "other"])
    sql, parameters = query({"year": operators}, columns)
    plan = [line[3] for line in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]
    assert f"COVERING INDEX if0 ({uses})" in plan[0]
    assert "documents" not in "".join(plan)
    connection.close()


@pytest.mark.parametrize(
    "values",
    [
        list(range(10_000)),
        [2**53 + i for i in range(10_000)],
        [i + 0.1 for i in range(10_000)],
        [float(i) for i in range(10_000)],
        [f'"{i}\\' for i in range(10_000)],
        [True, None, "x", 0.1, *range(5, 10_000)],
    ],
    ids=["ints", "big", "fractions", "floats", "strings", "mixed"],
)
def test_in_takes_many_values(values: list[Any]) -> None:
    documents: Documents = [{"a": value} for value in values[:20] + values[-20:]]
    documents += [{"a": other} for other in (-1, 2**53 - 1, 0.2, "x\\", 2**60, [1], 1e300)]
    assert find(documents, {"a": {"$in": values}}) == [
        row for row, doc in enumerate(documents) if any(equal(doc["a"], value) for value in values)
    ]


def test_fractions_beyond_what_sqlite_binds_are_refused() -> None:
    where = {"a": {"$in": [i + 0.5 for i in range(32_001)]}}
    with pytest.raises(FilterError, match=r"32,001 values to bind; at most 32,000"):
        compile_filter(where, {"a": "f0"})
    assert len(compile_filter(where, {}).parameters) == 2


def test_a_filter_with_the_most_conditions_runs() -> None:
    connection, columns = database([{"a": 1}], ["a", "b"])
    for operators in ({"$gt": 1}, {"$exists": True}, {"$ne": "x"}, {"$lt": "x"}, {"$in": [0.1]}):
        for group in ("$and", "$or", "$nor"):
            for name in ("a", "b.c"):
                where = {group: [{name: operators}] * 99}  # each is a filter, a field, an operator
                for declared in ({}, columns):
                    connection.execute(*query(where, declared)).fetchall()
    with pytest.raises(FilterError, match="more than 300 filters and operators in all"):
        compile_filter({"$or": [{"a": 1}] * 151}, {})
    connection.close()


def test_long_names_are_paths_up_to_32_parts() -> None:
    path = ["k"] * 32
    metadata: Any = nested(32, lambda inner: {"k": inner}, "x")
    assert find([metadata, {}], {".".join(path): "x"}, [".".join(path)]) == [0]
    with pytest.raises(FilterError, match="more than 32 parts"):
        compile_filter({".".join([*path, "k"]): 1}, {})


def test_a_name_is_a_key_first_and_a_path_second() -> None:
    documents: Documents = [{"a.b": 1}, {"a": {"b": 1}}, {"a": {"b": 1}, "a.b": 2}]
    documents += [{"a": '{"b": 1}'}, {"a": [1]}]
    assert find(documents, {"a.b": 1}, ["a.b"]) == [0, 1]


def test_negations_match_documents_without_the_field() -> None:
    documents: Documents = [{"a": 1}, {"a": 2}, {"a": None}, {"a": [1]}, {}]
    assert find(documents, {"a": {"$ne": 1}}) == [1, 2, 3, 4]
    assert find(documents, {"a": {"$nin": [1, 2]}}) == [2, 3, 4]
    assert find(documents, {"a": {"$not": {"$gte": 2}}}) == [0, 2, 3, 4]
    assert find(documents, {"$not": {"a": {"$lt": 2}}}) == [1, 2, 3, 4]
    assert find(documents, {"a": {"$not_contains": 1}}) == [0, 1, 2, 4]
    assert find(documents, {"a": None}) == find(documents, {"a": {"$exists": False}}) == [2, 4]
    assert find(documents, {"a": {"$ne": None}}) == [0, 1, 3]
    assert find(documents, {"a": {"$in": [None, 2]}}) == [1, 2, 4]


def test_numbers_are_compared_by_exact_value_and_never_with_strings() -> None:
    documents: Documents = [
        {"a": value} for value in (2**53, 2**53 + 1, float(2**53), "1", 1, True)
    ]
    assert find(documents, {"a": 2**53}) == [0, 2]
    assert find(documents, {"a": {"$gt": float(2**53)}}) == [1]
    assert find(documents, {"a": 1}) == [4, 5]
    assert find(documents, {"a": {"$lte": True}}) == [4, 5]
    assert find(documents, {"a": {"$gte": ""}}) == [3]


def test_strings_compare_by_code_points() -> None:
    documents: Documents = [{"a": text} for text in ("Z", "a", "é", "ي", "\uffff", "😀")]
    assert find(documents, {"a": {"$gt": "é"}}) == [3, 4, 5]
    assert find(documents, {"a": {"$lt": "😀"}}) == [0, 1, 2, 3, 4]


def test_empty_filters_and_groups() -> None:
    documents: Documents = [{"a": 1}, {}]
    for where in ({}, {"$and": []}, {"$nor": []}, {"a": {"$nin": []}}, {"$not": {"$or": []}}):
        assert find(documents, where) == [0, 1]
    for where in ({"a": {"$in": []}}, {"$or": []}, {"$not": {}}):
        assert find(documents, where) == []


def test_numpy_scalars_and_sets_are_accepted() -> None:
    where = {"a": {"$in": {np.int64(3), np.float32(0.5)}}, "b": np.str_("x")}
    assert find([{"a": 3, "b": "x"}, {"a": 0.5, "b": "x"}, {"a": 3}], where) == [0, 1]


def test_strings_of_the_caller_never_become_sql() -> None:
    found = compile_filter({"na'me.x": {"$in": ["va'lue"], "$ne": 0.5, "$contains": "'"}}, {})
    literals = {"'{}'", "'[]'", "'object'", "'array'", "'text'", "'$[0]'"}
    assert set(re.findall(r"'[^']*'", found.sql)) == literals
    assert not re.search("na|lue", found.sql.replace(".value", ""))


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ([], r"^where: expected a filter, a mapping, not list$"),
        ({"$gte": 1}, r"\$gte is an operator on a field: \{'year': \{'\$gte': …\}\}"),
        ({"$where": 1}, r"unknown operator '\$where'; known: \$and, \$or, \$nor, \$not"),
        ({1: 1}, r"expected the name of a field, a string, not 1"),
        ({"$or": {"a": 1}}, r"^where\['\$or'\]: expected a list of filters, not dict$"),
        ({"$or": [{"a": 1}, 2]}, r"^where\['\$or'\]\[1\]: expected a filter"),
        ({"a": {}}, r"^where\['a'\]: expected an operator, one of \$eq"),
        ({"a": {"b": 1}}, r"expected operators; a field of an object is 'a\.b'"),
        (
            {"a": {"$or": []}},
            r"\$or applies to filters, not to a field: \{'\$or': \[\{'year': …\}, …\]\}",
        ),
        ({"a": {"$regex": ""}}, r"unknown operator '\$regex'; known: \$eq"),
        ({"a": {3: 1}}, r"unknown operator 3"),
        ({"a": [1, 2]}, r"^where\['a'\]: expected one value, not a list; see \$in and \$contains"),
        ({"a": {"$in": "abc"}}, r"^where\['a'\]\['\$in'\]: expected a list of values, not str$"),
        ({"a": {"$in": [1, [2]]}}, r"^where\['a'\]\['\$in'\]\[1\]: expected one value"),
        ({"a": {"$gt": None}}, r"expected a string, a number or a boolean, not None"),
        ({"a": {"$contains": None}}, r"not None"),
        ({"a": {"$exists": 1}}, r"expected True or False, not 1"),
        ({"a": {"$not": 1}}, r"expected a mapping of operators; \$ne takes a value"),
        ({"a": math.nan}, r"a value that metadata can store: nan is not a JSON number"),
        ({10**5000: 1}, r"a string, not an integer with very many digits"),
        ({"a": 10**5000}, r"an integer beyond 64 signed bits"),
        ({"a": 2**63}, r"an integer beyond 64 signed bits"),
        ({"a": "\ud800"}, r"a string with a lone surrogate"),
        ({"a": "\0"}, r"a string with a NUL character"),
        ({"a": b""}, r"bytes is not a str, int, float, bool or None"),
        ({"\ud800": 1}, r"a field's name cannot have a lone surrogate"),
    ],
)
def test_errors_give_the_path_and_the_expectation(where: Any, message: str) -> None:
    with pytest.raises(FilterError, match=message):
        compile_filter(where, {})


def test_filters_that_contain_themselves_are_refused() -> None:
    where: dict[str, Any] = {}
    where["$and"] = [where]
    with pytest.raises(FilterError, match="nested deeper than 100 steps"):
        compile_filter(where, {})


@settings(max_examples=max(200, settings.default.max_examples))
@given(metadatas)
def test_sqlite_returns_what_was_stored(metadata: dict[str, Any]) -> None:
    """Each key and scalar at the top, as SQLite's JSON returns it; fractions approximately."""
    connection = sqlite3.connect(":memory:")
    text = to_json(check_metadata(metadata))
    found = dict(connection.execute("SELECT key, atom FROM json_each(?)", (text,)).fetchall())
    connection.close()
    assert found.keys() == metadata.keys()
    for key, value in metadata.items():
        atom = None if isinstance(value, list | dict) else value
        assert found[key] == (pytest.approx(atom) if isinstance(atom, float) else atom)
    assert from_json(text) == json.loads(text) == metadata
