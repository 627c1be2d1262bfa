"""The collection: documents in, hits out."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestling._util.counted import counted
from nestling._util.paths import absolute
from nestling._util.progress import ProgressBar
from nestling._util.unset import UNSET, Unset
from nestling.collection.ingest.columns import (
    bad_record_handler,
    document_column,
    metadata_column,
)
from nestling.collection.ingest.encoder import EncoderSlot, open_query_encoder
from nestling.collection.ingest.identity import EncoderIdentity, is_model_encoder
from nestling.collection.ingest.passages import Passages
from nestling.collection.ingest.records import Record, read_records
from nestling.collection.ingestor import AddResult, Ingestor, OnConflict
from nestling.collection.query.filters import compile_filter
from nestling.collection.query.hits import DocumentHits
from nestling.collection.query.options import (
    Fusion,
    Mode,
    Refine,
    SearchKeywords,
    SearchOptions,
    Weight,
)
from nestling.collection.query.searcher import Searcher
from nestling.collection.query.selection import count_documents, document_rows
from nestling.collection.query.survivors import Survivors
from nestling.collection.query.synonyms import Synonyms
from nestling.collection.query.weight import WeightFit
from nestling.collection.storage import documents
from nestling.collection.storage.create import create_folder, is_collection
from nestling.collection.storage.documents import StoredDocument
from nestling.collection.storage.options import AccessOptions, CollectionOptions
from nestling.collection.storage.state import State
from nestling.collection.storage.store import Changes, Store
from nestling.collection.upkeep import backup, compaction
from nestling.collection.upkeep import check as checker
from nestling.collection.upkeep.atlas import export_atlas
from nestling.collection.upkeep.compaction import CompactResult
from nestling.collection.upkeep.info import CollectionInfo, info
from nestling.collection.upkeep.sample import sample_passages
from nestling.collection.upkeep.transfer import ExportFile, export_documents
from nestling.corpus.fields import Document
from nestling.corpus.log import ReadLog
from nestling.errors import (
    ArgumentError,
    ArgumentTypeError,
    ClosedError,
    EncoderMismatchError,
    FormatError,
    IdError,
    StorageError,
)
from nestling.index.arguments import positive
from nestling.index.funnel import Funnel
from nestling.index.header import Metric
from nestling.inputs.bad_records import BadRecord, OnBadRecord
from nestling.inputs.ids import id_column, is_id, text_ids
from nestling.inputs.texts import query_texts
from nestling.inputs.vectors import matrix, vector_rows
from nestling.runtime.text_encoder import TextEncoder

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from nestling.collection.upkeep.check import CheckReport
    from nestling.encoder import Encoder
    from nestling.training import QueryEncoderReport, QueryEncoderSettings
    from nestling.tuning import Prefer, TuneReport

__all__ = ["Collection", "Ids", "Where"]

Ids = str | int | Iterable[str | int]
Where = Mapping[str, Any]
Documents = str | Mapping[str, Any] | Iterable[str | Mapping[str, Any] | Document]

_CLOSE_SECONDS: Final = 30.0
_PAGE: Final = 1_000  # documents that an iteration reads together
_EAGER: Final = (type(None), list, tuple, np.ndarray)  # what is read without waiting


class Collection:
    """Documents with metadata in a folder, searched by meaning, by words, or both.

    Args:
        path: The folder.
        encoder: A built-in name, a model folder, a hub id, an `Encoder`, or any `TextEncoder`.
            Default: the collection's own; for a new one "minilm", or none if `dim` is given.
        query_encoder: A small encoder that was trained to imitate the collection's own, which
            encodes queries in its place: "minilm-fast" or "e5-fast", which come with nestling,
            the folder of another, or itself. See `train_query_encoder`.
        create: Whether to create the collection if there is none.
        read_only: Whether to open it without the right to change it, as on storage that cannot be
            written.
        dim: For a new one without an encoder: dimensions of the vectors that come with documents.
        metric: For a new one: "cosine" (default) or "ip".
        funnel: For a new one: how to store and search. Default: `default_funnel` of its
            dimensions and of the nesting dims of `encoder`; see `tune`.
        passages: For a new one: how documents are split; None to store each as one passage.
            Default: `Passages()`, up to 1,000 characters each.
        title_weight: For a new one: how many times the words of a title count in searches for
            words, as if the title were written as often. Default: 1.
        fields: Names of metadata fields that filters often use: each gets an index. New ones are
            added to an existing collection.
        same_encoder: Whether to take `encoder` as the one that made an existing collection, though
            its class, name or fingerprint says otherwise: after a class was moved, for example.
            Unless `read_only`, the collection remembers it from then on.
        lock_timeout: Seconds that a change waits for another writer; 0 not to wait, -1 to wait
            without limit.
        verify: Whether to check the checksums of every segment when it is opened.
        threads: Threads that a call may use. Default: NESTLING_THREADS, else the cores granted.

    Any number of threads and processes may search while one writes. A search sees whole commits: up
    to 65,536 rows of an `add`, or a `delete`. Committed data survives the death of the process and
    of the machine.

    Example:
        >>> with Collection("articles", dim=2) as articles:
        ...     _ = articles.add(["bread", "river"], vectors=[[1, 0], [0, 1]])
        ...     articles.search([1, 0], k=1)[0].text
        'bread'
        >>> with Collection("library", "minilm") as library:  # doctest: +MODEL
        ...     _ = library.add(["Bread is made of flour and water."])
        ...     library.search("what makes bread?", k=1)[0].text
        'Bread is made of flour and water.'

    Raises:
        FormatError: The folder is not a collection, or it is corrupted.
        EncoderMismatchError: The collection was made with another encoder.
        ModelError: The encoder cannot be loaded.
        StorageError: The operating system refused to read or write.
        ArgumentError: An argument is out of range, or differs from what the collection was made
            with.
        ArgumentTypeError: An argument has a type that cannot be used.
        FunnelError: The funnel is malformed, or does not fit the dimensions.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        encoder: str | os.PathLike[str] | TextEncoder | None = None,
        *,
        query_encoder: str | os.PathLike[str] | Encoder | None = None,
        create: bool = True,
        read_only: bool = False,
        dim: int | None = None,
        metric: Metric | None = None,
        funnel: str | Funnel | None = None,
        passages: Passages | Unset | None = UNSET,
        title_weight: int | None = None,
        fields: Sequence[str] = (),
        same_encoder: bool = False,
        lock_timeout: float = 10.0,
        verify: bool = True,
        threads: int | None = None,
    ) -> None:
        folder = absolute(path)
        if isinstance(encoder, TextEncoder) and is_model_encoder(encoder) and encoder.queries:
            query_encoder = query_encoder or encoder.queries
            encoder = encoder.with_queries(None)
        options = CollectionOptions.of(
            encoder,
            dim=dim,
            metric=metric,
            funnel=funnel,
            passages=passages,
            title_weight=title_weight,
            fields=fields,
            same_encoder=same_encoder,
        )
        access = AccessOptions(
            read_only=read_only, lock_timeout=lock_timeout, verify=verify, threads=threads
        )
        if not is_collection(folder):
            if read_only or not create:
                there = "not a collection" if folder.exists() else "there is no collection"
                raise FormatError(f"{folder}: {there}")
            options = options.with_open_encoder(threads)
            create_folder(folder, options.settings(), options.fields, lock_timeout=lock_timeout)
        self._read_only = read_only
        self._store = Store(folder, access)
        try:
            options.check(self._store.settings, str(folder))
            stored = self._store.settings.encoder
            options = options.with_checked_encoder(stored, str(folder), threads)
            if same_encoder and options.encoder is not None:
                self._replace_encoder(EncoderIdentity.of(options.encoder))
            if not read_only and set(options.fields) - self._store.settings.fields.keys():
                self.declare(*options.fields)
            queries = None
            if query_encoder is not None:
                queries = open_query_encoder(
                    query_encoder, self._store.settings.encoder, threads=threads, where=str(folder)
                )
        except BaseException:
            self._store.close()
            raise
        self._encoder = EncoderSlot(
            self._store.settings.encoder,
            options.encoder,
            threads=threads,
            where=str(folder),
            queries=queries,
        )
        self._searcher = Searcher(self._store, self._encoder)
        self._background: list[Future[CompactResult]] = []

    @property
    def path(self) -> Path:
        """The folder, as an absolute path."""
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
        """How rows are stored, and how a search runs by default."""
        return self._store.view().template.funnel

    @property
    def encoder(self) -> EncoderIdentity | None:
        """Identity of the encoder that made the embeddings; None for bare vectors."""
        return self._store.settings.encoder

    @property
    def fields(self) -> tuple[str, ...]:
        """The declared metadata fields, which have an index."""
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

    def __reduce__(self) -> NoReturn:
        raise ArgumentTypeError(
            "a collection cannot be pickled or copied, because it has open files: pickle its path, "
            f"and open it where it is needed with nestling.Collection({str(self.path)!r})"
        )

    def __repr__(self) -> str:
        try:
            return self._summary()
        except ClosedError:
            return f"Collection({str(self.path)!r}, closed)"
        except Exception as error:
            return f"Collection({str(self.path)!r}, unreadable: {type(error).__name__})"

    def _summary(self) -> str:
        encoder = self._store.settings.encoder
        model = f"encoder={encoder.name!r}, " if encoder is not None else ""
        with self._store.reading() as (connection, view):
            state = State.read(connection)
        return (
            f"Collection({str(self.path)!r}, {counted(state.documents, 'document')}, "
            f"{counted(state.rows, 'passage')}, {model}dim={self.dim}, "
            f"{counted(len(view.segments), 'segment')})"
        )

    def __len__(self) -> int:
        return self.count()

    def __contains__(self, id: object) -> bool:
        try:
            requested = text_ids(id)[:1] if is_id(id) else []
        except IdError:
            return False  # a string that no document can have as its id
        with self._store.reading() as (connection, _):
            return bool(requested and documents.find(connection, requested))

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
        """Adds documents: splits, encodes and commits them as they come.

        A generator of any length takes bounded memory: a commit has up to 65,536 rows, 64 MB of
        text, or what came in 10 s. The clock also runs while the source is waited for: what it
        gave is then committed by another thread. A list, tuple or array of up to 4,096 documents
        and 8 million characters is one commit however long it takes, unless an id is given twice.
        Other writers may commit in between. A document that is stored already, with the same id and
        the same contents, is not encoded again, so the same call resumes an `add` that was
        interrupted.

        Args:
            documents: Texts, or mappings with "text" and optionally "id", "title", "metadata", and
                "vectors" (one per passage, with the passages' "spans"); one of them, or any
                iterable. Or a data frame of pandas or polars, or an Arrow table: its columns have
                these names, and the others become metadata.
            ids: One id per document that has none of its own: strings, or integers, which become
                strings. Default: a digest of the document (`document_id`), so that equal documents
                are stored once.
            metadata: JSON objects, one per document, for filters; or a data frame.
            vectors: (n, dim) floats, one per document. Such a document is one passage and is not
                encoded.
            on_conflict: What to do if an id is stored with other contents: "replace" the stored
                document, "skip" the new one, or raise an "error".
            on_bad_record: What to do with a document that cannot be stored: raise an "error", or
                "skip" it and report it in `result.rejected`. A function is called with each
                `BadRecord`, which is then skipped.
            progress: Whether to show a bar on stderr. Default: on a terminal, after two seconds.

        Returns:
            The numbers of documents that were added, replaced, updated, unchanged and skipped.

        Raises:
            DocumentError: A document is malformed; the message gives its position.
            MetadataError: Its metadata cannot be stored as JSON.
            IdError: An id is not a string or an integer, or it is stored already and `on_conflict`
                is "error".
            VectorError: Vectors do not fit, or are missing in a collection without an encoder.
            ArgumentError: `on_conflict` is unknown, or several documents came with one id.
            LockedError: Another writer did not finish in time.
            StorageError: The disk is full, or the collection was opened read-only. After any of
                these errors, earlier commits stay and nothing else does.

        Example:
            >>> with Collection("notes", dim=2) as notes:
            ...     result = notes.add(["bread", "river"], ["a", "b"], vectors=[[1, 0], [0, 1]])
            ...     again = notes.add({"id": "b", "text": "stone", "vectors": [[0, 1]]})
            >>> result.added, again.replaced
            (2, 1)
        """
        self._check_writable()
        if isinstance(documents, (str, Mapping)):
            documents = [documents]
            ids = id_column(ids) if is_id(ids) else ids
            metadata = [metadata] if isinstance(metadata, Mapping) else metadata
            vectors = None if vectors is None else cast("Iterable[ArrayLike]", [vectors])
        if is_id(ids) or isinstance(metadata, Mapping):
            raise ArgumentError("several documents need a list of ids and a list of metadata")
        rejected: list[BadRecord] = []
        encoder = self._store.settings.encoder
        column = document_column(documents)
        records = read_records(
            column,
            None if ids is None else id_column(ids, ordered=True),
            None if metadata is None else metadata_column(metadata),
            None if vectors is None else vector_rows(vectors, "vectors"),
            dim=self.dim,
            encoder=None if encoder is None else encoder.key,
            on_bad_record=bad_record_handler(on_bad_record, rejected),
        )
        total = len(column) if isinstance(column, Sequence) else None
        columns = (documents, ids, metadata, vectors)
        lazy = not all(isinstance(column, _EAGER) for column in columns)
        result = self._add(records, total, on_conflict, progress, lazy=lazy)
        result.rejected = rejected
        return result

    def upsert(
        self,
        documents: Documents,
        ids: Ids | None = None,
        metadata: Where | Iterable[Where | None] | None = None,
        *,
        vectors: Iterable[ArrayLike] | None = None,
        on_bad_record: OnBadRecord = "error",
        progress: bool | None = None,
    ) -> AddResult:
        """Adds documents and replaces stored ones: `add` with `on_conflict="replace"`.

        Args:
            documents: As for `add`.
            ids: As for `add`.
            metadata: As for `add`.
            vectors: As for `add`.
            on_bad_record: As for `add`.
            progress: As for `add`.

        Raises:
            NestlingError: As for `add`.

        Example:
            >>> with Collection("notes", dim=2) as notes:
            ...     _ = notes.upsert("bread", "a", vectors=[1, 0])
            ...     notes.upsert("rye bread", "a", vectors=[1, 0]).replaced
            1
        """
        return self.add(
            documents,
            ids,
            metadata,
            vectors=vectors,
            on_bad_record=on_bad_record,
            progress=progress,
        )

    def delete(self, ids: Ids | None = None, *, where: Where | None = None) -> int:
        """Removes documents in one transaction.

        Args:
            ids: One id or several; unknown ones are ignored.
            where: A filter; `{}` for every document. With both, documents must match both.

        Returns:
            The number of documents that were removed.

        Raises:
            ArgumentError: Neither is given.
            FilterError: The filter is malformed.
            LockedError: Another writer did not finish in time.
            StorageError: The operating system refused to write, or the collection was opened
                read-only.

        Example:
            >>> with Collection("notes", dim=2) as notes:
            ...     _ = notes.add(["bread", "river"], ["a", "b"], vectors=[[1, 0], [0, 1]])
            ...     notes.delete("a"), len(notes), notes.delete(where={})
            (1, 1, 1)
        """
        self._check_writable()
        if ids is None and where is None:
            raise ArgumentError("give ids, or where; where={} deletes every document")
        with self._store.lock.changing():
            with self._store.reading() as (connection, view):
                rows: set[int] | None = None
                if ids is not None:
                    rows = {key.row for key in documents.find(connection, text_ids(ids)).values()}
                if where is not None:
                    chosen = compile_filter(where, view.settings.fields)
                    matched = set(document_rows(connection, chosen))
                    rows = matched if rows is None else rows & matched
            if rows:
                self._store.commit(Changes(remove=sorted(rows)))
                self._run_due_merges()
        return len(rows or ())

    def declare(self, *fields: str) -> None:
        """Gives metadata fields an index, which makes filters of them fast.

        Args:
            fields: Names; a name with dots is a path into nested objects.

        Raises:
            ArgumentError: There would be more than 1,000 declared fields.
            LockedError: Another writer did not finish in time.
            StorageError: The operating system refused to write, or the collection was opened
                read-only.

        Example:
            >>> with Collection("notes", dim=2) as notes:
            ...     notes.declare("year", "author.name")
            ...     notes.fields
            ('year', 'author.name')
        """
        self._check_writable()
        self._store.declare(fields)

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
            FormatError: A document is corrupted in the database.

        Example:
            >>> with Collection("notes", dim=2) as notes:
            ...     _ = notes.add("bread", "a", vectors=[1, 0])
            ...     notes.get("a").text, notes.get("b")
            ('bread', None)
        """
        requested = text_ids(ids)
        with self._store.reading() as (connection, _):
            known = documents.find(connection, requested)
            found = [
                documents.document_of(connection, id, known[id].row) if id in known else None
                for id in requested
            ]
        return found[0] if is_id(ids) else found

    def count(self, where: Where | None = None) -> int:
        """Returns the number of documents, or of those that match a filter.

        Args:
            where: A filter; None for all documents.

        Raises:
            FilterError: The filter is malformed.

        Example:
            >>> with Collection("notes", dim=2) as notes:
            ...     _ = notes.add("bread", "a", {"year": 2024}, vectors=[1, 0])
            ...     notes.count(), notes.count({"year": {"$lt": 2024}})
            (1, 0)
        """
        with self._store.reading() as (connection, view):
            if where is None:
                return State.read(connection).documents
            return count_documents(connection, compile_filter(where, view.settings.fields))

    def info(self) -> CollectionInfo:
        """Returns the contents, the settings and the size of the collection.

        Example:
            >>> with Collection("notes", dim=2) as notes:
            ...     notes.info().documents
            0
        """
        return info(self._store)

    def documents(
        self, where: Where | None = None, *, after: int = -1, limit: int | None = None
    ) -> Iterator[StoredDocument]:
        """Yields the documents, or those that match a filter, in the order of storage.

        They are read page by page. A document that is changed meanwhile appears once, before or
        after the change, or twice if it moves behind the part that was read.

        Args:
            where: A filter; None for all documents.
            after: The `row` of the document behind which to begin; -1 for the first one.
            limit: The most documents; None for all.

        Raises:
            FilterError: The filter is malformed.
            FormatError: A document is corrupted in the database.

        Example:
            >>> with Collection("notes", dim=2) as notes:
            ...     _ = notes.add(["bread", "river"], ["a", "b"], vectors=[[1, 0], [0, 1]])
            ...     [document.id for document in notes.documents()]
            ...     [document.id for document in notes.documents(after=0, limit=1)]
            ['a', 'b']
            ['b']
        """
        chosen = compile_filter({} if where is None else where, self._store.settings.fields)
        condition = f"({chosen.sql}) AND d.row > ?"
        last = after
        left = float("inf") if limit is None else limit
        page: list[StoredDocument] | None = None
        while left > 0 and (page is None or page):
            size = int(min(_PAGE, left))
            with self._store.reading() as (connection, _):
                parameters = (*chosen.parameters, last)
                page = list(documents.documents_where(connection, condition, parameters, size))
            left -= len(page)
            for document in page:
                if document.row <= last:
                    raise FormatError(f"{document.id!r} is out of order: the database is corrupted")
                last = document.row
                yield document
                self._store.database.gate.check()

    @overload
    def search(
        self,
        query: str,
        k: int = ...,
        where: Where | None = ...,
        funnel: str | Funnel | None = ...,
        **options: Unpack[SearchKeywords],
    ) -> DocumentHits: ...

    @overload
    def search(
        self,
        query: Sequence[str] | ArrayLike,
        k: int = ...,
        where: Where | None = ...,
        funnel: str | Funnel | None = ...,
        **options: Unpack[SearchKeywords],
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
        weight: Weight = "auto",
        synonyms: Synonyms | None = None,
        fuzzy: bool = False,
        prefix: bool = False,
        probes: int | None = None,
        refine: Refine = "never",
        vectors: ArrayLike | None = None,
    ) -> DocumentHits | list[DocumentHits]:
        """Finds the documents whose best passages score best.

        Args:
            query: A text or several, a vector (dim,) or several (m, dim).
            k: Documents per query.
            where: A filter of their metadata, such as `{"year": {"$gte": 2020}}`.
            funnel: Any of the collection's own stages, in order, with other keeps.
            mode: "dense" by meaning, "lexical" by words (BM25), "hybrid" by both.
            include: What hits hold: "text", "metadata", "highlight", "snippet", "document",
                "vector".
            explain: Whether each `hits.explanation` reports what the stages saw, kept and dropped,
                and the time of each step. Queries are then searched one by one, and once more
                exactly.
            fusion: How "hybrid" joins both: "weighted" by scores, "rrf" by reciprocal ranks.
            weight: Share of the dense ranking in "hybrid", 0 to 1. "auto" for what `fit_weight` has
                stored, else 0.5.
            synonyms: Words that are searched for beside those of the query, or in their place, in
                "lexical" and "hybrid".
            fuzzy: Whether a word that no document has is searched for by the two most frequent ones
                that differ in one letter, in "lexical" and "hybrid".
            prefix: Whether a word that the query ends with is searched for by the most frequent
                ones that begin so, as users type, in "lexical" and "hybrid".
            probes: As for `Index.search`.
            refine: With a query encoder, when the collection's own encoder is used beside it:
                "never"; "auto" where the margin of the hits says that their order is in doubt, or
                the query encoder never learnt a fifth of the query's tokens, with a second search;
                "always" in place of it. Without one there is nothing to refine.
            vectors: Embeddings of the query texts, (dim,) or (m, dim), if you have them: the texts
                are then not encoded, so that "hybrid" needs no encoder.

        Returns:
            `DocumentHits`, a sequence of `DocumentHit`; a list of them for several queries.

        Raises:
            ArgumentError: `k`, `mode`, `include`, `fusion`, `weight` or `refine` is out of range,
                `vectors` come with a query that is not a text, or the query encoder does not know
                when its order is in doubt.
            FilterError: The filter is malformed.
            FunnelError: The funnel has a stage that is not stored.
            VectorError: A vector does not fit, or the collection has no encoder for a text.
            ClosedError: The collection was closed.

        Example:
            >>> with Collection("notes", dim=2) as notes:
            ...     years = [{"year": 2019}, {"year": 2024}]
            ...     _ = notes.add(["rye bread", "bread"], metadata=years, vectors=[[1, 0], [0, 1]])
            ...     hits = notes.search([1, 0], k=1, where={"year": {"$gte": 2020}})
            ...     words = notes.search("rye", mode="lexical", include=["text", "highlight"])
            >>> hits[0].text, words[0].marked()
            ('bread', '**rye** bread')
        """
        options = SearchOptions(
            k=k,
            where=where,
            mode=mode,
            funnel=None if funnel is None else Funnel.of(funnel),
            probes=probes,
            include=include,
            fusion=fusion,
            weight=weight,
            synonyms=synonyms,
            fuzzy=fuzzy,
            refine=refine,
            prefix=prefix,
            explain=explain,
        )
        return self._searcher.search(query, options, vectors)

    def survivors(
        self,
        query: str | ArrayLike,
        k: int = 10,
        where: Where | None = None,
        funnel: str | Funnel | None = None,
        *,
        include: Sequence[str] = ("text", "metadata"),
        probes: int | None = None,
        limit: int = 1000,
    ) -> Survivors:
        """Searches by meaning, and shows which passages each stage of the funnel kept or dropped.

        This is for looking at a funnel: it searches once more for each stage, and once exactly.

        Args:
            query: A text or a vector (dim,).
            k: As for `search`.
            where: As for `search`.
            funnel: As for `search`.
            include: As for `search`.
            probes: As for `search`.
            limit: Passages to return at most: those that came furthest, and of the others some of
                every rank.

        Returns:
            The hits with their explanation, and the passages.

        Raises:
            ArgumentError, FilterError, FunnelError, VectorError, ClosedError: As for `search`.

        Example:
            >>> with Collection("notes", dim=2, funnel="1@32:2 > 2@32") as notes:
            ...     _ = notes.add(["bread", "river"], ["a", "b"], vectors=[[1, 0], [0, 1]])
            ...     survivors = notes.survivors([1, 0], k=1)
            >>> survivors.hits[0].id, survivors.stages.tolist()
            ('a', [2, 1])
        """
        options = SearchOptions(
            k=k,
            where=where,
            funnel=None if funnel is None else Funnel.of(funnel),
            probes=probes,
            include=include,
            explain=True,
        )
        return self._searcher.survivors(query, options, positive("limit", limit))

    def fit_weight(
        self,
        questions: Sequence[str],
        relevant: Sequence[Iterable[str | int] | Mapping[str, float]],
        *,
        fusion: Fusion = "weighted",
        vectors: ArrayLike | None = None,
    ) -> WeightFit:
        """Fits the weight of hybrid searches to judged questions, and stores it.

        Searches with `weight="auto"`, the default, then use it. The weight is the one of 0, 0.05,
        ..., 1 that gives the highest mean nDCG@10. If weights fitted to four fifths of the
        questions do not do better than 0.5 on the rest, 0.5 is stored.

        Args:
            questions: Some hundred questions like those that will come; 20 at least.
            relevant: For each question the ids of the documents that answer it, or their grades by
                id: the higher the better, and 0 or less for none.
            fusion: The fusion that it is for.
            vectors: As for `search`.

        Returns:
            The weight, and what it is worth on questions that it was not fitted to.

        Raises:
            ArgumentError: There are too few questions, or not as many as lists of documents.
            VectorError: As for `search`.
            LockedError: Another writer did not finish in time.
            StorageError: The operating system refused to write, or the collection was opened
                read-only.

        Example:
            >>> texts = [f"number {number}" for number in range(40)]
            >>> with Collection("numbers", dim=40) as numbers:
            ...     _ = numbers.add(texts, ids=range(40), vectors=np.eye(40))
            ...     fit = numbers.fit_weight(texts, [[id] for id in range(40)], vectors=np.eye(40))
            >>> fit.weight, fit.ndcg, fit.default_ndcg
            (0.5, 1.0, 1.0)
        """
        self._check_writable()
        texts = query_texts(questions)
        if texts is None or isinstance(questions, str):
            raise ArgumentError("questions must be a list of texts")
        if len(relevant) != len(texts):
            raise ArgumentError(f"{len(relevant)} lists of documents for {len(texts)} questions")
        grades = [_grades(each) for each in relevant]
        result = self._searcher.fit_weight(texts, grades, fusion, vectors)
        self._store.change_settings(
            lambda settings: replace(settings, weights={**settings.weights, fusion: result.weight})
        )
        return result

    def compact(self, *, wait: bool = True, progress: bool | None = None) -> Future[CompactResult]:
        """Merges all segments into one and gives the room of removed documents back.

        Hits stay the same to the last bit. Small segments are merged automatically, so this serves
        after many deletions, and for the last few percent of speed. Until it is done, the new
        segment takes space beside the old ones; searches and changes continue meanwhile. The
        database is compacted in steps of a few megabytes, so that little more space is needed for
        it.

        Args:
            wait: Whether to return when it is done; otherwise it runs in a thread of its own.
            progress: Whether to show bars on stderr. Default: on a terminal, after two seconds, if
                it waits.

        Returns:
            A future of the bytes that were given back, which holds the error, if any.

        Raises:
            LockedError: Another process is writing.
            StorageError: The operating system refused to write; the collection is unchanged.

        Example:
            >>> with Collection("notes", dim=2) as notes:
            ...     _ = notes.add(["bread", "river"], vectors=[[1, 0], [0, 1]])
            ...     _ = notes.compact()
            ...     notes.info().segments
            1
        """
        self._check_writable()
        future: Future[CompactResult] = Future()
        if wait:
            future.set_result(self._compact(progress=progress))
            return future

        def work() -> None:
            try:
                future.set_result(self._compact(progress=bool(progress)))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=work, name="nestling-compaction", daemon=True).start()
        self._background = [other for other in self._background if not other.done()] + [future]
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
        """Merges all segments, and stores them for the fastest funnel that reaches a recall.

        As `Index.tune`. Changes wait until it is done; searches continue.

        Args:
            recall: The share of the exact top k that searches must find.
            k: Hits per search.
            queries: A few hundred texts like those that will be searched for, or their embeddings,
                (m, dim). Default: rows of the collection.
            budget_seconds: Approximate time to measure.
            prefer: What must be fast: "throughput" of many queries per call, or "latency" of one.
            cells: Whether to try cells.
            verbose: Whether to report the choice, in one line on stderr.

        Returns:
            All measurements, and the choice.

        Raises:
            ArgumentError: The collection is empty, or an argument is out of range.
            VectorError: The embeddings do not fit.
            LockedError: Another process is writing.
            StorageError: The operating system refused to write; the collection is unchanged.

        Example:
            >>> rows = np.random.default_rng(0).normal(size=(2000, 16)).astype(np.float32)
            >>> with Collection("notes", dim=16) as notes:
            ...     _ = notes.add(map(str, range(2000)), vectors=rows)
            ...     report = notes.tune(0.9, budget_seconds=0.5, verbose=False)
            ...     str(notes.funnel) == str(report.chosen.funnel)
            True
        """
        self._check_writable()
        store = self._store
        vectors: NDArray[np.float32] | None = None
        texts = query_texts(queries)
        if texts is not None:
            vectors = self._encoder.encode_queries(texts)
        elif queries is not None:
            vectors = matrix(queries, store.settings.dim, "queries")
        with store.lock.changing():
            store.commit(Changes(), flush=True)
            view = store.view()
            index = compaction.merge(view.segments) if view.segments else None
            if index is None:
                raise ArgumentError("an empty collection cannot be tuned: add documents first")
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

    def train_query_encoder(
        self,
        out: str | os.PathLike[str],
        settings: QueryEncoderSettings | None = None,
        *,
        queries: Iterable[str] = (),
        force: bool = False,
        restart: bool = False,
        progress: bool | None = None,
    ) -> QueryEncoderReport:
        """Trains a small encoder that encodes queries in place of the collection's own.

        It learns from the collection's own passages, cut into pieces like questions, and needs no
        further package (`nestling.training.train_query_encoder`). A minute or a few later,
        `Collection(path, query_encoder=out)` answers questions in a tenth of the time, with most
        of the quality; the report says with how much.

        Args:
            out: The folder to write.
            settings: What determines the result; None for the defaults of `QueryEncoderSettings`.
            queries: Queries to learn from beside the passages, such as those of a log.
            force: Whether to replace a query encoder that exists.
            restart: Whether to drop what an earlier training left.
            progress: Whether to show bars. Default: on a terminal, when it takes long.

        Raises:
            VectorError: The collection holds bare vectors.
            ArgumentTypeError: Its encoder is an object of your own, not a model that nestling runs.
            CorpusError: It has too few passages.
            ModelError, LockedError, StorageError: As for `train_query_encoder`.

        Example:
            >>> with Collection("articles") as articles:  # doctest: +SKIP
            ...     report = articles.train_query_encoder("fast")
            >>> articles = Collection("articles", query_encoder="fast")  # doctest: +SKIP
        """
        from nestling.encoder import Encoder
        from nestling.training import QueryEncoderSettings, train_query_encoder

        encoder = self._encoder.get()
        if not isinstance(encoder, Encoder):
            raise ArgumentTypeError(
                "a query encoder imitates a model that nestling runs, not a "
                f"{type(encoder).__name__}"
            )
        settings = settings or QueryEncoderSettings()
        with self._store.reading() as (connection, view):
            texts, vectors = sample_passages(connection, view, settings.pieces)
        return train_query_encoder(
            encoder,
            texts,
            out,
            settings,
            queries=queries,
            vectors=vectors,
            force=force,
            restart=restart,
            progress=progress,
        )

    def check(self) -> CheckReport:
        """Reads everything, and reports every inconsistency.

        Verified are the structure of the database, the digest of every document, the checksum of
        every segment and pending vector, that the words are those of the texts, and that documents,
        fields, manifest and segments have the same rows.

        Returns:
            The report; `report.problems` is empty if the collection is intact.

        Raises:
            StorageError: The operating system refused to read.

        Example:
            >>> with Collection("notes", dim=2) as notes:
            ...     notes.check().problems
            ()
        """
        return checker.check(self._store.folder, self._store.database)

    def backup(self, path: str | os.PathLike[str]) -> None:
        """Copies the collection, as of its last commit, to a new folder while it is in use.

        Args:
            path: The new folder.

        Raises:
            StorageError: `path` exists, or the operating system refused to write.

        Example:
            >>> with Collection("notes", dim=2) as notes:
            ...     _ = notes.add("bread", vectors=[1, 0])
            ...     notes.backup("copy")
            >>> with Collection("copy", read_only=True) as copy:
            ...     len(copy)
            1
        """
        backup.backup(self._store, absolute(path))

    def export(
        self,
        path: str | os.PathLike[str],
        *,
        where: Mapping[str, Any] | None = None,
        vectors: bool = True,
    ) -> int:
        """Writes documents, as of one commit, to a .jsonl or .parquet file.

        Args:
            path: The file; it appears when it is complete.
            where: A filter; None for all documents.
            vectors: Whether to write the stored embeddings, so that `import_file` need not encode.

        Returns:
            The number of documents.

        Raises:
            ArgumentError: The name has another ending.
            PackageError: Parquet needs pyarrow.
            StorageError: The operating system refused to write.

        Example:
            >>> with Collection("notes", dim=2) as notes:
            ...     _ = notes.add("bread", vectors=[1, 0])
            ...     notes.export("notes.jsonl")
            1
        """
        return export_documents(self._store, absolute(path), where, vectors=vectors)

    def export_atlas(
        self,
        path: str | os.PathLike[str],
        *,
        where: Mapping[str, Any] | None = None,
        neighbours: int = 10,
    ) -> int:
        """Writes a map of the passages, as of one commit, to a Parquet file for Embedding Atlas.

        A passage is a row with `id`, `passage`, `title`, `text`, its place `x` and `y` on the first
        two principal axes of the embeddings, its nearest passages as `neighbors`, and a column for
        each field of the metadata that has values of one type. The command that shows it is
        `embedding-atlas FILE --text text --x x --y y --neighbors neighbors`.

        Args:
            path: The file; it appears when it is complete.
            where: A filter; None for all documents.
            neighbours: Nearest passages of each, which a search finds; 0 for none.

        Returns:
            The number of passages.

        Raises:
            ArgumentError: The name has another ending, or `neighbours` is negative.
            PackageError: Parquet needs pyarrow.
            StorageError: The operating system refused to write.

        Example:
            >>> with Collection("notes", dim=2) as notes:
            ...     _ = notes.add(["bread", "river"], vectors=[[1, 0], [0, 1]])
            ...     notes.export_atlas("map.parquet", neighbours=1)
            2
        """
        if neighbours:
            positive("neighbours", neighbours)
        return export_atlas(self._store, absolute(path), where, neighbours=neighbours)

    def import_file(
        self,
        path: str | os.PathLike[str],
        *,
        on_conflict: OnConflict = "replace",
        on_bad_record: OnBadRecord = "error",
        progress: bool | None = None,
    ) -> AddResult:
        """Adds the documents of a file that `export` wrote.

        Args:
            path: The .jsonl or .parquet file.
            on_conflict: As for `add`.
            on_bad_record: As for `add`.
            progress: As for `add`.

        Returns:
            As for `add`.

        Raises:
            ArgumentError: The name has another ending.
            CorpusError: The file or a record of it cannot be read; the message names the line.
            PackageError: Parquet needs pyarrow.
            EncoderMismatchError, IdError, LockedError, StorageError: As for `add`.

        Example:
            >>> with Collection("notes", dim=2) as notes:
            ...     _ = notes.add("bread", vectors=[1, 0])
            ...     _ = notes.export("notes.jsonl")
            >>> with Collection("copy", dim=2) as copy:
            ...     copy.import_file("notes.jsonl").added
            1
        """
        rejected: list[BadRecord] = []
        log = ReadLog(on_bad_record=bad_record_handler(on_bad_record, rejected))
        records = ExportFile(absolute(path), log)
        result = self.add(
            records, on_conflict=on_conflict, on_bad_record=records.reject, progress=progress
        )
        result.rejected = rejected
        return result

    def close(self) -> None:
        """Closes the collection; other threads may be using it.

        Waits up to 30 s for compactions in the background and for the calls of other threads. Calls
        that begin meanwhile raise `ClosedError`, and so do those that have not ended by then, at
        their next access to the database; what they committed stays. Closing again does nothing.

        Example:
            >>> notes = Collection("notes", dim=2)
            >>> notes.close()
            >>> notes.count()
            Traceback (most recent call last):
            nestling.errors.ClosedError: ...notes: the collection is closed
        """
        deadline = time.monotonic() + _CLOSE_SECONDS
        try:
            wait(self._background, _CLOSE_SECONDS)
        finally:
            self._store.close(max(deadline - time.monotonic(), 0))

    def _replace_encoder(self, identity: EncoderIdentity) -> None:
        if identity.dim != self.dim:
            raise EncoderMismatchError(
                f"{self.path} holds embeddings with {self.dim} dimensions, but this encoder makes "
                f"{identity.dim}"
            )
        if not self._read_only and identity != self._store.settings.encoder:
            self._store.change_settings(lambda settings: replace(settings, encoder=identity))

    def _add(
        self,
        records: Iterator[Record],
        total: int | None,
        on_conflict: OnConflict,
        progress: bool | None,
        *,
        lazy: bool,
    ) -> AddResult:
        with ProgressBar("adding", total=total, show=progress) as bar:
            ingestor = Ingestor(self._store, self._encoder, on_conflict, self._run_due_merges)
            ids: list[str] | None = None if total is None else []
            result = ingestor.add(records, bar, lazy=lazy, total=total, ids=ids)
            with self._store.lock.changing():
                self._finish_ingest(result.passages)
            return result

    def _compact(self, *, progress: bool | None) -> CompactResult:
        store = self._store
        with store.lock.holding():
            before = compaction.disk_size(store)
            with store.lock.changing():
                store.commit(Changes(), flush=True)
            merged = self._merge_all()
            compaction.pack_documents(store, progress=progress)
            compaction.shorten(store, progress=progress)
            return CompactResult(merged, before - compaction.disk_size(store))

    def _merge_all(self) -> int:
        """Merges all segments, if there are several or one has removed rows; returns how many."""
        view = self._store.view()
        if len(view.segments) > 1 or any(part.dead for part in view.segments):
            compaction.merge_run(self._store, view, compaction.Run(0, len(view.segments)))
            return len(view.segments)
        return 0

    def _run_due_merges(self) -> None:
        """Keeps the segments few; the writer calls it after each commit."""
        view = self._store.view()
        while (run := compaction.plan(view.segments)) is not None:
            if not compaction.merge_run(self._store, view, run):
                return
            view = self._store.view()

    def _finish_ingest(self, rows: int) -> None:
        """Merges segments and updates statistics after an `add` of this many rows."""
        view = self._store.view()
        if rows >= view.rows // 2 and len(view.segments) > 1:
            with self._store.lock.holding():
                self._merge_all()
        self._store.analyse()

    def _check_writable(self) -> None:
        if self._read_only:
            raise StorageError(errno.EROFS, "the collection was opened read-only", str(self.path))


def _grades(relevant: Iterable[str | int] | Mapping[str, float]) -> dict[str, float]:
    """Returns the grades of relevant documents by id."""
    if is_id(relevant):
        raise ArgumentError(f"the documents of a question are a list of ids, not {relevant!r}")
    ids = text_ids(list(relevant))
    given = relevant.values() if isinstance(relevant, Mapping) else [1.0] * len(ids)
    grades = dict(zip(ids, map(float, given), strict=True))
    if not np.isfinite(list(grades.values())).all():
        raise ArgumentError("a grade of a document is not a finite number")
    return {id: grade for id, grade in grades.items() if grade > 0}
