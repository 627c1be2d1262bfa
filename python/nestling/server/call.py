"""One request: who sent it, how long it may take, how long its parts took."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Iterable, Sequence
from typing import TypeVar

from nestling.collection import Collection, DocumentHits
from nestling.encoder import Encoder
from nestling.runtime.embedder import TokenIds
from nestling.server.errors import RequestError
from nestling.server.http import Request, decode, read_body
from nestling.server.keys import ApiKey, Role
from nestling.server.metrics import RequestTimes
from nestling.server.schedule.encode import Encoded
from nestling.server.schedule.search import Searches
from nestling.server.searchable import Searchable
from nestling.server.service import Service
from nestling.server.watch import Watched

__all__ = ["Call"]

T = TypeVar("T")


class Call:
    """A request and what its handler needs.

    Args:
        request: The request.
        service: What all requests share.
        key: Who sent it.

    Attributes:
        request: As given.
        service: As given.
        key: As given.
        seconds: How long it may take.
        times: How long its parts took.
    """

    __slots__ = ("_deadline", "key", "request", "seconds", "service", "times")

    def __init__(self, request: Request, service: Service, key: ApiKey) -> None:
        self.request = request
        self.service = service
        self.key = key
        self.times: RequestTimes = request.scope["nestling.times"]
        self.seconds = _timeout(request, service.settings.timeout_ms)
        self._deadline = time.monotonic() + self.seconds

    def body(self) -> Awaitable[bytes]:
        """Returns the body.

        Raises:
            RequestError: 413; it is too long.
        """
        return read_body(self.request, self.service.settings.max_body_bytes)

    async def json(self, kind: type[T]) -> T:
        """Returns the JSON body as a value of a type.

        Raises:
            RequestError: 400, 413 or 422.
        """
        return decode(kind, await self.body())

    async def collection(self, role: Role = "read") -> Collection:
        """Returns the collection that the path names.

        Raises:
            RequestError: 403 where the key may not act so there, 404 where there is none, 501 where
                it is a cluster.
        """
        name = self.request.params["name"]
        self.key.require(role, name)
        if role != "read":
            self.service.catalog.require_writable()
        catalog = self.service.catalog
        opened = catalog.opened(name)
        if isinstance(opened, Collection):
            return opened
        return await self.service.in_thread(catalog.collection, name)

    def readable(self, names: Iterable[str]) -> list[str]:
        """Returns those of the names of collections that the key may read."""
        return [name for name in names if self.key.allows("read", name)]

    async def searchable(self) -> Searchable:
        """Returns the collection or the cluster that the path names.

        Raises:
            RequestError: 403 where the key may not read it, 404 where there is none.
        """
        name = self.request.params["name"]
        self.key.require("read", name)
        catalog = self.service.catalog
        found = catalog.opened(name)
        if found is None:
            found = await self.service.in_thread(catalog.searchable, name)
        return found

    def while_connected(self) -> Watched:
        """Ends the block when the time is over, or when the client leaves (see `Watched`)."""
        return Watched(self.service.watch, self.request, self._deadline)

    async def encode(
        self,
        encoder: Encoder,
        texts: Sequence[str] | Sequence[TokenIds],
        prompt: str,
        dim: int | None = None,
    ) -> Encoded:
        """Returns embeddings, and counts how long they took."""
        scheduler = self.service.encoding(encoder)
        with self.while_connected():
            encoded = await scheduler.encode(texts, prompt, dim)
        self.times.queue += encoded.queue_ms
        self.times.encode += encoded.encode_ms
        return encoded

    async def search(self, searches: Searches) -> list[DocumentHits]:
        """Returns hits, and counts how long they took."""
        found = self.service.searches.search_now(searches)
        if found is None:
            with self.while_connected():
                found = await self.service.searches.search(searches)
        self.times.queue += found.queue_ms
        self.times.search += found.search_ms
        return found.hits


def _timeout(request: Request, default_ms: float) -> float:
    """Returns the seconds that a request may take."""
    header = request.header(b"x-timeout-ms")
    if header is None:
        return default_ms / 1000
    if not header.isascii() or not header.isdecimal() or not int(header[:12]) > 0:
        raise RequestError(
            400, f"X-Timeout-Ms must be a whole number of milliseconds, not {header[:40]!r}"
        )
    return min(int(header[:12]), default_ms) / 1000
