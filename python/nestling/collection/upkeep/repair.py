"""Missing or corrupted segments, rebuilt from their documents in the database."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nestling._util.progress import ProgressBar
from nestling.collection.ingest.encoder import EncoderSlot
from nestling.collection.ingest.identity import EncoderIdentity
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
from nestling.collection.storage.state import State
from nestling.collection.storage.words import save_words, stored_words
from nestling.errors import FormatError
from nestling.index import Index
from nestling.runtime.text_encoder import TextEncoder

__all__ = ["repair"]

_BATCH: Final = 4_096  # passages that are encoded together


def repair(
    folder: Path,
    *,
    encoder: TextEncoder | None = None,
    lock_timeout: float = 10.0,
    threads: int | None = None,
) -> list[str]:
    """Rebuilds the segments that cannot be opened, by encoding their documents again.

    The texts are in the database, so no document is lost. Where only the ids or the words beside a
    segment are lost, they are written again, and nothing is encoded. A rebuilt segment has no
    cells, and no rotation or centre if every segment was lost: tune the collection again.

    Args:
        folder: The collection's folder.
        encoder: The collection's encoder, if its name alone cannot open it.
        lock_timeout: Seconds to wait for another writer.
        threads: Threads to use.

    Returns:
        The names of the files that were replaced.

    Raises:
        VectorError: The collection has no encoder: its vectors came with the documents.
        FormatError: The database is corrupted: only a backup helps.
        LockedError: Another thread or process is writing.
        StorageError: The operating system refused to write.
        ModelError: The encoder cannot be loaded, or it is another one.

    Example:
        >>> from pathlib import Path
        >>> nestling.Collection("notes", dim=2).close()
        >>> repair(Path("notes"))  # nothing to repair
        []
    """
    database = Database(folder, read_only=False)
    try:
        with WriterLock(folder, lock_timeout).holding():
            with database.reading() as connection:
                settings = Settings.load(connection)
                segments = read_manifest(connection)
                damaged = [segment for segment in segments if not _opens(segment, folder, threads)]
            if damaged and encoder is not None and settings.encoder is not None:
                settings.encoder.check(EncoderIdentity.of(encoder), str(folder))
            template = _template(settings, folder, segments, damaged, threads)
            slot = EncoderSlot(settings.encoder, encoder, threads=threads, where=str(folder))
            (folder / SEGMENTS_FOLDER).mkdir(exist_ok=True)
            for segment in damaged:
                _rebuild(folder, database, template, slot, segment, settings.title_weight)
            intact = [segment for segment in segments if segment not in damaged]
            nameless = [segment for segment in intact if _repair_ids(folder, database, segment)]
            wordless = [
                segment
                for segment in intact
                if _repair_words(folder, database, segment, settings.title_weight)
            ]
        return [
            *(segment.name for segment in damaged),
            *(segment.ids_path(folder).name for segment in nameless),
            *(segment.words_path(folder).name for segment in wordless),
        ]
    finally:
        database.close()


def _opens(segment: Segment, folder: Path, threads: int | None) -> bool:
    try:
        segment.open(folder, verify=True, threads=threads)
    except FormatError:
        return False
    return True


def _repair_ids(folder: Path, database: Database, segment: Segment) -> bool:
    """Writes the ids of a segment again, unless they are intact; returns whether it did."""
    with database.reading() as connection:
        stored = documents.ids_between(connection, segment.first, segment.last)
    try:
        segment.check_ids(folder, stored)
    except FormatError:
        stored.save(segment.ids_path(folder))
        return True
    return False


def _repair_words(folder: Path, database: Database, segment: Segment, title_weight: int) -> bool:
    """Writes the words of a segment again, unless they are intact; returns whether it did."""
    try:
        with database.reading() as connection:
            stored, rows = stored_words(connection, segment.first, segment.last, title_weight)
    except FormatError:  # a document is corrupted
        if _words_open(segment, folder):
            return False
        raise
    try:
        segment.check_words(folder, stored, rows)
    except FormatError:
        save_words(stored, segment.words_path(folder))
        return True
    return False


def _words_open(segment: Segment, folder: Path) -> bool:
    try:
        segment.open_words(folder, verify=True)
    except FormatError:
        return False
    return True


def _template(
    settings: Settings,
    folder: Path,
    segments: Sequence[Segment],
    damaged: Sequence[Segment],
    threads: int | None,
) -> Index:
    """Returns an index that stores rows as an intact segment does, so that they can be merged."""
    for segment in segments:
        if segment not in damaged:
            return segment.open(folder, verify=False, threads=threads)
    return Index(settings.dim, funnel=settings.funnel, metric=settings.metric, threads=threads)


def _rebuild(
    folder: Path,
    database: Database,
    template: Index,
    slot: EncoderSlot,
    segment: Segment,
    title_weight: int,
) -> None:
    index = template.empty()
    title = f"rebuilding {segment.name}"
    with database.reading() as connection, ProgressBar(title, total=segment.rows) as bar:
        passages = documents.passages_between(connection, segment.first, segment.last)
        while batch := list(islice(passages, _BATCH)):
            vectors = slot.encode([text for _, text in batch])
            index.add(vectors, ids=_local_ids(batch, segment))
            bar.advance(len(batch))
        ids = documents.ids_between(connection, segment.first, segment.last)
        words, _ = stored_words(connection, segment.first, segment.last, title_weight)
    rebuilt = None
    if len(index):
        rebuilt = write_segment(folder, index, ids, words, first=segment.first, last=segment.last)
    with database.writing() as connection:
        connection.execute("DELETE FROM segments WHERE name = ?", (segment.name,))
        connection.execute(
            "DELETE FROM removed WHERE row BETWEEN ? AND ?", (segment.first, segment.last)
        )
        if rebuilt is not None:
            rebuilt.insert(connection)
        State.advance(connection)
    for path in segment.files(folder):
        path.unlink(missing_ok=True)


def _local_ids(batch: Sequence[tuple[int, str]], segment: Segment) -> NDArray[np.int64]:
    return np.array([row for row, _ in batch], np.int64) - segment.first
