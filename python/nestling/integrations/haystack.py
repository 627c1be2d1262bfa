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

# No `from __future__ import annotations`: Haystack reads the types of a component's `run`.

import base64
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from nestling.collection import DocumentHit, StoredDocument
from nestling.errors import FilterError, IdError, PackageError
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

_OWN: Final = "_haystack"  # metadata that holds what is unusual about a document
_EMBEDDED: Final = f"{_OWN}.embedded"

Filters = dict[str, Any]


class NestlingDocumentStore(CollectionBacked):
    """A collection as Haystack's document store: documents come with embeddings, or without.

    Those without are found by words, never by meaning. What is stored of an embedding is what the
    collection's funnel keeps, so that documents are returned without it. Every method may be called
    from any thread.

    Args:
        path: The folder of the collection, made where there is none. None: a temporary one, gone
            when the store is closed or no longer used.
        dim: Dimensions of the embeddings; may be left out where there is a collection.
        options: Other arguments of `nestling.Collection`: `fields`, `funnel`, `metric` and so on,
            as JSON values where the store is to be written into a pipeline's file.

    Raises:
        ValueError: A new collection without `dim`; or as for `nestling.Collection`.
        FormatError, StorageError: As for `nestling.Collection`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        dim: int | None = None,
        **options: Any,
    ) -> None:
        self._settings = {"path": None if path is None else os.fspath(path), "dim": dim, **options}
        fields = dict.fromkeys([*options.pop("fields", ()), _EMBEDDED])
        self._handle = CollectionHandle.of_vectors(path, dim, fields=list(fields), **options)

    def to_dict(self) -> dict[str, Any]:
        """Returns what makes this store again, not its documents."""
        made: dict[str, Any] = default_to_dict(self, **self._settings)
        return made

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "NestlingDocumentStore":
        """Returns the store that `to_dict` told of."""
        store: NestlingDocumentStore = default_from_dict(cls, data)
        return store

    def count_documents(self) -> int:
        """Returns how many documents there are."""
        return len(self.collection)

    def count_documents_by_filter(self, filters: Filters) -> int:
        """Returns how many documents match filters."""
        with _asking():
            return self.collection.count(nestling_filter(filters))

    def filter_documents(self, filters: Filters | None = None) -> list[Document]:
        """Returns the documents that match filters, all without, in the order of their storage.

        Raises:
            haystack.errors.FilterError: They are malformed.
        """
        with _asking():
            return [_document(found) for found in self._stored(filters)]

    def write_documents(
        self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        """Stores documents, and returns how many were written.

        Args:
            documents: The documents.
            policy: What to do where an id is there: OVERWRITE, SKIP, or FAIL, which NONE means too.

        Raises:
            DuplicateDocumentError: An id is there, or comes twice, and the policy is to fail; then
                nothing is written.
            ValueError: It is no list of documents.
            DocumentError, MetadataError, LockedError, StorageError: As for `Collection.add`.
        """
        if not isinstance(documents, Iterable) or isinstance(documents, (str, Mapping)):
            raise ValueError("documents must be a list of Haystack's documents")
        documents = list(documents)
        if not all(isinstance(document, Document) for document in documents):
            raise ValueError("documents must be a list of Haystack's documents")
        records = [self._record(document) for document in documents]
        if policy == DuplicatePolicy.OVERWRITE:
            self.collection.add(records, progress=False)
            return len(records)
        if policy == DuplicatePolicy.SKIP:
            return self.collection.add(records, on_conflict="skip", progress=False).added
        ids = [document.id for document in documents]
        there = [found.id for found in self.collection.get(ids) if found is not None]
        twice = [id for id, count in Counter(ids).items() if count > 1]
        if there or twice:
            raise DuplicateDocumentError(f"the id {[*there, *twice][0]!r} already exists")
        try:
            self.collection.add(records, on_conflict="error", progress=False)
        except IdError as error:  # another writer was faster
            raise DuplicateDocumentError(str(error)) from error
        return len(records)

    def update_by_filter(self, filters: Filters, meta: dict[str, Any]) -> int:
        """Sets metadata of the documents that match filters, and returns how many they are."""
        with _asking():
            records = [
                {"id": found.id, "text": found.text, "metadata": {**found.metadata, **meta}}
                for found in self._stored(filters)
            ]
        self.collection.add(records, progress=False)
        return len(records)

    def delete_documents(self, document_ids: list[str]) -> None:
        """Removes documents; ids that are not there count for nothing."""
        self.collection.delete(list(document_ids))

    def delete_by_filter(self, filters: Filters) -> int:
        """Removes the documents that match filters, and returns how many they were."""
        with _asking():
            return self.collection.delete(where=nestling_filter(filters) or {})

    def delete_all_documents(self) -> None:
        """Removes every document."""
        self.collection.delete(where={})

    def search(
        self,
        query: str | list[float],
        filters: Filters | None = None,
        top_k: int = 10,
        **options: Any,
    ) -> list[Document]:
        """Returns the best documents, with scores; what the retrievers ask.

        Args:
            query: A text or an embedding.
            filters: Of their metadata.
            top_k: Documents wanted.
            options: Other arguments of `Collection.search`, `mode` above all.

        Raises:
            haystack.errors.FilterError: The filters are malformed.
            ValueError, VectorError: As for `Collection.search`.
        """
        where = nestling_filter(filters)
        dense = options.get("mode", "dense") == "dense"
        if dense and self.collection.count({_EMBEDDED: False}):
            embedded = {_EMBEDDED: {"$ne": False}}
            where = embedded if where is None else {"$and": [embedded, where]}
        asked: Any = query
        with _asking():
            return [
                _document(hit) for hit in self.collection.search(asked, top_k, where, **options)
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
        # A zero vector is like no other: it stands for an embedding that is not there.
        vector = np.zeros(self.collection.dim) if document.embedding is None else document.embedding
        return {
            "id": document.id,
            "text": document.content or "",
            "metadata": {**document.meta, _OWN: own} if own else document.meta,
            "vectors": [vector],
        }


@contextmanager
def _asking() -> Iterator[None]:
    """Raises Haystack's error in place of nestling's where a filter is malformed."""
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
    """What the retrievers share.

    Args:
        document_store: The store.
        filters: Of the documents' metadata.
        top_k: Documents wanted.
        filter_policy: Whether filters of a run replace those above, or are added to them.
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
        """Returns what makes this component again."""
        made: dict[str, Any] = default_to_dict(
            self,
            document_store=self.document_store.to_dict(),
            filters=self.filters,
            top_k=self.top_k,
            filter_policy=self.filter_policy.value,
            options=self.options,
        )
        return made

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "_Retriever":
        """Returns the component that `to_dict` told of."""
        given = dict(data["init_parameters"])
        given["document_store"] = NestlingDocumentStore.from_dict(given["document_store"])
        if "filter_policy" in given:
            given["filter_policy"] = FilterPolicy.from_str(given["filter_policy"])
        made: _Retriever = default_from_dict(cls, {**data, "init_parameters": given})
        return made

    def _find(
        self, query: Any, filters: Filters | None, top_k: int | None, **options: Any
    ) -> dict[str, list[Document]]:
        chosen = apply_filter_policy(self.filter_policy, self.filters, filters)
        k = self.top_k if top_k is None else top_k
        options = {**(self.options or {}), **options}
        return {"documents": self.document_store.search(query, chosen, k, **options)}


@component
class NestlingEmbeddingRetriever(_Retriever):
    """Retrieves the documents whose embeddings are nearest to that of a query."""

    @component.output_types(documents=list[Document])
    def run(
        self,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
    ) -> dict[str, list[Document]]:
        """Returns the documents, best first, their scores the cosines or inner products."""
        return self._find(query_embedding, filters, top_k, mode="dense")


@component
class NestlingTextRetriever(_Retriever):
    """Retrieves documents by the words of a query (BM25)."""

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
    ) -> dict[str, list[Document]]:
        """Returns the documents, best first."""
        return self._find(query, filters, top_k, mode="lexical")


@component
class NestlingHybridRetriever(_Retriever):
    """Retrieves documents by a query's words and by its embedding, and fuses both rankings."""

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
    ) -> dict[str, list[Document]]:
        """Returns the documents, best first, their scores the fused ones."""
        return self._find(query, filters, top_k, mode="hybrid", vectors=query_embedding)
