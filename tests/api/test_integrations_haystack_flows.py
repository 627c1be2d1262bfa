"""Haystack's own flows over a collection: indexing and retrieval pipelines, saved and loaded."""

# No `from __future__ import annotations`: Haystack inspects the types of a component's `run`.

import asyncio
import inspect
import warnings
from pathlib import Path
from typing import Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the library, when it is imported
    pytest.importorskip("haystack")

import haystack
from hashing_encoder import HashingEncoder
from haystack import Document, Pipeline, component
from haystack.components.joiners import DocumentJoiner
from haystack.components.preprocessors import DocumentSplitter
from haystack.components.writers import DocumentWriter
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy
from hypothesis import given, settings
from hypothesis import strategies as st

from nestling.errors import ArgumentError, EncoderMismatchError, VectorError
from nestling.integrations.haystack import (
    NestlingDocumentStore,
    NestlingEmbeddingRetriever,
    NestlingHybridRetriever,
    NestlingTextRetriever,
)

ENCODER = HashingEncoder(dim=64)
MODULES = ["nestling.integrations.haystack", "test_integrations_haystack_flows"]


def embed(text: str) -> list[float]:
    embedding: list[float] = ENCODER.encode([text])[0].tolist()
    return embedding


@component
class Embedder:
    """Embeds documents, as Haystack's own embedders do."""

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, list[Document]]:
        return {
            "documents": [
                Document(id=d.id, content=d.content, meta=d.meta, embedding=embed(d.content or ""))
                for d in documents
            ]
        }


@component
class QueryEmbedder:
    """Embeds a query."""

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, list[float]]:
        return {"embedding": embed(text)}


def indexing(store: NestlingDocumentStore, policy: DuplicatePolicy) -> Pipeline:
    made = Pipeline()
    made.add_component("splitter", DocumentSplitter(split_by="word", split_length=50))
    made.add_component("embedder", Embedder())
    made.add_component("writer", DocumentWriter(store, policy=policy))
    made.connect("splitter", "embedder")
    made.connect("embedder", "writer")
    return made


def retrieval(store: NestlingDocumentStore) -> Pipeline:
    made = Pipeline()
    made.add_component("embedder", QueryEmbedder())
    made.add_component("meaning", NestlingEmbeddingRetriever(store, top_k=2))
    made.add_component("words", NestlingTextRetriever(store, top_k=2))
    made.add_component("both", NestlingHybridRetriever(store, top_k=2, options={"weight": 0.6}))
    made.add_component("joiner", DocumentJoiner(join_mode="reciprocal_rank_fusion"))
    made.connect("embedder.embedding", "meaning.query_embedding")
    made.connect("embedder.embedding", "both.query_embedding")
    for retriever in ("meaning", "words", "both"):
        made.connect(retriever, "joiner")
    return made


def ask(made: Pipeline, query: str) -> list[str | None]:
    found = made.run(
        {"embedder": {"text": query}, "words": {"query": query}, "both": {"query": query}}
    )
    return [document.content for document in found["joiner"]["documents"]]


def stores_of(made: Pipeline, *names: str) -> list[NestlingDocumentStore]:
    components: list[Any] = [made.get_component(name) for name in names]
    return [one.document_store for one in components]


def trusted(function: Any) -> dict[str, Any]:
    """From version 3 on, modules that a pipeline's file names must be trusted."""
    known = "allowed_modules" in inspect.signature(function).parameters
    return {"allowed_modules": MODULES} if known else {}


def test_pipelines_index_retrieve_and_come_back_from_yaml(tmp_path: Path) -> None:
    texts = ["red wine and cheese", "white bread and butter", "cold water"]
    with NestlingDocumentStore(tmp_path / "c", dim=64, embedding_model="hash") as store:
        wrote = indexing(store, DuplicatePolicy.OVERWRITE).run(
            {"splitter": {"documents": [Document(content=text) for text in texts]}}
        )
        assert wrote["writer"]["documents_written"] == 3
        made = retrieval(store)
        expected = ask(made, "white bread")
        assert expected[0] == texts[1]
        saved, components = made.dumps(), made.to_dict()["components"]
        (tmp_path / "pipeline.yaml").write_text(indexing(store, DuplicatePolicy.SKIP).dumps())
    again = Pipeline.loads(saved, **trusted(Pipeline.loads))
    assert ask(again, "white bread") == expected
    assert again.to_dict()["components"] == components
    with (tmp_path / "pipeline.yaml").open() as stream:
        writing = Pipeline.load(stream, **trusted(Pipeline.load))
    more = [Document(content=text) for text in (*texts, "green tea")]
    assert writing.run({"splitter": {"documents": more}})["writer"]["documents_written"] == 1
    assert ask(again, "green tea")[0] == "green tea"
    for store in (*stores_of(again, "meaning", "words", "both"), *stores_of(writing, "writer")):
        store.close()


def test_an_asynchronous_pipeline_retrieves(tmp_path: Path) -> None:
    # Before version 3, asynchronous pipelines had a class of their own.
    asynchronous = getattr(haystack, "AsyncPipeline", Pipeline)
    if not hasattr(asynchronous, "run_async"):
        pytest.skip("this Haystack runs no asynchronous pipelines")
    with NestlingDocumentStore(tmp_path / "c", dim=64) as store:
        store.write_documents([Document(content=t, embedding=embed(t)) for t in ("red", "blue")])
        made = asynchronous()
        made.add_component("embedder", QueryEmbedder())
        made.add_component("meaning", NestlingEmbeddingRetriever(store, top_k=1))
        made.connect("embedder.embedding", "meaning.query_embedding")
        found = asyncio.run(made.run_async({"embedder": {"text": "blue"}}))
        assert found["meaning"]["documents"][0].content == "blue"


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(DuplicatePolicy)),
            st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("uvwxyz")), max_size=4),
        ),
        max_size=5,
    )
)
def test_each_policy_stores_what_it_says(
    rounds: list[tuple[DuplicatePolicy, list[tuple[str, str]]]],
) -> None:
    expected: dict[str, str] = {}
    with NestlingDocumentStore(dim=2) as store:
        writer = DocumentWriter(store)
        for policy, found in rounds:
            documents = [Document(id=id, content=text, embedding=[1.0, 0.0]) for id, text in found]
            ids = [id for id, _ in found]
            clash = len(set(ids)) < len(ids) or expected.keys() & set(ids)
            if policy in (DuplicatePolicy.NONE, DuplicatePolicy.FAIL) and clash:
                with pytest.raises(DuplicateDocumentError):
                    writer.run(documents, policy=policy)
            else:
                wrote = writer.run(documents, policy=policy)["documents_written"]
                if policy == DuplicatePolicy.SKIP:
                    new: dict[str, str] = {}
                    for id, text in found:
                        new.setdefault(id, text)
                    fresh = {id: text for id, text in new.items() if id not in expected}
                    assert wrote == len(fresh)
                    expected |= fresh
                else:
                    assert wrote == len(found)
                    expected |= dict(found)
            assert {d.id: d.content for d in store.filter_documents()} == expected


def test_the_model_of_the_embeddings_is_compared(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="needs dim"):
        NestlingDocumentStore(tmp_path / "c", embedding_model="one")
    NestlingDocumentStore(tmp_path / "c", dim=2, embedding_model="one").close()
    NestlingDocumentStore(tmp_path / "c", dim=2, embedding_model="one").close()
    NestlingDocumentStore(tmp_path / "c").close()
    with pytest.raises(EncoderMismatchError, match="'one'"):
        NestlingDocumentStore(tmp_path / "c", dim=2, embedding_model="two")
    with (
        NestlingDocumentStore(tmp_path / "c", 2, "two", same_encoder=True) as store,
        pytest.raises(VectorError, match="'two'"),
    ):
        store.collection.search("a text")
    NestlingDocumentStore(tmp_path / "c", dim=2, embedding_model="two").close()
