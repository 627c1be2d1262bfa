"""Filters whose rows are known: answered without the database, and never with another's rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestling import Collection, FilterError

VALUES: tuple[Any, ...] = (1, True, 1.0, "1", None, 2, False, 0, "", 1.5)
COUNT = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filters") / "c"
    with Collection(path, dim=2, passages=None, fields=["n"]) as collection:
        collection.add(
            [
                {"id": f"d{i}", "text": "bread", "metadata": {"n": VALUES[i % 10], "1": i % 3}}
                for i in range(COUNT)
            ],
            vectors=np.ones((COUNT, 2)),
        )
    return path


@pytest.fixture
def collection(folder: Path) -> Iterator[Collection]:
    with Collection(folder) as collection:
        yield collection


def found(collection: Collection, where: dict[Any, Any]) -> list[str]:
    return collection.search("bread", COUNT, where, mode="lexical", include=()).ids


FILTERS = st.one_of(
    st.sampled_from(VALUES).map(lambda value: {"n": value}),
    st.lists(st.sampled_from(VALUES), min_size=1, max_size=3).map(
        lambda some: {"n": {"$in": some}}
    ),
    st.sampled_from([0, 1.0, np.float64(1), np.float64(2), True]).map(lambda n: {"n": {"$gte": n}}),
    st.just({}),
    st.sampled_from([{"1": 2}, {"1": {"$ne": 2}}, {"n": {"$in": ["1" * 2_000, 1]}}]),
)


@settings(max_examples=60, deadline=None)
@given(filters=st.lists(FILTERS, min_size=1, max_size=8))
def test_filters_find_the_same_in_any_order(folder: Path, filters: list[dict[str, Any]]) -> None:
    with Collection(folder) as collection:
        for where in [*filters, *filters]:
            # Texts are read from the database, in a transaction.
            with_texts = collection.search("bread", COUNT, where, mode="lexical")
            assert found(collection, where) == with_texts.ids


def test_a_filter_that_is_known_needs_no_transaction(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = found(collection, {"n": 2})
    assert first == ["d5", "d15", "d25", "d35"]

    def reading() -> None:
        raise AssertionError("a transaction")

    monkeypatch.setattr(collection._store, "reading", reading)
    assert found(collection, {"n": 2}) == first
    with pytest.raises(AssertionError, match="a transaction"):
        found(collection, {"n": 3})


def test_what_was_never_a_filter_is_refused_after_one_that_is_spelled_alike(
    collection: Collection,
) -> None:
    assert found(collection, {"1": 2}) == found(collection, {"1": 2})
    with pytest.raises(FilterError):
        found(collection, {1: 2})
    for value in (b"x", np.ones(2), {1, 2}, object()):
        for _ in range(2):
            with pytest.raises(FilterError):
                found(collection, {"n": value})


def test_a_known_filter_sees_every_commit(tmp_path: Path) -> None:
    where = {"n": {"$gte": 1}}
    with (
        Collection(tmp_path / "c", dim=2, passages=None) as writer,
        Collection(tmp_path / "c", dim=2, passages=None, read_only=True) as reader,
    ):
        expected: list[str] = []
        for i in range(8):
            if i == 5:
                writer.delete(expected[:2])
                del expected[:2]
            writer.add(
                [{"id": f"d{i}", "text": "bread", "metadata": {"n": i % 2}}], vectors=[[1, 0]]
            )
            expected += [f"d{i}"] * (i % 2)
            if i == 6:
                writer.declare("n")
            for _ in range(2):
                assert found(writer, where) == found(reader, where) == expected


def test_more_filters_than_are_kept_are_all_answered(collection: Collection) -> None:
    for _ in range(2):
        for bound in range(150):
            assert len(found(collection, {"1": {"$gte": bound / 50}})) == sum(
                i % 3 >= bound / 50 for i in range(COUNT)
            )


@pytest.mark.parametrize("where", [None, {"n": 1}, {"n": {"$gte": 1}}, {"n": 99}])
@pytest.mark.parametrize("query", ["bread", "rye bread", '"rye bread"', "خبز الجاودار", "", "of"])
@pytest.mark.parametrize("k", [1, 7, 1_000])
def test_words_alone_find_what_an_explained_search_finds(
    tmp_path: Path, query: str, where: dict[str, Any] | None, k: int
) -> None:
    texts = ["bread", "rye bread", "bread and rye", "خبز الجاودار", "of rye", ""] * 9
    with Collection(tmp_path / "c", dim=2, passages=None) as collection:
        metadata = [{"n": number % 3} for number in range(len(texts))]
        ids = [f"d{number}" for number in range(len(texts))]
        collection.add(texts, ids, metadata=metadata, vectors=np.ones((len(texts), 2)))
        collection.delete(["d1", "d6"])
        for _ in range(3):  # the rows of the filter are known from the second time on
            alone = collection.search(query, k, where, mode="lexical", include=())
            explained = collection.search(query, k, where, mode="lexical", include=(), explain=True)
            assert (alone.ids, alone.scores) == (explained.ids, explained.scores)
            assert alone.passages == explained.passages
            assert "d1" not in alone.ids
