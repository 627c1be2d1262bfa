"""Collections as LangChain's vector store: LangChain's test suite, and what it leaves out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("langchain_core")
suite = pytest.importorskip("langchain_tests.integration_tests")

from hashing_encoder import HashingEncoder  # noqa: E402
from langchain_core.documents import Document  # noqa: E402
from langchain_core.embeddings import DeterministicFakeEmbedding  # noqa: E402
from langchain_core.vectorstores import VectorStore  # noqa: E402

import nestling  # noqa: E402
from nestling.collection import TextEncoder  # noqa: E402
from nestling.errors import ArgumentError, EncoderMismatchError, FilterError  # noqa: E402
from nestling.integrations.langchain import (  # noqa: E402
    EmbeddingsEncoder,
    NestlingEmbeddings,
    NestlingVectorStore,
)

TEXTS = ["red apples grow on trees", "green pears grow on trees", "a red car on the road"]
YEARS = [{"year": 2019}, {"year": 2021}, {"year": 2023}]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[NestlingVectorStore]:
    embeddings = NestlingEmbeddings(HashingEncoder())
    with NestlingVectorStore(embeddings, tmp_path / "store") as store:
        store.add_texts(TEXTS, YEARS, ids=["apples", "pears", "car"])
        yield store


class TestStandardSuite(suite.VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self) -> Iterator[VectorStore]:
        with NestlingVectorStore(self.get_embeddings()) as store:
            yield store


def contents(documents: list[Document]) -> list[str]:
    return [document.id or "" for document in documents]


def test_embeddings_are_the_encoders_as_lists() -> None:
    encoder = HashingEncoder()
    embeddings = NestlingEmbeddings(encoder)
    assert embeddings.embed_documents(TEXTS) == encoder.encode(TEXTS).tolist()
    assert embeddings.embed_query(TEXTS[0]) == encoder.encode_queries(TEXTS[:1])[0].tolist()
    assert embeddings.embed_documents([]) == []
    assert asyncio.run(embeddings.aembed_query("a")) == embeddings.embed_query("a")


def test_any_embeddings_are_an_encoder() -> None:
    encoder = EmbeddingsEncoder(DeterministicFakeEmbedding(size=7))
    assert isinstance(encoder, TextEncoder)
    assert encoder.dim == 7
    assert encoder.name == "DeterministicFakeEmbedding"
    assert encoder.encode(["a", "b"]).shape == encoder.encode_queries(["a", "b"]).shape == (2, 7)


def test_searches_filter_score_and_rank_in_each_mode(store: NestlingVectorStore) -> None:
    assert contents(store.similarity_search("red car", k=2)) == ["car", "apples"]
    assert contents(store.similarity_search("red", k=3, filter={"year": {"$lt": 2023}})) == [
        "apples",
        "pears",
    ]
    assert contents(store.similarity_search("pears", mode="lexical")) == ["pears"]
    assert contents(store.similarity_search("pears", k=1, mode="hybrid")) == ["pears"]
    vector = store.embeddings.embed_query("red car")
    assert contents(store.similarity_search_by_vector(vector, k=1)) == ["car"]
    ((best, score),) = store.similarity_search_with_score(TEXTS[0], k=1)
    assert best == Document(id="apples", page_content=TEXTS[0], metadata=YEARS[0])
    assert score == pytest.approx(1, abs=1e-3)
    with pytest.raises(FilterError):
        store.similarity_search("red", filter={"year": {"$near": 2020}})


def test_relevance_is_a_cosine_from_0_to_1(store: NestlingVectorStore) -> None:
    found = store.similarity_search_with_relevance_scores("red apples", k=3)
    assert all(0 <= score <= 1 for _, score in found)
    assert found == asyncio.run(store.asimilarity_search_with_relevance_scores("red apples", k=3))
    retriever = store.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.9}
    )
    assert contents(retriever.invoke(TEXTS[2])) == ["car"]
    with pytest.raises(ArgumentError, match="no such range"):
        store.similarity_search_with_relevance_scores("red", mode="hybrid")


def test_marginal_relevance_prefers_different_documents(tmp_path: Path) -> None:
    with NestlingVectorStore(HashingEncoder()) as store:
        store.add_texts(["red apples", "red apples too", "red car"], ids=["a", "b", "c"])
        assert contents(store.similarity_search("red apples", k=2)) == ["a", "b"]
        unlike = store.max_marginal_relevance_search("red apples", k=2, lambda_mult=0.1)
        assert contents(unlike) == ["a", "c"]
        nearest = store.max_marginal_relevance_search("red apples", k=2, lambda_mult=1)
        assert contents(nearest) == ["a", "b"]
        retriever = store.as_retriever(search_type="mmr", search_kwargs={"k": 1, "fetch_k": 2})
        assert contents(asyncio.run(retriever.ainvoke("red apples"))) == ["a"]


def test_texts_without_ids_are_stored_once(store: NestlingVectorStore) -> None:
    first = store.add_texts(["bread", "water"])
    again = store.add_documents([Document("bread"), Document("wine", id="w")])
    assert again == [first[0], "w"]
    assert len(store.collection) == 6


def test_deletions_by_ids_by_filter_and_of_all(store: NestlingVectorStore) -> None:
    assert store.delete(["car", "absent"])
    assert store.delete(filter={"year": 2019})
    assert contents(store.get_by_ids(["car", "pears", "apples"])) == ["pears"]
    assert store.delete(["pears"], filter={"year": 2019})
    assert len(store.collection) == 1
    assert store.delete([])
    assert len(store.collection) == 1
    assert store.delete()
    assert len(store.collection) == 0


def test_a_stored_collection_is_reopened_with_its_encoder(tmp_path: Path) -> None:
    fake = DeterministicFakeEmbedding(size=8)
    path = tmp_path / "store"
    with NestlingVectorStore.from_texts(TEXTS, fake, YEARS, ids=["a", "b", "c"], path=path) as made:
        assert made.collection.path == path
    with NestlingVectorStore(fake, path) as store:
        assert contents(store.similarity_search(TEXTS[1], k=1)) == ["b"]
    with pytest.raises(EncoderMismatchError):
        NestlingVectorStore(DeterministicFakeEmbedding(size=9), path)
    with nestling.Collection(path) as collection:
        assert collection.search(np.array(fake.embed_query(TEXTS[2])), k=1)[0].id == "c"


def test_a_store_without_a_path_leaves_nothing_behind() -> None:
    store = NestlingVectorStore(HashingEncoder(dim=8))
    path = store.collection.path
    assert path.exists()
    store.close()
    store.close()
    assert not path.exists()
    store = NestlingVectorStore(HashingEncoder(dim=8))
    path = store.collection.path
    del store
    assert not path.exists()
    with pytest.raises(nestling.DocumentError):
        NestlingVectorStore.from_texts(["a\0"], NestlingEmbeddings(HashingEncoder(dim=8)))
