"""HTTP/1.1 on a connection: httptools' parser on one side, an ASGI app on the other.

It stands in for uvicorn's own protocol, whose calls take some 20 µs of a short request, so that 64
clients get a fifth more answers. Servers with their parsers in Rust (granian) or Zig (uvicorn with
zttp) were tried first: a lone request takes twice as long there, and many are not answered faster.

What it does that uvicorn's does not: heads and trailers are limited, and heads must come in time;
what cannot be parsed is answered in the form of all errors, after the answers to the requests
before it; and a body that the client was not asked for is not waited for.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final, cast
from urllib.parse import unquote

import httptools
import orjson
import uvicorn
from starlette.types import ASGIApp, Message, Scope
from uvicorn.server import ServerState

from nestling.server.errors import RequestError, request_error

__all__ = ["HttpProtocol", "close_idle"]

_HEAD_BYTES: Final = 65_536  # that may come without a head, a trailer or a piece of a body ending
_HEADERS: Final = 128
_HEAD_SECONDS: Final = 20.0  # in which a head must come, or what is left of a body nobody reads
_WAITING: Final = 16  # requests behind one that is answered, before no more is read
_BODY_BYTES: Final = 262_144  # of a body that wait for the app, before no more is read
_NO_BODY: Final = frozenset((204, 304))
_OF_CONNECTION: Final = (b"connection", b"transfer-encoding")  # how a body is sent is not the app's
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE: Final = b"connection: close"
_FIRST_LINES: Final = {
    status: b"HTTP/1.1 %d " % status + phrase.encode()
    for status, phrase in {
        **dict.fromkeys(range(200, 600), ""),
        **{each.value: each.phrase for each in HTTPStatus},
    }.items()
}
_log = logging.getLogger("nestling.server")


def close_idle(connections: Iterable[object]) -> None:
    """Closes the connections from which nothing comes any more.

    One look at all of them, once in a while, in place of a timer for each request.
    """
    for connection in list(connections):
        if isinstance(connection, HttpProtocol):
            connection.close_if_idle()


class HttpProtocol(asyncio.Protocol):
    """A connection.

    Args:
        config: What uvicorn was told: the app, its root path, how long an idle connection is kept.
        server_state: The connections and tasks that uvicorn waits for when it stops.
        app_state: The state of the app's lifespan.
        _loop: As uvicorn passes it.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._app = cast(ASGIApp, config.loaded_app)
        self._root: str = config.root_path
        self._keep_alive: float = config.timeout_keep_alive
        self._server = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_running_loop()
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._asgi = {"version": config.asgi_version, "spec_version": "2.3"}
        self._ends: tuple[object, object] = (None, None)  # the client's address and the server's
        self._active: _Exchange | None = None  # is answered
        self._next: deque[_Exchange] = deque()  # came before it was
        self._incoming: _Exchange | None = None  # whose body is being read
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._expects = False
        self._unfinished = False  # between the first and the last byte of a request
        self._grew = False  # a piece of a body has come
        self._fed = 0  # bytes since something was complete
        self._since = self._loop.time()  # when it became idle
        self._reads = True
        self._refusal: bytes | None = None
        self._stopping = False
        self.writable: asyncio.Event | None = None  # while the client reads too slowly

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins."""
        self._transport = cast(asyncio.Transport, transport)
        # So that uvloop sends at once: what is done after an answer does not delay it.
        self._transport.set_write_buffer_limits(high=0)
        self._ends = (_address(transport, "peername"), _address(transport, "sockname"))
        self._server.connections.add(self)  # type: ignore[arg-type]

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends: the app is told that the client has left."""
        self._server.connections.discard(self)
        for exchange in (self._active, *self._next):
            if exchange is not None:
                exchange.leave()
        self._next.clear()
        self.resume_writing()
        self._parser = None  # it refers to this object

    def data_received(self, data: bytes) -> None:
        """Reads what has come."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # its request is answered as any other; nothing behind it is read
        except httptools.HttpParserError as error:
            self._refuse(RequestError(400, f"this is not HTTP/1.1: {error}", code="invalid_http"))
            return
        if not self._unfinished or self._grew:
            self._fed = 0
            self._grew = False
        else:
            self._fed += len(data)
            if self._fed > _HEAD_BYTES:
                self._refuse(RequestError(431, f"the head has more than {_HEAD_BYTES:,} bytes"))

    def pause_writing(self) -> None:
        """Is called when the client reads too slowly."""
        self.writable = asyncio.Event()

    def resume_writing(self) -> None:
        """Is called when it has caught up."""
        if self.writable is not None:
            self.writable.set()
            self.writable = None

    # What the parser calls

    def on_message_begin(self) -> None:
        """Begins a request."""
        self._url = b""
        self._headers = []
        self._expects = False
        self._unfinished = True
        self._incoming = None

    def on_url(self, url: bytes) -> None:
        """Takes a part of its target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Takes a header."""
        if self._incoming is not None:
            return  # a trailer, which no app reads
        name = name.lower()
        self._headers.append((name, value))
        if name == b"expect":
            self._expects = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        """Starts what answers the request, or lets it wait for the answers before it."""
        headers = self._headers
        if len(headers) > _HEADERS:
            error = RequestError(431, f"more than {_HEADERS} headers")
            self._refuse(error)
            raise error  # so that the parser stops
        parser, url = self._parser, self._url
        target, _, query = url.partition(b"?")
        if not target.startswith(b"/"):  # of a proxy's request, or *
            parsed = httptools.parse_url(url)
            target, query = parsed.path or b"/", parsed.query or b""
        path = target.decode("ascii")
        client, server = self._ends
        version = parser.get_http_version()
        exchange = _Exchange(
            self,
            {
                "type": "http",
                "asgi": self._asgi,
                "http_version": version,
                "server": server,
                "client": client,
                "scheme": "http",
                "root_path": self._root,
                "headers": headers,
                "state": self._app_state.copy(),
                "method": parser.get_method().decode("ascii"),
                "path": self._root + (unquote(path) if "%" in path else path),
                "raw_path": self._root.encode() + target,
                "query_string": query,
            },
            keep=version == "1.1" and parser.should_keep_alive() and not parser.should_upgrade(),
            expects=self._expects,
        )
        self._incoming = exchange
        if self._active is None:
            self._start(exchange)
        else:
            self._next.append(exchange)
            if len(self._next) >= _WAITING:
                self.pause_reading()

    def on_body(self, body: bytes) -> None:
        """Takes a part of a body."""
        self._grew = True
        if self._incoming is not None:
            self._incoming.add(body)

    def on_message_complete(self) -> None:
        """Ends a request."""
        self._unfinished = False
        if self._incoming is not None:
            self._incoming.complete()
            self._incoming = None

    # What uvicorn calls

    def shutdown(self) -> None:
        """Closes the connection after the answer that is due, if one is."""
        self._stopping = True
        if self._active is None:
            self._transport.close()
        else:
            self._active.keep = False

    # What an exchange calls

    def pause_reading(self) -> None:
        """Reads nothing more for now."""
        if self._reads and not self._transport.is_closing():
            self._reads = False
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Reads on, unless many requests wait already, or what comes cannot be read."""
        stays = len(self._next) >= _WAITING or self._refusal is not None
        if not (self._reads or stays or self._transport.is_closing()):
            self._reads = True
            self._transport.resume_reading()

    def write(self, data: bytes) -> None:
        """Sends bytes."""
        self._transport.write(data)

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """Headers of all answers: the date, which uvicorn sets once a second."""
        return self._server.default_headers

    def answered(self, exchange: _Exchange) -> None:
        """Goes on after an answer: with the next request, or the end of the connection."""
        self._server.total_requests += 1
        self._active = None
        if not exchange.keep:
            self._transport.close()
        elif self._next:
            self._start(self._next.popleft())
            self.resume_reading()
        elif self._refusal is not None:
            self.write(self._refusal)
            self._transport.close()
        else:
            self._since = self._loop.time()
            self.resume_reading()

    def ended(self, exchange: _Exchange) -> None:
        """Forgets what answered a request."""
        self._server.tasks.discard(cast("asyncio.Task[None]", exchange.task))

    def close(self) -> None:
        """Closes the connection in the midst of an answer: the client sees that it is not whole."""
        self._transport.close()

    # The rest

    def close_if_idle(self) -> None:
        """Closes the connection if it has waited too long for a request, or for its end."""
        longest = _HEAD_SECONDS if self._unfinished else self._keep_alive
        if self._active is None and self._loop.time() > self._since + longest:
            self._transport.close()

    def _start(self, exchange: _Exchange) -> None:
        self._active = exchange
        if self._stopping:
            exchange.keep = False
        task = exchange.task = self._loop.create_task(exchange.run(self._app))
        self._server.tasks.add(task)

    def _refuse(self, error: RequestError) -> None:
        """Answers what is not a request, after those before it, and closes the connection."""
        if self._refusal is not None or self._transport.is_closing():
            return
        body = orjson.dumps(error.body())
        head = (_FIRST_LINES[error.status], b"content-type: application/json", _CLOSE)
        self._refusal = b"\r\n".join((*head, b"content-length: %d" % len(body), b"", body))
        self.pause_reading()
        broken, self._incoming = self._incoming, None
        if broken is not None and broken is self._active:  # its body has no end
            if not broken.started:
                self.write(self._refusal)
            self._transport.close()
        elif self._active is None:
            self.write(self._refusal)
            self._transport.close()
        elif broken is not None:
            self._next.remove(broken)


class _Exchange:
    """A request and its answer, as an ASGI app sees them.

    Args:
        connection: Where it came from.
        scope: Its ASGI scope.
        keep: Whether the connection is kept after it.
        expects: Whether the client waits for a word before it sends the body.
    """

    __slots__ = (
        *("_bare", "_body", "_chunked", "_connection", "_event", "_expects", "_head", "_left"),
        *("_remaining", "_scope", "_size", "_taken", "_whole", "done", "keep", "started", "task"),
    )

    def __init__(
        self, connection: HttpProtocol, scope: Scope, *, keep: bool, expects: bool
    ) -> None:
        self.keep = keep
        self.started = False  # the answer
        self.done = False
        self.task: asyncio.Task[None] | None = None
        self._connection = connection
        self._scope = scope
        self._expects = expects
        self._body: list[bytes] = []  # what the app has not taken yet
        self._size = 0
        self._whole = False  # all of the body has come
        self._taken = False  # and the app has it
        self._left = False  # the client
        self._event: asyncio.Event | None = None  # while the app waits
        self._head = b""  # which is sent with the first part of the body
        self._bare = False  # an answer without a body
        self._chunked = False
        self._remaining: int | None = None  # bytes of the body, where its length is known

    async def run(self, app: ASGIApp) -> None:
        """Answers the request."""
        try:
            await app(self._scope, self.receive, self.send)
            if not self.done and not self._left:
                raise RuntimeError("the answer has no end")
        except Exception:
            _log.exception("an app failed")
        finally:
            if not self.done and not self._left:
                self._give_up()
            self._connection.ended(self)

    def add(self, body: bytes) -> None:
        """Takes a part of the body."""
        if self.done:
            return  # nobody reads it
        self._body.append(body)
        self._size += len(body)
        if self._size > _BODY_BYTES:
            self._connection.pause_reading()
        self._wake()

    def complete(self) -> None:
        """Notes that all of the body has come."""
        self._whole = True
        self._wake()

    def leave(self) -> None:
        """Notes that the client has left."""
        self._left = True
        self._wake()

    async def receive(self) -> Message:
        """Returns the next message: a part of the body, or that the client has left."""
        if self._expects and not self.started and not self._left:
            self._expects = False
            if not self._whole:
                self._connection.write(_CONTINUE)
        while not (self._left or self.done or self._body or (self._whole and not self._taken)):
            if self._event is None:
                self._event = asyncio.Event()
            self._event.clear()
            await self._event.wait()
        if self._left or self.done:
            return {"type": "http.disconnect"}
        parts = self._body
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        self._taken = self._whole
        if self._size > _BODY_BYTES:
            self._connection.resume_reading()
        self._body, self._size = [], 0
        return {"type": "http.request", "body": body, "more_body": not self._whole}

    async def send(self, message: Message) -> None:
        """Sends the head or a part of the body of the answer."""
        if self._left:
            return
        writable = self._connection.writable
        if writable is not None:
            await writable.wait()
        if message["type"] == "http.response.start" and not self.started:
            self._begin(message["status"], message.get("headers", ()))
            return
        if message["type"] != "http.response.body" or not self.started or self.done:
            raise RuntimeError(f"{message['type']} may not be sent now")
        body: bytes = message.get("body", b"")
        more: bool = message.get("more_body", False)
        if self._remaining is not None:
            self._remaining -= len(body)
            if self._remaining < 0 or (self._remaining and not more):
                raise RuntimeError("the body is not as long as its Content-Length")
        elif self._chunked:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if not more:
                body += b"0\r\n\r\n"
        if self._bare:
            body = b""
        if self._head:  # one piece costs the event loop less than two
            body = self._head + body
            self._head = b""
        if body:
            self._connection.write(body)
        if not more:
            self._finish()

    def _begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Makes the head of the answer."""
        method, version = self._scope["method"], self._scope["http_version"]
        if self._expects:  # the client may send the body now or leave it out: nobody knows
            self.keep = False
        pairs = [*self._connection.default_headers, *headers]
        names = dict(pairs)
        if b"content-length" in names:
            self._remaining = int(names[b"content-length"])
        if not names.keys().isdisjoint(_OF_CONNECTION):
            self.keep = self.keep and names.get(b"connection", b"").lower() != b"close"
            pairs = [pair for pair in pairs if pair[0] not in _OF_CONNECTION]
        lines = [_FIRST_LINES[status], *map(b": ".join, pairs)]
        if method == "HEAD" or status in _NO_BODY:
            self._bare = True
            self._remaining = None
        elif self._remaining is None and version == "1.1":
            self._chunked = True
            lines.append(b"transfer-encoding: chunked")
        elif self._remaining is None:
            self.keep = False  # its end is the end of the body
        if not self.keep:
            lines.append(_CLOSE)
        head = b"\r\n".join(lines)
        if head.count(b"\n") != len(lines) - 1 or head.count(b"\r") != len(lines) - 1:
            raise RuntimeError("a header has a line break")
        self.started = True
        self._head = head + b"\r\n\r\n"

    def _finish(self) -> None:
        self.done = True
        self._body.clear()
        self._wake()
        self._connection.answered(self)

    def _give_up(self) -> None:
        """Ends an answer that the app did not."""
        if self.started and not self._head:
            self._connection.close()
            return
        body = orjson.dumps(request_error(Exception()).body())
        length = b"%d" % len(body)
        self.keep = self._chunked = False
        self._begin(500, [(b"content-type", b"application/json"), (b"content-length", length)])
        self._connection.write(self._head if self._bare else self._head + body)
        self._finish()

    def _wake(self) -> None:
        if self._event is not None:
            self._event.set()


def _address(transport: asyncio.BaseTransport, name: str) -> tuple[str, int] | None:
    """Returns host and port of an end of a connection; None where it has none."""
    found = transport.get_extra_info(name)
    return (str(found[0]), int(found[1])) if isinstance(found, tuple | list) else None
