"""Requests and answers as the endpoints see them: bodies in, with limits, and bodies out.

Starlette's own read each header and each parameter more slowly than a short search takes in all.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray
from starlette.types import Receive, Scope, Send

from nestling.runtime.embedder import Floats
from nestling.server.errors import RequestError

__all__ = [
    "BINARY",
    "JSON",
    "NDJSON",
    "ClientDisconnectedError",
    "Request",
    "Response",
    "content_type",
    "decode",
    "flag",
    "floats_of_base64",
    "floats_of_bytes",
    "json_answer",
    "parameters",
    "read_body",
    "whole_number",
]

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
BINARY: Final = "application/octet-stream"

_FLOAT: Final = np.dtype("<f4")
_DEPTH: Final = 64  # of objects and arrays in a body

T = TypeVar("T")


class ClientDisconnectedError(Exception):
    """The client has left."""


class Request:
    """A request.

    Args:
        scope: Its ASGI scope.
        receive: Its messages.
        params: What its path names.

    Attributes:
        scope: As given.
        receive: As given.
        params: As given.
    """

    __slots__ = ("_headers", "_query", "params", "receive", "scope")

    def __init__(self, scope: Scope, receive: Receive, params: dict[str, str]) -> None:
        self.scope = scope
        self.receive = receive
        self.params = params
        self._headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))
        self._query: dict[str, str] | None = None

    def header(self, name: bytes) -> str | None:
        """Returns a header by its lower-case name, of several the first; None where there is none.

        Few are read, so that none is decoded before.
        """
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def query(self) -> Mapping[str, str]:
        """The parameters of its query string; of several with one name the last."""
        if self._query is None:
            self._query = parameters(self.scope.get("query_string", b""))
        return self._query


class Response:
    """An answer whose body is known: an ASGI app.

    Args:
        body: The body.
        status: The HTTP status.
        headers: Headers, by lower-case name.
        media_type: What the body is; None where there is none.

    Attributes:
        body: As given.
        status: As given.
        headers: All headers, as ASGI has them.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(
        self,
        body: bytes = b"",
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
    ) -> None:
        self.body = body
        self.status = status
        self.headers: list[tuple[bytes, bytes]] = (
            [] if status == 304 else [(b"content-length", b"%d" % len(body))]
        )
        if media_type is not None:
            self.headers.append((b"content-type", media_type.encode("latin-1")))
        if headers is not None:
            self.headers += [
                (name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()
            ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


def parameters(query: bytes) -> dict[str, str]:
    """Returns the parameters of a query string; of several with one name the last.

    Example:
        >>> parameters(b"k=10&where=%7B%7D")
        {'k': '10', 'where': '{}'}
    """
    return dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))


def content_type(request: Request) -> str:
    """Returns the media type of a body, without parameters; JSON where none is said."""
    given = request.header(b"content-type") or JSON
    return given.partition(";")[0].strip().lower()


async def read_body(request: Request, limit: int) -> bytes:
    """Returns a whole body.

    Args:
        request: The request.
        limit: The most bytes.

    Raises:
        RequestError: 413; it is longer. 400; the length that it is said to have is not a number.
        ClientDisconnectedError: The client has left.
    """
    length = request.header(b"content-length")
    if length is not None:
        if not (length.isascii() and length.isdecimal()):
            raise RequestError(400, f"Content-Length is not a number: {length[:40]!r}")
        if len(length) > 18 or int(length) > limit:
            raise _too_long(limit)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnectedError
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_long(limit)
        if not message.get("more_body", False):
            return b"".join((*parts, part)) if parts else part
        parts.append(part)


def decode(kind: type[T], body: bytes) -> T:
    """Returns a JSON body as a value of a type.

    Raises:
        RequestError: 400 where it is not JSON, 422 where it does not have this form.

    Example:
        >>> decode(dict[str, int], b'{"k": 10}')
        {'k': 10}
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        message = str(error)
        _, _, path = message.partition(" - at `$")
        raise RequestError(
            422, message, param=path.rstrip("`").lstrip(".") or None, code="invalid_value"
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(400, f"the body is not JSON: {error}", code="invalid_json") from None
    except RecursionError:
        raise RequestError(400, "the body is nested too deeply", code="invalid_json") from None


def json_answer(
    value: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Returns a JSON answer; numpy arrays become lists, float32 in its shortest form."""
    return Response(
        orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY),
        status,
        headers,
        JSON,
    )


def floats_of_bytes(data: bytes | bytearray | memoryview, dim: int, param: str) -> Floats:
    """Returns little-endian float32 as rows, (m, dim).

    Raises:
        RequestError: 422; there is not a whole number of rows, or a value is not finite.
    """
    if not data or len(data) % (dim * _FLOAT.itemsize):
        raise RequestError(
            422,
            f"{param}: {len(data):,} bytes are not rows of {dim} float32 values "
            f"({dim * _FLOAT.itemsize} bytes each)",
            param=param,
            code="vector",
        )
    rows: NDArray[np.float32] = np.frombuffer(data, _FLOAT).astype(np.float32, copy=False)
    return rows.reshape(-1, dim)


def floats_of_base64(text: str, param: str) -> Floats:
    """Returns base64 of little-endian float32 as a vector, (dim,).

    Raises:
        RequestError: 422; it is not base64, or not of whole values.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise RequestError(422, f"{param}: not base64", param=param, code="vector") from None
    if len(data) % _FLOAT.itemsize:
        raise RequestError(
            422, f"{param}: {len(data)} bytes are not float32 values", param=param, code="vector"
        )
    return np.frombuffer(data, _FLOAT).astype(np.float32, copy=False)


def whole_number(query: Mapping[str, str], name: str, default: int | None = None) -> int | None:
    """Returns a whole number from the parameters of a query string.

    Raises:
        RequestError: 422; it is not one.
    """
    value = query.get(name)
    if value is None:
        return default
    if not value.lstrip("-").isdecimal() or not value.isascii() or len(value) > 18:
        raise RequestError(
            422, f"{name} must be a whole number, not {value[:40]!r}", param=name, code="argument"
        )
    return int(value)


def flag(query: Mapping[str, str], name: str) -> bool:
    """Returns a truth value from the parameters of a query string: 1 or true, 0 or false.

    Raises:
        RequestError: 422; it is neither.
    """
    value = query.get(name, "0").lower()
    if value not in ("0", "1", "true", "false"):
        raise RequestError(422, f"{name} must be 1 or 0, not {value[:40]!r}", param=name)
    return value in ("1", "true")


def _too_long(limit: int) -> RequestError:
    return RequestError(413, f"the body is longer than {limit:,} bytes", code="body_too_long")
