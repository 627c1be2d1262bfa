"""The words of rows: a file of postings beside each segment, and postings in memory.

The words of a segment are in a file that is mapped into memory. Those of pending rows, and of a
segment whose file is lost, are made from the texts in the database when they are first needed.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nestling import _core
from nestling.collection.ingest.analysis import index_text
from nestling.collection.storage import documents
from nestling.errors import FormatError, StorageError

__all__ = [
    "PlacedWords",
    "Words",
    "join_words",
    "open_words",
    "save_words",
    "stored_words",
    "words_of",
]

Rows = NDArray[np.int64]
PlacedWords = tuple[_core.WordIndex, int]
"""The words of some rows, with the number of the first row."""

_TOGETHER: Final = 65_536  # passages that are in memory at once
_METADATA: Final = json.dumps({"kind": "words"})


class Words:
    """The words of a range of rows, as of one commit.

    Args:
        known: Words of the first rows, in the order of the rows.
        unread: The first row whose words are to be read from the database.
    """

    __slots__ = ("_state",)

    def __init__(self, known: Iterable[PlacedWords], unread: int) -> None:
        # Replaced as a whole: threads that read the same rows at once find the same words.
        self._state = (tuple(known), unread)

    @property
    def memory(self) -> int:
        """Bytes of the words that were read."""
        return sum(index.memory for index, _ in self._state[0])

    def copy(self) -> Words:
        """Returns words to which later rows can be added."""
        return Words(*self._state)

    def without(self, rows: Rows) -> Words:
        """Returns the words without those of some rows."""
        known, unread = self._state
        kept = []
        for index, first in known:
            inside = rows[(rows >= first) & (rows < first + index.rows)] - first
            kept.append((index.without(inside) if len(inside) else index, first))
        return Words(kept, unread)

    def read(
        self, connection: sqlite3.Connection, last: int, title_weight: int
    ) -> tuple[PlacedWords, ...]:
        """Returns the words of all rows up to `last`.

        Args:
            connection: A transaction that sees the same commit.
            last: The last row.
            title_weight: As for `words_of`.

        Raises:
            FormatError: A document is corrupted.
        """
        known, unread = self._state
        if unread <= last:
            words, _ = stored_words(connection, unread, last, title_weight)
            known = _with(known, (words, unread))
            self._state = (known, last + 1)
        return known


def words_of(rows: Rows, passages: Iterable[tuple[str, str]], title_weight: int) -> _core.WordIndex:
    """Returns the words of passages.

    Args:
        rows: The row of each; they rise.
        passages: What each repeats of its document's title, and its text below the title.
        title_weight: How many times the words of the former count.
    """
    titles, texts = [], []
    for title, text in passages:
        texts.append(index_text(text))
        if title_weight > 1:
            titles.append(index_text(title))
    count = int(rows[-1]) + 1 if len(rows) else 0
    return _core.WordIndex.build(rows, texts, count=count, titles=titles, title_weight=title_weight)


def stored_words(
    connection: sqlite3.Connection, first: int, last: int, title_weight: int
) -> tuple[_core.WordIndex, Rows]:
    """Returns the words of the documents in the database whose first rows are `first` to `last`.

    Args:
        connection: A transaction.
        first: The first row.
        last: The last row.
        title_weight: As for `words_of`.

    Returns:
        The words, and the rows that have any text; both count from `first`.

    Raises:
        FormatError: A document is corrupted.
    """
    known: list[PlacedWords] = []
    rows = [np.empty(0, np.int64)]
    passages = documents.titled_passages_between(connection, first, last)
    while batch := list(islice(passages, _TOGETHER)):
        start = batch[0][0]
        some = np.array([row for row, _ in batch], np.int64) - start
        known.append((words_of(some, (each for _, each in batch), title_weight), start))
        rows.append(some + start - first)
    return join_words(known, first), np.concatenate(rows)


def join_words(parts: Sequence[PlacedWords], first: int) -> _core.WordIndex:
    """Returns the words of neighbouring ranges in one, whose rows count from `first`."""
    return _core.WordIndex.merged(
        [index for index, _ in parts], shifts=[start - first for _, start in parts]
    )


def save_words(words: _core.WordIndex, path: Path) -> None:
    """Writes words of which no row was removed to a file, synced to the disk: all of it or none.

    Raises:
        StorageError: The operating system refused to write.
    """
    words.save(os.fsencode(path), metadata=_METADATA)


def open_words(path: Path, rows: int, *, verify: bool) -> _core.WordIndex:
    """Maps a file that `save_words` wrote.

    Args:
        path: The file.
        rows: Numbers of rows that it may have, from 0.
        verify: Whether to check every checksum.

    Raises:
        FormatError: It is missing, truncated, corrupted or another file.
        StorageError: The operating system refused to read it.
    """
    try:
        file = _core.File(os.fsencode(path), verify=verify)
        if file.metadata != _METADATA.encode():
            raise FormatError("not a file of words")
        words = _core.WordIndex.open(file)
        if words.rows > rows:
            raise FormatError(f"it has words of {words.rows:,} rows, the segment {rows:,}")
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from None
    except StorageError as error:
        if error.errno != errno.ENOENT:
            raise
        raise FormatError(f"{path}: the words of the segment are missing") from None
    return words


def _with(known: tuple[PlacedWords, ...], new: PlacedWords) -> tuple[PlacedWords, ...]:
    """Adds words behind others; those of similar size become one, so that they stay few."""
    parts = [*known, new]
    while len(parts) > 1 and len(parts[-2][0]) <= 2 * len(parts[-1][0]):
        first = parts[-2][1]
        parts[-2:] = [(join_words(parts[-2:], first), first)]
    return tuple(parts)
