"""Embeddings and a vector store for LangChain. Needs the extra `langchain`.

```python
from nestling.integrations.langchain import NestlingEmbeddings, NestlingVectorStore

store = NestlingVectorStore(NestlingEmbeddings("minilm"), "articles", mode="hybrid")
store.add_texts(["Bread is made of flour and water."], [{"year": 2024}])
store.similarity_search("what makes bread?", k=1, filter={"year": {"$gte": 2020}})
```
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestling.collection import DocumentHit, TextEncoder
from nestling.errors import ArgumentError, PackageError
from nestling.integrations.handle import CollectionBacked, CollectionHandle
from nestling.runtime.text_encoder import class_path, settings_digest

try:
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.runnables import run_in_executor
    from langchain_core.vectorstores import VectorStore
    from langchain_core.vectorstores.utils import maximal_marginal_relevance
except ImportError as error:
    raise PackageError("this needs langchain-core: pip install 'nestling[langchain]'") from error

if TYPE_CHECKING:
    from nestling.collection.collection import Where
    from nestling.collection.ingestor import OnConflict
    from nestling.collection.query.options import Mode

__all__ = ["EmbeddingsEncoder", "NestlingEmbeddings", "NestlingVectorStore"]


class NestlingEmbeddings(Embeddings):
    """An encoder as LangChain's `Embeddings`; the asynchronous methods are inherited.

    Args:
        encoder: A built-in name, a model folder, a hub id, an `Encoder`, or any `TextEncoder`.

    Raises:
        ModelError: The encoder cannot be loaded.

    Example:
        >>> class Letters:
        ...     dim = 2
        ...     def encode(self, texts):
        ...         return np.array([[t.count("a"), t.count("e")] for t in texts], np.float32)
        ...     encode_queries = encode
        >>> NestlingEmbeddings(Letters()).embed_query("bread")
        [1.0, 1.0]
        >>> len(NestlingEmbeddings("minilm").embed_query("what makes bread?"))  # doctest: +MODEL
        384
    """

    def __init__(self, encoder: str | os.PathLike[str] | TextEncoder = "minilm") -> None:
        if isinstance(encoder, (str, os.PathLike)):
            from nestling.encoder import Encoder

            encoder = Encoder(os.fspath(encoder))
        self.encoder: TextEncoder = encoder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Returns one embedding per document.

        Example:
            >>> embeddings = NestlingEmbeddings("minilm")  # doctest: +MODEL
            >>> len(embeddings.embed_documents(["bread", "river"]))  # doctest: +MODEL
            2
        """
        return [] if not texts else np.asarray(self.encoder.encode(texts)).tolist()

    def embed_query(self, text: str) -> list[float]:
        """Returns the embedding of a query.

        Example:
            >>> len(NestlingEmbeddings("minilm").embed_query("bread"))  # doctest: +MODEL
            384
        """
        embedding: list[float] = np.asarray(self.encoder.encode_queries([text]))[0].tolist()
        return embedding


class EmbeddingsEncoder:
    """Any `Embeddings` of LangChain as the encoder of a collection, a `TextEncoder`.

    To a collection it is an encoder of the embeddings' class, with a digest of the settings that
    name their model (`nestling.runtime.text_encoder.settings_digest`): other embeddings are
    refused, those of a new process are the same.

    Args:
        embeddings: The embeddings.

    Attributes:
        embeddings: As given.
        name: The name of their class.
        class_path: The import path of their class.
        fingerprint: The digest of their settings; None if none of these names a model.

    Example:
        >>> from langchain_core.embeddings import DeterministicFakeEmbedding
        >>> encoder = EmbeddingsEncoder(DeterministicFakeEmbedding(size=8))
        >>> encoder.name, encoder.dim
        ('DeterministicFakeEmbedding', 8)
    """

    def __init__(self, embeddings: Embeddings) -> None:
        self.embeddings = embeddings
        self.name = type(embeddings).__qualname__
        self.class_path = class_path(type(embeddings))
        self.fingerprint = settings_digest(embeddings)

    @cached_property
    def dim(self) -> int:
        """Dimensions of an embedding, found by embedding a word on first use.

        Example:
            >>> from langchain_core.embeddings import DeterministicFakeEmbedding
            >>> EmbeddingsEncoder(DeterministicFakeEmbedding(size=8)).dim
            8
        """
        return len(self.embeddings.embed_query("dimensions"))

    def encode(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """Returns the embeddings of documents, (n, dim) float32.

        Example:
            >>> from langchain_core.embeddings import DeterministicFakeEmbedding
            >>> encoder = EmbeddingsEncoder(DeterministicFakeEmbedding(size=8))
            >>> encoder.encode(["bread", "river"]).shape
            (2, 8)
        """
        return np.array(self.embeddings.embed_documents(list(texts)), np.float32)

    def encode_queries(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """Returns the embeddings of queries, (n, dim) float32.

        Example:
            >>> from langchain_core.embeddings import DeterministicFakeEmbedding
            >>> encoder = EmbeddingsEncoder(DeterministicFakeEmbedding(size=8))
            >>> encoder.encode_queries(["bread"]).shape
            (1, 8)
        """
        return np.array([self.embeddings.embed_query(text) for text in texts], np.float32)


class NestlingVectorStore(CollectionBacked, VectorStore):
    """A collection as LangChain's `VectorStore`.

    A document of LangChain is stored as one passage. Every method may be called from any thread;
    the asynchronous ones, inherited, run in LangChain's executor.

    Args:
        embedding: LangChain's `Embeddings`, or an encoder as for `NestlingEmbeddings`.
        path: The folder of the collection, created if there is none. None: a temporary one, removed
            when the store is closed or garbage-collected.
        mode: Default ranking of searches by text: "dense", "lexical" or "hybrid".
        options: Other arguments of `nestling.Collection`: `fields`, `funnel`, `metric` and so on.

    A `filter` of any method is one of nestling's, such as `{"year": {"$gte": 2020}}`; further
    keyword arguments of searches are those of `Collection.search`.

    Raises:
        FormatError, EncoderMismatchError, ModelError, StorageError, ArgumentError: As for
            `nestling.Collection`.

    Example:
        >>> from langchain_core.embeddings import DeterministicFakeEmbedding
        >>> with NestlingVectorStore(DeterministicFakeEmbedding(size=8), "articles") as store:
        ...     _ = store.add_texts(["Bread is made of flour.", "Rivers flow."])
        ...     store.similarity_search("flour", k=1, mode="lexical")[0].page_content
        'Bread is made of flour.'
    """

    def __init__(
        self,
        embedding: Embeddings | TextEncoder | str | os.PathLike[str],
        path: str | os.PathLike[str] | None = None,
        *,
        mode: Mode = "dense",
        **options: Any,
    ) -> None:
        if not isinstance(embedding, Embeddings):
            embedding = NestlingEmbeddings(embedding)
        self._embeddings: Embeddings = embedding
        # A subclass may embed in another way than its encoder.
        is_own = type(embedding) is NestlingEmbeddings
        encoder = embedding.encoder if is_own else EmbeddingsEncoder(embedding)
        self._mode: Mode = mode
        self._handle = CollectionHandle(path, encoder, **options)

    @property
    def embeddings(self) -> Embeddings:
        """The embeddings of texts and queries."""
        return self._embeddings

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **options: Any,
    ) -> NestlingVectorStore:
        """Returns a store with these texts; `options` are the other arguments of the class.

        Example:
            >>> from langchain_core.embeddings import DeterministicFakeEmbedding
            >>> embedding = DeterministicFakeEmbedding(size=8)
            >>> with NestlingVectorStore.from_texts(["bread", "river"], embedding) as store:
            ...     len(store.collection)
            2
        """
        store = cls(embedding, **options)
        try:
            store.add_texts(texts, metadatas, ids=ids)
        except BaseException:
            store.close()
            raise
        return store

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: Iterable[dict[str, Any]] | None = None,
        *,
        ids: Iterable[str] | None = None,
        on_conflict: OnConflict = "replace",
        progress: bool | None = False,
        **_: Any,
    ) -> list[str]:
        """Adds texts, replaces those whose ids are stored, and returns the ids.

        Args:
            texts: The texts, one document each.
            metadatas: One per text.
            ids: One per text, or None. A text without an id gets a digest of itself and its
                metadata, so that a text that is added twice is stored once.
            on_conflict: As for `Collection.add`.
            progress: As for `Collection.add`.

        Other keywords are ignored, as LangChain hands its own to every store: `index` a
        `batch_size`.

        Raises:
            DocumentError, MetadataError, IdError, LockedError, StorageError: As for
                `Collection.add`.

        Example:
            >>> from langchain_core.embeddings import DeterministicFakeEmbedding
            >>> with NestlingVectorStore(DeterministicFakeEmbedding(size=8)) as store:
            ...     store.add_texts(["bread"], [{"year": 2024}], ids=["a"])
            ['a']
        """
        added = self.collection.add(
            list(texts), ids, metadatas or None, on_conflict=on_conflict, progress=progress
        )
        return added.ids or []

    def delete(
        self, ids: list[str] | None = None, *, filter: Where | None = None, **_: Any
    ) -> bool:
        """Removes documents by ids, by a filter, or by both; without either all, as in LangChain.

        Raises:
            FilterError, LockedError, StorageError: As for `Collection.delete`.

        Example:
            >>> from langchain_core.embeddings import DeterministicFakeEmbedding
            >>> with NestlingVectorStore(DeterministicFakeEmbedding(size=8)) as store:
            ...     _ = store.add_texts(["bread", "river"], ids=["a", "b"])
            ...     store.delete(["a"]), len(store.collection)
            (True, 1)
        """
        where = {} if ids is None and filter is None else filter
        self.collection.delete(ids, where=where)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Returns the documents of ids, in their order; unknown ids are left out.

        Example:
            >>> from langchain_core.embeddings import DeterministicFakeEmbedding
            >>> with NestlingVectorStore(DeterministicFakeEmbedding(size=8)) as store:
            ...     _ = store.add_texts(["bread"], ids=["a"])
            ...     [document.page_content for document in store.get_by_ids(["b", "a"])]
            ['bread']
        """
        return [
            Document(id=found.id, page_content=found.text, metadata=found.metadata)
            for found in self.collection.get(list(ids))
            if found is not None
        ]

    def similarity_search(
        self, query: str, k: int = 4, filter: Where | None = None, **options: Any
    ) -> list[Document]:
        """Returns the k best documents.

        Args:
            query: A text.
            k: Documents to return.
            filter: A filter of their metadata.
            options: `mode`, and other arguments of `Collection.search`.

        Raises:
            ArgumentError, FilterError, FunnelError: As for `Collection.search`.

        Example:
            >>> from langchain_core.embeddings import DeterministicFakeEmbedding
            >>> with NestlingVectorStore(DeterministicFakeEmbedding(size=8)) as store:
            ...     _ = store.add_texts(["bread", "river"])
            ...     store.similarity_search("bread", k=1)[0].page_content
            'bread'
        """
        return [_document(hit) for hit in self._search(query, k, filter, **options)]

    def similarity_search_with_score(
        self, query: str, k: int = 4, filter: Where | None = None, **options: Any
    ) -> list[tuple[Document, float]]:
        """Returns the k best documents with their scores; higher is better.

        Scores are cosines or inner products in mode "dense", BM25 in "lexical". In "hybrid" they
        are the fused scores: weighted sums of both, scaled to 0..1, or with `fusion="rrf"` sums of
        reciprocal ranks.

        Example:
            >>> from langchain_core.embeddings import DeterministicFakeEmbedding
            >>> with NestlingVectorStore(DeterministicFakeEmbedding(size=8)) as store:
            ...     _ = store.add_texts(["bread", "river"])
            ...     ((document, score),) = store.similarity_search_with_score("bread", k=1)
            >>> document.page_content, round(score, 2)
            ('bread', 1.0)
        """
        return [(_document(hit), hit.score) for hit in self._search(query, k, filter, **options)]

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, filter: Where | None = None, **options: Any
    ) -> list[Document]:
        """Returns the k documents nearest to an embedding.

        Example:
            >>> from langchain_core.embeddings import DeterministicFakeEmbedding
            >>> with NestlingVectorStore(DeterministicFakeEmbedding(size=8)) as store:
            ...     _ = store.add_texts(["bread", "river"])
            ...     embedding = store.embeddings.embed_query("river")
            ...     store.similarity_search_by_vector(embedding, k=1)[0].page_content
            'river'
        """
        hits = self._search(embedding, k, filter, **{**options, "mode": "dense"})
        return [_document(hit) for hit in hits]

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Where | None = None,
        **options: Any,
    ) -> list[Document]:
        """Returns documents near to a query but different from each other.

        Args:
            query: A text.
            k: Documents to return.
            fetch_k: Nearest documents to choose from.
            lambda_mult: From 0, the most different from each other, to 1, the nearest.
            filter: A filter of their metadata.
            options: Other arguments of `Collection.search`.

        Example:
            >>> from langchain_core.embeddings import DeterministicFakeEmbedding
            >>> with NestlingVectorStore(DeterministicFakeEmbedding(size=8)) as store:
            ...     _ = store.add_texts(["bread", "river", "stone"])
            ...     len(store.max_marginal_relevance_search("bread", k=2))
            2
        """
        vector = self._embeddings.embed_query(query)
        return self.max_marginal_relevance_search_by_vector(
            vector, k, fetch_k, lambda_mult, filter, **options
        )

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Where | None = None,
        **options: Any,
    ) -> list[Document]:
        """Returns documents near to an embedding but different from each other.

        Example:
            >>> from langchain_core.embeddings import DeterministicFakeEmbedding
            >>> with NestlingVectorStore(DeterministicFakeEmbedding(size=8)) as store:
            ...     _ = store.add_texts(["bread", "river", "stone"])
            ...     embedding = store.embeddings.embed_query("river")
            ...     len(store.max_marginal_relevance_search_by_vector(embedding, k=2))
            2
        """
        include = ("text", "metadata", "vector")
        options = {**options, "mode": "dense", "include": include}
        hits = list(self._search(embedding, fetch_k, filter, **options))
        vectors = [hit.vector for hit in hits]
        chosen = maximal_marginal_relevance(np.array(embedding), vectors, lambda_mult, k)
        return [_document(hits[position]) for position in chosen]

    def _search(
        self, query: str | ArrayLike, k: int, filter: Where | None, **options: Any
    ) -> Iterable[DocumentHit]:
        options.setdefault("mode", self._mode)
        hits: Any = self.collection.search(query, k, filter, **options)
        return hits  # type: ignore[no-any-return]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return self._relevance(self._mode)

    def _relevance(self, mode: Mode) -> Callable[[float], float]:
        """Returns the map of scores to 0..1: cosines stay, negative ones become 0."""
        if mode != "dense" or self.collection.metric != "cosine":
            raise ArgumentError(
                "relevance from 0 to 1, and score_threshold, need mode='dense' and cosines; scores "
                f"of mode {mode!r} with metric {self.collection.metric!r} have no such range"
            )
        return lambda score: min(max(score, 0.0), 1.0)

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **options: Any
    ) -> list[tuple[Document, float]]:
        relevance = self._relevance(options.get("mode", self._mode))
        found = self.similarity_search_with_score(query, k, **options)
        return [(document, relevance(score)) for document, score in found]

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **options: Any
    ) -> list[tuple[Document, float]]:
        search = self._similarity_search_with_relevance_scores
        found: list[tuple[Document, float]] = await run_in_executor(
            None, search, query, k, **options
        )
        return found


def _document(hit: DocumentHit) -> Document:
    return Document(id=hit.id, page_content=hit.text or "", metadata=hit.metadata or {})
