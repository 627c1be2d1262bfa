"""A document store and retrievers for Haystack. Needs the extra `haystack`.

```python
from haystack import Document, Pipeline
from nestling.integrations.haystack import NestlingDocumentStore, NestlingTextRetriever

store = NestlingDocumentStore("articles", dim=384)
store.write_documents([Document(content="Bread is made of flour.", embedding=[...])])
pipeline = Pipeline()
pipeline.add_component("retriever", NestlingTextRetriever(store, top_k=3))
pipeline.run({"retriever": {"query": "what makes bread?"}})
```

From version 3 on, Haystack reads a pipeline from a file only where its modules are trusted:
`Pipeline.load(file, allowed_modules=["nestling.integrations.haystack"])`.
"""

# No `from __future__ import annotations`: Haystack inspects the types of a component's `run`.

import base64
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nestling.collection import DocumentHit, StoredDocument
from nestling.errors import ArgumentError, FilterError, IdError, PackageError, VectorError
from nestling.integrations.handle import CollectionBacked, CollectionHandle
from nestling.integrations.haystack_filters import nestling_filter

try:
    from haystack import Document, component, default_from_dict, default_to_dict
    from haystack.dataclasses import ByteStream, SparseEmbedding
    from haystack.document_stores.errors import DuplicateDocumentError
    from haystack.document_stores.types import DuplicatePolicy, FilterPolicy, apply_filter_policy
    from haystack.errors import FilterError as HaystackFilterError
except ImportError as error:
    raise PackageError("this needs haystack-ai: pip install 'nestling[haystack]'") from error

__all__ = [
    "NestlingDocumentStore",
    "NestlingEmbeddingRetriever",
    "NestlingHybridRetriever",
    "NestlingTextRetriever",
]

_OWN: Final = "_haystack"  # metadata for the parts of a document that a collection lacks
_EMBEDDED: Final = f"{_OWN}.embedded"

Filters = dict[str, Any]


class _Embedder:
    """The model of a pipeline's embedders, which embed before documents come to a store."""

    class_path = "haystack.components.embedders"

    def __init__(self, name: str, dim: int) -> None:
        self.name, self.dim = name, dim

    def encode(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        raise VectorError(f"Haystack's embedders run {self.name!r}: give embeddings, not texts")

    encode_queries = encode


class NestlingDocumentStore(CollectionBacked):
    """A collection as Haystack's document store: documents come with embeddings, or without.

    Documents without an embedding are found by words only. Embeddings are stored in the precision
    of the collection's funnel and are not returned with documents. Every method may be called from
    any thread.

    Args:
        path: The folder of the collection, created if there is none. None: a temporary one, removed
            when the store is closed or garbage-collected.
        dim: Dimensions of the embeddings; optional for an existing collection.
        embedding_model: Name of the model that makes the embeddings. A collection remembers it and
            refuses another one. None: nothing is remembered or compared.
        options: Other arguments of `nestling.Collection`: `fields`, `funnel`, `metric` and so on;
            JSON values if the store is part of a pipeline that is saved.

    Raises:
        ArgumentError: A new collection, or one with `embedding_model`, without `dim`; or as for
            `nestling.Collection`.
        EncoderMismatchError: The collection was made with another `embedding_model`.
        FormatError, StorageError: As for `nestling.Collection`.

    Example:
        >>> with NestlingDocumentStore("articles", dim=2) as store:
        ...     _ = store.write_documents([Document(content="bread", embedding=[1.0, 0.0])])
        ...     store.search([1.0, 0.0], top_k=1)[0].content
        'bread'
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        dim: int | None = None,
        embedding_model: str | None = None,
        **options: Any,
    ) -> None:
        self._settings = {"path": None if path is None else os.fspath(path), "dim": dim, **options}
        encoder = None
        if embedding_model is not None:
            self._settings["embedding_model"] = embedding_model
            if dim is None:
                raise ArgumentError("embedding_model needs dim, the dimensions of its embeddings")
            encoder = _Embedder(embedding_model, dim)
        fields = dict.fromkeys([*options.pop("fields", ()), _EMBEDDED])
        self._handle = CollectionHandle.of_vectors(
            path, dim, encoder, fields=list(fields), **options
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the arguments that create this store, without its documents.

        Example:
            >>> with NestlingDocumentStore("articles", dim=2) as store:
            ...     store.to_dict()["init_parameters"]
            {'path': 'articles', 'dim': 2}
        """
        data: dict[str, Any] = default_to_dict(self, **self._settings)
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "NestlingDocumentStore":
        """Returns the store that `to_dict` describes.

        Example:
            >>> with NestlingDocumentStore("articles", dim=2) as store:
            ...     data = store.to_dict()
            >>> with NestlingDocumentStore.from_dict(data) as store:
            ...     store.count_documents()
            0
        """
        store: NestlingDocumentStore = default_from_dict(cls, data)
        return store

    def count_documents(self) -> int:
        """Returns the number of documents.

        Example:
            >>> with NestlingDocumentStore(dim=2) as store:
            ...     _ = store.write_documents([Document(id="a", content="bread", meta={"year": 1})])
            ...     store.count_documents()
            1
        """
        return len(self.collection)

    def count_documents_by_filter(self, filters: Filters) -> int:
        """Returns the number of documents that match filters.

        Raises:
            haystack.errors.FilterError: They are malformed.

        Example:
            >>> with NestlingDocumentStore(dim=2) as store:
            ...     _ = store.write_documents([Document(id="a", content="bread", meta={"year": 1})])
            ...     store.count_documents_by_filter(
            ...         {"field": "meta.year", "operator": ">", "value": 1}
            ...     )
            0
        """
        with _haystack_errors():
            return self.collection.count(nestling_filter(filters))

    def filter_documents(self, filters: Filters | None = None) -> list[Document]:
        """Returns the documents that match filters, or all, in the order of storage.

        Raises:
            haystack.errors.FilterError: They are malformed.

        Example:
            >>> with NestlingDocumentStore(dim=2) as store:
            ...     _ = store.write_documents([Document(id="a", content="bread", meta={"year": 1})])
            ...     [document.content for document in store.filter_documents()]
            ['bread']
        """
        with _haystack_errors():
            return [_document(found) for found in self._stored(filters)]

    def write_documents(
        self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        """Stores documents, and returns how many were written.

        Args:
            documents: The documents.
            policy: What to do if an id is stored: OVERWRITE, SKIP, or FAIL; NONE means FAIL.

        Raises:
            DuplicateDocumentError: An id is stored or repeated, and the policy is to fail; nothing
                is written.
            ArgumentError: `documents` is not a list of documents.
            DocumentError, MetadataError, LockedError, StorageError: As for `Collection.add`.

        Example:
            >>> with NestlingDocumentStore(dim=2) as store:
            ...     store.write_documents([Document(content="bread"), Document(content="river")])
            2
        """
        if not isinstance(documents, Iterable) or isinstance(documents, (str, Mapping)):
            raise ArgumentError("documents must be a list of Haystack's documents")
        documents = list(documents)
        if not all(isinstance(document, Document) for document in documents):
            raise ArgumentError("documents must be a list of Haystack's documents")
        records = [self._record(document) for document in documents]
        if policy == DuplicatePolicy.OVERWRITE:
            self.collection.add(records, progress=False)
            return len(records)
        if policy == DuplicatePolicy.SKIP:
            return self.collection.add(records, on_conflict="skip", progress=False).added
        ids = [document.id for document in documents]
        stored = [found.id for found in self.collection.get(ids) if found is not None]
        repeated = [id for id, count in Counter(ids).items() if count > 1]
        if stored or repeated:
            raise DuplicateDocumentError(f"the id {[*stored, *repeated][0]!r} already exists")
        try:
            self.collection.add(records, on_conflict="error", progress=False)
        except IdError as error:  # another writer stored it meanwhile
            raise DuplicateDocumentError(str(error)) from error
        return len(records)

    def update_by_filter(self, filters: Filters, meta: dict[str, Any]) -> int:
        """Sets metadata of the documents that match filters, and returns their number.

        Example:
            >>> with NestlingDocumentStore(dim=2) as store:
            ...     _ = store.write_documents([Document(id="a", content="bread", meta={"year": 1})])
            ...     match = {"field": "meta.year", "operator": "==", "value": 1}
            ...     store.update_by_filter(match, {"year": 2})
            1
        """
        with _haystack_errors():
            records = [
                {"id": found.id, "text": found.text, "metadata": {**found.metadata, **meta}}
                for found in self._stored(filters)
            ]
        self.collection.add(records, progress=False)
        return len(records)

    def delete_documents(self, document_ids: list[str]) -> None:
        """Removes documents; unknown ids are ignored.

        Example:
            >>> with NestlingDocumentStore(dim=2) as store:
            ...     _ = store.write_documents([Document(id="a", content="bread", meta={"year": 1})])
            ...     store.delete_documents(["a", "unknown"])
            ...     store.count_documents()
            0
        """
        self.collection.delete(list(document_ids))

    def delete_by_filter(self, filters: Filters) -> int:
        """Removes the documents that match filters, and returns their number.

        Example:
            >>> with NestlingDocumentStore(dim=2) as store:
            ...     _ = store.write_documents([Document(id="a", content="bread", meta={"year": 1})])
            ...     store.delete_by_filter({"field": "meta.year", "operator": "==", "value": 1})
            1
        """
        with _haystack_errors():
            return self.collection.delete(where=nestling_filter(filters) or {})

    def delete_all_documents(self) -> None:
        """Removes every document.

        Example:
            >>> with NestlingDocumentStore(dim=2) as store:
            ...     _ = store.write_documents([Document(id="a", content="bread", meta={"year": 1})])
            ...     store.delete_all_documents()
            ...     store.count_documents()
            0
        """
        self.collection.delete(where={})

    def search(
        self,
        query: str | list[float],
        filters: Filters | None = None,
        top_k: int = 10,
        **options: Any,
    ) -> list[Document]:
        """Returns the best documents with scores; the retrievers call it.

        Args:
            query: A text or an embedding.
            filters: Filters of their metadata.
            top_k: Documents to return.
            options: Other arguments of `Collection.search`, such as `mode`.

        Raises:
            haystack.errors.FilterError: The filters are malformed.
            ArgumentError, VectorError: As for `Collection.search`.

        Example:
            >>> with NestlingDocumentStore(dim=2) as store:
            ...     _ = store.write_documents([Document(id="a", content="bread", meta={"year": 1})])
            ...     store.search("bread", mode="lexical")[0].id
            'a'
        """
        where = nestling_filter(filters)
        dense = options.get("mode", "dense") == "dense"
        if dense and self.collection.count({_EMBEDDED: False}):
            embedded = {_EMBEDDED: {"$ne": False}}
            where = embedded if where is None else {"$and": [embedded, where]}
        target: Any = query
        with _haystack_errors():
            return [
                _document(hit) for hit in self.collection.search(target, top_k, where, **options)
            ]

    def _stored(self, filters: Filters | None) -> Iterator[StoredDocument]:
        return self.collection.documents(nestling_filter(filters))

    def _record(self, document: Document) -> dict[str, Any]:
        own: dict[str, Any] = {}
        if document.embedding is None:
            own["embedded"] = False
        if document.content is None:
            own["content"] = None
        if document.blob is not None:
            own["blob"] = {
                "data": base64.b64encode(document.blob.data).decode(),
                "meta": document.blob.meta,
                "mime_type": document.blob.mime_type,
            }
        if document.sparse_embedding is not None:
            own["sparse_embedding"] = document.sparse_embedding.to_dict()
        # A zero vector stands for a missing embedding: its cosine with every query is 0.
        vector = np.zeros(self.collection.dim) if document.embedding is None else document.embedding
        return {
            "id": document.id,
            "text": document.content or "",
            "metadata": {**document.meta, _OWN: own} if own else document.meta,
            "vectors": [vector],
        }


@contextmanager
def _haystack_errors() -> Iterator[None]:
    """Raises Haystack's error instead of nestling's if a filter is malformed."""
    try:
        yield
    except FilterError as error:
        raise HaystackFilterError(str(error)) from error


def _document(found: StoredDocument | DocumentHit) -> Document:
    meta = dict(found.metadata or {})
    own = meta.pop(_OWN, {})
    blob, sparse = own.get("blob"), own.get("sparse_embedding")
    if blob is not None:
        blob = ByteStream(base64.b64decode(blob["data"]), blob["meta"], blob["mime_type"])
    return Document(
        id=found.id,
        content=own.get("content", found.text),
        blob=blob,
        meta=meta,
        score=found.score if isinstance(found, DocumentHit) else None,
        sparse_embedding=None if sparse is None else SparseEmbedding.from_dict(sparse),
    )


class _Retriever:
    """The base of the retrievers.

    Args:
        document_store: The store.
        filters: Filters of the documents' metadata.
        top_k: Documents to return.
        filter_policy: Whether filters of a run replace `filters` or are combined with them.
        options: Other arguments of `Collection.search`: `funnel`, `probes`; for the hybrid one
            `fusion` and `weight` too.
    """

    def __init__(
        self,
        document_store: NestlingDocumentStore,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        filter_policy: FilterPolicy = FilterPolicy.REPLACE,
        options: dict[str, Any] | None = None,
    ) -> None:
        self.document_store = document_store
        self.filters = filters
        self.top_k = top_k
        self.filter_policy = filter_policy
        self.options = options

    def to_dict(self) -> dict[str, Any]:
        """Returns the arguments that create this component.

        Example:
            >>> with NestlingDocumentStore(dim=2) as store:
            ...     NestlingTextRetriever(store, top_k=3).to_dict()["init_parameters"]["top_k"]
            3
        """
        data: dict[str, Any] = default_to_dict(
            self,
            document_store=self.document_store.to_dict(),
            filters=self.filters,
            top_k=self.top_k,
            filter_policy=self.filter_policy.value,
            options=self.options,
        )
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "_Retriever":
        """Returns the component that `to_dict` describes.

        Example:
            >>> with NestlingDocumentStore(dim=2) as store:
            ...     data = NestlingTextRetriever(store, top_k=3).to_dict()
            >>> retriever = NestlingTextRetriever.from_dict(data)
            >>> retriever.top_k
            3
            >>> retriever.document_store.close()
        """
        arguments = dict(data["init_parameters"])
        arguments["document_store"] = NestlingDocumentStore.from_dict(arguments["document_store"])
        if "filter_policy" in arguments:
            arguments["filter_policy"] = FilterPolicy.from_str(arguments["filter_policy"])
        retriever: _Retriever = default_from_dict(cls, {**data, "init_parameters": arguments})
        return retriever

    def _find(
        self, query: Any, filters: Filters | None, top_k: int | None, **options: Any
    ) -> dict[str, list[Document]]:
        chosen = apply_filter_policy(self.filter_policy, self.filters, filters)
        k = self.top_k if top_k is None else top_k
        options = {**(self.options or {}), **options}
        return {"documents": self.document_store.search(query, chosen, k, **options)}


@component
class NestlingEmbeddingRetriever(_Retriever):
    """Retrieves the documents whose embeddings are nearest to that of a query.

    Example:
        >>> with NestlingDocumentStore(dim=2) as store:
        ...     _ = store.write_documents([Document(content="bread", embedding=[1.0, 0.0])])
        ...     NestlingEmbeddingRetriever(store).run([1.0, 0.0])["documents"][0].content
        'bread'
    """

    @component.output_types(documents=list[Document])
    def run(
        self,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
    ) -> dict[str, list[Document]]:
        """Returns the documents, best first; scores are cosines or inner products.

        Args:
            query_embedding: The embedding, dim floats.
            filters: Filters of this run; see `filter_policy`.
            top_k: Documents to return, instead of the retriever's own `top_k`.

        Example:
            >>> with NestlingDocumentStore(dim=2) as store:
            ...     NestlingEmbeddingRetriever(store).run([1.0, 0.0])
            {'documents': []}
        """
        return self._find(query_embedding, filters, top_k, mode="dense")


@component
class NestlingTextRetriever(_Retriever):
    """Retrieves documents by the words of a query (BM25).

    Example:
        >>> with NestlingDocumentStore(dim=2) as store:
        ...     _ = store.write_documents([Document(content="rye bread")])
        ...     NestlingTextRetriever(store).run("bread")["documents"][0].content
        'rye bread'
    """

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
    ) -> dict[str, list[Document]]:
        """Returns the documents, best first; scores are BM25.

        Args:
            query: A text.
            filters: Filters of this run; see `filter_policy`.
            top_k: Documents to return, instead of the retriever's own `top_k`.

        Example:
            >>> with NestlingDocumentStore(dim=2) as store:
            ...     NestlingTextRetriever(store).run("bread")
            {'documents': []}
        """
        return self._find(query, filters, top_k, mode="lexical")


@component
class NestlingHybridRetriever(_Retriever):
    """Retrieves documents by a query's words and by its embedding, and fuses both rankings.

    Example:
        >>> with NestlingDocumentStore(dim=2) as store:
        ...     _ = store.write_documents([Document(content="rye bread", embedding=[1.0, 0.0])])
        ...     NestlingHybridRetriever(store).run("bread", [1.0, 0.0])["documents"][0].content
        'rye bread'
    """

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
    ) -> dict[str, list[Document]]:
        """Returns the documents, best first; scores are the fused ones.

        Args:
            query: A text.
            query_embedding: Its embedding, dim floats.
            filters: Filters of this run; see `filter_policy`.
            top_k: Documents to return, instead of the retriever's own `top_k`.

        Example:
            >>> with NestlingDocumentStore(dim=2) as store:
            ...     NestlingHybridRetriever(store).run("bread", [1.0, 0.0])
            {'documents': []}
        """
        return self._find(query, filters, top_k, mode="hybrid", vectors=query_embedding)
