"""`bench server`: its load generator against a small server, and all of it on a tiny model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from nestling.bench import main
from nestling.bench.server.load import Load, closed_loop, one_client, open_loop, request_bytes

MakeFolder = Callable[..., Path]
ADDRESS = "127.0.0.1"


class Answers(asyncio.Protocol):
    """A server that answers every second request with 429, in two pieces."""

    count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        for _ in range(data.count(b"GET ")):
            Answers.count += 1
            status = b"200 OK" if Answers.count % 2 else b"429 Too Many Requests"
            head = b"HTTP/1.1 " + status + b"\r\nContent-Length: 4\r\n\r\n"
            self.transport.write(head + b"ab")
            asyncio.get_running_loop().call_later(0.001, self.transport.write, b"cd")


async def measured(load: Callable[[], Awaitable[Load]], least: int) -> Load:
    """Returns a load of at least so many answers: a machine may pause, but not every time."""
    for _ in range(100):
        Answers.count = 0
        found = await load()
        assert sum(found.statuses.values()) == Answers.count
        if Answers.count >= least:
            return found
    raise AssertionError("too few answers")


def test_a_closed_loop_counts_every_answer() -> None:
    async def work() -> None:
        server = await asyncio.get_running_loop().create_server(Answers, ADDRESS, 0)
        address = (ADDRESS, server.sockets[0].getsockname()[1])
        request = [request_bytes("GET", "/")]
        load = await measured(
            lambda: closed_loop(address, request, clients=3, seconds=0.2), least=11
        )
        assert load.statuses[200] == len(load.milliseconds)
        assert load.statuses[429] == len(load.refused_milliseconds)
        assert load.percentile(50) >= 1
        slow = await measured(
            lambda: open_loop(address, request, rate=100, seconds=0.5, connections=4), least=30
        )
        assert sum(slow.statuses.values()) <= 51
        server.close()

    asyncio.run(work())


def test_one_client_counts_every_answer() -> None:
    async def work() -> None:
        server = await asyncio.get_running_loop().create_server(Answers, ADDRESS, 0)
        address = (ADDRESS, server.sockets[0].getsockname()[1])
        request = [request_bytes("GET", "/")]
        load = await measured(
            lambda: asyncio.to_thread(one_client, address, request, seconds=0.3), least=4
        )
        assert load.statuses[200] == len(load.milliseconds)
        assert load.statuses[429] == len(load.refused_milliseconds) >= 2
        assert load.percentile(50) >= 1
        server.close()

    asyncio.run(work())


def test_a_latency_counts_from_when_the_request_was_due() -> None:
    class Slow(Answers):
        def data_received(self, data: bytes) -> None:
            Answers.count += 1
            answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
            asyncio.get_running_loop().call_later(0.1, self.transport.write, answer)

    async def work() -> None:
        server = await asyncio.get_running_loop().create_server(Slow, ADDRESS, 0)
        address = (ADDRESS, server.sockets[0].getsockname()[1])
        request = [request_bytes("GET", "/")]
        load = await measured(
            lambda: open_loop(address, request, rate=40, seconds=0.5, connections=1), least=3
        )
        assert load.percentile(99) > 200  # ten a second are answered, forty were due
        server.close()

    asyncio.run(work())


def test_broken_connections_are_counted() -> None:
    class Rude(Answers):
        def data_received(self, data: bytes) -> None:
            self.transport.close()

    async def work() -> None:
        server = await asyncio.get_running_loop().create_server(Rude, ADDRESS, 0)
        address = (ADDRESS, server.sockets[0].getsockname()[1])
        load = await closed_loop(address, [request_bytes("GET", "/")], clients=2, seconds=1)
        assert load.statuses == {0: 2}
        alone = await asyncio.to_thread(one_client, address, [b"GET / HTTP/1.1"], seconds=1)
        assert alone.statuses == {0: 1}
        server.close()

    asyncio.run(work())


@pytest.mark.slow
def test_the_whole_benchmark(
    make_folder: MakeFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nestling.bench.server.chroma.program", lambda: None)
    arguments = ["server", "-n", "1000", "--model", str(make_folder()), "--rounds", "1"]
    arguments += ["--seconds", "0.2", "--overload-seconds", "0.5", "--clients", "1,4", "--json"]
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert not end.value.code
    report = json.loads(capsys.readouterr().out)
    assert report["documents"] == 1000
    assert {one["what"] for one in report["measured"]} == {
        "a query vector",
        "100 query vectors",
        "a question",
        "an embedding",
        "32 embeddings",
    }
    assert all(one["rate"] > 0 for one in report["measured"])
    assert report["overload"]["others"] == 0
    assert list(report["absent"]) == ["chroma", "infinity"]
