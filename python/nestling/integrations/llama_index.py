"""A vector store for LlamaIndex. Needs the extra `llama-index`.

```python
from llama_index.core import StorageContext, VectorStoreIndex
from nestling.integrations.llama_index import NestlingVectorStore

store = NestlingVectorStore("articles", dim=384)
context = StorageContext.from_defaults(vector_store=store)
index = VectorStoreIndex.from_documents(documents, storage_context=context)
index.as_retriever(vector_store_query_mode="hybrid", alpha=0.7).retrieve("what makes bread?")
```
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nestling.collection import DocumentHit
from nestling.errors import ArgumentError, PackageError
from nestling.integrations.handle import CollectionBacked, CollectionHandle
from nestling.integrations.llama_index_filters import both, nestling_filter
from nestling.runtime.text_encoder import class_path, settings_digest

try:
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.bridge.pydantic import PrivateAttr
    from llama_index.core.indices.query.embedding_utils import get_top_k_mmr_embeddings
    from llama_index.core.schema import BaseNode, MetadataMode
    from llama_index.core.vector_stores.types import (
        BasePydanticVectorStore,
        MetadataFilters,
        VectorStoreQuery,
        VectorStoreQueryMode,
        VectorStoreQueryResult,
    )
    from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict
except ImportError as error:
    raise PackageError(
        "this needs llama-index-core: pip install 'nestling[llama-index]'"
    ) from error

__all__ = ["EmbeddingEncoder", "NestlingVectorStore"]

_SOURCE: Final = "ref_doc_id"  # metadata fields; this one has LlamaIndex's name
_NODE: Final = "_node_id"
_MODES: Final = {
    VectorStoreQueryMode.DEFAULT: "dense",
    VectorStoreQueryMode.TEXT_SEARCH: "lexical",
    VectorStoreQueryMode.SPARSE: "lexical",
    VectorStoreQueryMode.HYBRID: "hybrid",
    VectorStoreQueryMode.MMR: "dense",
}
_MMR_FETCH: Final = 4  # times as many nodes as are chosen


class EmbeddingEncoder:
    """An embedding model of LlamaIndex as the encoder of a collection, a `TextEncoder`.

    To a collection it is an encoder of the model's class, with a digest of the settings that name
    the model (`nestling.runtime.text_encoder.settings_digest`).

    Args:
        embed_model: The model.

    Attributes:
        embed_model: As given.
        name: The name of its class.
        class_path: The import path of its class.
        fingerprint: The digest of its settings.

    Example:
        >>> from llama_index.core.embeddings import MockEmbedding
        >>> encoder = EmbeddingEncoder(MockEmbedding(embed_dim=8))
        >>> encoder.name, encoder.dim
        ('MockEmbedding', 8)
    """

    def __init__(self, embed_model: BaseEmbedding) -> None:
        self.embed_model = embed_model
        self.name = type(embed_model).__qualname__
        self.class_path = class_path(type(embed_model))
        self.fingerprint = settings_digest(embed_model)

    @cached_property
    def dim(self) -> int:
        """Dimensions of an embedding, found by embedding a word on first use."""
        return len(self.embed_model.get_query_embedding("dimensions"))

    def encode(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """Returns the embeddings of documents, (n, dim) float32.

        Example:
            >>> from llama_index.core.embeddings import MockEmbedding
            >>> EmbeddingEncoder(MockEmbedding(embed_dim=8)).encode(["bread", "river"]).shape
            (2, 8)
        """
        return np.array(self.embed_model.get_text_embedding_batch(list(texts)), np.float32)

    def encode_queries(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """Returns the embeddings of queries, (n, dim) float32.

        Example:
            >>> from llama_index.core.embeddings import MockEmbedding
            >>> EmbeddingEncoder(MockEmbedding(embed_dim=8)).encode_queries(["bread"]).shape
            (1, 8)
        """
        return np.array([self.embed_model.get_query_embedding(t) for t in texts], np.float32)


class NestlingVectorStore(CollectionBacked, BasePydanticVectorStore):
    """A collection as LlamaIndex's vector store: nodes come with their embeddings.

    It stores the nodes themselves, with their text, so that
    `VectorStoreIndex.from_vector_store(store)` opens an index again. Query modes are DEFAULT (by
    meaning), MMR (by meaning, but different from each other; `mmr_threshold` from 0, the most
    different, to 1, the nearest), TEXT_SEARCH and SPARSE (by words, BM25), and HYBRID, where
    `alpha` is the share of the dense ranking. Every method may be called from any thread; the
    asynchronous ones are inherited.

    Args:
        path: The folder of the collection, created if there is none. None: a temporary one, removed
            when the store is closed or garbage-collected.
        dim: Dimensions of the embeddings; optional for an existing collection, and with
            `embed_model`.
        embed_model: The index's embedding model. A collection remembers it and refuses another one.
            None: nothing is remembered or compared.
        options: Other arguments of `nestling.Collection`: `fields`, `funnel`, `metric` and so on.

    Raises:
        ArgumentError: A new collection without `dim`, or as for `nestling.Collection`.
        EncoderMismatchError: The collection was made with another embedding model.
        FormatError, StorageError: As for `nestling.Collection`.

    Example:
        >>> from llama_index.core.schema import TextNode
        >>> from llama_index.core.vector_stores import VectorStoreQuery
        >>> with NestlingVectorStore("articles", dim=2) as store:
        ...     _ = store.add([TextNode(id_="a", text="bread", embedding=[1, 0])])
        ...     store.query(VectorStoreQuery(query_embedding=[1, 0], similarity_top_k=1)).ids
        ['a']
    """

    stores_text: bool = True

    _handle: CollectionHandle = PrivateAttr()

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        dim: int | None = None,
        embed_model: BaseEmbedding | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        fields = dict.fromkeys([*options.pop("fields", ()), _SOURCE, _NODE])
        encoder = None if embed_model is None else EmbeddingEncoder(embed_model)
        self._handle = CollectionHandle.of_vectors(
            path, dim, encoder, fields=list(fields), **options
        )

    @classmethod
    def class_name(cls) -> str:
        """Returns the name by which LlamaIndex knows the class.

        Example:
            >>> NestlingVectorStore.class_name()
            'NestlingVectorStore'
        """
        return "NestlingVectorStore"

    @property
    def client(self) -> Any:
        """The collection."""
        return self.collection

    def add(self, nodes: Sequence[BaseNode], **options: Any) -> list[str]:
        """Adds nodes with embeddings, replaces those with stored ids, and returns their ids.

        Raises:
            ValueError: A node has no embedding; LlamaIndex's error.
            DocumentError, MetadataError, LockedError, StorageError: As for `Collection.add`.

        Example:
            >>> from llama_index.core.schema import TextNode
            >>> with NestlingVectorStore(dim=2) as store:
            ...     store.add([TextNode(id_="a", text="bread", embedding=[1, 0])])
            ['a']
        """
        documents = [
            {
                "id": node.node_id,
                "text": node.get_content(metadata_mode=MetadataMode.NONE) or "",
                "metadata": {
                    **node_to_metadata_dict(node, remove_text=True),
                    _NODE: node.node_id,
                },
                "vectors": [node.get_embedding()],
            }
            for node in nodes
        ]
        return self.collection.add(documents, progress=False).ids or []

    def delete(self, ref_doc_id: str, **options: Any) -> None:
        """Removes the nodes of a source document.

        Example:
            >>> with NestlingVectorStore(dim=2) as store:
            ...     store.delete("document-1")
        """
        self.collection.delete(where={_SOURCE: ref_doc_id})

    def delete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **options: Any,
    ) -> None:
        """Removes nodes by ids, by filters, or by both; none if neither is given.

        Raises:
            FilterError: A filter cannot be expressed.

        Example:
            >>> from llama_index.core.schema import TextNode
            >>> with NestlingVectorStore(dim=2) as store:
            ...     _ = store.add([TextNode(id_="a", text="bread", embedding=[1, 0])])
            ...     store.delete_nodes(["a"])
            ...     len(store.collection)
            0
        """
        if node_ids is not None or filters is not None:
            self.collection.delete(node_ids, where=nestling_filter(filters))

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Returns nodes by ids, by filters, or by both; without either all.

        They come in the order of storage, without embeddings.

        Raises:
            FilterError: A filter cannot be expressed.

        Example:
            >>> from llama_index.core.schema import TextNode
            >>> with NestlingVectorStore(dim=2) as store:
            ...     _ = store.add([TextNode(id_="a", text="bread", embedding=[1, 0])])
            ...     store.get_nodes(["a"])[0].text
            'bread'
        """
        where = both(nestling_filter(filters), _among(_NODE, node_ids))
        return [
            metadata_dict_to_node(document.metadata, text=document.text)
            for document in self.collection.documents(where)
        ]

    def clear(self) -> None:
        """Removes every node.

        Example:
            >>> from llama_index.core.schema import TextNode
            >>> with NestlingVectorStore(dim=2) as store:
            ...     _ = store.add([TextNode(id_="a", text="bread", embedding=[1, 0])])
            ...     store.clear()
            ...     len(store.collection)
            0
        """
        self.collection.delete(where={})

    def query(self, query: VectorStoreQuery, **options: Any) -> VectorStoreQueryResult:
        """Returns the best nodes of a query with their scores; higher is better.

        Args:
            query: The query.
            options: `mmr_threshold`, `mmr_prefetch_factor` (4: how many times as many nodes are
                chosen from), and other arguments of `Collection.search`: `funnel`, `probes`.

        Raises:
            ArgumentError: The mode is not one of the above, or its text or embedding is missing.
            FilterError: A filter cannot be expressed.

        Example:
            >>> from llama_index.core.schema import TextNode
            >>> from llama_index.core.vector_stores import VectorStoreQuery
            >>> with NestlingVectorStore(dim=2) as store:
            ...     _ = store.add([TextNode(id_="a", text="bread", embedding=[1, 0])])
            ...     store.query(VectorStoreQuery(query_str="bread", mode="text_search")).ids
            ['a']
        """
        named = VectorStoreQueryMode(query.mode)  # it may be a plain string
        mode = _MODES.get(named)
        if mode is None:
            known = ", ".join(mode.value for mode in _MODES)
            raise ArgumentError(f"query mode {named.value!r} is not supported; use {known}")
        target, k = query.query_embedding, query.similarity_top_k
        if mode != "lexical" and target is None:
            raise ArgumentError(f"query mode {named.value!r} needs a query_embedding")
        if mode != "dense":
            if query.query_str is None:
                raise ArgumentError(f"query mode {named.value!r} needs a query_str")
            options["vectors"] = target if mode == "hybrid" else None
            target = query.query_str
        if mode == "hybrid":
            k = query.hybrid_top_k or k
            options["weight"] = "auto" if query.alpha is None else query.alpha
        where = both(nestling_filter(query.filters), _among(_SOURCE, query.doc_ids or None))
        where = both(where, _among(_NODE, query.node_ids or None))  # an index passes [] for none
        collection: Any = self.collection
        if named == VectorStoreQueryMode.MMR:
            threshold = options.pop("mmr_threshold", query.mmr_threshold)
            fetched = round(k * options.pop("mmr_prefetch_factor", _MMR_FETCH))
            include = ("text", "metadata", "vector")
            near = list(collection.search(target, fetched, where, include=include, **options))
            hits = _diverse(near, target, k, threshold)
        else:
            hits = collection.search(target, k, where, mode=mode, **options)
        return VectorStoreQueryResult(
            nodes=[metadata_dict_to_node(hit.metadata, text=hit.text) for hit in hits],
            similarities=[hit.score for hit in hits],
            ids=[hit.id for hit in hits],
        )


def _diverse(
    near: Sequence[DocumentHit], target: Any, k: int, threshold: float | None
) -> list[DocumentHit]:
    """Returns the k hits near to a query but different from each other, by LlamaIndex's rule."""
    if not near:
        return []
    _, chosen = get_top_k_mmr_embeddings(
        target,
        [np.asarray(hit.vector).tolist() for hit in near],
        similarity_top_k=k,
        embedding_ids=list(range(len(near))),
        mmr_threshold=threshold,
    )
    return [near[position] for position in chosen]


def _among(field: str, values: Sequence[str] | None) -> Mapping[str, Any] | None:
    return None if values is None else {field: {"$in": list(values)}}
