"""Adding, replacing, updating and deleting documents, and the errors of each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from collection_helpers import (
    Model,
    WordsEncoder,
    assert_searches_agree,
    assert_whole,
    assert_words_agree,
    contents,
    opened,
)

from nestling import Collection, DocumentError, IdError, MetadataError, VectorError
from nestling.collection import Passages, document_id, ingestor
from nestling.collection.storage import store
from nestling.errors import ArgumentError


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with opened(tmp_path / "c") as made:
        yield made


def encoded(collection: Collection) -> list[str]:
    """The passages that the collection's encoder was given."""
    encoder = collection._encoder.get()
    assert isinstance(encoder, WordsEncoder)
    return encoder.texts


def test_documents_come_in_many_forms(collection: Collection) -> None:
    assert collection.add("apple", "a", {"n": 1}).ids == ["a"]
    assert collection.add({"text": "bread", "id": 7, "title": "T"}).ids == ["7"]
    assert collection.add({"text": t} for t in ("river", "stone")).ids is None
    assert collection.add([]).added == 0
    assert collection.add(["violet"], np.array([3]).tolist(), [None]).ids == ["3"]
    assert contents(collection)["a"] == Model("apple", "", {"n": 1})
    assert contents(collection)["7"] == Model("bread", "T", {})
    assert document_id("river") in collection
    assert 7 in collection
    assert "8" not in collection
    assert None not in collection
    assert len(collection) == len(list(collection)) == 5
    assert "5 documents" in repr(collection)
    assert "5 passages" in repr(collection)


def test_equal_documents_without_ids_are_stored_once(collection: Collection) -> None:
    added = collection.add(["apple", "apple", {"text": "apple", "metadata": {"n": 1}}])
    assert (added.added, added.unchanged, len(added)) == (2, 1, 3)
    assert added.ids == [document_id("apple")] * 2 + [document_id("apple", metadata={"n": 1})]
    assert collection.add(["apple"]).unchanged == 1
    assert encoded(collection) == ["apple", "apple"]


def test_an_id_that_is_stored_already(collection: Collection) -> None:
    collection.add(["apple"], ["a"])
    assert collection.add(["bread"], ["a"], on_conflict="skip").skipped == 1
    assert collection.get("a").text == "apple"  # type: ignore[union-attr]
    with pytest.raises(IdError, match="'a' is already"):
        collection.add(["river", "bread"], ["b", "a"], on_conflict="error")
    assert contents(collection).keys() == {"a"}
    assert collection.add(["apple"], ["a"], on_conflict="error").unchanged == 1
    assert collection.upsert(["bread"], ["a"]).replaced == 1
    assert contents(collection) == {"a": Model("bread")}
    assert len(collection.search("bread apple", 10)) == 1
    assert collection.search("apple", mode="lexical").hits == ()
    with pytest.raises(ArgumentError, match="on_conflict"):
        collection.add(["x"], on_conflict="ignore")  # type: ignore[arg-type]


@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_an_id_given_twice_in_one_call(
    collection: Collection, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingestor, "_CHUNK", chunk)
    both = ["apple", "bread"]
    assert len(collection.add(both, ["a", "a"])) == 2
    assert contents(collection)["a"].text == "bread"
    collection.add(both, ["b", "b"], on_conflict="skip")
    assert contents(collection)["b"].text == "apple"
    with pytest.raises(IdError, match="'c'"):
        collection.add(both, ["c", "c"], on_conflict="error")
    assert_searches_agree(collection)
    assert_whole(collection)


def test_other_metadata_alone_keeps_the_vectors(collection: Collection) -> None:
    collection.declare("n")
    collection.add(["apple " * 30], ["a"], [{"n": 1}])
    before = len(encoded(collection))
    row = collection.get("a").row  # type: ignore[union-attr]
    added = collection.add(["apple " * 30], ["a"], [{"n": 2}])
    assert (added.updated, added.replaced, added.passages) == (1, 0, 0)
    assert collection.get("a").row == row  # type: ignore[union-attr]
    assert len(encoded(collection)) == before
    assert collection.count({"n": 2}) == 1
    assert collection.count({"n": 1}) == 0
    assert collection.search("apple", where={"n": 2})[0].metadata == {"n": 2}
    assert_whole(collection)


def test_an_interrupted_add_resumes(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingestor, "_CHUNK", 10)
    monkeypatch.setattr(ingestor, "_MAX_COMMIT_ROWS", 20)
    texts = [f"apple {i}" for i in range(100)]

    def broken() -> Iterator[str]:
        yield from texts[:57]
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="source broke"):
        collection.add(broken())
    stored = len(collection)
    assert 20 <= stored <= 57, "whole commits before the fault, and nothing else"
    assert contents(collection).keys() == set(map(document_id, texts[:stored]))
    done = len(encoded(collection))
    added = collection.add(texts)
    assert (added.unchanged, added.added) == (stored, 100 - stored)
    assert len(encoded(collection)) == done + 100 - stored
    assert_searches_agree(collection)


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of new documents in the commits."""
    found: list[int] = []
    commit = store.Store.commit

    def counted(self: Any, changes: Any, **options: Any) -> None:
        found.append(len(changes.insert))
        commit(self, changes, **options)

    monkeypatch.setattr(store.Store, "commit", counted)
    return found


def test_a_list_is_one_commit_however_long_it_takes(
    collection: Collection, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of as many documents as may be encoded together; others are committed when it is time."""
    monkeypatch.setattr(ingestor, "_CHUNK", 300)
    monkeypatch.setattr(ingestor, "_MAX_COMMIT_SECONDS", 0.0)
    texts = [f"apple {number}" for number in range(300)]
    for whole in (texts, tuple(texts), np.array(texts)):
        collection.add(whole, [f"{type(whole)} {number}" for number in range(300)])
        assert sizes == [300]
        sizes.clear()
    collection.add([*texts, "river"])
    assert len(sizes) > 10
    sizes.clear()
    collection.add(f"bread {number}" for number in range(300))
    assert len(sizes) > 10
    sizes.clear()
    monkeypatch.setattr(ingestor, "_CHUNK_CHARACTERS", 2_000)
    collection.add([f"stone {number}" for number in range(300)])
    assert sizes[0] > 100
    assert len(sizes) > 1


def test_a_stream_takes_bounded_memory(
    collection: Collection, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read at most one chunk ahead, and committed at a limit of rows."""
    monkeypatch.setattr(ingestor, "_CHUNK", 10)
    monkeypatch.setattr(ingestor, "_MAX_COMMIT_ROWS", 30)
    ahead = itertools.count()

    def texts() -> Iterator[str]:
        for number in range(200):
            assert next(ahead) - len(encoded(collection)) <= 10
            yield f"apple {number}"

    collection.add(texts())
    assert sum(sizes) == 200
    assert max(sizes) <= 40
    sizes.clear()
    monkeypatch.setattr(ingestor, "_MAX_COMMIT_CHARACTERS", 1)
    collection.add(f"bread {number}" for number in range(50))
    assert max(sizes) <= 10
    sizes.clear()
    monkeypatch.setattr(ingestor, "_MAX_COMMIT_CHARACTERS", 10**9)
    monkeypatch.setattr(ingestor, "_MAX_COMMIT_SECONDS", 0.0)
    collection.add(f"river {number}" for number in range(20))
    assert max(sizes) <= 10


def test_a_long_title_does_not_multiply_the_work_of_its_passages(tmp_path: Path) -> None:
    title = " ".join(f"t{number}" for number in range(20_000))  # 128,889 characters
    text = " ".join(f"Sentence {number}." for number in range(5_000))
    encoder = WordsEncoder()
    encoder.max_words = 1_000_000
    with opened(tmp_path / "c", encoder, passages=Passages(size=100, overlap=0)) as collection:
        result = collection.add({"id": "a", "title": title, "text": text}, progress=False)
        assert result.passages > 800
        characters = sum(map(len, encoded(collection)))
        assert characters < len(title) + len(text) + 510 * result.passages
        first, last = collection.search("t0", mode="lexical"), collection.search("t19999",
                                        mode="lexical")  # fmt: skip
        assert [hit.id for hit in (*first, *last)] == ["a", "a"]
        collection.delete("a")
        assert len(collection.search("t0", mode="lexical")) == 0


def test_deletions_by_ids_and_by_filters(collection: Collection) -> None:
    collection.add(["apple", "bread", "river"], ["a", "b", "3"], [{"n": i} for i in range(3)])
    assert collection.delete("nobody") == 0
    assert collection.delete(["a", "a", "nobody"]) == 1
    assert collection.delete(["b", "3"], where={"n": {"$gt": 1}}) == 1
    assert contents(collection).keys() == {"b"}
    with pytest.raises(ArgumentError, match=r"where=\{\} deletes every"):
        collection.delete()
    assert collection.delete(where={"m": 1}) == 0
    assert collection.delete(where={}) == 1
    assert len(collection) == 0
    assert collection.search("apple").hits == ()
    collection.add(["apple"], ["a"])
    assert len(collection.search("apple")) == 1
    assert_whole(collection)


def test_vectors_that_come_with_documents(tmp_path: Path) -> None:
    vectors = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    with Collection(tmp_path / "c", dim=4, funnel="4@32") as collection:
        assert collection.encoder is None
        ids = [f"d{i}" for i in range(5)]
        collection.add([f"apple {i}" for i in range(5)], ids, vectors=vectors)
        collection.add("bread", "one", vectors=vectors[0])
        collection.delete("one")
        given = dict(zip(ids, vectors, strict=True))
        hits = collection.search(vectors[3], 2, include=["vector"])
        assert hits[0].id == "d3"
        assert hits[0].vector is not None
        np.testing.assert_allclose(
            hits[0].vector, vectors[3] / np.linalg.norm(vectors[3]), atol=1e-6
        )
        # The digest does not cover vectors, so a document with vectors always replaces.
        assert collection.add(["apple 0"], ["d0"], vectors=[vectors[4]]).replaced == 1
        assert collection.search(vectors[4], 2)[1].score == pytest.approx(1)
        assert collection.search("apple", mode="lexical", k=9)
        with pytest.raises(VectorError, match="no encoder"):
            collection.search("apple")
        with pytest.raises(VectorError, match="no encoder"):
            collection.add(["x"])
        with pytest.raises(VectorError):
            collection.search([1.0, 2.0])
        assert len(collection) == len(given)
        assert_whole(collection)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((["a", 3],), DocumentError, r"documents\[1\]: 3 is not a document"),
        ((["a", {"body": "x"}],), DocumentError, r"documents\[1\]: unknown keys 'body'"),
        (([{"title": "x"}],), DocumentError, "no 'text'"),
        (([{"text": None}],), DocumentError, "must be a string"),
        (([{"text": "x", "title": 3}],), DocumentError, "title"),
        ((["\ud800"],), DocumentError, "surrogate"),
        ((["a\0b"],), DocumentError, "NUL character at 1"),
        ((["a"], [""]), IdError, "empty"),
        ((["a"], [None, "b"]), DocumentError, "more ids"),
        ((["a", "b"], ["x"]), DocumentError, "no entry in ids"),
        ((["a"], [1.5]), IdError, r"documents\[0\]: the id is 1\.5"),
        ((["a"], [True]), IdError, "the id is True"),
        ((["a"], None, [{"x": float("nan")}]), MetadataError, r"documents\[0\].*nan"),
        ((["a"], None, [{"x": {1, 2}}]), MetadataError, "set"),
        ((["a"], None, ["text"]), MetadataError, "mapping"),
        (([{"text": "a", "spans": []}],), DocumentError, "spans are empty"),
        (([{"text": "a", "spans": [(0, 9)]}],), DocumentError, "outside the text"),
        (([{"text": "a", "spans": "x"}],), DocumentError, "pairs"),
        (([{"text": "a", "vectors": [[1, 2]]}],), VectorError, "shape"),
        (([{"text": "a", "vectors": [[float("nan")] * 16]}],), VectorError, "finite"),
        (([{"text": "a", "vectors": "x"}],), VectorError, "not strings"),
        ((["a", "b"], "x"), ArgumentError, "list of ids"),
        ((["a", "b"], None, {"n": 1}), ArgumentError, "list of metadata"),
    ],
)
def test_malformed_documents_raise_and_nothing_is_stored(
    collection: Collection, arguments: tuple[Any, ...], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        collection.add(*arguments)
    assert len(collection) == 0
    collection.add(["apple"])
    assert_whole(collection)


@pytest.mark.parametrize("text", ["", "   \n ", "\u200f", "😀" * 500, "ـ" * 200, "x" * 5_000, "."])
def test_odd_texts_are_stored_unchanged(collection: Collection, text: str) -> None:
    collection.add([text, "apple"], ["odd", "apple"])
    assert contents(collection)["odd"].text == text
    assert_searches_agree(collection)
    assert_words_agree(collection, contents(collection))
    assert_whole(collection)
    collection.delete("odd")
    assert_whole(collection)


@pytest.mark.parametrize(("value", "extra"), [(np.nan, 0), (np.inf, 0), (0, 1)])
def test_an_encoder_that_returns_invalid_vectors_raises(
    tmp_path: Path, value: float, extra: int
) -> None:
    class Broken(WordsEncoder):
        def encode(self, texts: Any, **options: Any) -> Any:
            return np.full((len(texts), self.dim + extra), value, np.float32)

        encode_queries = encode

    with opened(tmp_path / "c", Broken()) as collection:
        with pytest.raises(VectorError, match="the encoder returned"):
            collection.add(["apple"])
        with pytest.raises(VectorError, match="the encoder returned"):
            collection.search("apple")
        assert len(collection) == 0
        assert_whole(collection)
