"""HTTP/1.1 as it comes over real sockets: whole, in pieces, pipelined, malformed, slow, cut off."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from typing import Any

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState
from waiting import SECONDS

from nestling.server import protocol
from nestling.server.protocol import HttpProtocol, close_idle

MUCH = 8_000_000


class World:
    """A server in this event loop, and its app.

    Attributes:
        port: Where it listens.
        state: What uvicorn would know of it.
        seen: The requests that reached the app: method, path and body, or None without its end.
        go: What the path `/slow` waits for.
        sent: Bytes that the path `/much` has handed over.
    """

    def __init__(self) -> None:
        self.port = 0
        self.state = ServerState()
        self.seen: list[tuple[str, str, bytes | None]] = []
        self.go = asyncio.Event()
        self.sent = 0

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        if path == "/early":
            await answer(send, b"no")
            return
        if path == "/slow":
            await self.go.wait()
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.seen.append((scope["method"], path, None))
                return
            body += message["body"]
            more = message["more_body"]
        self.seen.append((scope["method"], path, body))
        if path == "/fail":
            raise ValueError("secret")
        if path == "/silent":
            return
        if path == "/wait":
            assert (await receive())["type"] == "http.disconnect"
            self.seen.append(("left", path, None))
            await answer(send, b"nobody reads this")
            return
        if path == "/status":
            status = int(scope["query_string"])
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body"})
            return
        if path == "/header":
            await answer(send, b"", [(b"x-name", b"a\r\nx-other: b")])
            return
        if path == "/long":
            await answer(send, b"longer than said", [(b"content-length", b"3")])
            return
        if path in ("/stream", "/cut", "/much"):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for part in (b"one", b"", b"two") if path != "/much" else [bytes(80_000)] * 100:
                await send({"type": "http.response.body", "body": part, "more_body": True})
                self.sent += len(part)
            if path == "/cut":
                raise ValueError("secret")
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        query = scope["query_string"].decode()
        facts = [scope["method"], path, query, body[:200].decode("latin-1")]
        await answer(send, json.dumps(facts).encode())


async def answer(send: Any, body: bytes, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    headers = headers or [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextlib.asynccontextmanager
async def world(**options: Any) -> AsyncIterator[World]:
    made = World()
    config = uvicorn.Config(
        made.app, interface="asgi3", log_config=None, ws="none", lifespan="off", **options
    )
    config.load()
    made.state.default_headers = [(b"date", b"today")]
    server = await asyncio.get_running_loop().create_server(
        lambda: HttpProtocol(config, made.state, {}), "127.0.0.1", 0
    )
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        made.go.set()
        server.close()
        for connection in list(made.state.connections):
            connection.shutdown()
        while made.state.connections or made.state.tasks:
            await asyncio.sleep(0.001)


class Client:
    """A connection to it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()
            if len(parts) > 1:
                await asyncio.sleep(0)

    async def head(self) -> tuple[int, dict[str, str]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), dict(pairs)

    async def answer(self, *, bare: bool = False) -> tuple[int, dict[str, str], bytes]:
        """Reads an answer, to the end of its body."""
        status, headers = await self.head()
        if bare or status in (204, 304):
            return status, headers, b""
        if "content-length" in headers:
            return status, headers, await self.reader.readexactly(int(headers["content-length"]))
        if headers.get("transfer-encoding") != "chunked":
            return status, headers, await self.reader.read()
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += await self.reader.readexactly(size)
            assert await self.reader.readexactly(2) == b"\r\n"
        assert await self.reader.readexactly(2) == b"\r\n"
        return status, headers, body

    async def is_closed(self) -> bool:
        """Whether nothing more comes."""
        return await asyncio.wait_for(self.reader.read(), SECONDS) == b""


@contextlib.asynccontextmanager
async def connected(made: World) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", made.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def request(target: str = "/", body: bytes = b"", method: str = "POST", *headers: str) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: test", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunked(target: str, *parts: bytes) -> bytes:
    head = f"POST {target} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in parts) + b"0\r\n\r\n"


async def test_a_connection_serves_one_request_after_the_other() -> None:
    async with world() as made, connected(made) as client:
        for number in range(3):
            await client.send(request(f"/a%20b?n={number}", b"body"))
            status, headers, body = await client.answer()
            assert (status, json.loads(body)) == (200, ["POST", "/a b", f"n={number}", "body"])
            assert headers["date"] == "today"
            assert "connection" not in headers
        assert made.state.total_requests == 3


CUTS = st.lists(st.integers(0, 10_000), max_size=12)
BODIES = st.lists(
    st.tuples(st.booleans(), st.lists(st.binary(min_size=1, max_size=40), max_size=3)),
    min_size=1,
    max_size=5,
)


@settings(deadline=None, max_examples=60)
@given(bodies=BODIES, cuts=CUTS)
def test_requests_in_any_pieces_are_answered_in_their_order(
    bodies: list[tuple[bool, list[bytes]]], cuts: list[int]
) -> None:
    sent = b"".join(
        chunked(f"/{n}", *parts) if pieces else request(f"/{n}", b"".join(parts))
        for n, (pieces, parts) in enumerate(bodies)
    )
    places = sorted({cut % len(sent) for cut in cuts} | {0, len(sent)})

    async def exchange() -> None:
        async with world() as made, connected(made) as client:
            await client.send(*(sent[a:b] for a, b in pairwise(places)))
            for number, (_, parts) in enumerate(bodies):
                status, _, body = await client.answer()
                expected = ["POST", f"/{number}", "", b"".join(parts).decode("latin-1")]
                assert (status, json.loads(body)) == (200, expected)

    asyncio.run(exchange())


@settings(deadline=None, max_examples=60)
@given(
    start=st.sampled_from([b"", request("/a"), request("/a", b"body"), chunked("/a", b"body")]),
    cut=st.integers(0, 200),
    noise=st.binary(max_size=200),
)
def test_noise_is_refused_or_waited_for_and_never_kills(
    start: bytes, cut: int, noise: bytes
) -> None:
    async def exchange() -> None:
        async with world() as made, connected(made) as client:
            with contextlib.suppress(ConnectionError):
                await client.send(start[:cut] + noise)
                client.writer.write_eof()
                await asyncio.wait_for(client.reader.read(), SECONDS)
            async with connected(made) as another:
                await another.send(request("/still"))
                assert (await another.answer())[0] == 200

    asyncio.run(exchange())


HEAD = "POST / HTTP/1.1\r\nHost: test\r\n"


@pytest.mark.parametrize(
    "data",
    [
        HEAD + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        HEAD + "Content-Length: 4\r\nContent-Length: 5\r\n\r\nbody!",
        HEAD + "Content-Length: +4\r\n\r\nbody",
        HEAD + "Content-Length: 4, 4\r\n\r\nbody",
        HEAD + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        HEAD + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        HEAD + "Content-Length : 4\r\n\r\nbody",
        HEAD + "X-Name: a\x00b\r\n\r\n",
        HEAD + "X Name: a\r\n\r\n",
        "POST /a b HTTP/1.1\r\n\r\n",
        "POST / HTTP/9.9\r\n\r\n",
        "POST http://[ HTTP/1.1\r\nHost: test\r\n\r\n",
        "nonsense\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_what_others_could_read_differently_is_refused(data: str) -> None:
    async with world() as made, connected(made) as client:
        await client.send(data.encode("latin-1"))
        status, headers, body = await client.answer()
        assert (status, headers["connection"]) == (400, "close")
        assert json.loads(body)["error"]["code"] == "invalid_http"
        assert await client.is_closed()
        assert made.seen in ([], [("POST", "/", None)])


async def test_the_answers_before_something_malformed_come_first() -> None:
    async with world() as made, connected(made) as client:
        await client.send(request("/slow") + request("/b") + b"nonsense\r\n\r\n" + request("/c"))
        await asyncio.sleep(0.01)
        made.go.set()
        assert json.loads((await client.answer())[2])[1] == "/slow"
        assert json.loads((await client.answer())[2])[1] == "/b"
        assert (await client.answer())[0] == 400
        assert await client.is_closed()


@pytest.mark.parametrize("before", [b"", request("/slow")])
async def test_a_body_that_breaks_off_in_nonsense_never_ends(before: bytes) -> None:
    async with world() as made, connected(made) as client:
        broken = chunked("/a", b"body").replace(b"0\r\n\r\n", b"nonsense")
        await client.send(before + broken)
        await asyncio.sleep(0.01)
        made.go.set()
        if before:
            assert (await client.answer())[0] == 200
        assert (await client.answer())[0] == 400
        assert await client.is_closed()
        assert ("POST", "/a", None) in made.seen or before


def endless_head() -> Iterator[bytes]:
    yield b"GET / HTTP/1.1\r\nx-name: "
    while True:
        yield b"a" * 1000


def endless_trailer() -> Iterator[bytes]:
    yield chunked("/", b"body")[:-2] + b"x-name: "
    while True:
        yield b"a" * 1000


def many_headers() -> Iterator[bytes]:
    yield request("/", b"", "GET", *(f"x-{n}: a" for n in range(200)))


@pytest.mark.parametrize("parts", [endless_head, endless_trailer, many_headers])
async def test_heads_and_trailers_are_limited(parts: Any) -> None:
    async with world() as made, connected(made) as client:
        reading = asyncio.ensure_future(client.answer())
        with contextlib.suppress(ConnectionError):
            for part in parts():
                await client.send(part)
                await asyncio.sleep(0)
                if reading.done():
                    break
        status, headers, _ = await reading
        assert (status, headers["connection"]) == (431, "close")
        assert made.seen in ([], [("POST", "/", None)])


async def test_many_requests_at_once_are_all_answered() -> None:
    async with world() as made, connected(made) as client:
        sending = asyncio.ensure_future(client.send(*(request(f"/{n}", b"a") for n in range(500))))
        for number in range(500):
            assert json.loads((await client.answer())[2])[1] == f"/{number}"
        await sending
        await client.send(b"".join(request(f"/{n}", b"a") for n in range(500)))
        for number in range(500):
            assert json.loads((await client.answer())[2])[1] == f"/{number}"


async def test_trailers_are_left_out() -> None:
    async with world() as made, connected(made) as client:
        await client.send(chunked("/", b"body")[:-2] + b"x-name: 7\r\n\r\n" + request("/b"))
        assert json.loads((await client.answer())[2])[3] == "body"
        assert (await client.answer())[0] == 200


async def test_a_client_that_expects_it_is_told_to_send_the_body() -> None:
    async with world() as made, connected(made) as client:
        whole = request("/", b"body", "POST", "Expect: 100-continue")
        await client.send(whole[:-4])
        assert (await client.head())[0] == 100
        await client.send(b"body")
        assert json.loads((await client.answer())[2])[3] == "body"


async def test_a_body_that_was_not_asked_for_is_not_waited_for() -> None:
    async with world() as made, connected(made) as client:
        await client.send(request("/early", b"body", "POST", "Expect: 100-continue")[:-4])
        status, headers, body = await client.answer()
        assert (status, headers["connection"], body) == (200, "close", b"no")
        assert await client.is_closed()


async def test_a_body_that_nobody_reads_is_passed_over() -> None:
    async with world() as made, connected(made) as client:
        await client.send(request("/early", bytes(MUCH)), request("/b"))
        assert (await client.answer())[2] == b"no"
        assert json.loads((await client.answer())[2])[1] == "/b"


async def test_heads_without_bodies() -> None:
    async with world() as made, connected(made) as client:
        await client.send(request("/", b"", "HEAD"))
        status, headers, _ = await client.answer(bare=True)
        assert (status, int(headers["content-length"])) == (200, len('["HEAD", "/", "", ""]'))
        await client.send(request("/stream", b"", "HEAD"))
        assert "transfer-encoding" not in (await client.answer(bare=True))[1]
        for status in (204, 304):
            await client.send(request(f"/status?{status}"))
            assert (await client.answer())[0] == status
        await client.send(request("/"))
        assert (await client.answer())[0] == 200


async def test_a_body_of_unknown_length_comes_in_chunks() -> None:
    async with world() as made, connected(made) as client:
        await client.send(request("/stream") + request("/"))
        assert (await client.answer())[2] == b"onetwo"
        assert (await client.answer())[0] == 200


async def test_older_clients_get_it_to_the_end_of_the_connection() -> None:
    async with world() as made, connected(made) as client:
        await client.send(b"GET /stream HTTP/1.0\r\n\r\n")
        status, headers, body = await client.answer()
        assert (status, headers["connection"], body) == (200, "close", b"onetwo")
        assert "transfer-encoding" not in headers


@pytest.mark.parametrize(
    "head", ["Connection: close", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c"]
)
async def test_the_last_request_of_a_connection(head: str) -> None:
    async with world() as made, connected(made) as client:
        await client.send(request("/", b"", "GET", *head.split("\r\n")))
        status, headers, body = await client.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert json.loads(body)[0] == "GET"
        assert await client.is_closed()


async def test_targets_of_proxies() -> None:
    async with world() as made, connected(made) as client:
        await client.send(request("http://other.host/a?b=c"))
        assert json.loads((await client.answer())[2])[1:3] == ["/a", "b=c"]


async def test_a_client_that_reads_slowly_slows_the_app() -> None:
    async with world() as made, connected(made) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(request("/much"))
        last = 0
        while not made.sent or last != made.sent:  # the buffers on the way are full
            last = made.sent
            await asyncio.sleep(0.05)
        assert 0 < made.sent < MUCH
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert len((await client.answer())[2]) == MUCH == made.sent


async def test_an_app_that_reads_slowly_slows_the_client() -> None:
    async with world() as made, connected(made) as client:
        sending = asyncio.ensure_future(client.send(request("/slow", bytes(2 * MUCH))))
        await asyncio.sleep(0.1)
        assert not sending.done()
        made.go.set()
        assert (await client.answer())[0] == 200
        await sending
        assert len(made.seen[0][2] or b"") == 2 * MUCH


async def test_an_app_is_told_that_its_client_has_left() -> None:
    async with world() as made:
        async with connected(made) as client:
            await client.send(request("/wait") + request("/never"))
            while not made.seen:
                await asyncio.sleep(0.001)
        while len(made.seen) < 2:
            await asyncio.sleep(0.001)
        assert made.seen == [("POST", "/wait", b""), ("left", "/wait", None)]


@pytest.mark.parametrize("path", ["/fail", "/silent", "/header"])
async def test_an_app_that_fails_is_answered_for(path: str) -> None:
    async with world() as made, connected(made) as client:
        await client.send(request(path))
        status, headers, body = await client.answer()
        assert (status, headers["connection"]) == (500, "close")
        assert b"secret" not in body
        assert json.loads(body)["error"]["message"]
        assert await client.is_closed()


@pytest.mark.parametrize("path", ["/cut", "/long"])
async def test_an_answer_that_fails_half_way_is_not_taken_for_whole(path: str) -> None:
    async with world() as made, connected(made) as client:
        await client.send(request(path))
        if path == "/cut":
            with pytest.raises(asyncio.IncompleteReadError):
                await client.answer()
        else:
            assert (await client.answer())[0] == 500


async def test_a_server_that_stops_answers_what_it_has() -> None:
    async with world() as made, connected(made) as busy, connected(made) as idle:
        await busy.send(request("/slow") + request("/b"))
        await idle.send(request("/"))
        await idle.answer()
        while not made.state.tasks:
            await asyncio.sleep(0.001)
        for connection in list(made.state.connections):
            connection.shutdown()
        assert await idle.is_closed()
        made.go.set()
        status, headers, _ = await busy.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert await busy.is_closed()


async def test_idle_connections_are_closed_and_busy_ones_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world(timeout_keep_alive=0) as made, connected(made) as slow:
        monkeypatch.setattr(protocol, "_HEAD_SECONDS", 1e6)
        await slow.send(request("/slow"))
        while not made.state.tasks:
            await asyncio.sleep(0.001)
        async with connected(made) as idle, connected(made) as half:
            await idle.send(request("/"))
            await idle.answer()
            await half.send(b"POST / HTTP/1.1\r\n")
            while not any(one._unfinished for one in made.state.connections):
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.01)
            close_idle(made.state.connections)
            assert await idle.is_closed()
            assert len(made.state.connections) == 2  # the head may still come
            monkeypatch.setattr(protocol, "_HEAD_SECONDS", 0.0)
            close_idle(made.state.connections)
            assert await half.is_closed()
        made.go.set()
        assert (await slow.answer())[0] == 200
