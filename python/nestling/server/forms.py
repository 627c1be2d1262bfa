"""Forms with files, as browsers and OpenAI's client send them: multipart/form-data.

Source: RFC 7578, "Returning Values from Forms: multipart/form-data".
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from nestling.server.errors import RequestError
from nestling.server.settings import missing_server_package

__all__ = ["Part", "read_form"]

_MOST_PARTS: Final = 16

# It warns of each malformed form, so that clients could fill the log.
logging.getLogger("python_multipart.multipart").setLevel(logging.ERROR)


@dataclass(slots=True)
class Part:
    """A field of a form.

    Attributes:
        name: Its name.
        filename: Name of the file; None if it is not one.
        content: What it holds.
    """

    name: str = ""
    filename: str | None = None
    content: bytes = b""


@dataclass(slots=True)
class _Reader:
    """Collects the parts of a form."""

    options: Callable[[bytes], tuple[bytes, dict[bytes, bytes]]]  # of a header's value
    parts: list[Part] = field(default_factory=list)
    ended: bool = False
    _header: bytearray = field(default_factory=bytearray)
    _value: bytearray = field(default_factory=bytearray)
    _content: bytearray = field(default_factory=bytearray)
    _part: Part = field(default_factory=Part)

    def on_part_begin(self) -> None:
        self._part = Part()
        self._content = bytearray()

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = self.options(bytes(self._value))
            self._part.name = options.get(b"name", b"").decode("utf-8", "replace")
            filename = options.get(b"filename")
            if filename is not None:
                self._part.filename = filename.decode("utf-8", "replace")
        self._header.clear()
        self._value.clear()

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._content += data[start:end]

    def on_part_end(self) -> None:
        self._part.content = bytes(self._content)
        self.parts.append(self._part)
        if len(self.parts) > _MOST_PARTS:
            raise _malformed("it has too many parts")

    def on_end(self) -> None:
        self.ended = True


def read_form(content_type: str, body: bytes) -> dict[str, Part]:
    r"""Returns the fields of a form by name.

    Args:
        content_type: The header `Content-Type`.
        body: The whole body.

    Raises:
        RequestError: 415 where it is not such a form, 400 where it is malformed.
        PackageError: python-multipart is not installed.

    Example:
        >>> body = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--x--\r\n'
        >>> read_form("multipart/form-data; boundary=x", body)["a"].content
        b'b'
    """
    try:
        from python_multipart.exceptions import FormParserError
        from python_multipart.multipart import MultipartParser, parse_options_header
    except ImportError as error:
        raise missing_server_package(error) from error
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        raise RequestError(415, "a file is uploaded as multipart/form-data")
    boundary = options.get(b"boundary")
    if not boundary:
        raise _malformed("its Content-Type has no boundary")
    reader = _Reader(parse_options_header)
    names = [name for name in dir(reader) if name.startswith("on_")]
    try:
        MultipartParser(boundary, {name: getattr(reader, name) for name in names}).write(body)
    except FormParserError as error:
        raise _malformed(str(error)) from None
    if not reader.ended:
        raise _malformed("it has no end")
    found: dict[str, Part] = {}
    for part in reader.parts:
        if found.setdefault(part.name, part) is not part:
            raise _malformed(f"it has two parts {part.name[:40]!r}")
    return found


def _malformed(message: str) -> RequestError:
    return RequestError(400, f"the form is malformed: {message}", code="invalid_form")
