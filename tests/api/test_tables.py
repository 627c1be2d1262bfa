"""Data frames and Arrow tables as documents, and back."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestling import Collection, DocumentError, IdError, MetadataError

Table = Callable[[dict[str, list[Any]]], Any]
NAN = math.nan


def _pandas(columns: dict[str, list[Any]]) -> Any:
    return pytest.importorskip("pandas").DataFrame(columns)


def _polars(columns: dict[str, list[Any]]) -> Any:
    return pytest.importorskip("polars").DataFrame(columns, strict=False)


def _arrow(columns: dict[str, list[Any]]) -> Any:
    return pytest.importorskip("pyarrow").table(columns)


def _batch(columns: dict[str, list[Any]]) -> Any:
    return pytest.importorskip("pyarrow").RecordBatch.from_pydict(columns)


TABLES = [_pandas, _polars, _arrow, _batch]


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with Collection(tmp_path / "c", dim=2) as collection:
        yield collection


def add(collection: Collection, table: Any, count: int = 2, **options: Any) -> Any:
    return collection.add(table, vectors=np.ones((count, 2)), progress=False, **options)


def stored(collection: Collection) -> list[tuple[str, str, str, dict[str, Any]]]:
    return [(d.id, d.title, d.text, d.metadata) for d in collection]


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("key", ["id", "_id"])
def test_columns_are_what_they_are_called(collection: Collection, table: Table, key: str) -> None:
    columns: dict[str, list[Any]] = {
        key: [7, 8],
        "text": ["bread", "river"],
        "title": ["B", None],
        "metadata": [{"a": 1}, {"a": 2}],
        "day": [datetime.date(2024, 1, 5), None],
        "score": [NAN, 0.5],
    }
    result = add(collection, table(columns))
    assert result.ids == ["7", "8"]
    assert stored(collection) == [
        ("7", "B", "bread", {"a": 1, "day": "2024-01-05"}),
        ("8", "", "river", {"a": 2, "score": 0.5}),
    ]


@pytest.mark.parametrize("table", TABLES)
def test_rows_without_an_id_are_documents_of_their_own(
    collection: Collection, table: Table
) -> None:
    result = add(collection, table({"id": [1.0, NAN, NAN], "text": ["a", "b", "c"]}), 3)
    assert result.added == 3
    assert result.ids[0] == "1"
    assert len(set(result.ids)) == 3


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ({"body": ["a"]}, DocumentError, "no column 'text'; its columns are 'body'"),
        ({"text": ["a", None]}, DocumentError, r"documents\[1\]: field 'text'.*absent"),
        ({"text": [1, 2]}, DocumentError, r"documents\[0\]: field 'text' must be a string"),
        ({"text": ["a", "b"], "title": [1, 2]}, DocumentError, "field 'title'"),
        ({"text": ["a", "b"], "id": [1.0, 1.5]}, IdError, r"documents\[1\]: the id is 1\.5"),
        ({"text": ["a", "b"], "id": [True, False]}, IdError, "the id is True"),
        ({"text": ["a", "b\0"]}, DocumentError, r"documents\[1\]: .*NUL"),
        ({"text": ["a", "b"], "embedding": [[1.0], [2.0]]}, DocumentError, "call it 'vectors'"),
        ({"text": ["a", "b"], "id": ["x", "y"], "_id": ["x", "z"]}, IdError, "two ids"),
    ],
)
def test_what_no_document_can_be_made_of(
    collection: Collection,
    table: Table,
    columns: dict[str, list[Any]],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        add(collection, table(columns))
    assert len(collection) == 0


@pytest.mark.parametrize("table", TABLES)
def test_bad_rows_are_skipped(collection: Collection, table: Table) -> None:
    columns = {"text": ["a", None, "c"], "id": ["x", "y", "z"]}
    result = add(collection, table(columns), 3, on_bad_record="skip")
    assert result.ids == ["x", "z"]
    assert [record.line for record in result.rejected] == [1]


@pytest.mark.parametrize("table", TABLES)
def test_metadata_and_lookups_from_tables(collection: Collection, table: Table) -> None:
    years = table({"year": [2020, 2021], "day": [datetime.date(2024, 1, 5), None]})
    add(collection, ["a", "b"], ids=["x", "y"], metadata=years)
    assert stored(collection) == [
        ("x", "", "a", {"year": 2020, "day": "2024-01-05"}),
        ("y", "", "b", {"year": 2021}),
    ]
    for call in (collection.get, collection.delete):
        with pytest.raises(IdError):
            call(years)
    if table in (_pandas, _polars):  # Arrow makes no such column of a list
        with pytest.raises(MetadataError, match="beyond 64 signed bits"):
            add(collection, ["a", "b"], metadata=table({"n": [2**64 - 1, 1]}))


def test_an_index_of_pandas_that_has_a_name_is_a_column(collection: Collection) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"id": ["x", "y"], "text": ["a", "b"], "year": [1, 2]})
    add(collection, frame.set_index(["id", "year"]))
    assert stored(collection) == [("x", "", "a", {"year": 1}), ("y", "", "b", {"year": 2})]
    add(collection, frame.iloc[::-1])
    assert len(collection) == 2


def test_columns_that_cannot_be_told_apart(collection: Collection) -> None:
    pandas = pytest.importorskip("pandas")
    for columns, message in (
        (["text", "text"], "two columns are called 'text'"),
        (["text", 1], "a column is called 1"),
        ([("text", "a"), ("text", "b")], "no column 'text'|a column is called"),
    ):
        frame = pandas.DataFrame([["a", "b"]], columns=columns)
        with pytest.raises(DocumentError, match=message):
            add(collection, frame, 1)
    polars = pytest.importorskip("polars")
    with pytest.raises(DocumentError, match="LazyFrame"):
        add(collection, polars.LazyFrame({"text": ["a"]}), 1)


def test_timestamps_categories_and_missing_values_of_pandas(collection: Collection) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "text": pandas.Series(["a", "b"], dtype="string"),
            "kind": pandas.Categorical(["x", None]),
            "when": pandas.to_datetime(["2024-01-05", None]),
            "n": pandas.array([1, None], dtype="Int64"),
            "vector": [np.float32(0.5), np.float32(1)],
            "tags": [np.array(["p", "q"]), ("r",)],
        }
    )
    add(collection, frame)
    when = "2024-01-05T00:00:00"
    assert [d.metadata for d in collection] == [
        {"kind": "x", "when": when, "n": 1, "vector": 0.5, "tags": ["p", "q"]},
        {"vector": 1.0, "tags": ["r"]},
    ]


METADATA = st.dictionaries(
    st.sampled_from(["a", "b"]),
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["x", "007", 0.5, ["y"]]),
    max_size=2,
)
DOCUMENTS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.sampled_from(["a", "b", "007", "7", "c d", "é"]),
            "title": st.sampled_from(["", "T", " t "]),
            "text": st.sampled_from(["", "bread", "a\nb", " x ", "NaN"]),
            "metadata": METADATA,
        }
    ),
    max_size=4,
    unique_by=lambda document: document["id"],
)


@settings(max_examples=15)
@given(DOCUMENTS)
def test_documents_are_the_same_after_a_way_through_files_and_frames(
    documents: list[dict[str, Any]],
) -> None:
    import tempfile

    pandas = pytest.importorskip("pandas")
    parquet = pytest.importorskip("pyarrow.parquet")
    with (
        tempfile.TemporaryDirectory() as folder,
        Collection(Path(folder, "one"), dim=2) as one,
    ):
        add(one, documents, len(documents))
        one.export(Path(folder, "e.jsonl"))
        one.export(Path(folder, "e.parquet"))
        frame = pandas.read_parquet(Path(folder, "e.parquet"))
        frame.to_parquet(Path(folder, "again.parquet"))
        kept = [{k: v for k, v in asdict(document).items() if k != "row"} for document in one]
        sources: list[Any] = [
            frame,
            parquet.read_table(Path(folder, "e.parquet")),
            kept,
            pandas.DataFrame(kept) if kept else frame,
        ]
        for number, source in enumerate(sources):
            with Collection(Path(folder, f"f{number}"), dim=2) as other:
                has_vectors = number < 2 or not kept
                vectors = None if has_vectors else np.ones((len(kept), 2))
                other.add(source, vectors=vectors, progress=False)
                assert stored(other) == stored(one), number
        for name in ("e.jsonl", "e.parquet", "again.parquet"):
            with Collection(Path(folder, f"g{name}"), dim=2) as other:
                other.import_file(Path(folder, name), progress=False)
                assert stored(other) == stored(one), name
