"""LlamaIndex's own flows over a collection: ingestion pipelines, indexes, persistence."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the library, when it is imported
    pytest.importorskip("llama_index.core")

from hashing_encoder import HashingEncoder
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_index.core import (
    Document,
    StorageContext,
    VectorStoreIndex,
    load_index_from_storage,
)
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters

from nestling.errors import EncoderMismatchError
from nestling.integrations.llama_index import NestlingVectorStore

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ENCODER = HashingEncoder(dim=64)


class HashingEmbedding(BaseEmbedding):
    def _get_text_embedding(self, text: str) -> list[float]:
        embedding: list[float] = ENCODER.encode([text])[0].tolist()
        return embedding

    _get_query_embedding = _get_text_embedding

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


class OtherEmbedding(HashingEmbedding):
    """Another class."""


EMBEDDING = HashingEmbedding(model_name="hash")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[NestlingVectorStore]:
    with NestlingVectorStore(tmp_path / "store", embed_model=EMBEDDING) as store:
        yield store


def documents(texts: dict[str, str]) -> list[Document]:
    return [Document(id_=id, text=text, metadata={"kind": id[0]}) for id, text in texts.items()]


def stored(store: NestlingVectorStore) -> dict[str, str]:
    return {str(node.ref_doc_id): node.get_content() for node in store.get_nodes()}


def pipeline(store: NestlingVectorStore, strategy: DocstoreStrategy) -> IngestionPipeline:
    return IngestionPipeline(
        transformations=[SentenceSplitter(chunk_size=256), EMBEDDING],
        vector_store=store,
        docstore=SimpleDocumentStore(),
        docstore_strategy=strategy,
    )


@pytest.mark.parametrize("asynchronous", [False, True], ids=["run", "arun"])
@pytest.mark.parametrize("strategy", list(DocstoreStrategy), ids=lambda s: s.value)
def test_ingestion_skips_replaces_and_deletes(
    store: NestlingVectorStore, strategy: DocstoreStrategy, asynchronous: bool, tmp_path: Path
) -> None:
    made = pipeline(store, strategy)

    def run(texts: dict[str, str]) -> int:
        if asynchronous:
            return len(asyncio.run(made.arun(documents=documents(texts))))
        return len(made.run(documents=documents(texts)))

    assert run({"a": "bread", "b": "water"}) == 2
    assert run({"a": "bread", "b": "water"}) == 0
    assert stored(store) == {"a": "bread", "b": "water"}
    made.persist(str(tmp_path / "pipeline"))
    made = pipeline(store, strategy)
    made.load(str(tmp_path / "pipeline"))
    assert run({"a": "rye bread", "c": "wine"}) == 2
    texts = [node.get_content() for node in store.get_nodes()]
    if strategy == DocstoreStrategy.UPSERTS:
        assert sorted(texts) == ["rye bread", "water", "wine"]
    elif strategy == DocstoreStrategy.UPSERTS_AND_DELETE:
        assert sorted(texts) == ["rye bread", "wine"]
    else:
        assert sorted(texts) == ["bread", "rye bread", "water", "wine"]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from("abcd"), st.sampled_from("uvwxyz"), min_size=1), max_size=5
    ),
    st.booleans(),
)
def test_what_is_stored_is_what_was_ingested(rounds: Sequence[dict[str, str]], full: bool) -> None:
    strategy = DocstoreStrategy.UPSERTS_AND_DELETE if full else DocstoreStrategy.UPSERTS
    with NestlingVectorStore(dim=64) as store:
        made, expected = pipeline(store, strategy), {}
        for texts in rounds:
            made.run(documents=documents(texts))
            expected = texts if full else {**expected, **texts}
            assert stored(store) == expected


def test_an_index_is_inserted_updated_refreshed_and_persisted(
    store: NestlingVectorStore, tmp_path: Path
) -> None:
    context = StorageContext.from_defaults(vector_store=store)
    made = VectorStoreIndex.from_documents(
        documents({"a": "bread is made of flour", "b": "water is wet"}),
        storage_context=context,
        embed_model=EMBEDDING,
        store_nodes_override=True,  # and keep the nodes, so that documents can be refreshed
    )
    made.insert(documents({"c": "cars need fuel"})[0])
    made.update_ref_doc(documents({"b": "water is cold"})[0])
    refreshed = made.refresh_ref_docs(documents({"a": "bread is made of rye", "c": "cars"}))
    assert list(refreshed) == [True, True]
    made.delete_ref_doc("c", delete_from_docstore=True)
    assert stored(store) == {"a": "bread is made of rye", "b": "water is cold"}
    context.persist(str(tmp_path / "context"))
    again = load_index_from_storage(
        StorageContext.from_defaults(vector_store=store, persist_dir=str(tmp_path / "context")),
        embed_model=EMBEDDING,
    )
    (best,) = again.as_retriever(similarity_top_k=1).retrieve("what is bread made of?")
    assert best.node.ref_doc_id == "a"


def test_retrievers_of_each_mode(store: NestlingVectorStore) -> None:
    context = StorageContext.from_defaults(vector_store=store)
    made = VectorStoreIndex.from_documents(
        documents({"a": "red wine", "b": "white bread", "c": "cold water"}),
        storage_context=context,
        embed_model=EMBEDDING,
    )
    for mode in ("default", "text_search", "sparse", "hybrid"):
        retriever = made.as_retriever(similarity_top_k=1, vector_store_query_mode=mode)
        found = (retriever.retrieve("white bread"), asyncio.run(retriever.aretrieve("white bread")))
        assert [[hit.node.ref_doc_id for hit in hits] for hits in found] == [["b"], ["b"]]
    twice = Document(id_="d", text="white bread again", metadata={"kind": "d"})
    made.insert(twice)
    for threshold, alike in ((0.95, True), (0.05, False)):
        retriever = made.as_retriever(
            similarity_top_k=2,
            vector_store_query_mode="mmr",
            vector_store_kwargs={"mmr_threshold": threshold},
        )
        ids = {hit.node.ref_doc_id for hit in retriever.retrieve("white bread red")}
        assert len(ids) == 2
        assert (ids == {"b", "d"}) == alike
    assert made.as_retriever(doc_ids=["no"], vector_store_query_mode="mmr").retrieve("a") == []
    only = MetadataFilters(filters=[MetadataFilter(key="kind", value="a")])
    (hit,) = made.as_retriever(filters=only).retrieve("white bread")
    assert hit.node.ref_doc_id == "a"
    nodes = made.as_retriever(doc_ids=["c"]).retrieve("white bread")
    assert [hit.node.ref_doc_id for hit in nodes] == ["c"]


@pytest.mark.parametrize(
    "other",
    [OtherEmbedding(model_name="hash"), HashingEmbedding(model_name="other")],
    ids=["class", "model"],
)
def test_another_embedding_model_is_refused(tmp_path: Path, other: BaseEmbedding) -> None:
    with NestlingVectorStore(tmp_path / "c", embed_model=EMBEDDING) as store:
        store.add([])
        assert store.collection.dim == 64
    NestlingVectorStore(tmp_path / "c").close()
    slower = HashingEmbedding(model_name="hash", embed_batch_size=3)
    NestlingVectorStore(tmp_path / "c", embed_model=slower).close()
    with pytest.raises(EncoderMismatchError, match="HashingEmbedding"):
        NestlingVectorStore(tmp_path / "c", embed_model=other)
    NestlingVectorStore(tmp_path / "c", embed_model=other, same_encoder=True).close()
    NestlingVectorStore(tmp_path / "c", embed_model=other).close()


def test_its_collection_is_searched_with_texts(store: NestlingVectorStore) -> None:
    made: Any = pipeline(store, DocstoreStrategy.UPSERTS)
    made.run(documents=documents({"a": "red wine", "b": "white bread"}))
    assert store.collection.search("bread", k=1)[0].text == "white bread"
