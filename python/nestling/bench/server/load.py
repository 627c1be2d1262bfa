"""A load generator: requests over kept connections, as fast as they are answered or at a rate."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter, deque
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Address",
    "Load",
    "closed_loop",
    "one_client",
    "open_loop",
    "request_bytes",
    "run_load",
]

_HEADER_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length:"
_PAUSE: Final = 0.05  # seconds
_READ_BYTES: Final = 65_536
_ANSWER_SECONDS: Final = 60.0  # in which an answer must come
_LATE: Final = 5.0  # seconds after the end in which the last answers may come

Address = tuple[str, int]


@dataclass(slots=True)
class Load:
    """What a load generator saw.

    Attributes:
        seconds: How long it ran.
        statuses: Number of answers by HTTP status; 0 for connections that broke.
        milliseconds: Of each answer with status 200, from when it was due.
        refused_milliseconds: Of each answer with status 429.
        finished: When each answer with status 200 came, in seconds after the start.
    """

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)
    refused_milliseconds: list[float] = field(default_factory=list)
    finished: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Answers with status 200 a second."""
        return len(self.milliseconds) / self.seconds if self.seconds else 0.0

    def percentile(self, percent: float) -> float:
        """Returns a percentile of `milliseconds`; NaN if there are none."""
        return _percentile(self.milliseconds, percent)

    def refused_percentile(self, percent: float) -> float:
        """Returns a percentile of `refused_milliseconds`; NaN if there are none."""
        return _percentile(self.refused_milliseconds, percent)


def request_bytes(
    method: str, path: str, body: bytes = b"", headers: Sequence[tuple[str, str]] = ()
) -> bytes:
    """Returns a request of HTTP/1.1.

    Example:
        >>> request_bytes("GET", "/livez").splitlines()[0]
        b'GET /livez HTTP/1.1'
    """
    lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in headers]
    if body:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode() + _HEADER_END + body


def run_load(load: Coroutine[Any, Any, Load]) -> Load:
    """Runs `closed_loop` or `open_loop`, on uvloop's event loop where it is installed.

    The less it takes of the cores that it shares with the server, the less it measures itself.
    """
    try:
        import uvloop
    except ImportError:
        return asyncio.run(load)
    return uvloop.run(load)


def one_client(address: Address, requests: Sequence[bytes], *, seconds: float) -> Load:
    """Runs one client that sends a request when the last one is answered.

    It waits in the system instead of in an event loop, whose own time would be about a third of the
    latency of a short request.

    Args:
        address: Host and port.
        requests: What is sent, in turns.
        seconds: How long.
    """
    load = Load()
    turns = cycle(requests)
    with socket.create_connection(address, _ANSWER_SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        start = time.perf_counter()
        end = start + seconds
        while (sent := time.perf_counter()) < end:
            status = _exchange(connection, next(turns))
            _note(load, status, sent, start)
            if not status:
                break
            if status == 429:
                time.sleep(_PAUSE)
        load.seconds = time.perf_counter() - start
    return load


async def closed_loop(
    address: Address, requests: Sequence[bytes], *, clients: int, seconds: float
) -> Load:
    """Runs clients that each send a request when the last one is answered.

    One that is refused with 429 waits for 50 ms, as clients do, before it tries again.

    Args:
        address: Host and port.
        requests: What is sent, in turns.
        clients: Connections.
        seconds: How long.
    """
    load = Load()
    turns = cycle(requests)
    loop = asyncio.get_running_loop()
    every: list[_Client] = []
    for _ in range(clients):
        _, client = await loop.create_connection(lambda: _Client(load, turns), *address)
        every.append(client)
    start = time.perf_counter()
    try:
        await asyncio.gather(*(client.run(start, start + seconds) for client in every))
    finally:
        load.seconds = time.perf_counter() - start
        for client in every:
            client.close()
    return load


async def open_loop(
    address: Address,
    requests: Sequence[bytes],
    *,
    rate: float,
    seconds: float,
    connections: int = 512,
) -> Load:
    """Sends requests at a rate, whether they are answered or not.

    A latency counts from when its request was due: one that had to wait for a connection is not
    counted as faster than it was.

    Args:
        address: Host and port.
        requests: What is sent, in turns.
        rate: Requests a second.
        seconds: How long.
        connections: The most connections. A request that is due while all are in use waits.
    """
    load = Load()
    turns = cycle(requests)
    free = deque([await _connect(address) for _ in range(connections)])
    every = list(free)
    start = time.perf_counter()
    tasks: set[asyncio.Task[None]] = set()
    waiting: deque[float] = deque()

    async def one(connection: _Sender, due: float) -> None:
        while True:
            status = await connection.send(next(turns))
            _note(load, status, due, start)
            if not status:
                return
            if not waiting:
                free.append(connection)
                return
            due = waiting.popleft()

    sent = 0
    try:
        while (now := time.perf_counter() - start) < seconds:
            while sent < now * rate:
                due = start + sent / rate
                sent += 1
                if free:
                    task = asyncio.ensure_future(one(free.popleft(), due))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                else:
                    waiting.append(due)
            await asyncio.sleep(0.001)
        load.seconds = time.perf_counter() - start
        waiting.clear()
        if tasks:
            await asyncio.wait(tasks, timeout=_LATE)
    finally:
        for connection in every:
            connection.close()
    return load


def _note(load: Load, status: int, due: float, start: float) -> None:
    now = time.perf_counter()
    load.statuses[status] += 1
    if status == 200:
        load.milliseconds.append((now - due) * 1000)
        load.finished.append(now - start)
    elif status == 429:
        load.refused_milliseconds.append((now - due) * 1000)


def _exchange(connection: socket.socket, request: bytes) -> int:
    """Sends a request; returns the status of its answer, 0 for a broken connection."""
    reader = _AnswerReader()
    try:
        connection.sendall(request)
        status = None
        while status is None:
            data = connection.recv(_READ_BYTES)
            if not data:
                return 0
            status = reader.feed(data)
    except OSError:
        return 0
    return status


async def _connect(address: Address) -> _Sender:
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(_Sender, *address)
    return connection


class _AnswerReader:
    """Reads no more of answers than their status and their end."""

    __slots__ = ("_data", "_needed")

    def __init__(self) -> None:
        self._data = bytearray()  # of an answer that is not complete
        self._needed = 0  # bytes of the answer, once its headers are read

    def feed(self, received: bytes) -> int | None:
        """Takes what was received; returns the status of an answer that is complete."""
        data: bytes | bytearray = received
        if self._data:
            self._data += received
            data = self._data
        if not self._needed:
            end = data.find(_HEADER_END)
            if end >= 0:
                self._needed = end + len(_HEADER_END) + _body_length(data, end)
        if not self._needed or len(data) < self._needed:
            if not self._data:
                self._data += received
            return None
        status = int(data[9:12])
        if self._data:
            self._data.clear()
        self._needed = 0
        return status


def _body_length(data: bytes | bytearray, end: int) -> int:
    """Returns the length of a body, which the headers before `end` tell."""
    at = data.find(_LENGTH, 0, end)
    if at < 0:
        at = data.lower().find(_LENGTH, 0, end)
    return int(data[at + len(_LENGTH) : data.find(b"\r", at)]) if at >= 0 else 0


class _Connection(asyncio.Protocol):
    """A connection that sends requests one after the other."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._reader = _AnswerReader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def write(self, request: bytes) -> None:
        """Sends a request."""
        if self._transport is None or self._transport.is_closing():
            self.answered(0)
        else:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        status = self._reader.feed(data)
        if status is not None:
            self.answered(status)

    def connection_lost(self, _: Exception | None) -> None:
        self.answered(0)

    def answered(self, status: int) -> None:
        """Takes the status of an answer, 0 for a broken connection."""
        raise NotImplementedError

    def close(self) -> None:
        """Closes it."""
        if self._transport is not None:
            self._transport.close()


class _Sender(_Connection):
    """One whose answers are waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._answer: asyncio.Future[int] | None = None

    def send(self, request: bytes) -> asyncio.Future[int]:
        """Sends a request; returns the status of its answer, 0 for a broken connection."""
        answer = self._answer = asyncio.get_running_loop().create_future()
        self.write(request)
        return answer

    def answered(self, status: int) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(status)


class _Client(_Connection):
    """One that sends the next request when the last one is answered, without a task in between.

    Args:
        load: Where its answers are counted.
        requests: What it sends.
    """

    def __init__(self, load: Load, requests: Iterator[bytes]) -> None:
        super().__init__()
        self._load = load
        self._requests = requests
        self._done: asyncio.Future[None] | None = None
        self._start = self._end = self._sent = 0.0

    def run(self, start: float, end: float) -> asyncio.Future[None]:
        """Begins; returns what is done after the last answer.

        Args:
            start: When the load began, in seconds of `time.perf_counter`.
            end: When the last request may be sent.
        """
        self._start, self._end = start, end
        self._done = asyncio.get_running_loop().create_future()
        self._next()
        return self._done

    def _next(self) -> None:
        self._sent = time.perf_counter()
        if self._sent < self._end:
            self.write(next(self._requests))
        else:
            self._finish()

    def answered(self, status: int) -> None:
        if self._done is None or self._done.done():
            return
        _note(self._load, status, self._sent, self._start)
        if not status:
            self._finish()
        elif status == 429:
            asyncio.get_running_loop().call_later(_PAUSE, self._next)
        else:
            self._next()

    def _finish(self) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(None)


def _percentile(values: Sequence[float], percent: float) -> float:
    array: NDArray[np.float64] = np.asarray(values, np.float64)
    return float(np.percentile(array, percent)) if len(array) else float("nan")
