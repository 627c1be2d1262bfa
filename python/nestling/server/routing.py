"""Endpoints, and what surrounds each: keys, errors, headers, counters, the log."""

from __future__ import annotations

import itertools
import json
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.routing import Router, compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nestling.server.access_log import AccessLog
from nestling.server.call import Call
from nestling.server.errors import RequestError, request_error
from nestling.server.http import JSON, ClientDisconnectedError, Request, Response, json_answer
from nestling.server.keys import ANYONE, Role
from nestling.server.metrics import RequestTimes
from nestling.server.service import Queue, Service

__all__ = ["Endpoint", "Handler", "RequestLog", "Routes", "error_answer"]

Handler = Callable[[Call], Awaitable[ASGIApp]]

_CLIENT_LEFT: Final = 499  # as nginx calls it; nobody sees it but the log
_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_SHORT_BODY: Final = 2_048  # bytes
_BUSY: Final = RequestError(
    429, "the server is busy; try again later", code="overloaded", retry_after=0.5
)
_BUSY_BODY: Final = json.dumps(_BUSY.body()).encode()
_log = logging.getLogger("nestling.server")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A path, and what answers it.

    Attributes:
        method: The HTTP method.
        path: The path, with names in braces.
        handler: What answers.
        role: What the caller must be allowed to do; None where no key is needed. Where the path
            names a collection, the handler compares the key's collections.
        queue: What it waits in; when that is full, a short request is refused unread.
        waits: Whether it is answered with 503 while models are loaded.
    """

    method: str
    path: str
    handler: Handler
    role: Role | None = "read"
    queue: Queue | None = None
    waits: bool = True


@dataclass(frozen=True, slots=True)
class _Route:
    """The endpoints of one path, by method."""

    pattern: re.Pattern[str]
    endpoints: dict[str, Endpoint]

    def refusal(self, method: str) -> RequestError:
        """Returns the answer to a method that is not among them."""
        methods = {*self.endpoints, "HEAD"} if "GET" in self.endpoints else {*self.endpoints}
        allowed = ", ".join(sorted(methods))
        return RequestError(
            405, f"{method} is not allowed here; use {allowed}", headers={"allow": allowed}
        )


class Routes:
    """The app that answers requests by the endpoints that their paths and methods name.

    Starlette's routes would take a few percent of the time of a short search each; of its `Router`
    only the lifespan is used.

    Args:
        endpoints: The endpoints.
        service: What all requests share.
        lifespan: What is done at the beginning and at the end.
    """

    def __init__(
        self, endpoints: Sequence[Endpoint], service: Service, lifespan: Callable[[Any], Any]
    ) -> None:
        by_path: dict[str, dict[str, Endpoint]] = {}
        for endpoint in endpoints:
            by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
        routes = {path: _Route(compile_path(path)[0], found) for path, found in by_path.items()}
        self._fixed = {path: route for path, route in routes.items() if "{" not in path}
        self._named = [route for path, route in routes.items() if path not in self._fixed]
        self._service = service
        self._lifespan = Router(lifespan=lifespan).lifespan

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request; closes a websocket; begins and ends the app."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        try:
            answer = await self._answer(scope, receive)
        except ClientDisconnectedError:
            answer = Response(status=_CLIENT_LEFT)
        except Exception as error:
            answer = error_answer(error)
        await answer(scope, receive, send)

    def _answer(self, scope: Scope, receive: Receive) -> Awaitable[ASGIApp]:
        service = self._service
        endpoint, params = self._find(scope)
        scope["nestling.path"] = endpoint.path
        request = Request(scope, receive, params)
        queue = endpoint.queue
        if queue is not None and service.full(queue) and _is_short(request):
            return _busy()
        key = ANYONE
        if endpoint.role is not None:
            if service.keys is not None:
                key = service.keys.identify(request.header(b"authorization"))
                scope["nestling.key"] = key.name
            key.require(endpoint.role)
        if endpoint.waits:
            service.require_ready()
        return endpoint.handler(Call(request, service, key))

    def _find(self, scope: Scope) -> tuple[Endpoint, dict[str, str]]:
        """Returns the endpoint of a request, and what its path names.

        Raises:
            RequestError: 404, 405; there is none.
        """
        path: str = scope["path"]
        root: str = scope.get("root_path", "")  # where others have mounted the app
        if root and path.startswith(f"{root}/"):
            path = path[len(root) :]
        route, names = self._match(path)
        if route is None:
            raise RequestError(404, f"there is nothing at {scope['path'][:200]}", code="not_found")
        method: str = scope["method"]
        endpoint = route.endpoints.get("GET" if method == "HEAD" else method)
        if endpoint is None:
            raise route.refusal(method)
        return endpoint, names

    def _match(self, path: str) -> tuple[_Route | None, dict[str, str]]:
        """Returns the route of a path, and what its names stand for."""
        fixed = self._fixed.get(path)
        if fixed is not None:
            return fixed, {}
        for route in self._named:
            if found := route.pattern.fullmatch(path):
                return route, found.groupdict()
        return None, {}


def _is_short(request: Request) -> bool:
    """Whether a body is so short that no longer wait is due to it (see `Admission`)."""
    length = request.header(b"content-length") or ""
    return length.isdecimal() and int(length[:10]) <= _SHORT_BODY


async def _busy() -> Response:
    """Returns the answer of a full queue; its body is made once, as time is short then."""
    return Response(_BUSY_BODY, 429, _BUSY.headers(), JSON)


def error_answer(error: Exception) -> Response:
    """Returns the answer to an exception; those of the server's own fault are logged."""
    answer = request_error(error)
    if answer.status == 500:
        _log.error("a request failed", exc_info=error)
    return json_answer(answer.body(), answer.status, answer.headers())


class RequestLog:
    """Wraps an app: adds headers, counts requests, and logs them as lines of JSON.

    Args:
        app: The app.
        service: Its service.

    Attributes:
        service: As given.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self.service = service
        self._access_log = AccessLog()
        self._prefix = secrets.token_hex(8).encode()  # of the numbers of requests
        self._numbers = itertools.count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        times = scope["nestling.times"] = RequestTimes()
        number = b"%s%016x" % (self._prefix, next(self._numbers))
        status = 500

        def send_with_headers(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                total = (time.perf_counter() - started) * 1000
                message["headers"] = [
                    *message["headers"],
                    *_HEADERS,
                    (b"x-request-id", number),
                    (b"x-total-time", b"%.3f" % total),
                    (b"x-queue-time", b"%.3f" % times.queue),
                    (b"x-encode-time", b"%.3f" % times.encode),
                    (b"x-search-time", b"%.3f" % times.search),
                ]
            return send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            seconds = time.perf_counter() - started
            path = scope.get("nestling.path", "")
            self.service.metrics.request(path, scope["method"], status, seconds, times)
            if self.service.settings.access_log:
                self._access_log.add(scope, number, status, seconds, times)
