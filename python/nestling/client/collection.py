"""A collection of a server, with the methods of a local one."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast, overload
from urllib.parse import quote

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestling._util.progress import ProgressBar
from nestling.client.answers import document_of, hits_of, hits_of_bytes, info_of, report_of
from nestling.client.transport import Transport
from nestling.collection import (
    AddResult,
    CheckReport,
    CollectionInfo,
    CompactResult,
    DocumentHits,
    StoredDocument,
)
from nestling.collection.collection import Documents, Ids, Where
from nestling.collection.ingest.columns import (
    bad_record_handler,
    document_column,
    metadata_column,
)
from nestling.collection.ingest.records import Record, read_records
from nestling.collection.ingestor import OnConflict
from nestling.collection.query.options import CommonKeywords, Fusion, Mode, Refine, Weight
from nestling.errors import ArgumentError, IdError
from nestling.index.funnel import Funnel
from nestling.inputs.bad_records import BadRecord, OnBadRecord
from nestling.inputs.ids import id_column, is_id, text_ids
from nestling.inputs.texts import query_texts
from nestling.inputs.vectors import matrix, vector_rows

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from nestling.tuning import Prefer, TuneReport

__all__ = ["RemoteCollection"]

_PAGE: Final = 500  # documents that an iteration reads together
_QUERIES: Final = 500  # of a request
_IDS: Final = 5_000  # of a request
_BODY: Final = 4_000_000  # characters of the documents of a request
_DOCUMENTS: Final = 4_096
_SECONDS: Final = 10.0  # after which documents are sent, however few there are
_INCLUDED: Final = ("text", "metadata")
_COUNTS: Final = ("added", "replaced", "updated", "unchanged", "skipped", "passages", "truncated")
_BINARY: Final = "application/octet-stream"


class _Keywords(CommonKeywords, total=False):
    """The keyword-only arguments of `search`, for its overloads."""

    synonyms: Sequence[str] | None
    deadline_ms: float | None
    min_coverage: float | None
    shard_probes: int | None


class RemoteCollection:
    """A collection of a server. Made by `Client.collection`; threads may share it.

    Its methods take the arguments of those of `Collection` and return the same objects.

    Args:
        transport: Sends the requests.
        name: The collection's name.

    Attributes:
        name: As given.

    Example:
        >>> articles = nestling.Client("http://127.0.0.1:8080").collection("articles")
        >>> articles
        RemoteCollection('articles')
    """

    def __init__(self, transport: Transport, name: str) -> None:
        self.name = name
        self._transport = transport

    @property
    def path(self) -> str:
        """The path of its URL."""
        return f"/collections/{quote(self.name, safe='')}"

    def __repr__(self) -> str:
        shown = self.name[:97] + "..." if len(self.name) > 100 else self.name
        return f"RemoteCollection({shown!r})"

    def __len__(self) -> int:
        return self.count()

    def __bool__(self) -> bool:
        return True  # without a request, and also where it is empty

    def __contains__(self, id: object) -> bool:
        try:
            return is_id(id) and self.get(cast("str | int", id)) is not None
        except IdError:
            return False

    def __iter__(self) -> Iterator[StoredDocument]:
        return self.documents()

    def add(
        self,
        documents: Documents,
        ids: Ids | None = None,
        metadata: Where | Iterable[Where | None] | None = None,
        *,
        vectors: Iterable[ArrayLike] | None = None,
        on_conflict: OnConflict = "replace",
        on_bad_record: OnBadRecord = "error",
        progress: bool | None = None,
    ) -> AddResult:
        """Adds documents: a few thousand a request, each of which the server commits.

        They are checked here, and encoded there. A generator of any length takes bounded memory.
        Requests that the server has no time for are repeated, and so may be the whole call:
        documents that are stored with the same contents are not encoded again.

        Args:
            documents: As for `Collection.add`.
            ids: As for `Collection.add`.
            metadata: As for `Collection.add`.
            vectors: As for `Collection.add`.
            on_conflict: As for `Collection.add`.
            on_bad_record: As for `Collection.add`.
            progress: Whether to show a bar on stderr. Default: on a terminal, after two seconds.

        Returns:
            The numbers of documents that were added, replaced, updated, unchanged and skipped.

        Raises:
            ServerError: The server cannot be reached, or the key may not write.
            NestlingError: As for `Collection.add`; what earlier requests added stays.
        """
        if isinstance(documents, (str, Mapping)):
            documents = [documents]
            ids = id_column(ids) if is_id(ids) else ids
            metadata = [metadata] if isinstance(metadata, Mapping) else metadata
            vectors = None if vectors is None else cast("Iterable[ArrayLike]", [vectors])
        if is_id(ids) or isinstance(metadata, Mapping):
            raise ArgumentError("several documents need a list of ids and a list of metadata")
        info = self.info()
        rejected: list[BadRecord] = []
        column = document_column(documents)
        records = read_records(
            column,
            None if ids is None else id_column(ids, ordered=True),
            None if metadata is None else metadata_column(metadata),
            None if vectors is None else vector_rows(vectors, "vectors"),
            dim=info.dim,
            encoder=None if info.encoder is None else info.encoder.key,
            on_bad_record=bad_record_handler(on_bad_record, rejected),
        )
        total = len(column) if isinstance(column, Sequence) else None
        result = AddResult(ids=None if total is None else [], rejected=rejected)
        with ProgressBar("adding", total=total, show=progress) as bar:
            for some in _batches(records):
                body = {"documents": [_as_json(one) for one in some], "on_conflict": on_conflict}
                path = f"{self.path}/documents"
                answer = self._transport.json("POST", path, body, patient=True)
                for name in _COUNTS:
                    setattr(result, name, getattr(result, name) + answer[name])
                if result.ids is not None:
                    result.ids += [one.id for one in some]
                bar.advance(len(some))
        return result

    @overload
    def get(self, ids: str | int) -> StoredDocument | None: ...

    @overload
    def get(self, ids: list[str] | list[int]) -> list[StoredDocument | None]: ...

    @overload
    def get(self, ids: Ids) -> StoredDocument | list[StoredDocument | None] | None: ...

    def get(self, ids: Ids) -> StoredDocument | list[StoredDocument | None] | None:
        """Returns the document of an id, or a list for several ids; None for an unknown id.

        Args:
            ids: One id or several.

        Raises:
            ServerError: The server cannot be reached, or refuses.
        """
        requested = text_ids(ids)
        found: list[StoredDocument | None] = []
        for start in range(0, len(requested), _IDS):
            body = {"ids": requested[start : start + _IDS]}
            answer = self._transport.json("POST", f"{self.path}/documents/get", body)
            found += [None if one is None else document_of(one) for one in answer["documents"]]
        return found[0] if is_id(ids) else found

    def delete(self, ids: Ids | None = None, *, where: Where | None = None) -> int:
        """Removes documents in one transaction.

        Args:
            ids: One id or several; unknown ones are ignored.
            where: A filter; `{}` for every document. With both, documents must match both.

        Returns:
            The number of documents that were removed.

        Raises:
            ServerError: The server cannot be reached, or the key may not write.
            NestlingError: As for `Collection.delete`.
        """
        body = {"ids": None if ids is None else text_ids(ids), "where": where}
        answer = self._transport.json("POST", f"{self.path}/documents/delete", body, patient=True)
        return int(answer["deleted"])

    def count(self, where: Where | None = None) -> int:
        """Returns the number of documents, or of those that match a filter.

        Args:
            where: A filter; None for all documents.

        Raises:
            FilterError: The filter is malformed.
            ServerError: The server cannot be reached, or refuses.
        """
        return int(self._transport.json("POST", f"{self.path}/count", {"where": where})["count"])

    def documents(self, where: Where | None = None) -> Iterator[StoredDocument]:
        """Yields the documents, or those that match a filter, in the order of storage.

        Args:
            where: A filter; None for all documents.

        Raises:
            FilterError: The filter is malformed.
            ServerError: The server cannot be reached, or refuses.
        """
        query: dict[str, Any] = {"limit": _PAGE}
        if where is not None:
            query["where"] = json.dumps(where, ensure_ascii=False)
        while True:
            page = self._transport.json("GET", f"{self.path}/documents", params=query)
            yield from map(document_of, page["documents"])
            if page["next"] is None:
                return
            query["after"] = page["next"]

    def info(self) -> CollectionInfo:
        """Returns the contents, the settings and the size of the collection.

        Raises:
            ServerError: There is none, the server cannot be reached, or refuses.
        """
        return info_of(self._transport.json("GET", self.path))

    @overload
    def search(
        self,
        query: str,
        k: int = ...,
        where: Where | None = ...,
        funnel: str | Funnel | None = ...,
        **options: Unpack[_Keywords],
    ) -> DocumentHits: ...

    @overload
    def search(
        self,
        query: Sequence[str] | ArrayLike,
        k: int = ...,
        where: Where | None = ...,
        funnel: str | Funnel | None = ...,
        **options: Unpack[_Keywords],
    ) -> DocumentHits | list[DocumentHits]: ...

    def search(
        self,
        query: str | Sequence[str] | ArrayLike,
        k: int = 10,
        where: Where | None = None,
        funnel: str | Funnel | None = None,
        *,
        mode: Mode = "dense",
        include: Sequence[str] = _INCLUDED,
        explain: bool = False,
        fusion: Fusion = "weighted",
        weight: Weight = "auto",
        synonyms: Sequence[str] | None = None,
        fuzzy: bool = False,
        prefix: bool = False,
        refine: Refine = "never",
        probes: int | None = None,
        vectors: ArrayLike | None = None,
        deadline_ms: float | None = None,
        min_coverage: float | None = None,
        shard_probes: int | None = None,
    ) -> DocumentHits | list[DocumentHits]:
        """Finds the documents whose best passages score best.

        Vectors are sent as raw float32; with `include=()` hits come back as raw ids and scores.
        The last three arguments are for a cluster that is served as a collection; hits then tell
        their `coverage`.

        Args:
            query: As for `Collection.search`.
            k: As for `Collection.search`.
            where: As for `Collection.search`.
            funnel: As for `Collection.search`.
            mode: As for `Collection.search`.
            include: As for `Collection.search`.
            explain: As for `Collection.search`.
            fusion: As for `Collection.search`.
            weight: As for `Collection.search`.
            synonyms: Lines such as "car, automobile", as `Synonyms` has them.
            fuzzy: As for `Collection.search`.
            prefix: As for `Collection.search`.
            refine: As for `Collection.search`, where the server has a query encoder.
            probes: As for `Collection.search`.
            vectors: As for `Collection.search`.
            deadline_ms: As for `Cluster.search`, like the next two.
            min_coverage: See there.
            shard_probes: See there.

        Returns:
            `DocumentHits`, a sequence of `DocumentHit`; a list of them for several queries.

        Raises:
            ServerError: The server cannot be reached, or refuses, as it does where the rows that
                were searched are fewer than `min_coverage` demands.
            NestlingError: As for `Collection.search`.
        """
        options: dict[str, Any] = {"k": k}
        options |= {} if where is None else {"where": where}
        options |= {} if funnel is None else {"funnel": str(funnel)}
        options |= {} if probes is None else {"probes": probes}
        texts = query_texts(query)
        rows = _rows(query if texts is None else vectors)
        if texts is None and vectors is not None:
            raise ArgumentError("vectors come with queries that are texts")
        limits = {
            "deadline_ms": deadline_ms,
            "min_coverage": min_coverage,
            "shard_probes": shard_probes,
        }
        of_clusters = {name: value for name, value in limits.items() if value is not None}
        raw = texts is None and mode == "dense" and not explain and not of_clusters
        if raw and rows is not None and set(include) in (set(), set(_INCLUDED)):
            found = self._search_rows(rows, options, documents=bool(include))
        else:
            options |= {"mode": mode, "include": list(include), "explain": explain}
            options |= {"fusion": fusion, "weight": weight, "fuzzy": fuzzy, "prefix": prefix}
            options |= {} if refine == "never" else {"refine": refine}
            options |= {} if synonyms is None else {"synonyms": list(synonyms)}
            options |= of_clusters
            found = self._search_json(texts, rows, options)
        single = isinstance(query, str) if texts is not None else np.ndim(query) == 1
        return found[0] if single else found

    def tune(
        self,
        recall: float = 0.98,
        *,
        k: int = 10,
        queries: Sequence[str] | None = None,
        budget_seconds: float = 60.0,
        prefer: Prefer = "throughput",
        cells: bool | None = None,
    ) -> TuneReport:
        """Stores the collection for the fastest funnel that reaches a recall.

        Args:
            recall: As for `Collection.tune`.
            k: As for `Collection.tune`.
            queries: Texts like those that will be searched for. Default: rows of the collection.
            budget_seconds: As for `Collection.tune`.
            prefer: As for `Collection.tune`.
            cells: As for `Collection.tune`.

        Raises:
            ServerError: The server cannot be reached, or the key may not tune.
            NestlingError: As for `Collection.tune`.
        """
        body = {
            "recall": recall,
            "k": k,
            "queries": None if queries is None else list(queries),
            "budget_seconds": budget_seconds,
            "prefer": prefer,
            "cells": cells,
        }
        return report_of(self._transport.json("POST", f"{self.path}/tune", body, patient=True))

    def check(self) -> CheckReport:
        """Reads everything, and reports every inconsistency.

        Raises:
            ServerError: The server cannot be reached, or refuses.
        """
        answer = self._transport.json("POST", f"{self.path}/check", patient=True)
        return CheckReport(
            tuple(answer["problems"]),
            answer["documents"],
            answer["rows"],
            answer["segments"],
            tuple(answer["orphans"]),
        )

    def compact(self) -> CompactResult:
        """Merges all segments into one and gives the room of removed documents back.

        Raises:
            ServerError: The server cannot be reached, or the key may not write.
            LockedError: Another process is writing.
        """
        answer = self._transport.json("POST", f"{self.path}/compact", patient=True)
        return CompactResult(answer["segments"], answer["freed"])

    def backup(self, name: str) -> None:
        """Copies the collection to a new folder among the server's backups.

        Args:
            name: Name of the folder.

        Raises:
            ServerError: The server has no folder for backups, or one of this name exists.
        """
        self._transport.json("POST", f"{self.path}/backup", {"name": name}, patient=True)

    def _search_rows(
        self, rows: NDArray[np.float32], options: Mapping[str, Any], *, documents: bool
    ) -> list[DocumentHits]:
        query = {
            name: json.dumps(value, ensure_ascii=False) if name == "where" else value
            for name, value in options.items()
        }
        headers = {"content-type": _BINARY}
        headers |= {} if documents else {"accept": _BINARY}
        query |= {"documents": "1"} if documents else {}
        found: list[DocumentHits] = []
        for start in range(0, len(rows), _QUERIES):
            some = rows[start : start + _QUERIES]
            answer = self._transport.send(
                "POST",
                f"{self.path}/search",
                content=some.astype("<f4", copy=False).tobytes(),
                params=query,
                headers=headers,
            )
            if documents:
                found += map(hits_of, answer.json()["results"])
            else:
                found += hits_of_bytes(answer.content, len(some))
        return found

    def _search_json(
        self,
        texts: Sequence[str] | None,
        rows: NDArray[np.float32] | None,
        options: Mapping[str, Any],
    ) -> list[DocumentHits]:
        found: list[DocumentHits] = []
        count = len(texts) if texts is not None else len(rows if rows is not None else ())
        for start in range(0, count, _QUERIES):
            body = dict(options)
            if texts is not None:
                body["query"] = texts[start : start + _QUERIES]
            if rows is not None:
                body["vectors"] = [_base64(row) for row in rows[start : start + _QUERIES]]
            answer = self._transport.json("POST", f"{self.path}/search", body)
            found += map(hits_of, answer["results"])
        return found


def _rows(vectors: ArrayLike | None) -> NDArray[np.float32] | None:
    if vectors is None:
        return None
    shape = np.shape(vectors)
    return matrix(vectors, shape[-1] if shape else 0, "the query")


def _base64(vectors: NDArray[np.float32]) -> str:
    return base64.b64encode(vectors.astype("<f4", copy=False).tobytes()).decode()


def _as_json(record: Record) -> dict[str, Any]:
    document: dict[str, Any] = {"id": record.id, "text": record.text}
    document |= {"title": record.title} if record.title else {}
    document |= {"metadata": record.metadata} if record.metadata else {}
    if record.spans is not None:
        document["spans"] = record.spans
    if record.vectors is not None:
        document["vectors"] = _base64(record.vectors)
    return document


def _batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Yields the documents of one request after the other."""
    batch: list[Record] = []
    size, due = 0, 0.0
    for record in records:
        if not batch:
            due = time.monotonic() + _SECONDS
        batch.append(record)
        size += len(record.title) + len(record.text) + len(record.json)
        size += 0 if record.vectors is None else record.vectors.nbytes * 4 // 3
        if len(batch) == _DOCUMENTS or size >= _BODY or time.monotonic() >= due:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
