"""The access log: a line of JSON for each request."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import orjson
from starlette.types import Scope

from nestling.server.metrics import RequestTimes

__all__ = ["AccessLog"]

_access = logging.getLogger("nestling.access")


class AccessLog:
    """Lines that are written once in a round of the event loop, after the answers.

    `logging` and the system take some 10 µs to write, whether it is one line or many: a quarter of
    the Python of a short request.

    All methods belong to the event loop's thread.
    """

    def __init__(self) -> None:
        self._lines: list[bytes] = []

    def add(
        self, scope: Scope, number: bytes, status: int, seconds: float, times: RequestTimes
    ) -> None:
        """Adds a line.

        Args:
            scope: The request.
            number: Its number.
            status: The status of the answer.
            seconds: How long it took.
            times: How long its parts took.
        """
        client: Any = scope.get("client") or ("", 0)
        line = {
            "time": round(time.time(), 3),
            "id": number.decode(),
            "client": client[0],
            "key": scope.get("nestling.key"),
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "ms": round(seconds * 1000, 3),
            "queue_ms": round(times.queue, 3),
            "encode_ms": round(times.encode, 3),
            "search_ms": round(times.search, 3),
        }
        if not self._lines:
            asyncio.get_running_loop().call_soon(self._write)
        self._lines.append(orjson.dumps(line))

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        _access.info(b"\n".join(lines).decode())
