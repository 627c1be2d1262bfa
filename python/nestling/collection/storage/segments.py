"""Segments: immutable files of rows, in the format of an index, and the manifest that names them.

A segment numbers its rows from its first one, so that the ids of the index inside begin at 0.
Beside it lie a file with the ids of its documents (`DocumentIds`) and one with their words
(`storage.words`). All are written and synced before the transaction that names the segment, and
never changed. A file that the manifest does not name was left by a crash and is swept.
"""

from __future__ import annotations

import errno
import re
import secrets
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nestling import _core
from nestling.collection.storage.document_ids import DocumentIds
from nestling.collection.storage.words import open_words, save_words
from nestling.errors import FormatError, StorageError
from nestling.index import Index

__all__ = [
    "SEGMENTS_FOLDER",
    "Segment",
    "read_manifest",
    "segment_files",
    "write_segment",
]

SEGMENTS_FOLDER: Final = "segments"
_NAME: Final = re.compile(r"[0-9]{12,}-[0-9a-f]{8}\.nest")
_IDS_SUFFIX: Final = ".ids"
_WORDS_SUFFIX: Final = ".words"
_HEAD: Final = 4096  # bytes: header and section table, with the checksums of all the rest


@dataclass(frozen=True, slots=True)
class Segment:
    """One line of the manifest.

    Attributes:
        name: Name of the file.
        first: Number of its first row.
        last: Number of its last row; some between may be missing.
        rows: Rows in the file.
        bytes: Size of the file.
        checksum: Checksum of the file's head, which holds checksums of all the rest.
    """

    name: str
    first: int
    last: int
    rows: int
    bytes: int
    checksum: str

    @property
    def plausible(self) -> bool:
        """Whether the values have their types and the name agrees with the first row."""
        numbers = (self.first, self.last, self.rows, self.bytes)
        return (
            all(isinstance(number, int) for number in numbers)
            and isinstance(self.name, str)
            and _NAME.fullmatch(self.name) is not None
            and int(self.name.partition("-")[0]) == self.first <= self.last
        )

    def path(self, folder: Path) -> Path:
        """Returns where the file is, in a collection's folder."""
        return folder / SEGMENTS_FOLDER / self.name

    def ids_path(self, folder: Path) -> Path:
        """Returns where the ids of its documents are."""
        return self.path(folder).with_suffix(_IDS_SUFFIX)

    def words_path(self, folder: Path) -> Path:
        """Returns where the words of its rows are."""
        return self.path(folder).with_suffix(_WORDS_SUFFIX)

    def files(self, folder: Path) -> tuple[Path, ...]:
        """Returns where all its files are, the vectors first."""
        return self.path(folder), self.ids_path(folder), self.words_path(folder)

    def open_words(self, folder: Path, *, verify: bool) -> _core.WordIndex:
        """Maps the file of the words into memory.

        Raises:
            FormatError: It is missing, truncated or corrupted.
            StorageError: The operating system refused to read it.
        """
        rows = self.last - self.first + 1
        return open_words(self.words_path(folder), rows, verify=verify)

    def check_words(self, folder: Path, stored: _core.WordIndex, rows: NDArray[np.int64]) -> None:
        """Compares the file of the words with those of the texts in the database.

        Args:
            folder: The collection's folder.
            stored: The words of the texts.
            rows: Their rows, counted from `first`.

        Raises:
            FormatError: It is missing, truncated or corrupted, or they differ.
            StorageError: The operating system refused to read it.
        """
        words = self.open_words(folder, verify=True)
        path = self.words_path(folder)
        try:
            words.check()
        except FormatError as error:
            raise FormatError(f"{path}: {error}") from None
        # It may have words of removed documents too.
        gone = np.setdiff1d(np.arange(words.rows), rows)
        if not words.without(gone).same(stored):
            raise FormatError(f"{path}: the words of the segment differ from the database")

    def open_ids(self, folder: Path, *, verify: bool) -> DocumentIds:
        """Maps the file of the documents' ids into memory.

        Raises:
            FormatError: It is missing, truncated or corrupted.
            StorageError: The operating system refused to read it.
        """
        path = self.ids_path(folder)
        try:
            return DocumentIds.open(path, self.last - self.first + 1, verify=verify)
        except OSError as error:
            raise StorageError(error.errno, error.strerror, str(path)) from error

    def check_ids(self, folder: Path, stored: DocumentIds) -> None:
        """Compares the file of the documents' ids with those that are in the database.

        Raises:
            FormatError: It is missing, truncated or corrupted, or they differ.
            StorageError: The operating system refused to read it.
        """
        ids = self.open_ids(folder, verify=True)
        if not ids.of_rows(stored.rows).same(stored):  # it may have removed documents too
            raise FormatError(
                f"{self.ids_path(folder)}: the ids of the segment differ from the database"
            )

    def open(self, folder: Path, *, verify: bool, threads: int | None) -> Index:
        """Maps the file into memory.

        Raises:
            FormatError: It is missing, truncated, corrupted, or another file.
            StorageError: The operating system refused to read it.
        """
        path = self.path(folder)
        try:
            if path.stat().st_size != self.bytes or _checksum(path) != self.checksum:
                raise FormatError(
                    f"{path}: truncated, corrupted or from another collection: "
                    f"{path.stat().st_size:,} bytes of {self.bytes:,}"
                )
            index = Index.load(path, verify=verify, threads=threads)
        except FormatError as error:
            raise FormatError(f"{error}; {_RECOVERY}") from error
        except OSError as error:  # another process may merge and remove it at any moment
            if error.errno == errno.ENOENT:
                raise FormatError(f"{path}: this segment is missing; {_RECOVERY}") from error
            raise StorageError(error.errno, error.strerror, str(path)) from error
        # Reads all ids. Where it is left out, rows beyond the end belong to no document.
        if verify and len(index) and int(index.ids.max()) > self.last - self.first:
            raise FormatError(f"{path}: it has rows beyond those in the manifest; {_RECOVERY}")
        if len(index) != self.rows:
            raise FormatError(f"{path}: {len(index):,} rows of {self.rows:,}; {_RECOVERY}")
        return index

    def insert(self, connection: sqlite3.Connection) -> None:
        """Adds this line to the manifest."""
        connection.execute(
            "INSERT INTO segments VALUES(?, ?, ?, ?, ?, ?)",
            (self.name, self.first, self.last, self.rows, self.bytes, self.checksum),
        )


_RECOVERY: Final = "restore it from a backup, or rebuild it from the texts: nestling check --repair"


def read_manifest(connection: sqlite3.Connection) -> list[Segment]:
    """Returns the segments in the order of their rows.

    Raises:
        FormatError: A line is corrupted.
    """
    query = "SELECT name, first, last, rows, bytes, checksum FROM segments ORDER BY first"
    segments = [Segment(*line) for line in connection.execute(query)]
    for segment in segments:
        if not segment.plausible:
            raise FormatError(f"the manifest line of segment {segment.name!r} is corrupted")
    return segments


def write_segment(
    folder: Path,
    index: Index,
    ids: DocumentIds,
    words: _core.WordIndex,
    *,
    first: int,
    last: int,
    token: str | None = None,
) -> Segment:
    """Writes an index from which no row was removed as a new segment, and syncs it.

    Args:
        folder: The collection's folder.
        index: The rows, counted from `first`.
        ids: The documents of the rows, counted from `first` too.
        words: The words of the rows, counted from `first` too.
        first: Number of its first row.
        last: Number of its last row.
        token: Eight hexadecimal digits of its name, which no segment of the collection has had;
            None for random ones.

    Raises:
        StorageError: The operating system refused to write; nothing is left behind.
    """
    name = f"{first:012}-{token or secrets.token_hex(4)}.nest"
    path = folder / SEGMENTS_FOLDER / name
    try:
        index.save(path)
        ids.save(path.with_suffix(_IDS_SUFFIX))
        save_words(words, path.with_suffix(_WORDS_SUFFIX))
        return Segment(name, first, last, len(index), path.stat().st_size, _checksum(path))
    except OSError as error:
        for written in (path, path.with_suffix(_IDS_SUFFIX), path.with_suffix(_WORDS_SUFFIX)):
            written.unlink(missing_ok=True)
        raise StorageError(error.errno, f"cannot write a segment: {error}", str(path)) from error


def segment_files(folder: Path) -> list[Path]:
    """Returns every file in the folder of segments, whether the manifest names it or not.

    Raises:
        StorageError: The operating system refused to list them.
    """
    segments = folder / SEGMENTS_FOLDER
    try:
        return sorted(segments.iterdir()) if segments.is_dir() else []
    except OSError as error:
        raise StorageError(error.errno, error.strerror, str(segments)) from error


def _checksum(path: Path) -> str:
    with path.open("rb") as stream:
        return f"{_core.xxh64(stream.read(_HEAD)):016x}"
