"""Streams of documents into a store: unchanged ones are left alone, the rest are encoded."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from nestling._util.progress import ProgressBar
from nestling.collection.ingest.encoder import EncoderSlot
from nestling.collection.ingest.records import Record
from nestling.collection.storage import documents
from nestling.collection.storage.documents import DocumentKey, passage_texts
from nestling.collection.storage.state import State
from nestling.collection.storage.store import Changes, Store
from nestling.errors import ArgumentError, IdError
from nestling.inputs.bad_records import BadRecord

__all__ = ["AddResult", "Ingestor", "OnConflict"]

OnConflict = Literal["replace", "skip", "error"]

_CHUNK: Final = 4_096  # most documents that are looked up and encoded together
_CHUNK_CHARACTERS: Final = 8_000_000  # most characters of them
_FIRST_CHUNK: Final = 1 / 64  # share of a full chunk that the first one has
_CHUNK_SECONDS: Final = (0.5, 2.0)  # faster doubles the next chunk, slower halves it
_MAX_COMMIT_ROWS: Final = 65_536
_MAX_COMMIT_CHARACTERS: Final = 64_000_000
_MAX_COMMIT_SECONDS: Final = 10.0


@dataclass(slots=True)
class AddResult:
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

    def __len__(self) -> int:
        return self.added + self.replaced + self.updated + self.unchanged + self.skipped


@dataclass(slots=True)
class _Batch:
    """The changes of the next commit."""

    changes: Changes = field(default_factory=Changes)
    ids: set[str] = field(default_factory=set)
    rows: int = 0
    characters: int = 0
    counts: AddResult = field(default_factory=AddResult)

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
        self._batch = _Batch()
        self._chunk_size = _FIRST_CHUNK
        self._last_commit = time.monotonic()

    def add(self, records: Iterator[Record], bar: ProgressBar, ids: list[str] | None) -> AddResult:
        """Adds the records; the caller holds the store's `lock.changing()`.

        Raises:
            IdError: An id is stored already, and `on_conflict` is "error". Earlier commits stay.
        """
        self._result.ids = ids
        for chunk in self._chunks(records):
            began = time.monotonic()
            if ids is not None:
                ids.extend(record.id for record in chunk)
            self._collect(self._distinct(chunk))
            bar.advance(len(chunk))
            self._adapt_chunk_size(time.monotonic() - began)
            if self._batch.full or time.monotonic() - self._last_commit > _MAX_COMMIT_SECONDS:
                self._commit()
        self._commit()
        return self._result

    def _chunks(self, records: Iterator[Record]) -> Iterator[list[Record]]:
        chunk: list[Record] = []
        characters = 0
        for record in records:
            chunk.append(record)
            characters += len(record.title) + len(record.text)
            full = max(len(chunk) / _CHUNK, characters / _CHUNK_CHARACTERS)
            if full >= self._chunk_size:
                yield chunk
                chunk, characters = [], 0
        if chunk:
            yield chunk

    def _adapt_chunk_size(self, seconds: float) -> None:
        """Keeps the time of a chunk near a second, whatever the speed of the encoder."""
        fast, slow = _CHUNK_SECONDS
        if seconds < fast:
            self._chunk_size = min(2 * self._chunk_size, 1.0)
        elif seconds > slow:
            self._chunk_size = max(self._chunk_size / 2, _FIRST_CHUNK)

    def _distinct(self, chunk: list[Record]) -> list[Record]:
        """Returns one record per id: the last, or for "skip" the first."""
        records: dict[str, Record] = {}
        for record in chunk:
            before = records.get(record.id)
            if before is None:
                records[record.id] = record
            elif before.digest == record.digest and not record.has_own_vectors:
                self._batch.counts.unchanged += 1
            elif self._on_conflict == "error":
                raise IdError(f"the id {record.id!r} is given twice, with different contents")
            else:
                self._batch.counts.skipped += 1
                if self._on_conflict == "replace":
                    records[record.id] = record
        if not self._batch.ids.isdisjoint(records):
            self._commit()
        return list(records.values())

    def _collect(self, records: list[Record]) -> None:
        """Adds to the batch what each record changes, and encodes those that need it."""
        with self._store.reading() as (connection, _):
            ids = [record.id for record in records]
            known = documents.find(connection, ids) if State.read(connection).documents else {}
            new = []
            for record in records:
                stored = known.get(record.id)
                if stored is None:
                    self._batch.counts.added += 1
                    new.append(record)
                elif stored.digest == record.digest and not record.has_own_vectors:
                    self._batch.counts.unchanged += 1
                elif self._on_conflict == "error":
                    raise IdError(f"the id {record.id!r} is already in the collection")
                elif self._on_conflict == "skip":
                    self._batch.counts.skipped += 1
                elif not record.has_own_vectors and _same_text(connection, stored, record):
                    self._batch.counts.updated += 1
                    self._batch.changes.update.append((stored.row, record))
                    self._batch.ids.add(record.id)
                else:
                    self._batch.counts.replaced += 1
                    self._batch.changes.remove.append(stored.row)
                    new.append(record)
        self._encode(new)

    def _encode(self, records: list[Record]) -> None:
        passages = self._store.settings.passages
        texts: list[str] = []
        without_vectors = []
        for record in records:
            if record.spans is None:
                whole = [(0, len(record.text))]
                record.spans = whole if passages is None else passages.spans(record.text) or whole
            if record.vectors is None:
                without_vectors.append(record)
                texts += passage_texts(record.title, record.text, record.spans)
        if texts:
            before = self._encoder.truncated
            vectors = self._encoder.encode(texts)
            self._batch.counts.truncated += self._encoder.truncated - before
            start = 0
            for record in without_vectors:
                end = start + len(record.spans or ())
                record.vectors = vectors[start:end]
                start = end
        batch = self._batch
        batch.changes.insert += records
        for record in records:
            batch.ids.add(record.id)
            batch.rows += len(record.spans or ())
            batch.characters += len(record.title) + len(record.text)

    def _commit(self) -> None:
        batch, self._batch = self._batch, _Batch()
        if batch.changes:
            self._store.commit(batch.changes)
            self._after_commit()
        result, counts = self._result, batch.counts
        for name in ("added", "replaced", "updated", "unchanged", "skipped", "truncated"):
            setattr(result, name, getattr(result, name) + getattr(counts, name))
        result.passages += batch.rows
        self._last_commit = time.monotonic()


def _same_text(connection: sqlite3.Connection, key: DocumentKey, record: Record) -> bool:
    stored = documents.document_at(connection, key.row)
    same = (stored.title, stored.text) == (record.title, record.text)
    return same and record.spans in (None, stored.spans)
