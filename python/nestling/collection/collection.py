"""The collection: documents in, hits out, nothing lost between."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from nestling._util.progress import ProgressBar
from nestling.collection.ingest.encoder import EncoderIdentity, EncoderSlot, TextEncoder
from nestling.collection.ingest.ingest import Added, Adder, OnConflict
from nestling.collection.ingest.passages import Passages
from nestling.collection.ingest.records import Record, read_records
from nestling.collection.maintenance import Maintained
from nestling.collection.query.filters import compile_filter
from nestling.collection.query.search import Searcher
from nestling.collection.query.selection import document_rows
from nestling.collection.reading import Ids, Readable, Where, id_list
from nestling.collection.storage import documents
from nestling.collection.storage.create import create_folder, is_collection
from nestling.collection.storage.options import Asked
from nestling.collection.storage.settings import Settings
from nestling.collection.storage.store import Changes, Store
from nestling.errors import FormatError, StorageError
from nestling.index.funnel import Funnel
from nestling.index.header import Metric

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Collection"]


class Collection(Readable, Maintained):
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
        asked = Asked.of(encoder, dim, metric, funnel, passages)
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

    def add(
        self,
        documents: str | Mapping[str, Any] | Iterable[str | Mapping[str, Any]],
        ids: Ids | None = None,
        metadata: Where | Iterable[Where | None] | None = None,
        *,
        vectors: Iterable[ArrayLike] | None = None,
        on_conflict: OnConflict = "replace",
        progress: bool | None = None,
    ) -> Added:
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
    ) -> Added:
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
                        known.row for known in documents.find(connection, id_list(ids)).values()
                    }
                if where is not None:
                    chosen = compile_filter(where, view.settings.fields)
                    matched = set(document_rows(connection, chosen))
                    rows = matched if rows is None else rows & matched
            if rows:
                self._store.commit(Changes(remove=sorted(rows)))
                self._merge_what_pays()
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
    ) -> Added:
        with (
            ProgressBar("adding", total=total, show=progress) as bar,
            self._store.lock.changing(),
        ):
            adder = Adder(self._store, self._encoder, on_conflict, self._merge_what_pays)
            added = adder.add(records, bar, None if total is None else [])
            self._settle(added.passages)
            return added

    def _check_writable(self) -> None:
        if self._read_only:
            raise StorageError(errno.EROFS, "the collection was opened read-only", str(self.path))
