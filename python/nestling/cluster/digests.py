"""The digests of the ids of a shard's documents, sorted: a file that finds ids without the shard.

Ids are given twice when several documents of a source have the same one. No machine holds all ids:
each of several tasks reads from every shard's file the digests that begin with certain bits, which
lie together, and finds those that occur twice.

| bytes | contents |
|---|---|
| 8 each, 4,097 times | where the digests begin whose first 12 bits are 0, 1, …; and their number |
| 24 each | a digest of 16 bytes as two numbers, and the row of the document's first passage |

Numbers are little-endian; rows count from the shard's first one. The digests are BLAKE2b: that two
ids of 10^9 share one has a probability of 10^-21.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nestling.cluster.manifest import FileEntry
from nestling.cluster.storage import Storage
from nestling.errors import FormatError

__all__ = ["PARTITIONS", "Digests", "digests_of", "read_digests", "write_digests"]

PARTITIONS: Final = 4096
"""Ranges of digests that can be read on their own."""

_HEAD: Final = 8 * (PARTITIONS + 1)
_LINE: Final = 24
_BITS: Final = 12

Digests = NDArray[np.uint64]
"""(n, 2): digests, each as two numbers."""


def digests_of(ids: Iterable[str]) -> Digests:
    """Returns the digests of ids.

    Example:
        >>> digests_of(["a", "b"]).shape
        (2, 2)
    """
    data = b"".join([hashlib.blake2b(id.encode(), digest_size=16).digest() for id in ids])
    return np.frombuffer(data, ">u8").reshape(-1, 2).astype(np.uint64)


def write_digests(digests: Digests, rows: NDArray[np.int64], path: Path) -> None:
    """Writes the digests of a shard's documents, each with the row of its first passage."""
    order = np.lexsort((digests[:, 1], digests[:, 0]))
    lines = np.empty((len(rows), 3), "<u8")
    lines[:, :2] = digests[order]
    lines[:, 2] = rows[order]
    firsts = (lines[:, 0] >> np.uint64(64 - _BITS)).astype(np.int64)
    bounds = firsts.searchsorted(np.arange(PARTITIONS + 1)).astype("<u8")
    with path.open("wb") as stream:
        stream.write(bounds.tobytes())
        stream.write(lines.data)


def read_digests(
    storage: Storage, file: FileEntry, start: int = 0, end: int = PARTITIONS
) -> tuple[Digests, NDArray[np.int64]]:
    """Reads the digests of some partitions.

    Args:
        storage: The dataset's folder.
        file: The file.
        start: The first partition.
        end: The one after the last.

    Returns:
        The digests, ascending, and the rows of their documents' first passages.

    Raises:
        FormatError: The file is missing or corrupted; the message names it.
        StorageError: The storage cannot be read.
    """
    try:
        head = storage.read(file.name, 0, _HEAD)
        bounds = np.frombuffer(head, "<u8").astype(np.int64)
        first, last = _HEAD + _LINE * int(bounds[start]), _HEAD + _LINE * int(bounds[end])
        # An empty range of bytes is not one that every storage can read.
        data = storage.read(file.name, first, last) if last > first else b""
    except (FileNotFoundError, ValueError, IndexError) as error:
        raise FormatError(f"{storage.describe(file.name)}: missing or corrupted") from error
    lines = np.frombuffer(data, "<u8").reshape(-1, 3)
    partitions = lines[:, 0] >> np.uint64(64 - _BITS)
    if len(data) != last - first or (
        len(lines) and not (start <= partitions.min() <= partitions.max() < end)
    ):
        raise FormatError(f"{storage.describe(file.name)}: corrupted")
    return lines[:, :2].astype(np.uint64), lines[:, 2].astype(np.int64)
