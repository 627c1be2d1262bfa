"""A real server on a free loopback port, in a thread of the test's process."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import msgspec
import uvicorn
from starlette.routing import compile_path
from waiting import SECONDS

from nestling.server import Catalog, ServerSettings, create_app
from nestling.server.answers import Error
from nestling.server.openapi import DESCRIPTION, OPERATIONS
from nestling.server.protocol import HttpProtocol
from nestling.server.routes import ENDPOINTS
from nestling.server.service import Service

_PATHS = [(endpoint, compile_path(endpoint.path)[0]) for endpoint in (*ENDPOINTS, DESCRIPTION)]


def compare(answer: Any) -> None:
    """Compares an answer with what the OpenAPI document says of it."""
    if not answer.headers.get("content-type", "").startswith("application/json"):
        return
    answer.read()
    if answer.status_code >= 400 and answer.status_code != 503:
        msgspec.json.decode(answer.content, type=Error)
        return
    path, method = unquote(answer.request.url.path), answer.request.method
    for endpoint, pattern in _PATHS:
        if endpoint.method == method and pattern.fullmatch(path):
            operation = OPERATIONS[f"{method} {endpoint.path}"]
            kind = Error if answer.status_code not in operation.status else operation.answer
            msgspec.json.decode(answer.content, type=kind)
            return
    raise AssertionError(f"{method} {path} is not described")


class Serving:
    """A running server.

    Attributes:
        url: Where it listens.
        service: Its service, for what only a look inside shows.
        root: The folder of its collections.
    """

    def __init__(self, url: str, service: Service, root: Path) -> None:
        self.url = url
        self.service = service
        self.root = root

    def http(self, **options: Any) -> httpx.Client:
        """Returns a client of the server, which compares answers with the OpenAPI document."""
        hooks = {"response": [compare]}
        return httpx.Client(base_url=self.url, timeout=SECONDS, event_hooks=hooks, **options)


@contextmanager
def serving(root: Path, catalog: Catalog | None = None, **options: Any) -> Iterator[Serving]:
    """Serves the folder `root`; `options` are those of `ServerSettings`."""
    options = {"collections": (str(root),), "access_log": False} | options
    app = create_app(ServerSettings(**options), catalog)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, http=HttpProtocol, log_config=None, access_log=False, ws="none", lifespan="on"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + SECONDS
        while not (server.started and app.service.ready):
            assert thread.is_alive(), "the server ended"
            assert time.monotonic() < deadline, app.service.status
            time.sleep(0.01)
        yield Serving(f"http://127.0.0.1:{listener.getsockname()[1]}", app.service, root)
    finally:
        server.should_exit = True
        thread.join(SECONDS)
        listener.close()
    assert not thread.is_alive(), "the server does not stop"
