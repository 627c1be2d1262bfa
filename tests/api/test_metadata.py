"""Metadata: what documents may have, how it is stored, and the values of declared fields."""

from __future__ import annotations

import enum
import math
from collections import OrderedDict
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nestling import MetadataError, NestlingError
from nestling.inputs.metadata import check_metadata, field_value, from_json, to_json

strings = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    strings,
)
metadatas = st.dictionaries(
    strings,
    st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(strings, inner, max_size=4),
    ),
    max_size=5,
)


class Colour(str, enum.Enum):
    RED = "red"


class Size(enum.IntEnum):
    BIG = 3


def exact(value: Any) -> Any:
    """A value with its types and the sign of zeros."""
    if isinstance(value, dict):
        return [(key, exact(item)) for key, item in value.items()]
    if isinstance(value, list):
        return [exact(item) for item in value]
    return type(value), repr(value)


@given(metadatas)
@example({"": {"": [[], {}]}, "\u2028\x7f\\\"'": -0.0, "n": [5e-324, 2**63 - 1, -(2**63), 1e308]})
def test_stored_metadata_is_read_back_exactly(metadata: dict[str, Any]) -> None:
    plain = check_metadata(metadata)
    assert exact(plain) == exact(metadata)
    assert exact(from_json(to_json(plain))) == exact(metadata)


def test_json_is_compact_and_not_escaped() -> None:
    assert to_json({"سنة": 1, "b": [True, None]}) == '{"سنة":1,"b":[true,null]}'


@pytest.mark.parametrize("nested", [False, True])
def test_check_returns_a_copy(nested: bool) -> None:
    metadata: dict[str, Any] = {"a": [1]} if nested else {"a": 1}
    plain = check_metadata(metadata)
    if nested:
        metadata["a"].append(2)
    metadata["b"] = 2
    assert plain == ({"a": [1]} if nested else {"a": 1})


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.int64(3), 3),
        (np.uint64(2**63 - 1), 2**63 - 1),
        (np.float32(0.1), float(np.float32(0.1))),
        (np.float64(0.1), 0.1),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (Colour.RED, "red"),
        (Size.BIG, 3),
        ((1, ("a",)), [1, ["a"]]),
        (OrderedDict(a=Size.BIG), {"a": 3}),
        (MappingProxyType({"a": ()}), {"a": []}),
    ],
)
def test_scalars_of_subclasses_become_plain(value: Any, plain: Any) -> None:
    assert exact(check_metadata({"a": value})) == exact({"a": plain})
    assert exact(check_metadata(MappingProxyType({"a": value}))) == exact({"a": plain})


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, r"^metadata: expected a mapping, not NoneType$"),
        ([("a", 1)], r"^metadata: expected a mapping, not list$"),
        (
            {"a": {"b": [0, 1, {1}]}},
            r"^metadata\['a'\]\['b'\]\[2\]: set is not a str, int, ",
        ),
        ({"a": b""}, r"^metadata\['a'\]: bytes is not a str"),
        ({"a": np.arange(2)}, r"ndarray is not a str.*; \.tolist\(\) makes it a list"),
        ({"a": np.datetime64("2020-01-01")}, r"datetime64 is not a str.*str\(\)"),
        ({"a": np.longdouble(1)}, r"longdouble is not a str"),
        ({"a": 1j}, r"complex is not a str"),
        ({"a": math.nan}, r"^metadata\['a'\]: nan is not a JSON number; leave"),
        ({"a": [-math.inf]}, r"^metadata\['a'\]\[0\]: -inf is not a JSON number; leave"),
        ({"a": np.float32("nan")}, r"nan is not a JSON number"),
        ({"a": 2**63}, r"^metadata\['a'\]: an integer beyond 64 signed bits$"),
        ({"a": -(2**63) - 1}, r"beyond 64 signed bits"),
        ({"a": np.uint64(2**63)}, r"beyond 64 signed bits"),
        ({"a": "x\ud800"}, r"^metadata\['a'\]: a string with a lone surrogate at 1$"),
        ({"a": "x\0"}, r"^metadata\['a'\]: a string with a NUL character at 1$"),
        ({"\udfff": 1}, r"^metadata: the key '\\udfff' has a lone surrogate at 0$"),
        ({"a": {"\0": 1}}, r"^metadata\['a'\]: the key '\\x00' has a NUL"),
        ({"a": {1: 1}}, r"^metadata\['a'\]: a key must be a string, not int 1$"),
        ({None: 1}, r"^metadata: a key must be a string, not NoneType None$"),
    ],
)
def test_invalid_metadata_raises_with_its_path(metadata: Any, message: str) -> None:
    with pytest.raises(MetadataError, match=message) as caught:
        check_metadata(metadata)
    assert isinstance(caught.value, NestlingError)
    assert isinstance(caught.value, ValueError)


def test_cycles_are_refused() -> None:
    metadata: dict[str, Any] = {"a": {}}
    metadata["a"]["b"] = [metadata]
    with pytest.raises(MetadataError, match=r"^metadata\['a'\]\['b'\]\[0\]: contains itself$"):
        check_metadata(metadata)


def test_a_shared_value_is_not_a_cycle() -> None:
    shared = ["x"]
    assert check_metadata({"a": shared, "b": [shared, shared]})["b"] == [["x"], ["x"]]


@pytest.mark.parametrize("container", [lambda inner: {"a": inner}, lambda inner: [inner]])
def test_metadata_may_have_a_hundred_levels(container: Any) -> None:
    value: Any = 1
    for _ in range(99):
        value = container(value)
    assert check_metadata({"a": value}) == {"a": value}
    for levels in (1, 100_000):
        for _ in range(levels):
            value = container(value)
        with pytest.raises(MetadataError, match=r"\[\.\.\.\]: nested deeper than 100 levels$"):
            check_metadata({"a": value})
    while isinstance(value, dict | list):  # from the outside: Python frees deep ones slowly
        value = value["a"] if isinstance(value, dict) else value[0]


def test_lists_that_double_at_every_level_are_refused() -> None:
    value: Any = 1
    for _ in range(40):
        value = [value, value]
    with pytest.raises(MetadataError, match="more than 1,000,000 values"):
        check_metadata({"a": value})


def test_text_that_sqlite_cannot_store_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nestling.inputs.metadata.MAX_CHARACTERS", 10)
    assert to_json({"a": "xx"}) == '{"a":"xx"}'
    with pytest.raises(MetadataError, match="takes 11 characters; at most 10 can be stored"):
        to_json({"a": "xxx"})


@pytest.mark.parametrize("text", ["", "{", "[1]", "1", "null", "[" * 100_000])
def test_json_that_is_not_an_object_is_refused(text: str) -> None:
    with pytest.raises(MetadataError, match=r"^stored metadata is"):
        from_json(text)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("year", 2020),
        ("flag", 1),
        ("half", 0.5),
        ("null", None),
        ("list", None),
        ("author", None),
        ("author.name", "Ibn Sina"),
        ("author.born.year", 980),
        ("author.died", None),
        ("year.name", None),
        ("list.0", None),
        ("a.b", "key"),
        ("a.c", 3),
        ("null.x", None),
        ("author.", None),
        ("", "empty"),
        (".", "dots"),
    ],
)
def test_declared_fields_take_scalars_by_key_or_by_path(name: str, value: Any) -> None:
    metadata = {
        "year": 2020,
        "flag": True,
        "half": 0.5,
        "null": None,
        "list": [1],
        "author": {"name": "Ibn Sina", "born": {"year": 980}},
        "a.b": "key",
        "a": {"b": "path", "c": 3},
        "": "empty",
        ".": "dots",
    }
    found = field_value(metadata, name)
    assert found == value
    assert type(found) is type(value)


def test_a_null_key_hides_the_path() -> None:
    assert field_value({"a.b": None, "a": {"b": 1}}, "a.b") is None
