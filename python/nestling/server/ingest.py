"""A stream of documents, one JSON value a line, that is committed while it comes.

Lines are gathered into batches. While a thread commits one, the next is read, and no more: a client
that sends faster than the collection stores is slowed down by TCP. After each commit a line of
progress goes out. A client that leaves ends the stream at the end of the batch that is committed;
when it sends the same documents again, those that are stored are not encoded again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec
import orjson
from starlette.types import Message, Receive, Scope, Send

from nestling.collection import Collection
from nestling.errors import DocumentError
from nestling.inputs.bad_records import BadRecord
from nestling.server.call import Call
from nestling.server.errors import RequestError, request_error
from nestling.server.http import NDJSON, ClientDisconnectedError, floats_of_base64
from nestling.server.routing import error_answer

__all__ = [
    "Batch",
    "Ingest",
    "IngestResponse",
    "LineReader",
    "OnBadRecord",
    "OnConflict",
    "with_vectors",
]

OnConflict = Literal["replace", "skip", "error"]
OnBadRecord = Literal["error", "skip"]

_SMALLEST_BATCH: Final = 64 * 1024  # bytes
_LARGEST_BATCH: Final = 8 * 1024 * 1024
_BATCH_SECONDS: Final = (1.0, 4.0)  # faster doubles the next batch, slower halves it
_COMMIT_SECONDS: Final = 10.0  # after which lines are committed, however few there are
_DRAIN_SECONDS: Final = 5.0
_COUNTS: Final = ("added", "replaced", "updated", "unchanged", "skipped", "passages", "truncated")


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines that are committed together.

    Attributes:
        first: Number of the first line, from 1.
        lines: The lines, without their ends.
    """

    first: int
    lines: list[bytes]


class LineReader:
    """Reads the lines of a request's body, and holds one batch of them at most.

    Args:
        receive: The request's messages.
        longest: The most bytes of a line.
        silence: Seconds without a message after which the client is taken for gone.

    Attributes:
        read: Lines that were read.
    """

    def __init__(self, receive: Receive, longest: int, silence: float) -> None:
        self.read = 0
        self._receive = receive
        self._longest = longest
        self._silence = silence
        self._rest = bytearray()
        self._message: asyncio.Task[Any] | None = None
        self._ended = False

    async def batch(self, size: int) -> Batch | None:
        """Returns the next lines: `size` bytes of them, or those that came in 10 s.

        Returns:
            None at the end of the body.

        Raises:
            RequestError: 413 for a line that is too long, 408 where nothing comes any more.
            ClientDisconnectedError: The client has left.
        """
        lines: list[bytes] = []
        bytes_read = 0
        due: float | None = None
        while not self._ended and bytes_read < size:
            left = self._silence if due is None else max(0.0, due - time.monotonic())
            chunk = await self._chunk(min(left, self._silence))
            if chunk is None:
                if due is None:
                    raise RequestError(
                        408, f"no line came for {self._silence:g} s", code="request_timeout"
                    )
                break
            whole = self._whole_lines(chunk)
            if whole:
                lines += whole
                bytes_read += sum(map(len, whole))
                if due is None:
                    due = time.monotonic() + _COMMIT_SECONDS
        if not lines:
            return None
        first = self.read + 1
        self.read += len(lines)
        return Batch(first, lines)

    async def _chunk(self, seconds: float) -> bytes | None:
        """Returns the next part of the body; None if there is none in time."""
        if self._message is None:
            self._message = asyncio.ensure_future(self._receive())
        await asyncio.wait((self._message,), timeout=seconds)
        if not self._message.done():
            return None
        message, self._message = self._message.result(), None
        if message["type"] == "http.disconnect":
            raise ClientDisconnectedError
        self._ended = not message.get("more_body", False)
        return bytes(message.get("body", b""))

    def _whole_lines(self, chunk: bytes) -> list[bytes]:
        head, end, tail = chunk.rpartition(b"\n")
        lines: list[bytes] = []
        if end:
            lines = bytes(self._rest + head).split(b"\n")
            self._rest = bytearray(tail)
        else:
            self._rest += chunk
        if self._ended and self._rest:
            lines.append(bytes(self._rest))
            self._rest.clear()
        if len(self._rest) > self._longest or any(len(line) > self._longest for line in lines):
            raise RequestError(
                413,
                f"a line after line {self.read:,} is longer than {self._longest:,} bytes",
                code="line_too_long",
            )
        return lines

    async def discard(self, most: int) -> None:
        """Reads what is left, so that a client that still sends gets to the answer.

        A connection that is closed before would be reset, and the answer might be lost.
        """
        deadline = time.monotonic() + _DRAIN_SECONDS
        with suppress(ClientDisconnectedError):
            while not self._ended and most > 0 and (left := deadline - time.monotonic()) > 0:
                chunk = await self._chunk(left)
                most -= len(chunk or b"")

    def close(self) -> None:
        """Ends the wait for a message."""
        if self._message is not None:
            self._message.cancel()


class Ingest:
    """Adds batches of lines to a collection, in any thread, one after the other.

    Args:
        collection: The collection.
        on_conflict: As for `Collection.add`.
        on_bad_record: As for `Collection.add`.

    Attributes:
        committed: Lines that are stored, or were left out.
        counts: What was done, as in `AddResult`.
    """

    def __init__(
        self, collection: Collection, on_conflict: OnConflict, on_bad_record: OnBadRecord
    ) -> None:
        self.committed = 0
        self.counts = dict.fromkeys(_COUNTS, 0)
        self._collection = collection
        self._on_conflict: OnConflict = on_conflict
        self._skip = on_bad_record == "skip"

    def add(self, batch: Batch) -> list[dict[str, Any]]:
        """Adds the documents of a batch, and returns which lines were left out, and why.

        Raises:
            DocumentError: A line is not a document, and `on_bad_record` is "error". Nothing of the
                batch is stored then, unless it has more documents than a commit.
            NestlingError: As for `Collection.add`.
        """
        rejected: list[dict[str, Any]] = []
        documents: list[Any] = []
        numbers: list[int] = []

        def reject(number: int, reason: str) -> None:
            if not self._skip:
                raise DocumentError(f"line {number:,}: {reason}")
            rejected.append({"line": number, "reason": reason})

        def reject_record(bad: BadRecord) -> None:
            assert bad.line is not None
            reject(numbers[bad.line], bad.reason)

        for number, line in enumerate(batch.lines, batch.first):
            if not line.strip():
                continue
            try:
                documents.append(with_vectors(msgspec.json.decode(line)))
                numbers.append(number)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                reject(number, f"not JSON: {error}")
        result = self._collection.add(
            documents,
            on_conflict=self._on_conflict,
            on_bad_record=reject_record,
            progress=False,
        )
        for name in _COUNTS:
            self.counts[name] += getattr(result, name)
        self.committed = batch.first + len(batch.lines) - 1
        return rejected


class IngestResponse:
    """The answer to a stream: what was done so far after each commit, one JSON object a line.

    An error before the first commit has its HTTP status; a later one is the last line, as "error".

    Args:
        call: The request.
        ingest: Stores what it sends.
    """

    def __init__(self, call: Call, ingest: Ingest) -> None:
        self._call = call
        self._ingest = ingest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reads the body and answers."""
        service = self._call.service
        most = service.settings.max_body_bytes
        reader = LineReader(receive, most, self._call.seconds)
        headers = [(b"content-type", NDJSON.encode())]
        begun = False

        async def say(line: dict[str, Any]) -> None:
            nonlocal begun
            if not begun:
                begun = True
                await put({"type": "http.response.start", "status": 200, "headers": headers})
            await put(_part(orjson.dumps(line) + b"\n"))

        async def put(message: Message) -> None:
            try:
                await send(message)
            except OSError as error:  # as ASGI says it; errors of the collection are OSErrors too
                raise ClientDisconnectedError from error

        try:
            with service.ingesting.admitted(2 * _LARGEST_BATCH):
                async with aclosing(self._rejected(reader)) as commits:
                    async for rejected in commits:
                        await say(self._progress(reader, rejected))
            await say({"done": True, **self._progress(reader, [])})
            await put(_part(b"", more=False))
        except ClientDisconnectedError:
            pass
        except Exception as error:
            answer = error_answer(error)
            with suppress(ClientDisconnectedError):
                if begun:
                    await say({**request_error(error).body(), **self._progress(reader, [])})
                else:
                    start = {"status": answer.status, "headers": answer.headers}
                    await put({"type": "http.response.start", **start})
                    await put(_part(answer.body))
                await reader.discard(most)
                await put(_part(b"", more=False))
        finally:
            reader.close()

    async def _rejected(self, reader: LineReader) -> AsyncGenerator[list[dict[str, Any]], None]:
        """Commits batch after batch; yields the lines that each had to leave out."""
        size = _SMALLEST_BATCH
        batch = await reader.batch(size)
        while batch is not None:
            coming = asyncio.ensure_future(reader.batch(size))
            coming.add_done_callback(_retrieve)
            try:
                began = time.monotonic()
                rejected = await self._call.service.write(self._ingest.add, batch)
                size = _next_size(size, time.monotonic() - began)
                yield rejected
                batch = await coming
            finally:
                coming.cancel()

    def _progress(self, reader: LineReader, rejected: list[dict[str, Any]]) -> dict[str, Any]:
        ingest = self._ingest
        return {
            "read": reader.read,
            "committed": ingest.committed,
            **ingest.counts,
            "rejected": rejected,
        }


def with_vectors(document: Any) -> Any:
    """Returns a document with its vectors as an array, where they are base64.

    One whose vectors are not base64 stays as it is, for `Collection.add` to refuse.
    """
    if isinstance(document, dict) and isinstance(text := document.get("vectors"), str):
        try:
            vectors = floats_of_base64(text, "vectors")
        except RequestError:
            return document
        spans = document.get("spans")
        rows = len(spans) if isinstance(spans, list) and spans else 1
        if len(vectors) % rows == 0:
            return document | {"vectors": vectors.reshape(rows, -1)}
    return document


def _part(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Marks an exception as seen, where nobody waits for the task any more."""
    if not task.cancelled():
        task.exception()


def _next_size(size: int, seconds: float) -> int:
    fast, slow = _BATCH_SECONDS
    if seconds < fast:
        return min(2 * size, _LARGEST_BATCH)
    return max(size // 2, _SMALLEST_BATCH) if seconds > slow else size
