"""Streams of documents into a store: what is there already is left alone, the rest encoded."""

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
from nestling.collection.storage.documents import Known, passage_of
from nestling.collection.storage.store import Changes, Store
from nestling.errors import IdError

__all__ = ["AddResult", "Ingestor", "OnConflict"]

OnConflict = Literal["replace", "skip", "error"]

_CHUNK: Final = 4_096  # most documents looked up and encoded together, and characters of them
_CHUNK_CHARACTERS: Final = 8_000_000
_SMALLEST: Final = 1 / 64  # of a chunk, as they begin
_BRISK: Final = (0.5, 2.0)  # seconds a chunk: below, the next is twice as large; above, half
_MOST_ROWS: Final = 65_536  # of one commit
_MOST_CHARACTERS: Final = 64_000_000  # of one commit
_LONGEST: Final = 10.0  # seconds from one commit to the next


@dataclass(slots=True)
class AddResult:
    """What an `add` did.

    Attributes:
        added: Documents that were not there.
        replaced: Documents whose text or title changed, encoded anew.
        updated: Documents whose metadata alone changed.
        unchanged: Documents that were there as they are.
        skipped: Documents that were there with this id, and were left alone for "skip".
        passages: Passages that were stored.
        truncated: Those of them that are longer than the encoder reads, and found by their start.
        ids: The documents' ids, in order; only where the documents came as a list, or one alone.
    """

    added: int = 0
    replaced: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0
    passages: int = 0
    truncated: int = 0
    ids: list[str] | None = None

    def __len__(self) -> int:
        return self.added + self.replaced + self.updated + self.unchanged + self.skipped


@dataclass(slots=True)
class _Batch:
    """What is ready for the next commit."""

    changes: Changes = field(default_factory=Changes)
    ids: set[str] = field(default_factory=set)
    rows: int = 0
    characters: int = 0
    counts: AddResult = field(default_factory=AddResult)

    @property
    def full(self) -> bool:
        return self.rows >= _MOST_ROWS or self.characters >= _MOST_CHARACTERS


class Ingestor:
    """Adds one stream of records, commit by commit.

    Args:
        store: Where to.
        encoder: For what comes without vectors.
        on_conflict: What to do where an id is there with other contents.
        committed: Called after each commit.

    Raises:
        ValueError: `on_conflict` is none of `OnConflict`.
    """

    def __init__(
        self,
        store: Store,
        encoder: EncoderSlot,
        on_conflict: OnConflict,
        committed: Callable[[], None],
    ) -> None:
        if on_conflict not in get_args(OnConflict):
            raise ValueError(f"on_conflict must be one of {get_args(OnConflict)}")
        self._store = store
        self._encoder = encoder
        self._on_conflict = on_conflict
        self._after_commit = committed
        self._done = AddResult()
        self._batch = _Batch()
        self._size = _SMALLEST
        self._committed = time.monotonic()

    def add(self, records: Iterator[Record], bar: ProgressBar, ids: list[str] | None) -> AddResult:
        """Adds the records; to be called with the store's `lock.changing()`.

        Raises:
            IdError: An id is there already, and `on_conflict` is "error". What was committed before
                stays.
        """
        self._done.ids = ids
        for chunk in self._chunks(records):
            began = time.monotonic()
            if ids is not None:
                ids.extend(record.id for record in chunk)
            self._take(self._distinct(chunk))
            bar.advance(len(chunk))
            self._pace(time.monotonic() - began)
            if self._batch.full or time.monotonic() - self._committed > _LONGEST:
                self._commit()
        self._commit()
        return self._done

    def _chunks(self, records: Iterator[Record]) -> Iterator[list[Record]]:
        chunk: list[Record] = []
        characters = 0
        for record in records:
            chunk.append(record)
            characters += len(record.text)
            full = max(len(chunk) / _CHUNK, characters / _CHUNK_CHARACTERS)
            if full >= self._size:
                yield chunk
                chunk, characters = [], 0
        if chunk:
            yield chunk

    def _pace(self, seconds: float) -> None:
        """Makes chunks so large that a slow encoder, too, is asked every second or so."""
        fast, slow = _BRISK
        if seconds < fast:
            self._size = min(2 * self._size, 1.0)
        elif seconds > slow:
            self._size = max(self._size / 2, _SMALLEST)

    def _distinct(self, chunk: list[Record]) -> list[Record]:
        """Returns one record an id: the last, or for "skip" the first."""
        records: dict[str, Record] = {}
        for record in chunk:
            before = records.get(record.id)
            if before is None:
                records[record.id] = record
            elif before.digest == record.digest and not record.given:
                self._batch.counts.unchanged += 1
            elif self._on_conflict == "error":
                raise IdError(f"the id {record.id!r} is given twice, with other contents")
            else:
                self._batch.counts.skipped += 1
                if self._on_conflict == "replace":
                    records[record.id] = record
        if not self._batch.ids.isdisjoint(records):
            self._commit()
        return list(records.values())

    def _take(self, records: list[Record]) -> None:
        """Sorts out what is to be done with each, and encodes what must be."""
        with self._store.reading() as (connection, _):
            (stored,) = connection.execute("SELECT documents FROM state").fetchone()
            known = documents.find(connection, [record.id for record in records]) if stored else {}
            new = []
            for record in records:
                there = known.get(record.id)
                if there is None:
                    self._batch.counts.added += 1
                    new.append(record)
                elif there.digest == record.digest and not record.given:
                    self._batch.counts.unchanged += 1
                elif self._on_conflict == "error":
                    raise IdError(f"the id {record.id!r} is already in the collection")
                elif self._on_conflict == "skip":
                    self._batch.counts.skipped += 1
                elif not record.given and _same_text(connection, there, record):
                    self._batch.counts.updated += 1
                    self._batch.changes.update.append((there.row, record))
                    self._batch.ids.add(record.id)
                else:
                    self._batch.counts.replaced += 1
                    self._batch.changes.remove.append(there.row)
                    new.append(record)
        self._encode(new)

    def _encode(self, records: list[Record]) -> None:
        passages = self._store.settings.passages
        texts: list[str] = []
        bare = []
        for record in records:
            if record.spans is None:
                whole = [(0, len(record.text))]
                record.spans = whole if passages is None else passages.spans(record.text) or whole
            if record.vectors is None:
                bare.append(record)
                texts += [passage_of(record.title, record.text, span) for span in record.spans]
        if texts:
            before = self._encoder.truncated
            vectors = self._encoder.encode(texts)
            self._batch.counts.truncated += self._encoder.truncated - before
            start = 0
            for record in bare:
                end = start + len(record.spans or ())
                record.vectors = vectors[start:end]
                start = end
        batch = self._batch
        batch.changes.insert += records
        for record in records:
            batch.ids.add(record.id)
            batch.rows += len(record.spans or ())
            batch.characters += len(record.text)

    def _commit(self) -> None:
        batch, self._batch = self._batch, _Batch()
        if batch.changes:
            self._store.commit(batch.changes)
            self._after_commit()
        done, counts = self._done, batch.counts
        for name in ("added", "replaced", "updated", "unchanged", "skipped", "truncated"):
            setattr(done, name, getattr(done, name) + getattr(counts, name))
        done.passages += batch.rows
        self._committed = time.monotonic()


def _same_text(connection: sqlite3.Connection, there: Known, record: Record) -> bool:
    stored = documents.document_at(connection, there.row)
    same = (stored.title, stored.text) == (record.title, record.text)
    return same and record.spans in (None, stored.spans)
