"""Values that callers pass: an index and a collection take the same ones, and refuse the others."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import enum
import importlib.util
import math
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling import Collection, DocumentError, IdError, Index, MetadataError, VectorError
from nestling.errors import ArgumentError, NestlingError
from nestling.inputs.ids import id_array, text_id, text_ids
from nestling.inputs.texts import MAX_QUERY_CHARACTERS
from nestling.inputs.vectors import matrix

DIM = 4
NAN = math.nan


class Number(enum.IntEnum):
    SEVEN = 7


class Text(str, enum.Enum):
    A = "a"


INTEGERS: list[tuple[Any, int]] = [
    (0, 0),
    (5, 5),
    (2**63 - 1, 2**63 - 1),
    (Number.SEVEN, 7),
    *((kind(5), 5) for kind in (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint64)),
]
TEXTS: list[tuple[Any, str]] = [("a", "a"), ("007", "007"), (np.str_("b"), "b"), (Text.A, "a")]
NOT_IDS: list[Any] = [
    1.0,
    1.5,
    NAN,
    math.inf,
    np.float32(1),
    np.float64(NAN),
    True,
    False,
    np.True_,
    None,
    b"a",
    np.bytes_(b"a"),
    bytearray(b"a"),
    {"$oid": "64b7"},
    [1],
    (1,),
    {1},
    1j,
    decimal.Decimal(1),
    datetime.date(2024, 1, 5),
    np.datetime64("2024-01-05", "ns"),
    np.timedelta64(5, "s"),
    uuid.UUID(int=5),
    object(),
]
NOT_TEXT_IDS: list[Any] = ["", "a\0b", "\ud800", "x" * 10_001, 10**5000]


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with Collection(tmp_path / "c", dim=DIM) as collection:
        collection.add(["five", "a"], [5, "a"], vectors=np.eye(2, DIM), progress=False)
        yield collection


def holders(values: list[Any]) -> Iterator[Any]:
    """Values in everything that holds a column of them."""
    yield values
    yield tuple(values)
    yield np.array(values)
    yield np.array(values, object)
    for module, kind in (("pandas", "Series"), ("polars", "Series"), ("pyarrow", "array")):
        if importlib.util.find_spec(module) is not None:
            yield getattr(importlib.import_module(module), kind)(values)


@pytest.mark.parametrize(("value", "id"), [*INTEGERS, *TEXTS])
def test_ids_of_a_collection(collection: Collection, value: Any, id: str | int) -> None:
    assert text_id(value, "the id") == str(id)
    for ids in (value, [value]):
        collection.add("x" if ids is value else ["x"], ids, vectors=np.ones((1, DIM)))
        assert value in collection
        assert collection.get([value])[0].id == str(id)  # type: ignore[union-attr]
        one = collection.get(value)
        assert not isinstance(one, list)
        assert one is not None
        assert collection.delete(ids) == 1
    assert value not in collection


@pytest.mark.parametrize("value", [*NOT_IDS, *NOT_TEXT_IDS], ids=lambda v: type(v).__name__)
def test_what_is_not_an_id_is_refused_with_its_position(collection: Collection, value: Any) -> None:
    assert value not in collection
    for call in (
        lambda: collection.get(["a", value]),
        lambda: collection.delete(["a", value]),
    ):
        with pytest.raises(IdError, match=r"ids\[1\] (is|has)"):
            call()
    if value is not None:  # a document without an id has one made of its contents
        with pytest.raises(IdError, match=r"documents\[1\]: the id (is|has)"):
            collection.add(["x", "y"], ["b", value], vectors=np.eye(2, DIM))
        with pytest.raises(IdError, match=r"documents\[0\]: the id (is|has)"):
            collection.add({"text": "x", "id": value, "vectors": [1] * DIM})
    assert len(collection) == 2


@pytest.mark.parametrize("value", [v for v in NOT_IDS if not isinstance(v, (list, tuple, set))])
def test_what_is_not_an_id_is_not_a_list_of_them(collection: Collection, value: Any) -> None:
    with pytest.raises(IdError):
        collection.get(value)
    if value is not None:
        with pytest.raises(IdError):
            collection.delete(value)


@pytest.mark.parametrize("ids", list(holders([5, 6])), ids=lambda v: type(v).__name__)
def test_integers_in_every_holder_are_ids(collection: Collection, ids: Any) -> None:
    assert [found is not None for found in collection.get(ids)] == [True, False]  # type: ignore[union-attr]
    collection.add(["x", "y"], ids, vectors=np.eye(2, DIM), progress=False)
    assert collection.delete(ids) == 2
    index = Index(DIM)
    assert index.add(np.eye(2, DIM), ids=ids).tolist() == [5, 6]
    assert index.search(np.ones(DIM), where=ids).ids.tolist()[:2] == [5, 6]
    index.remove(ids)


@pytest.mark.parametrize("ids", list(holders(["a", "b"])), ids=lambda v: type(v).__name__)
def test_texts_in_every_holder_are_ids_and_documents(collection: Collection, ids: Any) -> None:
    assert [found is not None for found in collection.get(ids)] == [True, False]  # type: ignore[union-attr]
    added = collection.add(ids, ids, vectors=np.eye(2, DIM), progress=False)
    assert added.ids == ["a", "b"]
    assert {document.text for document in collection} == {"five", "a", "b"}
    assert text_ids({"a"}) == text_ids(iter(["a"])) == ["a"]


@given(st.lists(st.sampled_from([v for v, _ in INTEGERS]), max_size=4), st.sampled_from(NOT_IDS))
def test_an_index_names_the_id_that_is_not_one(good: list[Any], bad: Any) -> None:
    assert id_array(good).tolist() == [int(value) for value in good]
    with pytest.raises(IdError, match=rf"ids\[{len(good)}\] is "):
        id_array([*good, bad])
    with pytest.raises(IdError, match=rf"where\[{len(good)}\] is "):
        Index(DIM).search(np.ones(DIM), where=[*good, bad, 1])


@pytest.mark.parametrize("big", [2**63, 2**64, 10**30, np.uint64(2**63)])
def test_an_index_names_the_id_that_does_not_fit(big: int) -> None:
    for ids in ([2, big], [big, 2]):
        position = 0 if ids[0] != 2 else 1
        with pytest.raises(IdError, match=rf"ids\[{position}\] is {int(big)}, which is too large"):
            Index(DIM).add(np.eye(2, DIM), ids=ids)
    with pytest.raises(IdError, match=r"where\[0\] is .* too large"):
        Index(DIM).search(np.ones(DIM), where=[big])


GOOD_VECTORS: dict[str, Any] = {
    "list": [1, 0, 0, 0.5],
    "float16": np.array([1, 0, 0, 0.5], np.float16),
    "float64": np.array([1, 0, 0, 0.5]),
    "int8": np.array([1, 0, 0, 1], np.int8),
    "uint64": np.array([1, 0, 0, 1], np.uint64),
    "big-endian": np.array([1, 0, 0, 1], ">f4"),
    "mask of nothing": np.ma.masked_array([1.0, 0, 0, 1], mask=[0, 0, 0, 0]),
}
BAD_VECTORS: dict[str, tuple[Any, str]] = {
    "strings": (["1", "2", "3", "4"], "must be floats, not strings"),
    "bytes": (np.array([b"1"] * 4), "must be floats, not bytes"),
    "dates": (np.array(["2020"] * 4, "M8[Y]"), "must be floats, not dates"),
    "durations": (np.ones(4, "m8[s]"), "must be floats, not durations"),
    "booleans": ([True] * 4, "must be floats, not booleans"),
    "a boolean": ([1.0, True, 0, 0], "not booleans"),
    "a boolean in a row": ([[1.0, 0, False, 0]], "not booleans"),
    "complex": (np.ones(4) * 1j, "must be floats, not complex"),
    "masked": (np.ma.masked_array(np.ones(4), mask=[0, 1, 1, 0]), "masked values"),
    "masked row": ([np.ma.masked_array(np.ones(4), mask=[0, 1, 1, 0])], "masked values"),
    "ragged": ([[1.0, 2.0], [1.0]], "ragged: element 1"),
    "objects": (np.array([1.0, 2, 3, 4], object), "objects"),
    "a None": ([1.0, None, 2.0, 3.0], "element 1 is None"),
    "a string": (np.array([1.0, 2, 3, "x"], object), "element 3 is 'x'"),
    "vectors in objects": (np.array([np.ones(4), None], object)[:1], r"np\.stack\(list"),
    "a set": ({1.0, 2.0}, "must be floats, not set"),
    "a mapping": ({"a": 1.0}, "must be floats, not dict"),
    "a text": ("bread", "must be floats, not str"),
    "too few": (np.ones(3), "shape"),
    "cube": (np.ones((1, 1, 4)), "shape"),
    "a number": (1.0, r"shape \(\)|not float"),
    "no dimensions": (np.array(1.0), r"shape \(\)"),
    "NaN": ([1.0, NAN, 0, 0], "at dimension 1; every value must be finite"),
    "overflow": ([1.0, 1e300, 0, 0], "at dimension 1; every value must be finite"),
}


def index_add(tmp_path: Path, vector: Any) -> None:
    Index(DIM).add(vector)


def index_search(tmp_path: Path, vector: Any) -> None:
    index = Index(DIM)
    index.add(np.eye(DIM))
    index.search(vector)


def collection_add(tmp_path: Path, vector: Any) -> None:
    with Collection(tmp_path / "add", dim=DIM) as collection:
        collection.add("x", vectors=vector, progress=False)
        assert np.isfinite(collection.search(np.ones(DIM))[0].score)


def document_vectors(tmp_path: Path, vector: Any) -> None:
    with Collection(tmp_path / "mapping", dim=DIM) as collection:
        collection.add([{"text": "x", "vectors": vector}], progress=False)


def collection_search(tmp_path: Path, vector: Any) -> None:
    with Collection(tmp_path / "search", dim=DIM) as collection:
        collection.add("x", vectors=np.ones(DIM), progress=False)
        collection.search(vector)


TAKERS = [index_add, index_search, collection_add, document_vectors, collection_search]


@pytest.mark.parametrize("take", TAKERS)
@pytest.mark.parametrize("name", GOOD_VECTORS)
def test_vectors_that_fit(tmp_path: Path, take: Callable[[Path, Any], None], name: str) -> None:
    take(tmp_path, GOOD_VECTORS[name])


@pytest.mark.parametrize("take", TAKERS)
@pytest.mark.parametrize("name", BAD_VECTORS)
def test_vectors_are_refused_in_the_same_words(
    tmp_path: Path, take: Callable[[Path, Any], None], name: str
) -> None:
    vector, words = BAD_VECTORS[name]
    if take is collection_search and name in ("strings", "a text", "a string"):
        pytest.skip("these are queries in words, or partly")
    with pytest.raises(VectorError, match=words):
        take(tmp_path, vector)


class Tensor:
    """What torch does where a tensor is not a plain array in memory."""

    __module__ = "torch"

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __array__(self, *args: Any, **options: Any) -> Any:
        raise self.error


@pytest.mark.parametrize("take", TAKERS)
@pytest.mark.parametrize(
    "error",
    [
        TypeError("Got unsupported ScalarType BFloat16"),
        RuntimeError("Can't call numpy() on Tensor that requires grad."),
    ],
)
def test_tensors_that_are_not_arrays(
    tmp_path: Path, take: Callable[[Path, Any], None], error: Exception
) -> None:
    with pytest.raises(VectorError, match=r"tensor\.detach\(\)\.cpu\(\)\.float\(\)\.numpy\(\)"):
        take(tmp_path, Tensor(error))


def test_a_column_of_vectors_gives_the_advice(collection: Collection) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"embedding": [[1.0, 0, 0, 0], [0, 1.0, 0, 0]]})
    for call in (Index(DIM).add, Index(DIM).search, collection.search):
        with pytest.raises(VectorError, match=r"np\.stack\(list\("):
            call(frame["embedding"])
    added = collection.add(["x", "y"], vectors=frame["embedding"], progress=False)
    assert added.added == 2
    collection.add(["u", "v"], vectors=pandas.DataFrame(np.eye(2, DIM)), progress=False)


def test_a_vector_whose_memory_is_used_again(collection: Collection) -> None:
    buffer = np.zeros(DIM, np.float32)

    def documents() -> Iterator[dict[str, Any]]:
        for place in range(DIM):
            buffer[:] = 0
            buffer[place] = 1
            yield {"id": f"d{place}", "text": str(place), "vectors": buffer}

    collection.delete(where={})
    collection.add(documents(), progress=False)
    for place in range(DIM):
        assert collection.search(np.eye(DIM)[place], k=1)[0].id == f"d{place}"


def queries(values: list[Any]) -> Iterator[Any]:
    yield values
    yield np.array(values, object)
    if importlib.util.find_spec("pandas") is not None:
        yield importlib.import_module("pandas").Series(values, dtype=object)


@pytest.mark.parametrize("query", list(holders(["five", "a"])), ids=lambda v: type(v).__name__)
def test_texts_in_every_holder_are_queries(collection: Collection, query: Any) -> None:
    found = collection.search(query, mode="lexical")
    assert [hits[0].id for hits in found] == ["5", "a"]  # type: ignore[union-attr]


@pytest.mark.parametrize("bad", [None, 1, NAN, b"a", ["a"]])
def test_queries_that_are_partly_texts(collection: Collection, bad: Any) -> None:
    for query in queries(["a", bad]) if not isinstance(bad, list) else [["a", bad]]:
        with pytest.raises(
            ArgumentError, match=r"element 1 is .*, but others are texts: give a list of str"
        ):
            collection.search(query, mode="lexical")


def test_queries_that_are_not_text(collection: Collection) -> None:
    for query, words in (
        (b"bread", "bytes: decode"),
        ("\ud800", "lone surrogate"),
        ("x" * (MAX_QUERY_CHARACTERS + 1), "1,000,001 characters"),
    ):
        with pytest.raises(ArgumentError, match=words):
            collection.search(query, mode="lexical")


VALUES: list[tuple[Any, str]] = [
    (datetime.datetime(2024, 1, 5), r"\.isoformat\(\)"),
    (datetime.date(2024, 1, 5), r"\.isoformat\(\)"),
    (datetime.time(12), r"\.isoformat\(\)"),
    (np.datetime64("2024-01-05", "ns"), r"str\(\)"),
    (np.timedelta64(5, "ns"), r"str\(\)"),
    (decimal.Decimal("1.5"), r"float\(\)"),
    (uuid.UUID(int=1), r"str\(\)"),
    (b"a", r"\.hex\(\)"),
    (NAN, "not a JSON number"),
    (math.inf, "not a JSON number"),
    (2**63, "beyond 64 signed bits"),
    (np.uint64(2**63), "beyond 64 signed bits"),
    ("a\0b", "a NUL character at 1"),
    ("\ud800", "a lone surrogate at 0"),
]


@pytest.mark.parametrize(("value", "advice"), VALUES)
def test_values_that_neither_metadata_nor_filters_take(
    collection: Collection, value: Any, advice: str
) -> None:
    for metadata in ({"a": value}, {"a": [value]}, {"a": {"b": value}}):
        with pytest.raises(MetadataError, match=advice):
            collection.add("x", metadata=metadata, vectors=np.ones(DIM))
    for where in ({"a": value}, {"a": {"$in": [value]}}, {"a": {"$gte": value}}):
        with pytest.raises(NestlingError, match=advice):
            collection.count(where)


@pytest.mark.parametrize("values", list(holders([2020, 2021])), ids=lambda v: type(v).__name__)
def test_values_in_every_holder_are_those_of_a_filter(collection: Collection, values: Any) -> None:
    years = [{"year": 2020}, {"year": np.int64(2021)}, {"year": 2022}]
    collection.add(["x", "y", "z"], metadata=years, vectors=np.eye(3, DIM), progress=False)
    assert collection.count({"year": {"$in": values}}) == 2
    assert collection.count({"year": np.int64(2021)}) == 1


@pytest.mark.parametrize(
    "documents", [None, 5, 1.5, b"bread", True, np.float64(1), np.ones((2, 2)), object()]
)
def test_what_is_not_documents(collection: Collection, documents: Any) -> None:
    with pytest.raises(DocumentError):
        collection.add(documents, vectors=np.eye(2, DIM))
    assert len(collection) == 2


def test_two_values_for_one_are_refused(collection: Collection) -> None:
    base = {"text": "x", "vectors": [1] * DIM}
    for document, arguments in (
        ({**base, "id": "b"}, {"ids": ["c"]}),
        ({**base, "id": "b", "_id": "c"}, {}),
        ({**base, "metadata": {"a": 1}}, {"metadata": [{"a": 2}]}),
        (base, {"vectors": np.ones((1, DIM))}),
    ):
        with pytest.raises(DocumentError, match="two values for one"):
            collection.add([document], **arguments)  # type: ignore[arg-type]
    collection.add([{**base, "id": 7, "_id": "7"}], ids=["7"], progress=False)


def test_ids_without_an_order_are_refused(collection: Collection) -> None:
    with pytest.raises(IdError, match="no order"):
        collection.add(["x", "y"], {"b", "c"}, vectors=np.eye(2, DIM))


@given(st.lists(st.sampled_from(range(8)), max_size=12), st.booleans())
def test_bad_documents_are_skipped(kinds: list[int], listed: bool) -> None:
    import tempfile

    vector = [1.0] * DIM
    bad: list[Any] = [
        {"text": 3, "vectors": vector},
        {"text": "x", "id": 1.5, "vectors": vector},
        {"text": "x", "metadata": {"a": NAN}, "vectors": vector},
        {"text": "x", "vectors": [NAN] * DIM},
        {"text": "x", "body": "x"},
        5,
    ]
    documents = [
        bad[kind] if kind < len(bad) else {"id": str(i), "text": "good", "vectors": vector}
        for i, kind in enumerate(kinds)
    ]
    wrong = [i for i, kind in enumerate(kinds) if kind < len(bad)]
    with (
        tempfile.TemporaryDirectory() as folder,
        Collection(Path(folder, "c"), dim=DIM) as collection,
    ):
        found: list[Any] = []
        chosen: Any = "skip" if listed else found.append
        result = collection.add(documents, on_bad_record=chosen, progress=False)
        assert [record.line for record in (result.rejected if listed else found)] == wrong
        assert result.added == len(collection) == len(documents) - len(wrong)
        again = collection.upsert(documents, on_bad_record="skip", progress=False)
        assert [record.line for record in again.rejected] == wrong
        if wrong:
            with pytest.raises(NestlingError, match=rf"documents\[{wrong[0]}\]: "):
                collection.add(documents, progress=False)
    with pytest.raises(ArgumentError, match="on_bad_record"):
        collection.add([], on_bad_record="never")  # type: ignore[arg-type]


@given(st.data())
def test_any_array_becomes_a_matrix_or_a_vector_error(data: st.DataObject) -> None:
    """Nothing but a VectorError comes out, and what is taken has the same values."""
    scalars = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=2), st.binary()
    )
    values = data.draw(
        st.recursive(scalars, lambda inner: st.lists(inner, min_size=1, max_size=4), max_leaves=8)
    )
    if data.draw(st.booleans()):
        try:
            values = np.array(values, data.draw(st.sampled_from([None, object])))
        except (ValueError, OverflowError):
            return
    rows = None
    with contextlib.suppress(VectorError):
        rows = matrix(values, 2, "vectors")
    if rows is None:
        return
    assert rows.dtype == np.float32
    with np.errstate(over="ignore"):
        expected = np.asarray(values, np.float64).astype(np.float32).reshape(-1, 2)
    np.testing.assert_array_equal(rows, expected)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ("year", "a list of names"),
        (5, "a list of names"),
        (None, "a list of names"),
        ([5], "a string, not 5"),
        (["a\0"], "NUL"),
        (["\ud800"], "lone surrogate"),
    ],
)
def test_fields_that_no_document_can_have(tmp_path: Path, fields: Any, words: str) -> None:
    with pytest.raises(NestlingError, match=words):
        Collection(tmp_path / "c", dim=DIM, fields=fields)
    if isinstance(fields, list):
        with (
            Collection(tmp_path / "d", dim=DIM) as collection,
            pytest.raises(NestlingError, match=words),
        ):
            collection.declare(*fields)
