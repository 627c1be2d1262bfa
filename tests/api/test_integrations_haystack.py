"""Collections as Haystack's document store: Haystack's test suite, and the retrievers."""

from __future__ import annotations

import dataclasses
import inspect
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the library, when it is imported
    suite = pytest.importorskip("haystack.testing.document_store")

from hashing_encoder import HashingEncoder
from haystack import Document, Pipeline
from haystack.components.writers import DocumentWriter
from haystack.dataclasses import ByteStream, SparseEmbedding
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy, FilterPolicy
from haystack.errors import FilterError

from nestling.errors import ArgumentError
from nestling.integrations.haystack import (
    NestlingDocumentStore,
    NestlingEmbeddingRetriever,
    NestlingHybridRetriever,
    NestlingTextRetriever,
)

ENCODER = HashingEncoder(dim=64)
TEXTS = {
    "apples": "red apples grow on trees",
    "pears": "green pears grow on trees",
    "car": "a red car on the road",
}


def embed(text: str) -> list[float]:
    embedding: list[float] = ENCODER.encode([text])[0].tolist()
    return embedding


@pytest.fixture
def store(tmp_path: Path) -> Iterator[NestlingDocumentStore]:
    with NestlingDocumentStore(tmp_path / "store", dim=64) as store:
        store.write_documents(
            [
                Document(
                    id=id,
                    content=text,
                    meta={"size": len(id), "fruit": id != "car"},
                    embedding=embed(text),
                )
                for id, text in TEXTS.items()
            ]
        )
        yield store


class TestHaystacksSuite(
    getattr(suite, "DocumentStoreBaseExtendedTests", suite.DocumentStoreBaseTests)
):
    @pytest.fixture
    def document_store(self) -> Iterator[NestlingDocumentStore]:
        with NestlingDocumentStore(dim=768) as store:
            yield store

    @staticmethod
    def assert_documents_are_equal(received: list[Document], expected: list[Document]) -> None:
        """Everything but embeddings, which the store keeps in the precision of its funnel."""
        bare = [dataclasses.replace(document, embedding=None) for document in expected]
        assert received == bare

    def test_write_documents(self, document_store: NestlingDocumentStore) -> None:
        document = Document(content="test doc")
        assert document_store.write_documents([document]) == 1
        with pytest.raises(DuplicateDocumentError):
            document_store.write_documents([document])


def found(result: dict[str, list[Document]]) -> list[str]:
    return [document.id for document in result["documents"]]


def test_documents_of_all_kinds_come_back(store: NestlingDocumentStore) -> None:
    odd = [
        Document(id="blob", blob=ByteStream(b"\0\xff", {"a": 1}, "image/png"), meta={"b": [1, 2]}),
        Document(id="empty", content=""),
        Document(id="sparse", content="x", sparse_embedding=SparseEmbedding([1, 5], [0.5, 0.25])),
    ]
    store.write_documents(odd)
    assert store.filter_documents()[3:] == odd


def test_documents_without_an_embedding_are_found_by_words_alone(
    store: NestlingDocumentStore,
) -> None:
    store.write_documents([Document(id="bare", content="red")])
    by_meaning = NestlingEmbeddingRetriever(store, top_k=9).run(query_embedding=embed("red car"))
    assert set(found(by_meaning)) == set(TEXTS)
    assert "bare" in found(NestlingTextRetriever(store).run(query="red"))


def test_a_duplicate_id_writes_nothing(store: NestlingDocumentStore) -> None:
    new = Document(id="new", content="new", embedding=embed("new"))
    for documents in ([new, Document(id="car", content="other")], [new, new]):
        with pytest.raises(DuplicateDocumentError):
            store.write_documents(documents, DuplicatePolicy.FAIL)
    assert store.count_documents() == 3
    assert store.write_documents([new, Document(id="car")], DuplicatePolicy.SKIP) == 1
    assert store.filter_documents()[2].content == TEXTS["car"]


def test_each_retriever_retrieves(store: NestlingDocumentStore) -> None:
    by_meaning = NestlingEmbeddingRetriever(store, top_k=1).run(query_embedding=embed("red car"))
    assert by_meaning["documents"][0].meta == {"size": 3, "fruit": False}
    assert by_meaning["documents"][0].content == TEXTS["car"]
    assert 0.5 < by_meaning["documents"][0].score < 1
    assert found(NestlingTextRetriever(store).run(query="pears")) == ["pears"]
    query = {"query": "pears", "query_embedding": embed("red car")}
    by_both = NestlingHybridRetriever(store, top_k=2).run(**query)
    assert set(found(by_both)) == {"pears", "car"}
    by_words = NestlingHybridRetriever(store, top_k=1, options={"weight": 0.0}).run(**query)
    assert found(by_words) == ["pears"]


def test_filters_of_a_run_replace_or_join_those_of_the_retriever(
    store: NestlingDocumentStore,
) -> None:
    def size(operator: str, value: int) -> dict[str, Any]:
        return {"field": "meta.size", "operator": operator, "value": value}

    one = NestlingTextRetriever(store, size("<", 6))
    assert set(found(one.run(query="red trees"))) == {"pears", "car"}
    assert set(found(one.run(query="red trees", filters=size(">", 3)))) == {"apples", "pears"}
    two = NestlingTextRetriever(store, size("<", 6), filter_policy=FilterPolicy.MERGE)
    fruit = {"field": "meta.fruit", "operator": "==", "value": True}
    assert found(two.run(query="red trees", filters=fruit)) == ["pears"]
    assert len(found(one.run(query="red trees", top_k=1))) == 1
    assert store.count_documents_by_filter(size("==", 3)) == 1


@pytest.mark.parametrize(
    "filters",
    [
        {"field": "meta.size", "operator": "near", "value": 3},
        {"field": "meta.size", "operator": "==", "value": [3]},
        {"field": "content", "operator": "==", "value": "red"},
        {"operator": "XOR", "conditions": []},
        {"operator": "AND", "conditions": {"field": "size"}},
        {"operator": "AND", "conditions": ["size"]},
    ],
)
def test_malformed_filters_raise_haystacks_error(
    store: NestlingDocumentStore, filters: dict[str, Any]
) -> None:
    with pytest.raises(FilterError):
        store.filter_documents(filters)
    with pytest.raises(FilterError):
        store.search("red", filters, mode="lexical")


def test_a_pipeline_writes_retrieves_and_is_restored_from_its_text(tmp_path: Path) -> None:
    with NestlingDocumentStore(tmp_path / "store", dim=64, fields=["size"]) as store:
        writing = Pipeline()
        writing.add_component("writer", DocumentWriter(store))
        documents = [Document(content=text, embedding=embed(text)) for text in TEXTS.values()]
        assert writing.run({"writer": {"documents": documents}}) == {
            "writer": {"documents_written": 3}
        }
        asking = Pipeline()
        asking.add_component("words", NestlingTextRetriever(store, top_k=2))
        asking.add_component("meaning", NestlingEmbeddingRetriever(store, top_k=1))
        described = asking.to_dict()
    options: dict[str, Any] = {}
    if "allowed_modules" in inspect.signature(Pipeline.from_dict).parameters:
        options["allowed_modules"] = ["nestling.integrations.haystack"]
    again = Pipeline.from_dict(described, **options)
    answer = again.run(
        {"words": {"query": "red"}, "meaning": {"query_embedding": embed("green pears")}}
    )
    assert len(answer["words"]["documents"]) == 2
    assert answer["meaning"]["documents"][0].content == TEXTS["pears"]
    for name in ("words", "meaning"):
        retriever: Any = again.get_component(name)
        assert set(retriever.document_store.collection.fields) >= {"size"}
        retriever.document_store.close()


def test_a_new_store_needs_its_dimensions() -> None:
    with pytest.raises(ArgumentError, match="needs dim"):
        NestlingDocumentStore()
