"""Keeping a collection in order: compaction, tuning, checks, repairs, backups."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestling.collection.ingest.encoder import EncoderSlot
from nestling.collection.ingest.ingest import Added, OnConflict
from nestling.collection.query.search import are_texts
from nestling.collection.storage.store import Changes, Store
from nestling.collection.upkeep import backup, compaction
from nestling.collection.upkeep import check as checking
from nestling.collection.upkeep.transfer import export_documents, import_records
from nestling.index.arguments import matrix

if TYPE_CHECKING:
    from nestling.collection.upkeep.check import CheckReport
    from nestling.tuning import Prefer, TuneReport

__all__ = ["Maintained"]


class Maintained:
    """The part of a `Collection` that looks after its storage."""

    _store: Store
    _encoder: EncoderSlot
    _background: list[Future[None]]

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
        prefer: Prefer = "batch",
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
            prefer: What must be fast: "batch" or "lone".
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
    ) -> Added:
        """Adds the documents of a file that `export` wrote.

        Raises:
            CorpusError: The file cannot be read.
            ValueError, PackageError: As for `export`.
            DocumentError, IdError, LockedError, StorageError: As for `add`.
        """
        records = import_records(Path(path))
        return self.add(records, on_conflict=on_conflict, progress=progress)

    def _compact(self, *, flush: bool = True) -> None:
        store = self._store
        with store.lock.holding():
            if flush:
                with store.lock.changing():
                    store.commit(Changes(), flush=True)
            view = store.view()
            if len(view.segments) > 1 or any(part.dead for part in view.segments):
                store.merge(view, compaction.Run(0, len(view.segments)))

    def _merge_what_pays(self) -> None:
        """Keeps the segments few; called after each commit, by who made it."""
        view = self._store.view()
        while (run := compaction.plan(view.segments)) is not None:
            if not self._store.merge(view, run):
                return
            view = self._store.view()

    def _settle(self, rows: int) -> None:
        """Leaves the collection as searches like it, after an `add` of so many rows."""
        view = self._store.view()
        if rows >= view.rows // 2 and len(view.segments) > 1:
            self._compact(flush=False)
        self._store.analyse()

    def _check_writable(self) -> None:
        raise NotImplementedError

    def add(
        self,
        documents: Iterable[Mapping[str, Any]],
        *,
        on_conflict: OnConflict,
        progress: bool | None,
    ) -> Added:
        """Adds documents."""
        raise NotImplementedError
