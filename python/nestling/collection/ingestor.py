"""Streams of documents into a store: unchanged ones are left alone, the rest are encoded.

A stream is read in the thread of the caller, in chunks that are encoded together. Ten seconds after
a commit, or after the next document came, all that came is committed, even if the source is slow.
Where it blocks the caller's thread for so long, a thread of the ingestor commits instead.

Others may write while documents are read and encoded: the writer lock is held by commits only. So
what is stored is looked up twice: before the encoding, to leave out what is unchanged, and within
the lock, where it is decided what each document changes, and which rows it gets.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from nestling._util.lease import Lease, locked
from nestling._util.progress import ProgressBar
from nestling._util.value import Value
from nestling.collection.ingest.encoder import EncoderSlot
from nestling.collection.ingest.passages import Passages
from nestling.collection.ingest.records import Record
from nestling.collection.storage import documents
from nestling.collection.storage.documents import DocumentKey, passage_texts
from nestling.collection.storage.state import State
from nestling.collection.storage.store import Changes, Store
from nestling.errors import ArgumentError, IdError
from nestling.inputs.bad_records import BadRecord

__all__ = ["AddResult", "Ingestor", "OnConflict", "encode_records"]

OnConflict = Literal["replace", "skip", "error"]

Change = Literal["added", "replaced", "updated", "unchanged", "skipped"]

_CHUNK: Final = 4_096  # most documents that are looked up and encoded together
_CHUNK_CHARACTERS: Final = 8_000_000  # most characters of them
_FIRST_CHUNK: Final = 1 / 64  # share of a full chunk that the first one has
_CHUNK_SECONDS: Final = (0.5, 2.0)  # faster doubles the next chunk, slower shrinks it
_MAX_COMMIT_ROWS: Final = 65_536
_MAX_COMMIT_CHARACTERS: Final = 64_000_000
_MAX_COMMIT_SECONDS: Final = 10.0
_SHORTEST_WAIT: Final = 0.01


@dataclass(slots=True, eq=False, repr=False)
class AddResult(Value):
    """What an `add` did; its length is the number of documents.

    Attributes:
        added: Documents that were new.
        replaced: Documents whose text, title or vectors changed, encoded again.
        updated: Documents of which only the metadata changed.
        unchanged: Documents that were stored already with the same contents.
        skipped: Documents whose id was stored with other contents, or given again.
        passages: Passages that were stored.
        truncated: Passages among them that are longer than the encoder reads; their ends are not
            part of the embedding.
        ids: The documents' ids, in order; None if the documents came as an iterator.
        rejected: Documents that cannot be stored and were left out, by `on_bad_record="skip"`.

    Example:
        >>> with nestling.Collection("notes", dim=2) as notes:
        ...     result = notes.add(["bread", "river"], ["a", "b"], vectors=[[1, 0], [0, 1]])
        >>> result.added, result.passages, result.ids, len(result)
        (2, 2, ['a', 'b'], 2)
    """

    added: int = 0
    replaced: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0
    passages: int = 0
    truncated: int = 0
    ids: list[str] | None = None
    rejected: list[BadRecord] = field(default_factory=list)

    __hash__ = None  # type: ignore[assignment]  # it is mutable

    def __len__(self) -> int:
        return self.added + self.replaced + self.updated + self.unchanged + self.skipped


@dataclass(slots=True)
class _Batch:
    """Documents of the next commit.

    Attributes:
        records: By id; those that seem unchanged are not encoded.
        rows: Their passages; one for each that is not encoded.
        characters: Of their titles and texts.
        unchanged: Documents that were given twice with the same contents.
        skipped: Documents that were given twice with different contents.
    """

    records: dict[str, Record] = field(default_factory=dict)
    rows: int = 0
    characters: int = 0
    unchanged: int = 0
    skipped: int = 0

    @property
    def full(self) -> bool:
        return self.rows >= _MAX_COMMIT_ROWS or self.characters >= _MAX_COMMIT_CHARACTERS


class Ingestor:
    """Adds one stream of records, commit by commit.

    Args:
        store: The store.
        encoder: Encodes documents that come without vectors.
        on_conflict: What to do with an id that is stored with other contents.
        after_commit: Called after each commit.

    Raises:
        ArgumentError: `on_conflict` is not one of `OnConflict`.
    """

    def __init__(
        self,
        store: Store,
        encoder: EncoderSlot,
        on_conflict: OnConflict,
        after_commit: Callable[[], None],
    ) -> None:
        if on_conflict not in get_args(OnConflict):
            raise ArgumentError(
                f"on_conflict must be one of {get_args(OnConflict)}, not {on_conflict!r}"
            )
        self._store = store
        self._encoder = encoder
        self._on_conflict = on_conflict
        self._after_commit = after_commit
        self._result = AddResult()
        self._chunk: list[Record] = []
        self._chunk_characters = 0
        self._chunk_size = _FIRST_CHUNK
        self._batch = _Batch()
        self._due: float | None = None  # when to commit; None while there is nothing to commit
        self._listed: int | None = None  # documents that come, all of which are here already
        self._turn = threading.Lock()  # of the thread that may use all of these
        self._running = threading.Lock()
        self._error: BaseException | None = None

    def add(
        self,
        records: Iterator[Record],
        bar: ProgressBar,
        *,
        lazy: bool,
        total: int | None,
        ids: list[str] | None,
    ) -> AddResult:
        """Adds the records.

        Args:
            records: The records.
            bar: Shows how many were encoded.
            lazy: Whether reading a record may take long.
            total: The number of records, if it is known.
            ids: Gets the ids; None if they are not to be collected.

        Raises:
            IdError: An id is stored already, and `on_conflict` is "error". Earlier commits stay.
            LockedError: Another writer did not finish in time. Earlier commits stay.
        """
        with self._store.lock.changing():
            pass  # another writer is reported before anything is encoded
        self._result.ids = ids
        self._listed = None if lazy else total
        helper: threading.Thread | None = None
        try:
            with Lease(self._run):
                for record in records:
                    with locked(self._turn):
                        self._check()
                        self._receive(record, bar)
                    if lazy and helper is None:
                        thread = threading.Thread(
                            target=self._commit_when_due,
                            args=(bar,),
                            name="nestling-commit",
                            daemon=True,
                        )
                        thread.start()
                        helper = thread
                with locked(self._turn):
                    self._check()
                    self._encode_chunk(bar)
                    self._commit()
        finally:
            if helper is not None:
                helper.join()  # it ends with the lease
        return self._result

    def _run(self, lease: Lease[None]) -> None:
        """Runs until the lease ends; then the other thread ends too, once its turn is over."""
        lease.defer(self._wait_for_turn)
        lease.acquire(self._running)

    def _wait_for_turn(self) -> None:
        with locked(self._turn):
            pass

    def _check(self) -> None:
        """Raises the error that ended the other thread, if any."""
        if self._error is not None:
            raise self._error

    def _receive(self, record: Record, bar: ProgressBar) -> None:
        if self._due is None:
            self._set_due()
        self._chunk.append(record)
        self._chunk_characters += len(record.title) + len(record.text)
        full = max(len(self._chunk) / _CHUNK, self._chunk_characters / _CHUNK_CHARACTERS)
        if full >= self._chunk_size:
            began = time.monotonic()
            self._encode_chunk(bar)
            self._adapt_chunk_size(time.monotonic() - began)
        if self._batch.full:
            self._commit()
        elif self._due is not None and time.monotonic() >= self._due and not self._is_small():
            self._encode_chunk(bar)
            self._commit()

    def _is_small(self) -> bool:
        """Whether all that comes is one commit however long it takes: no reader sees a part.

        What is lost where it is interrupted is at most what can be encoded together.
        """
        characters = self._batch.characters + self._chunk_characters
        listed = self._listed
        return listed is not None and listed <= _CHUNK and characters <= _CHUNK_CHARACTERS

    def _commit_when_due(self, bar: ProgressBar) -> None:
        """Commits what came whenever it is due: the source may block the caller's thread."""
        seconds = 0.0
        while not self._running.acquire(timeout=max(seconds, _SHORTEST_WAIT)):
            with locked(self._turn):
                due = time.monotonic() + _MAX_COMMIT_SECONDS if self._due is None else self._due
                seconds = due - time.monotonic()
                if seconds <= 0 and self._running.locked():
                    try:
                        self._encode_chunk(bar)
                        self._commit()
                    except BaseException as error:
                        self._error = error
                        return
        self._running.release()

    def _adapt_chunk_size(self, seconds: float) -> None:
        """Keeps the time of a chunk near a second, whatever the speed of the encoder."""
        fast, slow = _CHUNK_SECONDS
        if seconds < fast:
            self._chunk_size = min(2 * self._chunk_size, 1.0)
        elif seconds > slow:
            self._chunk_size = max(self._chunk_size * slow / seconds / 2, 1 / _CHUNK)

    def _encode_chunk(self, bar: ProgressBar) -> None:
        """Moves the chunk to the batch: its documents with their vectors, if they need any."""
        chunk, self._chunk, self._chunk_characters = self._chunk, [], 0
        if not chunk:
            return
        if self._result.ids is not None:
            self._result.ids.extend(record.id for record in chunk)
        records = self._distinct(chunk)
        with self._store.reading() as (connection, _):
            known = self._known(connection, records)
            new = [
                record
                for record in records
                if self._change(connection, record, known.get(record.id)) in ("added", "replaced")
            ]
        self._encode(new)
        for record in records:
            self._batch.records[record.id] = record
            self._batch.rows += len(record.spans or ()) or 1
            self._batch.characters += len(record.title) + len(record.text)
        if self._due is None:  # there was a commit in between
            self._set_due()
        bar.advance(len(chunk))

    def _set_due(self) -> None:
        self._due = time.monotonic() + _MAX_COMMIT_SECONDS

    def _distinct(self, chunk: list[Record]) -> list[Record]:
        """Returns one record per id: the last, or for "skip" the first."""
        records: dict[str, Record] = {}
        for record in chunk:
            before = records.get(record.id)
            if before is None:
                records[record.id] = record
            elif before.digest == record.digest and not record.has_own_vectors:
                self._batch.unchanged += 1
            elif self._on_conflict == "error":
                raise IdError(f"the id {record.id!r} is given twice, with different contents")
            else:
                self._batch.skipped += 1
                if self._on_conflict == "replace":
                    records[record.id] = record
        if not self._batch.records.keys().isdisjoint(records):
            self._commit()
        return list(records.values())

    def _known(
        self, connection: sqlite3.Connection, records: Collection[Record]
    ) -> dict[str, DocumentKey]:
        if not State.read(connection).documents:
            return {}
        return documents.find(connection, [record.id for record in records])

    def _change(
        self, connection: sqlite3.Connection, record: Record, stored: DocumentKey | None
    ) -> Change:
        """Returns what a record changes where `stored` is the document of its id.

        Raises:
            IdError: There is one with other contents, and `on_conflict` is "error".
        """
        if stored is None:
            return "added"
        if stored.digest == record.digest and not record.has_own_vectors:
            return "unchanged"
        if self._on_conflict == "error":
            raise IdError(f"the id {record.id!r} is already in the collection")
        if self._on_conflict == "skip":
            return "skipped"
        if not record.has_own_vectors and _same_text(connection, stored, record):
            return "updated"
        return "replaced"

    def _encode(self, records: list[Record]) -> None:
        """Splits records and gives them vectors, unless they have them already."""
        passages = self._store.settings.passages
        self._result.truncated += encode_records(records, passages, self._encoder)

    def _commit(self) -> None:
        """Commits the batch; what each record changes is decided within the writer lock."""
        batch, self._batch = self._batch, _Batch()
        counts = Counter(unchanged=batch.unchanged, skipped=batch.skipped)
        passages = 0
        if batch.records:
            with self._store.lock.changing():
                changes, counted = self._changes(batch)
                if changes:
                    self._store.commit(changes)
                    self._after_commit()
            counts.update(counted)
            passages = sum(len(record.spans or ()) for record in changes.insert)
        for name, count in counts.items():
            setattr(self._result, name, getattr(self._result, name) + count)
        self._result.passages += passages
        self._due = None

    def _changes(self, batch: _Batch) -> tuple[Changes, Counter[str]]:
        changes = Changes()
        counts: Counter[str] = Counter()
        with self._store.reading() as (connection, _):
            known = self._known(connection, batch.records.values())
            for record in batch.records.values():
                stored = known.get(record.id)
                change = self._change(connection, record, stored)
                counts[change] += 1
                if change in ("added", "replaced"):
                    changes.insert.append(record)
                if stored is not None and change == "replaced":
                    changes.remove.append(stored.row)
                if stored is not None and change == "updated":
                    changes.update.append((stored.row, record))
        # Those that another writer has removed or changed since they were looked up.
        self._encode([record for record in changes.insert if record.vectors is None])
        return changes, counts


def encode_records(
    records: Sequence[Record], passages: Passages | None, encoder: EncoderSlot
) -> int:
    """Splits records and gives them vectors, unless they have them already.

    Args:
        records: The records; they are changed.
        passages: How long documents are split; None if they are not.
        encoder: Encodes those without vectors.

    Returns:
        The number of passages that are longer than the encoder reads.

    Raises:
        VectorError: A record has no vectors, and there is no encoder.
    """
    texts: list[str] = []
    without_vectors = []
    for record in records:
        if record.spans is None:
            whole = [(0, len(record.text))]
            record.spans = whole if passages is None else passages.spans(record.text) or whole
        if record.vectors is None:
            without_vectors.append(record)
            texts += passage_texts(record.title, record.text, record.spans)
    if not texts:
        return 0
    before = encoder.truncated
    vectors = encoder.encode(texts)
    truncated = encoder.truncated - before
    start = 0
    for record in without_vectors:
        end = start + len(record.spans or ())
        record.vectors = vectors[start:end]
        start = end
    return truncated


def _same_text(connection: sqlite3.Connection, key: DocumentKey, record: Record) -> bool:
    stored = documents.document_at(connection, key.row)
    same = (stored.title, stored.text) == (record.title, record.text)
    return same and record.spans in (None, stored.spans)
