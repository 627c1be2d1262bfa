"""The ids of documents by row: a file beside each segment, mapped into memory.

A search finds rows. Row numbers are never used twice and a document keeps its id, so the document
of a row never changes, and a search that returns ids alone need not read the database.

The file holds, in little-endian numbers:

| bytes | contents |
|---|---|
| 32 | "nstl ids", format version, number of documents, number of their passages |
| 8 each | the row of a document's first passage, counted from the segment's first row |
| 8, and 8 each | zero, and the row after its last passage |
| 8 each, and one more | where its id begins in the file; the last one is the end of them all |
| | the ids, UTF-8 |
| 8 | XXH64 of all before |

It is written and synced before the transaction that names its segment, and never changed. What it
holds is in the database too, from which a file that is lost or corrupted is rebuilt.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nestling import _core
from nestling._util.atomic import new_file
from nestling.errors import FormatError

__all__ = ["DocumentIds"]

Rows = NDArray[np.int64]

_MAGIC: Final = b"nstl ids"
_VERSION: Final = 1
_HEAD: Final = struct.Struct("<8s3Q")
_CHECKSUM: Final = struct.Struct("<Q")
_ZERO: Final = np.zeros(1, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class DocumentIds:
    """The documents of a range of rows, which are counted from its first; immutable.

    Attributes:
        rows: (n,) the row of each document's first passage, ascending.
        ends: (n + 1,) zero, and the row after each one's last passage.
        bounds: (n + 1,) where each id begins in `text`, and the end of the last.
        text: The ids, UTF-8.
        passages: Passages of all these documents.
    """

    rows: Rows
    ends: Rows
    bounds: Rows
    text: bytes | mmap.mmap
    passages: int

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def split(self) -> bool:
        """Whether a document has several passages."""
        return self.passages > len(self.rows)

    @classmethod
    def of(cls, rows: Sequence[int], passages: Sequence[int], ids: Iterable[str]) -> DocumentIds:
        """Returns the ids of documents by their first rows and their numbers of passages.

        Example:
            >>> ids = DocumentIds.of([0, 2], [2, 1], ["a", "bread"])
            >>> ids.ids(np.arange(3))
            ['a', 'a', 'bread']
        """
        encoded = [id.encode() for id in ids]
        firsts = np.array(rows, np.int64)
        counts = np.array(passages, np.int64)
        return cls._made(firsts, firsts + counts, encoded)

    @classmethod
    def joined(cls, parts: Sequence[tuple[DocumentIds, int]]) -> DocumentIds:
        """Returns the documents of neighbouring ranges, each with a number to add to its rows."""
        texts = [ids._whole_text() for ids, _ in parts]
        bounds = [_ZERO]
        before = 0
        for (ids, _), text in zip(parts, texts, strict=True):
            bounds.append(ids.bounds[1:] - ids.bounds[0] + before)
            before += len(text)
        return cls(
            np.concatenate([ids.rows + shift for ids, shift in parts]),
            np.concatenate([_ZERO, *(ids.ends[1:] + shift for ids, shift in parts)]),
            np.concatenate(bounds),
            b"".join(texts),
            sum(ids.passages for ids, _ in parts),
        )

    def of_rows(self, rows: Rows) -> DocumentIds:
        """Returns those of the documents whose first passage is one of `rows`."""
        kept = np.flatnonzero(np.isin(self.rows, rows))
        if len(kept) == len(self.rows):
            return self
        starts, ends = self.bounds[kept].tolist(), self.bounds[kept + 1].tolist()
        texts = [self.text[start:end] for start, end in zip(starts, ends, strict=True)]
        return self._made(self.rows[kept], self.ends[kept + 1], texts)

    def firsts(self, rows: Rows) -> Rows:
        """Returns for each row of any passage the row of its document's first passage.

        Raises:
            FormatError: A row belongs to no document.
        """
        after = self.rows.searchsorted(rows, "right")
        outside = (self.ends[after] <= rows) | (after == 0)
        if outside.any():
            raise FormatError(
                f"row {rows[outside][0]} has no document: its ids, or the database, are corrupted"
            )
        return self.rows[after - 1]

    def passage_rows(self, firsts: Rows) -> Rows:
        """Returns the rows of all passages of the documents with these first rows, sorted.

        Raises:
            FormatError: A row belongs to no document.

        Example:
            >>> DocumentIds.of([0, 2], [2, 1], ["a", "bread"]).passage_rows(np.array([0]))
            array([0, 1])
        """
        starts = np.unique(self.firsts(firsts))
        counts = self.ends[self.rows.searchsorted(starts) + 1] - starts
        before = np.cumsum(counts) - counts
        return np.repeat(starts - before, counts) + np.arange(counts.sum())

    def ids(self, rows: Rows, first: int = 0) -> list[str]:
        """Returns for each row of any passage, counted from `first`, the id of its document.

        Raises:
            FormatError: A row belongs to no document.
        """
        return _core.ids_of_rows(rows, first, self.rows, self.ends, self.bounds, self.text)

    def same(self, other: DocumentIds) -> bool:
        """Returns whether the other has the same documents."""
        return (
            np.array_equal(self.rows, other.rows)
            and np.array_equal(self.ends, other.ends)
            and self.ids(self.rows) == other.ids(other.rows)
        )

    def save(self, path: Path) -> None:
        """Writes a file, synced to the disk: all of it or none.

        Raises:
            StorageError: The operating system refused to write.
        """
        head = _HEAD.pack(_MAGIC, _VERSION, len(self), self.passages)
        begin = len(head) + 8 * (3 * len(self) + 2)
        arrays = (self.rows, self.ends, self.bounds - self.bounds[0] + begin)
        content = b"".join(
            [
                head,
                *(array.astype("<i8", copy=False).tobytes() for array in arrays),
                self._whole_text(),
            ]
        )
        with new_file(path) as staged:
            staged.write_bytes(content + _CHECKSUM.pack(_core.xxh64(content)))

    @classmethod
    def open(cls, path: Path, rows: int, *, verify: bool) -> DocumentIds:
        """Maps a file that `save` wrote.

        Args:
            path: The file.
            rows: Numbers of rows that the segment has at most, from 0.
            verify: Whether to check its checksum.

        Raises:
            FormatError: It is missing, truncated, corrupted or another file.
            OSError: The operating system refused to read it.
        """
        try:
            with path.open("rb") as stream:
                data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError as error:
            raise FormatError(f"{path}: the ids of the segment are missing") from error
        except ValueError as error:  # an empty file cannot be mapped
            raise FormatError(f"{path}: truncated: the file is empty") from error
        found = cls._parsed(data, rows, verify=verify)
        if found is None:
            raise FormatError(f"{path}: the ids of the segment are truncated or corrupted")
        return found

    @classmethod
    def _parsed(cls, data: mmap.mmap, rows: int, *, verify: bool) -> DocumentIds | None:
        """Returns the ids in the bytes of a file; None if they are not such bytes."""
        end = len(data) - _CHECKSUM.size
        if end < _HEAD.size:
            return None
        magic, version, count, passages = _HEAD.unpack_from(data)
        begin = _HEAD.size + 8 * (3 * count + 2)
        if (magic, version) != (_MAGIC, _VERSION) or begin > end:
            return None
        if verify:
            with memoryview(data) as view, view[:end] as checked:
                if _core.xxh64(checked) != _CHECKSUM.unpack_from(data, end)[0]:
                    return None
        numbers = np.frombuffer(data, "<i8", 3 * count + 2, _HEAD.size)
        firsts, ends, bounds = np.split(numbers, (count, 2 * count + 1))
        if (ends[0], bounds[0], bounds[-1]) != (0, begin, end):
            return None
        if count and not (firsts[0] >= 0 and ends[-1] <= rows):
            return None
        return cls(firsts, ends, bounds, data, passages)

    def _whole_text(self) -> bytes:
        return self.text[int(self.bounds[0]) : int(self.bounds[-1])]

    @classmethod
    def _made(cls, rows: Rows, ends: Rows, texts: Sequence[bytes]) -> DocumentIds:
        bounds = np.fromiter(accumulate(map(len, texts), initial=0), np.int64, len(texts) + 1)
        passages = int((ends - rows).sum())
        return cls(rows, np.concatenate([_ZERO, ends]), bounds, b"".join(texts), passages)
