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
from typing import Any, Final

from nestling.errors import PackageError
from nestling.integrations.handle import CollectionBacked, CollectionHandle
from nestling.integrations.llama_index_filters import both, nestling_filter

try:
    from llama_index.core.bridge.pydantic import PrivateAttr
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

__all__ = ["NestlingVectorStore"]

_SOURCE: Final = "ref_doc_id"  # fields of the metadata, the first as LlamaIndex names it
_NODE: Final = "_node_id"
_MODES: Final = {
    VectorStoreQueryMode.DEFAULT: "dense",
    VectorStoreQueryMode.TEXT_SEARCH: "lexical",
    VectorStoreQueryMode.SPARSE: "lexical",
    VectorStoreQueryMode.HYBRID: "hybrid",
}


class NestlingVectorStore(CollectionBacked, BasePydanticVectorStore):
    """A collection as LlamaIndex's vector store: nodes come with their embeddings.

    It stores the nodes themselves, text included, so that an index is opened again by
    `VectorStoreIndex.from_vector_store(store)`. Query modes are DEFAULT (by meaning), TEXT_SEARCH
    and SPARSE (by words, BM25), and HYBRID, where `alpha` is the share of the meaning. Every method
    may be called from any thread; the asynchronous ones are inherited.

    Args:
        path: The folder of the collection, made where there is none. None: a temporary one, gone
            when the store is closed or no longer used.
        dim: Dimensions of the embeddings; may be left out where there is a collection.
        options: Other arguments of `nestling.Collection`: `fields`, `funnel`, `metric` and so on.

    Raises:
        ValueError: A new collection without `dim`; or as for `nestling.Collection`.
        FormatError, StorageError: As for `nestling.Collection`.
    """

    stores_text: bool = True

    _handle: CollectionHandle = PrivateAttr()

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        dim: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        fields = dict.fromkeys([*options.pop("fields", ()), _SOURCE, _NODE])
        self._handle = CollectionHandle.of_vectors(path, dim, fields=list(fields), **options)

    @classmethod
    def class_name(cls) -> str:
        """The name that LlamaIndex files the class under."""
        return "NestlingVectorStore"

    @property
    def client(self) -> Any:
        """The collection."""
        return self.collection

    def add(self, nodes: Sequence[BaseNode], **options: Any) -> list[str]:
        """Adds nodes with embeddings, replaces those that are there, and returns their ids.

        Raises:
            ValueError: A node has no embedding.
            DocumentError, MetadataError, LockedError, StorageError: As for `Collection.add`.
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
        """Removes the nodes of a source document."""
        self.collection.delete(where={_SOURCE: ref_doc_id})

    def delete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **options: Any,
    ) -> None:
        """Removes nodes by ids, by filters, or those that both name; none where neither is given.

        Raises:
            FilterError: A filter cannot be expressed.
        """
        if node_ids is not None or filters is not None:
            self.collection.delete(node_ids, where=nestling_filter(filters))

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Returns nodes by ids, by filters, or those that both name; else all.

        They come in the order of their storage, without embeddings.

        Raises:
            FilterError: A filter cannot be expressed.
        """
        where = both(nestling_filter(filters), _among(_NODE, node_ids))
        return [
            metadata_dict_to_node(document.metadata, text=document.text)
            for document in self.collection.documents(where)
        ]

    def clear(self) -> None:
        """Removes every node."""
        self.collection.delete(where={})

    def query(self, query: VectorStoreQuery, **options: Any) -> VectorStoreQueryResult:
        """Returns the best nodes of a query, with their scores, the higher the better.

        Args:
            query: What to look for.
            options: Other arguments of `Collection.search`: `funnel`, `probes`.

        Raises:
            ValueError: The mode is none of those above, or the query lacks its text or embedding.
            FilterError: A filter cannot be expressed.
        """
        named = VectorStoreQueryMode(query.mode)  # which may be a plain string
        mode = _MODES.get(named)
        if mode is None:
            known = ", ".join(mode.value for mode in _MODES)
            raise ValueError(f"query mode {named.value!r} is not offered; known are {known}")
        asked, k = query.query_embedding, query.similarity_top_k
        if mode != "lexical" and asked is None:
            raise ValueError(f"query mode {named.value!r} needs a query_embedding")
        if mode != "dense":
            if query.query_str is None:
                raise ValueError(f"query mode {named.value!r} needs a query_str")
            options["vectors"] = asked if mode == "hybrid" else None
            asked = query.query_str
        if mode == "hybrid":
            k = query.hybrid_top_k or k
            options["weight"] = 0.5 if query.alpha is None else query.alpha
        where = both(nestling_filter(query.filters), _among(_SOURCE, query.doc_ids or None))
        where = both(where, _among(_NODE, query.node_ids or None))  # of an index, [] is no list
        collection: Any = self.collection
        hits = collection.search(asked, k, where, mode=mode, **options)
        return VectorStoreQueryResult(
            nodes=[metadata_dict_to_node(hit.metadata, text=hit.text) for hit in hits],
            similarities=[hit.score for hit in hits],
            ids=[hit.id for hit in hits],
        )


def _among(field: str, values: Sequence[str] | None) -> Mapping[str, Any] | None:
    return None if values is None else {field: {"$in": list(values)}}
