"""How arrays are stored in the database: little-endian bytes, with a checksum where it matters."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nestling import _core
from nestling.errors import FormatError

__all__ = [
    "SPAN_BYTES",
    "pack_spans",
    "pack_vectors",
    "row_checksum",
    "unpack_span",
    "unpack_spans",
    "unpack_vectors",
]

_SPAN: Final = struct.Struct("<2q")
SPAN_BYTES: Final = _SPAN.size
"""Bytes of a packed span."""


def pack_spans(spans: Sequence[tuple[int, int]], length: int) -> bytes | None:
    """Returns spans as pairs of int64; None for a single span that covers the whole text.

    Example:
        >>> pack_spans([(0, 5)], 5) is None
        True
    """
    if len(spans) == 1 and spans[0] == (0, length):
        return None
    return np.array(spans, "<i8").tobytes()


def row_checksum(row: int, digest: bytes, spans: bytes | None) -> str:
    """Returns the checksum of a document's row number, digest and packed spans."""
    return f"{_core.xxh64(b'%d ' % row + digest + (spans or b'')):016x}"


def unpack_spans(blob: bytes | None, length: int) -> list[tuple[int, int]]:
    """Returns the spans that `pack_spans` packed, of a text of `length` characters.

    Example:
        >>> unpack_spans(pack_spans([(0, 5), (6, 9)], 9), 9)
        [(0, 5), (6, 9)]
    """
    if blob is None:
        return [(0, length)]
    pairs = np.frombuffer(blob, "<i8").reshape(-1, 2)
    return [(int(start), int(end)) for start, end in pairs]


def unpack_span(blob: bytes | None, length: int, passage: int) -> tuple[int, int]:
    """Returns one of the spans that `pack_spans` packed, of a text of `length` characters.

    Raises:
        ValueError: There are not so many.

    Example:
        >>> unpack_span(pack_spans([(0, 5), (6, 9)], 9), 9, 1)
        (6, 9)
    """
    if blob is None:
        if passage:
            raise ValueError(f"passage {passage} of a single one")
        return 0, length
    try:
        start, end = _SPAN.unpack_from(blob, SPAN_BYTES * passage)
    except struct.error as error:
        raise ValueError(f"passage {passage}: {error}") from error
    return start, end


def pack_vectors(vectors: NDArray[np.float32]) -> tuple[bytes, str]:
    """Returns vectors as bytes, and the checksum of the bytes."""
    blob = vectors.astype("<f4", copy=False).tobytes()
    return blob, f"{_core.xxh64(blob):016x}"


def unpack_vectors(row: int, blob: bytes, checksum: str, dim: int) -> NDArray[np.float32]:
    """Returns the (n, dim) vectors that `pack_vectors` packed.

    Raises:
        FormatError: They are corrupted.
    """
    if (
        not isinstance(blob, bytes)
        or f"{_core.xxh64(blob):016x}" != checksum
        or len(blob) % (4 * dim)
    ):
        raise FormatError(f"the vectors of row {row} are corrupted in the database")
    return np.frombuffer(blob, "<f4").reshape(-1, dim)
