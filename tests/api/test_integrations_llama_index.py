"""Collections as LlamaIndex's vector store, alone and under an index."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the library, when it is imported
    pytest.importorskip("llama_index.core")

from hashing_encoder import HashingEncoder
from llama_index.core import Document, StorageContext, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import (
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from nestling.errors import ArgumentError, FilterError
from nestling.integrations.llama_index import NestlingVectorStore

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ENCODER = HashingEncoder(dim=64)
NODES = {
    "apples": ("red apples grow on trees", {"year": 2019, "tags": ["fruit", "red"], "note": ""}),
    "pears": ("green pears grow on trees", {"year": 2021, "tags": ["fruit"], "note": "Soft pears"}),
    "car": ("a red car on the road", {"year": 2023, "tags": ["red"]}),
}


class HashingEmbedding(BaseEmbedding):
    def _get_text_embedding(self, text: str) -> list[float]:
        embedding: list[float] = ENCODER.encode([text])[0].tolist()
        return embedding

    _get_query_embedding = _get_text_embedding

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


def embed(text: str) -> list[float]:
    return HashingEmbedding().get_query_embedding(text)


def node(id: str, source: str = "source") -> TextNode:
    text, metadata = NODES[id]
    related = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=source)}
    return TextNode(
        id_=id, text=text, metadata=metadata, relationships=related, embedding=embed(text)
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[NestlingVectorStore]:
    with NestlingVectorStore(tmp_path / "store", dim=64) as store:
        assert store.add([node(id, f"from {id}") for id in NODES]) == list(NODES)
        yield store


def query_of(text: str, **options: Any) -> VectorStoreQuery:
    options = {"similarity_top_k": 3, "query_embedding": embed(text), **options}
    return VectorStoreQuery(query_str=text, **options)


def test_nodes_are_returned_unchanged(store: NestlingVectorStore) -> None:
    (found,) = store.get_nodes(["car"])
    stored = node("car", "from car")
    stored.embedding = None
    assert found == stored
    assert asyncio.run(store.aget_nodes(["car", "absent"])) == [found]
    assert len(store.get_nodes()) == 3


@pytest.mark.parametrize(
    ("mode", "first"),
    [
        (VectorStoreQueryMode.DEFAULT, "car"),
        (VectorStoreQueryMode.TEXT_SEARCH, "car"),
        (VectorStoreQueryMode.SPARSE, "car"),
        (VectorStoreQueryMode.HYBRID, "car"),
    ],
)
def test_each_query_mode(
    store: NestlingVectorStore, mode: VectorStoreQueryMode, first: str
) -> None:
    found = store.query(query_of("red car", mode=mode))
    assert found.ids is not None
    assert found.nodes is not None
    assert found.similarities is not None
    assert found.ids[0] == first
    assert [node.node_id for node in found.nodes] == found.ids
    assert found.nodes[0].get_content() == NODES[first][0]
    assert found.similarities == sorted(found.similarities, reverse=True)
    assert asyncio.run(store.aquery(query_of("red car", mode=mode))).ids == found.ids


def test_alpha_weights_dense_against_lexical(store: NestlingVectorStore) -> None:
    query = {"query_embedding": embed("green pears"), "mode": VectorStoreQueryMode.HYBRID}
    by_meaning = store.query(query_of("car", alpha=1, **query))
    by_words = store.query(query_of("car", alpha=0, hybrid_top_k=1, **query))
    assert by_meaning.ids is not None
    assert by_meaning.ids[0] == "pears"
    assert by_words.ids == ["car"]


def test_invalid_queries_raise(store: NestlingVectorStore) -> None:
    with pytest.raises(ArgumentError, match="'svm' is not supported"):
        store.query(query_of("red", mode="svm"))
    with pytest.raises(ArgumentError, match="needs a query_embedding"):
        store.query(query_of("red", query_embedding=None))
    with pytest.raises(ArgumentError, match="needs a query_str"):
        store.query(VectorStoreQuery(embed("red"), mode=VectorStoreQueryMode.SPARSE))
    with pytest.raises(ArgumentError, match="needs dim"):
        NestlingVectorStore()
    with pytest.raises(ValueError, match="embedding not set"):
        store.add([TextNode(text="bare")])


@pytest.mark.parametrize(
    ("key", "operator", "value", "expected"),
    [
        ("year", FilterOperator.EQ, 2021, {"pears"}),
        ("year", FilterOperator.NE, 2021, {"apples", "car"}),
        ("year", FilterOperator.GT, 2021, {"car"}),
        ("year", FilterOperator.GTE, 2021, {"pears", "car"}),
        ("year", FilterOperator.LT, 2021, {"apples"}),
        ("year", FilterOperator.LTE, 2021, {"apples", "pears"}),
        ("year", FilterOperator.IN, [2019, 2023], {"apples", "car"}),
        ("year", FilterOperator.NIN, [2019, 2023], {"pears"}),
        ("tags", FilterOperator.CONTAINS, "red", {"apples", "car"}),
        ("tags", FilterOperator.ANY, ["fruit", "red"], {"apples", "pears", "car"}),
        ("tags", FilterOperator.ALL, ["fruit", "red"], {"apples"}),
        ("note", FilterOperator.TEXT_MATCH, "pears", {"pears"}),
        ("note", FilterOperator.IS_EMPTY, None, {"apples", "car"}),
    ],
)
def test_each_operator_filters(
    store: NestlingVectorStore, key: str, operator: FilterOperator, value: Any, expected: set[str]
) -> None:
    filters = MetadataFilters(filters=[MetadataFilter(key=key, value=value, operator=operator)])
    assert {found.node_id for found in store.get_nodes(filters=filters)} == expected
    assert set(store.query(query_of("red", filters=filters)).ids or ()) == expected


def test_conditions_nest(store: NestlingVectorStore) -> None:
    old, new = (MetadataFilter(key="year", value=year) for year in (2019, 2023))
    either = MetadataFilters(filters=[old, new], condition=FilterCondition.OR)
    neither = MetadataFilters(filters=[old, new], condition=FilterCondition.NOT)
    nested = MetadataFilters(filters=[either, MetadataFilter(key="tags", value="fruit")])
    nested.filters[1].operator = FilterOperator.CONTAINS
    assert set(store.query(query_of("a", filters=either)).ids or ()) == {"apples", "car"}
    assert store.query(query_of("a", filters=neither)).ids == ["pears"]
    assert store.query(query_of("a", filters=nested)).ids == ["apples"]
    assert len(store.query(query_of("a", filters=MetadataFilters(filters=[]))).ids or ()) == 3


def test_filters_that_cannot_be_expressed_are_refused(store: NestlingVectorStore) -> None:
    for operator in (FilterOperator.TEXT_MATCH_INSENSITIVE, FilterOperator.ANY):
        part = MetadataFilter(key="note", value="PEARS", operator=operator)
        with pytest.raises(FilterError, match="note: "):
            store.get_nodes(filters=MetadataFilters(filters=[part]))


def test_queries_are_restricted_to_ids_of_nodes_and_sources(store: NestlingVectorStore) -> None:
    assert store.query(query_of("red", node_ids=["pears"])).ids == ["pears"]
    assert store.query(query_of("red", doc_ids=["from car"])).ids == ["car"]
    assert store.query(query_of("red", doc_ids=["from car"], node_ids=["pears"])).ids == []


def test_deletions(store: NestlingVectorStore) -> None:
    store.delete("from car")
    assert [found.node_id for found in store.get_nodes()] == ["apples", "pears"]
    store.delete_nodes()
    assert len(store.collection) == 2
    year = MetadataFilters(filters=[MetadataFilter(key="year", value=2019)])
    store.delete_nodes(["pears"], year)
    assert len(store.collection) == 2
    store.delete_nodes(filters=year)
    assert [found.node_id for found in store.get_nodes()] == ["pears"]
    asyncio.run(store.aclear())
    assert store.get_nodes() == []


def test_an_index_uses_it_and_is_reopened(tmp_path: Path) -> None:
    documents = [Document(id_=id, text=text, metadata=data) for id, (text, data) in NODES.items()]
    embedding = HashingEmbedding()
    with NestlingVectorStore(tmp_path / "store", dim=64) as store:
        context = StorageContext.from_defaults(vector_store=store)
        index = VectorStoreIndex.from_documents(
            documents, storage_context=context, embed_model=embedding
        )
        index.insert(Document(id_="bread", text="bread is made of flour"))
        index.delete_ref_doc("apples")
        assert len(store.collection) == 3
    with NestlingVectorStore(tmp_path / "store") as store:
        index = VectorStoreIndex.from_vector_store(store, embed_model=embedding)
        (best,) = index.as_retriever(similarity_top_k=1).retrieve("what is bread made of?")
        assert best.node.ref_doc_id == "bread"
        hybrid = index.as_retriever(similarity_top_k=1, vector_store_query_mode="hybrid", alpha=0.5)
        assert hybrid.retrieve("car")[0].node.ref_doc_id == "car"
