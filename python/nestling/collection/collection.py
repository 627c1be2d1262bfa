"""The collection: documents in, hits out, nothing lost between."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestling._util.progress import ProgressBar
from nestling.collection.ingest.encoder import EncoderIdentity, EncoderSlot
from nestling.collection.ingest.passages import Passages
from nestling.collection.ingest.records import Record, read_records
from nestling.collection.ingestor import AddResult, Ingestor, OnConflict
from nestling.collection.query.filters import compile_filter
from nestling.collection.query.hits import DocumentHits
from nestling.collection.query.search import Fusion, Mode, Query, Searcher, are_texts
from nestling.collection.query.selection import document_rows
from nestling.collection.storage import documents
from nestling.collection.storage.create import create_folder, is_collection
from nestling.collection.storage.documents import StoredDocument
from nestling.collection.storage.options import CollectionOptions
from nestling.collection.storage.settings import Settings
from nestling.collection.storage.store import Changes, Store
from nestling.collection.upkeep import backup, compaction
from nestling.collection.upkeep import check as checking
from nestling.collection.upkeep.info import CollectionInfo, info
from nestling.collection.upkeep.transfer import export_documents, import_records
from nestling.errors import FormatError, StorageError
from nestling.index.arguments import matrix
from nestling.index.funnel import Funnel
from nestling.index.header import Metric
from nestling.runtime.text_encoder import TextEncoder

if TYPE_CHECKING:
    from typing_extensions import Self

    from nestling.collection.upkeep.check import CheckReport
    from nestling.tuning import Prefer, TuneReport

__all__ = ["Collection", "Ids", "Where"]

Ids = str | int | Iterable[str | int]
Where = Mapping[str, Any]

_PAGE: Final = 1_000  # documents that an iteration reads at once


def _id_list(ids: Ids) -> list[str]:
    """Returns ids as strings."""
    return [str(ids)] if isinstance(ids, (str, int)) else [str(id) for id in ids]


class Collection:
    """Documents with metadata in a folder, searched by meaning, by words, or both.

    Args:
        path: The folder.
        encoder: A built-in name, a model folder, a hub id, an `Encoder`, or any `TextEncoder`.
            Default: the collection's own; for a new one "minilm", or none where `dim` is given.
        create: Whether to make the collection where there is none.
        read_only: Whether to open it without the right to change it, so that it may lie on storage
            that cannot be written.
        dim: For a new one without an encoder: dimensions of the vectors that come with documents.
        metric: For a new one: "cosine" (default) or "ip".
        funnel: For a new one: how to store and search. Default: `default_funnel(dim)`; see `tune`.
        passages: For a new one: how long documents are split; None for not at all. Default:
            `Passages()`, up to 1,000 characters each.
        fields: Names of metadata fields that filters ask often: each gets an index. Those that are
            new to an existing collection are added to it.
        lock_timeout: Seconds that a change waits for another writer; 0 for not at all, -1 for ever.
        verify: Whether to check the checksums of every segment when it is opened.
        threads: Threads that a call may use. Default: NESTLING_THREADS, else the cores granted.

    Any number of threads and processes may search while one writes. A search sees whole commits: of
    an `add` up to 65,536 rows, a `delete`. What was committed survives the death of the process and
    of the machine.

    Example:
        >>> with Collection("articles") as articles:  # doctest: +SKIP
        ...     articles.add(["Bread is made of flour and water."], metadata=[{"year": 2024}])
        ...     articles.search("what makes bread?", k=1)[0].text
        'Bread is made of flour and water.'

    Raises:
        FormatError: The folder is no collection, or not whole.
        EncoderMismatchError: The collection was made with another encoder.
        ModelError: The encoder cannot be had.
        StorageError: The system refused.
        ValueError: An argument is out of range, or not what the collection was made with.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        encoder: str | os.PathLike[str] | TextEncoder | None = None,
        create: bool = True,
        read_only: bool = False,
        *,
        dim: int | None = None,
        metric: Metric | None = None,
        funnel: str | Funnel | None = None,
        passages: Passages | str | None = "default",
        fields: Sequence[str] = (),
        lock_timeout: float = 10.0,
        verify: bool = True,
        threads: int | None = None,
    ) -> None:
        folder = Path(path)
        if isinstance(fields, str) or not all(isinstance(name, str) for name in fields):
            raise ValueError("fields are a list of names of metadata fields")
        asked = CollectionOptions.of(encoder, dim, metric, funnel, passages)
        if not is_collection(folder):
            if read_only or not create:
                raise FormatError(f"{folder}: there is no collection")
            asked = asked.opened(threads)
            create_folder(folder, asked.settings(), fields, lock_timeout=lock_timeout)
        self._read_only = read_only
        self._store = Store(
            folder,
            read_only=read_only,
            lock_timeout=lock_timeout,
            verify=verify,
            threads=threads,
        )
        try:
            asked.check(self._store.settings, str(folder))
            if not read_only and set(fields) - self._store.settings.fields.keys():
                self.declare(*fields)
        except BaseException:
            self._store.close()
            raise
        self._encoder = EncoderSlot(
            self._store.settings.encoder, asked.encoder, threads=threads, where=str(folder)
        )
        self._searcher = Searcher(self._store, self._encoder)
        self._background: list[Future[None]] = []
        self._starting = threading.Lock()

    @property
    def path(self) -> Path:
        """The folder."""
        return self._store.folder

    @property
    def dim(self) -> int:
        """Dimensions of an embedding."""
        return self._store.settings.dim

    @property
    def metric(self) -> Metric:
        """Either "cosine" or "ip"."""
        return self._store.settings.metric

    @property
    def funnel(self) -> Funnel:
        """How rows are stored, and how a search runs unless told otherwise."""
        return self._store.view().template.funnel

    @property
    def encoder(self) -> EncoderIdentity | None:
        """Which encoder the collection was made with; None for bare vectors."""
        return self._store.settings.encoder

    @property
    def fields(self) -> tuple[str, ...]:
        """The declared fields, by which filters are fast."""
        return tuple(self._store.settings.fields)

    @property
    def read_only(self) -> bool:
        """Whether it was opened without the right to change it."""
        return self._read_only

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        encoder = self._store.settings.encoder
        model = f"encoder={encoder.name!r}, " if encoder is not None else ""
        with self._store.reading() as (connection, view):
            count, rows = connection.execute("SELECT documents, rows FROM state").fetchone()
        return (
            f"Collection({str(self.path)!r}, {count:,} documents, {rows:,} passages, {model}"
            f"dim={self.dim}, {len(view.segments)} segments)"
        )

    def __len__(self) -> int:
        return self.count()

    def __contains__(self, id: object) -> bool:
        if not isinstance(id, (str, int)):
            return False
        with self._store.reading() as (connection, _):
            return bool(documents.find(connection, [str(id)]))

    def __iter__(self) -> Iterator[StoredDocument]:
        return self.documents()

    def add(
        self,
        documents: str | Mapping[str, Any] | Iterable[str | Mapping[str, Any]],
        ids: Ids | None = None,
        metadata: Where | Iterable[Where | None] | None = None,
        *,
        vectors: Iterable[ArrayLike] | None = None,
        on_conflict: OnConflict = "replace",
        progress: bool | None = None,
    ) -> AddResult:
        """Adds documents: split into passages, encoded and committed as they come.

        A generator of any length takes bounded memory: up to 65,536 rows, 64 MB of text or some
        10 s of work are committed at once. What is in the collection already, under the same id and
        with the same contents, is not encoded again, so that an `add` that was broken off is taken
        up by the same call.

        Args:
            documents: Texts, or mappings with "text" and perhaps "id", "title", "metadata", and
                "vectors" (one a passage, with the passages' "spans"); one of them, or any iterable.
            ids: An id a document, if it has none of its own: strings, or integers, which become
                strings. Default: a digest of the document (`document_id`), so that equal documents
                are stored once.
            metadata: JSON objects, one a document, that filters ask.
            vectors: (n, dim) floats, one a document, which is then one passage and not encoded.
            on_conflict: What to do where an id is there already with other contents: "replace" it,
                "skip" the new one, or raise an "error".
            progress: Whether to show a bar on stderr. Default: on a terminal, after two seconds.

        Returns:
            How many documents were added, replaced, updated, unchanged, skipped.

        Raises:
            DocumentError: A document is malformed; the message gives its place.
            MetadataError: Its metadata is no JSON, or holds NaN.
            IdError: An id is there already, and `on_conflict` is "error".
            VectorError: The collection has no encoder, and a document no vectors.
            LockedError: Another writer did not end in time.
            StorageError: The system refused: no space, or opened read-only. In each case what was
                committed before stays, and nothing else.
        """
        self._check_writable()
        if isinstance(documents, (str, Mapping)):
            documents = [documents]
            ids = [ids] if isinstance(ids, (str, int)) else ids
            metadata = [metadata] if isinstance(metadata, Mapping) else metadata
            vectors = None if vectors is None else [np.asarray(vectors).reshape(-1)]
        if isinstance(ids, (str, int)) or isinstance(metadata, Mapping):
            raise ValueError("several documents take a list of ids and a list of metadata")
        total = len(documents) if isinstance(documents, Sequence) else None
        encoder = self._store.settings.encoder
        fingerprint = None if encoder is None else encoder.fingerprint
        records = read_records(
            documents, ids, metadata, vectors, dim=self.dim, fingerprint=fingerprint
        )
        return self._add(records, total, on_conflict, progress)

    def upsert(
        self,
        documents: str | Mapping[str, Any] | Iterable[str | Mapping[str, Any]],
        ids: Ids | None = None,
        metadata: Where | Iterable[Where | None] | None = None,
        *,
        vectors: Iterable[ArrayLike] | None = None,
        progress: bool | None = None,
    ) -> AddResult:
        """Adds documents, and replaces those that are there: `add` with `on_conflict="replace"`."""
        return self.add(documents, ids, metadata, vectors=vectors, progress=progress)

    def delete(self, ids: Ids | None = None, *, where: Where | None = None) -> int:
        """Removes documents, in one transaction.

        Args:
            ids: One id or several; those that are not there count for nothing.
            where: A filter; `{}` for every document. With both, what both name.

        Returns:
            How many documents were removed.

        Raises:
            ValueError: Neither is given.
            FilterError: The filter is malformed.
            LockedError, StorageError: As for `add`.
        """
        self._check_writable()
        if ids is None and where is None:
            raise ValueError("say what to delete: ids, or where; where={} for every document")
        with self._store.lock.changing():
            with self._store.reading() as (connection, view):
                rows: set[int] | None = None
                if ids is not None:
                    rows = {
                        known.row for known in documents.find(connection, _id_list(ids)).values()
                    }
                if where is not None:
                    chosen = compile_filter(where, view.settings.fields)
                    matched = set(document_rows(connection, chosen))
                    rows = matched if rows is None else rows & matched
            if rows:
                self._store.commit(Changes(remove=sorted(rows)))
                self._run_due_merges()
        return len(rows or ())

    def declare(self, *fields: str) -> None:
        """Gives metadata fields an index, so that filters of them are fast.

        Raises:
            LockedError, StorageError: As for `add`.
        """
        self._check_writable()
        store = self._store
        with store.lock.changing(), store.database.writing() as connection:
            Settings.load(connection).declare(connection, fields)
            connection.execute("UPDATE state SET version = version + 1")
        store.view()

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
        wanted = _id_list(ids)
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
            explain: Whether `hits.explanation` tells what each stage saw, kept, kept and dropped;
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

    def compact(self, *, wait: bool = True) -> Future[None]:
        """Merges all segments into one and frees what removed documents took.

        Hits stay the same to the last bit. Small segments are merged by themselves as they come; so
        this is for after many deletions, and for the last few percent of speed. Until it is done,
        the new segment takes room beside the old ones; searches go on, and changes too.

        Args:
            wait: Whether to return once it is done; else it goes on in a thread of its own.

        Returns:
            A future that is done when the compaction is, and tells how it failed.

        Raises:
            LockedError: Another process is writing.
            StorageError: The system refused. The collection is as it was.
        """
        self._check_writable()
        future: Future[None] = Future()
        if wait:
            self._compact()
            future.set_result(None)
            return future

        def work() -> None:
            try:
                self._compact()
                future.set_result(None)
            except BaseException as error:
                future.set_exception(error)

        self._background = [other for other in self._background if not other.done()] + [future]
        threading.Thread(target=work, name="nestling-compaction", daemon=True).start()
        return future

    def tune(
        self,
        recall: float = 0.98,
        *,
        k: int = 10,
        queries: Sequence[str] | ArrayLike | None = None,
        budget_seconds: float = 60.0,
        prefer: Prefer = "throughput",
        cells: bool | None = None,
        verbose: bool = True,
    ) -> TuneReport:
        """Merges all segments, and stores them for the fastest funnel that finds enough.

        As `Index.tune`; changes wait until it is done, searches go on.

        Args:
            recall: The share of the exact top k that searches must find.
            k: Hits of a search.
            queries: A few hundred texts like those that will be asked, or their embeddings,
                (m, dim). Default: rows of the collection ask.
            budget_seconds: About how long to measure.
            prefer: What must be fast: "throughput" of many queries a call, or "latency" of one.
            cells: Whether to try cells.
            verbose: Whether to tell the choice, in one line on stderr.

        Raises:
            ValueError: An argument is out of range, or the collection is empty.
            VectorError: The embeddings do not fit.
            LockedError, StorageError: As for `compact`.
        """
        self._check_writable()
        store = self._store
        vectors: NDArray[np.float32] | None = None
        if are_texts(queries):
            vectors = self._encoder.encode_queries(list(queries))
        elif queries is not None:
            vectors = matrix(queries, store.settings.dim, "queries")
        with store.lock.changing():
            store.commit(Changes(), flush=True)
            view = store.view()
            index = compaction.merge(view.segments) if view.segments else None
            if index is None:
                raise ValueError("an empty collection cannot be tuned: add documents first")
            report = index.tune(
                recall,
                k=k,
                queries=vectors,
                budget_seconds=budget_seconds,
                prefer=prefer,
                cells=cells,
                verbose=verbose,
            )
            settings = replace(store.settings, funnel=index.funnel)
            store.replace(view, view.segments, lambda: index, settings)
        return report

    def check(self) -> CheckReport:
        """Reads everything, and says what is not as it must be.

        Verified are the structure of the database, the digest of every document, the checksum of
        every segment and pending vector, and that documents, fields, words, manifest and segments
        tell of the same rows.

        Example:
            >>> report = collection.check()  # doctest: +SKIP
            >>> report.problems  # doctest: +SKIP
            []
        """
        return checking.check(self._store.folder, self._store.database)

    def backup(self, path: str | os.PathLike[str]) -> None:
        """Copies the collection, as of its last commit, to a new folder, while it is in use.

        Raises:
            StorageError: There is something at `path`, or the system refused.
        """
        backup.backup(self._store, Path(path))

    def export(
        self,
        path: str | os.PathLike[str],
        *,
        where: Mapping[str, Any] | None = None,
        vectors: bool = True,
    ) -> int:
        """Writes documents to a .jsonl or .parquet file, as of one commit, and returns how many.

        Args:
            path: The file; it appears once it is whole.
            where: A filter; None for all.
            vectors: Whether to write the stored embeddings, so that `import_file` need not encode.

        Raises:
            ValueError: The name ends otherwise.
            PackageError: Parquet needs pyarrow.
            StorageError: The system refused.
        """
        return export_documents(self._store, Path(path), where, vectors=vectors)

    def import_file(
        self,
        path: str | os.PathLike[str],
        *,
        on_conflict: OnConflict = "replace",
        progress: bool | None = None,
    ) -> AddResult:
        """Adds the documents of a file that `export` wrote.

        Raises:
            CorpusError: The file cannot be read.
            ValueError, PackageError: As for `export`.
            DocumentError, IdError, LockedError, StorageError: As for `add`.
        """
        records = import_records(Path(path))
        return self.add(records, on_conflict=on_conflict, progress=progress)

    def close(self) -> None:
        """Waits for compactions in the background, and closes the database."""
        for future in self._background:
            future.exception()
        self._store.close()

    def _add(
        self,
        records: Iterator[Record],
        total: int | None,
        on_conflict: OnConflict,
        progress: bool | None,
    ) -> AddResult:
        with (
            ProgressBar("adding", total=total, show=progress) as bar,
            self._store.lock.changing(),
        ):
            adder = Ingestor(self._store, self._encoder, on_conflict, self._run_due_merges)
            added = adder.add(records, bar, None if total is None else [])
            self._finish_ingest(added.passages)
            return added

    def _compact(self, *, flush: bool = True) -> None:
        store = self._store
        with store.lock.holding():
            if flush:
                with store.lock.changing():
                    store.commit(Changes(), flush=True)
            view = store.view()
            if len(view.segments) > 1 or any(part.dead for part in view.segments):
                store.merge(view, compaction.Run(0, len(view.segments)))

    def _run_due_merges(self) -> None:
        """Keeps the segments few; called after each commit, by who made it."""
        view = self._store.view()
        while (run := compaction.plan(view.segments)) is not None:
            if not self._store.merge(view, run):
                return
            view = self._store.view()

    def _finish_ingest(self, rows: int) -> None:
        """Leaves the collection as searches like it, after an `add` of so many rows."""
        view = self._store.view()
        if rows >= view.rows // 2 and len(view.segments) > 1:
            self._compact(flush=False)
        self._store.analyse()

    def _check_writable(self) -> None:
        if self._read_only:
            raise StorageError(errno.EROFS, "the collection was opened read-only", str(self.path))
