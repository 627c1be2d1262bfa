"""Lines of text files: UTF-8, or refused with what the file is instead."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from typing import Final

from nestling.errors import CorpusError

__all__ = ["decode", "first_line", "read_lines"]

# How files of other kinds begin, and what they are.
_MAGIC: Final = {
    b"\x1f\x8b": "gzip; decompress it (gunzip)",
    b"BZh": "bzip2; decompress it (bunzip2)",
    b"\xfd7zXZ\0": "xz; decompress it (unxz)",
    b"\x28\xb5\x2f\xfd": "Zstandard; decompress it (unzstd)",
    b"PK\x03\x04": "a ZIP archive, or a spreadsheet; unpack it, or save it as CSV in UTF-8",
    b"PAR1": "Parquet; name it .parquet",
    b"ARROW1": "Arrow IPC; save it as Parquet",
    b"SQLite format 3": "a SQLite database; export its table as CSV",
    b"%PDF": "PDF; extract its text",
}
_HEAD: Final = 4096  # bytes of the first line that are examined


def read_lines(stream: Iterable[bytes], name: str) -> Iterator[str]:
    r"""Decodes a binary stream line by line, without line ends and byte order mark.

    Args:
        stream: Lines of bytes, as an open binary file yields them.
        name: The name of the stream in error messages.

    Raises:
        CorpusError: A line is not UTF-8.

    Example:
        >>> list(read_lines([b"one\r\n", b"two"], "stdin"))
        ['one', 'two']
    """
    for number, raw in enumerate(stream, 1):
        if number == 1:
            raw = first_line(raw, name)
        try:
            yield decode(raw).rstrip("\r\n")
        except CorpusError as error:
            raise CorpusError(f"{name}, line {number}: {error}") from error


def first_line(raw: bytes, name: str) -> bytes:
    """Returns the first line of a file without its byte order mark; an error calls it `name`.

    Raises:
        CorpusError: The file is not text in UTF-8.

    Example:
        >>> first_line(b"PAR1", "corpus.csv")
        Traceback (most recent call last):
        nestling.errors.CorpusError: corpus.csv: the file is Parquet; name it .parquet
    """
    head = raw[:_HEAD]
    kind = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        kind = "UTF-32; save it as UTF-8"
    elif head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or _has_wide_letters(head):
        kind = "UTF-16; save it as UTF-8"
    if kind is not None:
        raise CorpusError(f"{name}: the file is {kind}" if name else f"the file is {kind}")
    return raw.removeprefix(codecs.BOM_UTF8)


def _has_wide_letters(head: bytes) -> bool:
    """Returns whether every second byte is NUL, as in UTF-16 without a byte order mark."""
    return len(head) > 3 and any(
        head[start::2].count(0) > 0.8 * len(head[start::2]) for start in (0, 1)
    )


def decode(raw: bytes) -> str:
    """Returns text in UTF-8.

    Raises:
        CorpusError: It is not UTF-8.

    Example:
        >>> decode(b"bread")
        'bread'
    """
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"not UTF-8 (byte 0x{raw[error.start]:02x} at position {error.start}); save it as UTF-8"
        ) from error
