"""LangChain's own flows over a collection: indexing with a record manager, retrievers, suites."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langchain_core")
unit = pytest.importorskip("langchain_tests.unit_tests.embeddings")
integration = pytest.importorskip("langchain_tests.integration_tests.embeddings")

from hashing_encoder import HashingEncoder  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from langchain_core.documents import Document  # noqa: E402
from langchain_core.embeddings import Embeddings  # noqa: E402
from langchain_core.indexing import InMemoryRecordManager, aindex, index  # noqa: E402

from nestling.errors import EncoderMismatchError  # noqa: E402
from nestling.integrations.langchain import (  # noqa: E402
    NestlingEmbeddings,
    NestlingVectorStore,
)

CLEANUPS = (None, "incremental", "full", "scoped_full")


class Named(Embeddings):
    """Embeddings with the settings that those of services have."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = HashingEncoder(dim=8).encode(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


class Renamed(Named):
    """Another class with the same settings."""


class TestUnitSuite(unit.EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[NestlingEmbeddings]:
        return NestlingEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"encoder": HashingEncoder(dim=8)}


class TestIntegrationSuite(integration.EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[NestlingEmbeddings]:
        return NestlingEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"encoder": HashingEncoder(dim=8)}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[NestlingVectorStore]:
    with NestlingVectorStore(HashingEncoder(dim=32), tmp_path / "store") as store:
        yield store


def documents(texts: Sequence[str], source: str = "a") -> list[Document]:
    return [Document(page_content=text, metadata={"source": source}) for text in texts]


def stored(store: NestlingVectorStore) -> list[tuple[str, str]]:
    return sorted((d.text, d.metadata["source"]) for d in store.collection)


class Indexing:
    """Calls `index` or `aindex` of LangChain, and keeps the record manager."""

    def __init__(self, store: NestlingVectorStore, *, asynchronous: bool = False) -> None:
        self.store, self.asynchronous = store, asynchronous
        self.records = InMemoryRecordManager("test")
        self.records.create_schema()

    def __call__(self, found: Sequence[Document], **options: Any) -> dict[str, int]:
        arguments = {"source_id_key": "source", "key_encoder": "sha256", **options}
        if self.asynchronous:
            counts: Any = asyncio.run(aindex(found, self.records, self.store, **arguments))
        else:
            counts = index(found, self.records, self.store, **arguments)
        return dict(counts)


def counts(added: int, deleted: int, skipped: int, updated: int = 0) -> dict[str, int]:
    return {
        "num_added": added,
        "num_deleted": deleted,
        "num_skipped": skipped,
        "num_updated": updated,
    }


@pytest.mark.parametrize("asynchronous", [False, True], ids=["index", "aindex"])
@pytest.mark.parametrize("cleanup", CLEANUPS)
def test_indexing_adds_skips_and_cleans_up(
    store: NestlingVectorStore, cleanup: Any, asynchronous: bool
) -> None:
    run = Indexing(store, asynchronous=asynchronous)
    first = documents(["bread", "water"]) + documents(["wine"], "b")
    assert run(first, cleanup=cleanup, batch_size=2) == counts(3, 0, 0)
    assert run(first, cleanup=cleanup) == counts(0, 0, 3)
    changed = documents(["bread", "cheese"])  # "water" became "cheese"; source b is not named
    gone = {None: 0, "incremental": 1, "scoped_full": 1, "full": 2}[cleanup]
    assert run(changed, cleanup=cleanup) == counts(1, gone, 1)
    kept = {("bread", "a"), ("cheese", "a")}
    kept |= {("wine", "b")} if cleanup != "full" else set()
    kept |= {("water", "a")} if cleanup is None else set()
    assert set(stored(store)) == kept
    assert run(changed, cleanup=cleanup, force_update=True) == counts(0, 0, 0, 2)
    assert set(stored(store)) == kept
    assert [d.page_content for d in store.similarity_search("cheese", k=1)] == ["cheese"]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("uvwxyz"))), max_size=5),
    st.sampled_from(["full", None]),
    st.integers(1, 4),
)
def test_what_is_stored_is_what_was_indexed(
    rounds: list[list[tuple[str, str]]], cleanup: Any, batch: int
) -> None:
    """With "full" the last call's documents remain, without a clean-up all that ever came."""
    with NestlingVectorStore(HashingEncoder(dim=8)) as store:
        run, expected = Indexing(store), set()
        for found in rounds:
            run(
                [Document(page_content=text, metadata={"source": s}) for s, text in found],
                cleanup=cleanup,
                batch_size=batch,
            )
            now = {(text, source) for source, text in found}
            expected = now if cleanup == "full" else expected | now
            assert stored(store) == sorted(expected)


def test_keywords_for_other_stores_are_ignored_and_its_own_are_not(
    store: NestlingVectorStore,
) -> None:
    (id,) = store.add_documents(documents(["bread"]), batch_size=10, bulk=True)
    assert store.add_texts(["x"], [{"source": "a"}], ids=[id], on_conflict="skip") == [id]
    assert stored(store) == [("bread", "a")]
    assert asyncio.run(store.aadd_documents(documents(["water"]), batch_size=1))
    assert len(store.collection) == 2


@pytest.mark.parametrize(
    "options",
    [
        {"search_type": "similarity", "search_kwargs": {"k": 1}},
        {"search_type": "similarity", "search_kwargs": {"k": 1, "mode": "hybrid"}},
        {"search_type": "mmr", "search_kwargs": {"k": 1, "fetch_k": 2, "lambda_mult": 0.9}},
        {
            "search_type": "similarity_score_threshold",
            "search_kwargs": {"score_threshold": 0.5, "k": 1},
        },
    ],
    ids=["similarity", "hybrid", "mmr", "threshold"],
)
def test_retrievers_of_each_kind(store: NestlingVectorStore, options: dict[str, Any]) -> None:
    store.add_documents(documents(["red wine", "white bread", "cold water"]))
    retriever = store.as_retriever(**options)
    for found in (retriever.invoke("red wine"), asyncio.run(retriever.ainvoke("red wine"))):
        assert [document.page_content for document in found] == ["red wine"]
    both = retriever.batch(["red wine", "cold water"])
    assert [[d.page_content for d in found] for found in both] == [["red wine"], ["cold water"]]
    filtered = store.as_retriever(search_kwargs={"filter": {"source": "b"}})
    assert filtered.invoke("red wine") == []
    again = asyncio.run(store.as_retriever().aadd_documents(documents(["green tea"])))
    assert store.get_by_ids(again)[0].page_content == "green tea"
    assert asyncio.run(store.aget_by_ids(again)) == store.get_by_ids(again)
    assert asyncio.run(store.adelete(again))
    assert store.get_by_ids(again) == []


def test_every_asynchronous_search_equals_the_other(store: NestlingVectorStore) -> None:
    store.add_documents(documents(["red wine", "white bread", "cold water"]))
    vector = store.embeddings.embed_query("red bread")
    for name, target in (
        ("similarity_search", "red bread"),
        ("similarity_search_with_score", "red bread"),
        ("similarity_search_with_relevance_scores", "red bread"),
        ("similarity_search_by_vector", vector),
        ("max_marginal_relevance_search", "red bread"),
        ("max_marginal_relevance_search_by_vector", vector),
    ):
        found = getattr(store, name)(target, k=2)
        assert len(found) == 2
        assert asyncio.run(getattr(store, f"a{name}")(target, k=2)) == found, name
    made = asyncio.run(NestlingVectorStore.afrom_texts(["bread"], store.embeddings))
    with made:
        assert len(made.collection) == 1


MODEL = {"model": "small", "dimensions": 8}


@pytest.mark.parametrize(
    "other",
    [
        Named(model="large", dimensions=8),
        Named(model="small"),
        Named(model="small", dimensions=8, revision="2"),
        Named(model_name="small", dimensions=8),
        Named(**MODEL, underlying_embeddings=Named(model="x")),
        Renamed(**MODEL),
        NestlingEmbeddings(HashingEncoder(dim=8)),
    ],
    ids=["model", "dimensions", "revision", "attribute", "held", "class", "nestling's"],
)
def test_other_embeddings_are_refused(tmp_path: Path, other: Embeddings) -> None:
    NestlingVectorStore(Named(**MODEL), tmp_path / "c").close()
    with pytest.raises(EncoderMismatchError, match="Named"):
        NestlingVectorStore(other, tmp_path / "c")
    NestlingVectorStore(other, tmp_path / "c", same_encoder=True).close()
    NestlingVectorStore(other, tmp_path / "c").close()


def test_settings_that_leave_the_vectors_alone_may_change(tmp_path: Path) -> None:
    cached = Named(underlying_embeddings=Named(**MODEL), cache_folder="/a", api_key="one")
    NestlingVectorStore(cached, tmp_path / "c").close()
    cached = Named(
        underlying_embeddings=Named(**MODEL, timeout=10, chunk_size=3, revision=None),
        api_key="two",
        callbacks=[print],
    )
    NestlingVectorStore(cached, tmp_path / "c").close()
    cached = Named(underlying_embeddings=Named(model="large", dimensions=8))
    with pytest.raises(EncoderMismatchError):
        NestlingVectorStore(cached, tmp_path / "c")


def test_a_subclass_of_nestlings_embeddings_embeds_as_it_says() -> None:
    class Reversed(NestlingEmbeddings):
        def embed_query(self, text: str) -> list[float]:
            return super().embed_query(text[::-1])

    with NestlingVectorStore(Reversed(HashingEncoder(dim=64))) as store:
        store.add_texts(["bread", "water"])
        assert store.similarity_search("daerb", k=1)[0].page_content == "bread"
