"""Segments that are missing or altered, made anew from the texts of their documents."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nestling._util.progress import ProgressBar
from nestling.collection.ingest.encoder import EncoderSlot
from nestling.collection.storage import documents
from nestling.collection.storage.database import Database
from nestling.collection.storage.lock import WriterLock
from nestling.collection.storage.segments import (
    SEGMENTS_FOLDER,
    Segment,
    read_manifest,
    write_segment,
)
from nestling.collection.storage.settings import Settings
from nestling.errors import FormatError
from nestling.index import Index
from nestling.runtime.text_encoder import TextEncoder

__all__ = ["repair"]

_PASSAGES: Final = 4_096  # encoded at once


def repair(
    folder: Path,
    *,
    encoder: TextEncoder | None = None,
    lock_timeout: float = 10.0,
    threads: int | None = None,
) -> list[str]:
    """Makes the segments anew that cannot be opened: their documents are encoded again.

    The texts are in the database, so that nothing is lost; a segment that was tuned loses its
    cells, and where no segment is whole, the rotation and the centre too.

    Args:
        folder: The collection's.
        encoder: The collection's own, where it is none that a name can open.
        lock_timeout: Seconds to wait for another writer.
        threads: Threads to use.

    Returns:
        The names of the segments that were replaced.

    Raises:
        VectorError: The collection has no encoder: its vectors came from elsewhere.
        FormatError: The database was altered: only a backup helps.
        LockedError, StorageError, ModelError: As for `Collection.add`.
    """
    database = Database(folder, read_only=False)
    try:
        with WriterLock(folder, lock_timeout).holding():
            with database.reading() as connection:
                settings = Settings.load(connection)
                segments = read_manifest(connection)
                damaged = [segment for segment in segments if not _opens(segment, folder, threads)]
            if damaged and encoder is not None and settings.encoder is not None:
                settings.encoder.check(encoder, str(folder))
            like = _like(settings, folder, segments, damaged, threads)
            slot = EncoderSlot(settings.encoder, encoder, threads=threads, where=str(folder))
            (folder / SEGMENTS_FOLDER).mkdir(exist_ok=True)
            for segment in damaged:
                _make_anew(folder, database, like, slot, segment)
        return [segment.name for segment in damaged]
    finally:
        database.close()


def _opens(segment: Segment, folder: Path, threads: int | None) -> bool:
    try:
        segment.open(folder, verify=True, threads=threads)
    except FormatError:
        return False
    return True


def _like(
    settings: Settings,
    folder: Path,
    segments: Sequence[Segment],
    damaged: Sequence[Segment],
    threads: int | None,
) -> Index:
    """Returns an index that stores rows as a whole segment does, so that they can be merged."""
    for segment in segments:
        if segment not in damaged:
            return segment.open(folder, verify=False, threads=threads)
    return Index(settings.dim, funnel=settings.funnel, metric=settings.metric, threads=threads)


def _make_anew(
    folder: Path,
    database: Database,
    like: Index,
    slot: EncoderSlot,
    segment: Segment,
) -> None:
    index = like.empty()
    title = f"making {segment.name} anew"
    with database.reading() as connection, ProgressBar(title, total=segment.rows) as bar:
        passages = _passages(connection, segment)
        while some := list(islice(passages, _PASSAGES)):
            vectors = slot.encode([text for _, text in some])
            index.add(vectors, ids=_local(some, segment))
            bar.advance(len(some))
    made = None
    if len(index):
        made = write_segment(folder, index, first=segment.first, last=segment.last)
    with database.writing() as connection:
        connection.execute("DELETE FROM segments WHERE name = ?", (segment.name,))
        connection.execute(
            "DELETE FROM removed WHERE row BETWEEN ? AND ?", (segment.first, segment.last)
        )
        if made is not None:
            made.insert(connection)
        connection.execute("UPDATE state SET version = version + 1")
    segment.path(folder).unlink(missing_ok=True)


def _passages(connection: sqlite3.Connection, segment: Segment) -> Iterator[tuple[int, str]]:
    condition = "d.row BETWEEN ? AND ?"
    found = documents.documents_where(connection, condition, (segment.first, segment.last))
    for document in found:
        for place, span in enumerate(document.spans):
            text = documents.passage_of(document.title, document.text, span)
            yield document.row + place, text


def _local(some: Sequence[tuple[int, str]], segment: Segment) -> NDArray[np.int64]:
    return np.array([row for row, _ in some], np.int64) - segment.first
