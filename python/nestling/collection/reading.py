"""Asking a collection: searches, look-ups, counts and iterations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, overload

from numpy.typing import ArrayLike

from nestling.collection.query.filters import compile_filter
from nestling.collection.query.hits import DocumentHits
from nestling.collection.query.search import Fusion, Mode, Query, Searcher
from nestling.collection.query.selection import document_rows
from nestling.collection.storage import documents
from nestling.collection.storage.documents import StoredDocument
from nestling.collection.storage.store import Store
from nestling.collection.upkeep.info import CollectionInfo, info
from nestling.errors import FormatError
from nestling.index.funnel import Funnel

__all__ = ["Ids", "Readable", "Where", "id_list"]

Ids = str | int | Iterable[str | int]
Where = Mapping[str, Any]

_PAGE: Final = 1_000  # documents that an iteration reads at once


def id_list(ids: Ids) -> list[str]:
    """Returns ids as strings."""
    return [str(ids)] if isinstance(ids, (str, int)) else [str(id) for id in ids]


class Readable:
    """The part of a `Collection` that answers."""

    _store: Store
    _searcher: Searcher

    def __len__(self) -> int:
        return self.count()

    def __contains__(self, id: object) -> bool:
        if not isinstance(id, (str, int)):
            return False
        with self._store.reading() as (connection, _):
            return bool(documents.find(connection, [str(id)]))

    def __iter__(self) -> Iterator[StoredDocument]:
        return self.documents()

    @overload
    def get(self, ids: str | int) -> StoredDocument | None: ...

    @overload
    def get(self, ids: list[str] | list[int]) -> list[StoredDocument | None]: ...

    @overload
    def get(self, ids: Ids) -> StoredDocument | list[StoredDocument | None] | None: ...

    def get(self, ids: Ids) -> StoredDocument | list[StoredDocument | None] | None:
        """Returns the document of an id, or of each id; None where there is none.

        Raises:
            FormatError: A document was altered in the database.
        """
        wanted = id_list(ids)
        with self._store.reading() as (connection, _):
            known = documents.find(connection, wanted)
            found = [
                documents.document_of(connection, id, known[id].row) if id in known else None
                for id in wanted
            ]
        return found[0] if isinstance(ids, (str, int)) else found

    def count(self, where: Where | None = None) -> int:
        """Returns how many documents there are, or match a filter.

        Raises:
            FilterError: The filter is malformed.
        """
        with self._store.reading() as (connection, view):
            if where is None:
                (count,) = connection.execute("SELECT documents FROM state").fetchone()
                return int(count)
            return len(document_rows(connection, compile_filter(where, view.settings.fields)))

    def info(self) -> CollectionInfo:
        """Returns what the collection holds, how, and how much room it takes."""
        return info(self._store)

    def documents(self, where: Where | None = None) -> Iterator[StoredDocument]:
        """Yields the documents, those of a filter if given, in the order of their storage.

        They are read page by page: documents that are changed meanwhile appear once, in the old
        form or the new, or, where they move behind what was read, twice.

        Raises:
            FilterError: The filter is malformed.
            FormatError: A document was altered in the database.
        """
        chosen = compile_filter({} if where is None else where, self._store.settings.fields)
        condition = f"({chosen.sql}) AND d.row > ?"
        last = -1
        page: list[StoredDocument] | None = None
        while page is None or page:
            with self._store.reading() as (connection, _):
                parameters = (*chosen.parameters, last)
                page = list(documents.documents_where(connection, condition, parameters, _PAGE))
            for document in page:
                if document.row <= last:
                    raise FormatError(f"{document.id!r} is out of order: the database was altered")
                last = document.row
                yield document

    @overload
    def search(
        self,
        query: str,
        k: int = ...,
        where: Where | None = ...,
        funnel: str | Funnel | None = ...,
        *,
        mode: Mode = ...,
        include: Sequence[str] = ...,
        explain: bool = ...,
        fusion: Fusion = ...,
        weight: float = ...,
        probes: int | None = ...,
        vectors: ArrayLike | None = ...,
    ) -> DocumentHits: ...

    @overload
    def search(
        self,
        query: Sequence[str] | ArrayLike,
        k: int = ...,
        where: Where | None = ...,
        funnel: str | Funnel | None = ...,
        *,
        mode: Mode = ...,
        include: Sequence[str] = ...,
        explain: bool = ...,
        fusion: Fusion = ...,
        weight: float = ...,
        probes: int | None = ...,
        vectors: ArrayLike | None = ...,
    ) -> DocumentHits | list[DocumentHits]: ...

    def search(
        self,
        query: str | Sequence[str] | ArrayLike,
        k: int = 10,
        where: Where | None = None,
        funnel: str | Funnel | None = None,
        *,
        mode: Mode = "dense",
        include: Sequence[str] = ("text", "metadata"),
        explain: bool = False,
        fusion: Fusion = "weighted",
        weight: float = 0.5,
        probes: int | None = None,
        vectors: ArrayLike | None = None,
    ) -> DocumentHits | list[DocumentHits]:
        """Finds the documents whose best passages score best.

        Args:
            query: A text or several, a vector (dim,) or several (m, dim).
            k: Documents wanted.
            where: A filter of their metadata, such as `{"year": {"$gte": 2020}}`.
            funnel: Any of the collection's own stages, in order, with keeps of your choice.
            mode: "dense" by meaning, "lexical" by words (BM25), "hybrid" by both.
            include: What hits hold: "text", "metadata", "highlight", "document", "vector".
            explain: Whether `hits.explanation` tells what each stage saw, kept, took and let fall;
                it searches once more, exactly.
            fusion: How "hybrid" joins: "weighted" by scores, "rrf" by reciprocal ranks.
            weight: Share of the dense ranking in "hybrid", 0 to 1.
            probes: As for `Index.search`.
            vectors: Embeddings of the texts asked, (dim,) or (m, dim), where they are there
                already: they are not encoded then, so that "hybrid" needs no encoder.

        Returns:
            `DocumentHits`, a sequence of `DocumentHit`; a list of them where several were asked.

        Raises:
            ValueError: `k`, `mode`, `include`, `fusion` or `weight` is out of range, or `vectors`
                come with a query that is no text.
            FilterError: The filter is malformed.
            FunnelError: The funnel has a stage that is not stored.
            VectorError: A vector does not fit.
        """
        chosen = None if funnel is None else Funnel.of(funnel)
        how = Query(k, where, mode, chosen, probes, include, fusion, weight, explain)
        return self._searcher.search(query, how, vectors)
