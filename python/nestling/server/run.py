"""Runs a server until it is told to stop: uvicorn, in one process or in several.

As a program, it is one of these processes: `python -m nestling.server.run FD`.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
import sys
import tempfile
from contextlib import ExitStack
from types import FrameType
from typing import Final

import uvicorn

from nestling.errors import NestlingError, StorageError
from nestling.server.app import create_app
from nestling.server.metrics import MULTIPROCESS
from nestling.server.protocol import HttpProtocol, close_idle
from nestling.server.service import Service
from nestling.server.settings import ServerSettings
from nestling.server.workers import CANNOT_LOAD, Workers, settings_of_parent

__all__ = ["run", "serve"]

_TICKS: Final = 10  # between two looks at idle connections
_BACKLOG: Final = 2048  # connections that wait to be accepted
_COLLECT_AFTER: Final = 10_000  # new objects; Python's own number is 700
_COLLECT_OLDER_AFTER: Final = (20, 20)  # collections of younger ones; Python's own are 10
_SWITCH_SECONDS: Final = 0.0005  # Python's own number is 0.005
_log = logging.getLogger("nestling.server")


def run(settings: ServerSettings) -> None:
    """Serves until SIGTERM or SIGINT.

    Raises:
        StorageError: The address cannot be listened at.
        SettingError, ArgumentError: As for `create_app`.
        NestlingError: A collection or an encoder cannot be loaded.
    """
    _set_up_logs()
    with ExitStack() as stack:
        listener = _listen(settings)
        stack.callback(listener.close)
        host, port = listener.getsockname()[:2]
        _log.info("listening at http://%s:%d", f"[{host}]" if ":" in host else host, port)
        if settings.workers == 1:
            serve(settings, listener)
            return
        create_app(settings)  # what is wrong with the settings is said once, and ends the program
        if MULTIPROCESS not in os.environ:
            folder = tempfile.TemporaryDirectory(prefix="nestling-metrics-")
            os.environ[MULTIPROCESS] = stack.enter_context(folder)
        Workers(settings, listener).run()


def serve(settings: ServerSettings, listener: socket.socket) -> None:
    """Serves a socket in this process until SIGTERM or SIGINT.

    Raises:
        NestlingError: A collection or an encoder cannot be loaded.
    """
    _set_up_logs()
    _collect_rarely()
    # A thread that has searched waits so long, at most, until the event loop lets it go on.
    sys.setswitchinterval(_SWITCH_SECONDS)
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # of a client they are not to be trusted
        lifespan="on",
        http=HttpProtocol,
        ws="none",
        backlog=_BACKLOG,
        timeout_graceful_shutdown=max(1, round(settings.shutdown_seconds)),
    )
    _DrainingServer(config, app.service).run(sockets=[listener])
    if app.service.failure is not None:
        raise app.service.failure


class _DrainingServer(uvicorn.Server):
    """A uvicorn server that says that it is about to stop before it stops.

    At the first SIGTERM or SIGINT `/readyz` answers 503, so that a load balancer sends no more
    requests; `drain_seconds` later the socket is closed, and what runs is waited for. A second
    signal ends the wait.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def on_tick(self, counter: int) -> bool:
        """Is called ten times a second."""
        if counter % _TICKS == 0:
            close_idle(self.server_state.connections)
        if self._service.failure is not None:
            self.should_exit = True
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handles a signal."""
        seconds = self._service.settings.drain_seconds
        if self._service.draining or not seconds or not self.started:
            super().handle_exit(sig, frame)
            return
        self._service.draining = True
        _log.info("draining: the socket is closed in %g s", seconds)
        loop = asyncio.get_running_loop()
        loop.call_later(seconds, super().handle_exit, sig, frame)


def _listen(settings: ServerSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        where = f"{settings.host}:{settings.port}"
        raise StorageError(error.errno, f"cannot listen at {where}: {error.strerror}") from error
    return listener


def _collect_rarely() -> None:
    """Makes Python's search for circular garbage rarer, and leaves out what exists already.

    With Python's own settings a collection visits every object of every imported module, which
    holds up all requests for some 30 ms, every few hundred requests.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, *_COLLECT_OLDER_AFTER)


def _set_up_logs() -> None:
    """Sends the access log to stdout as it is, and everything else to stderr."""
    access = logging.getLogger("nestling.access")
    if access.handlers:
        return
    lines = logging.StreamHandler(sys.stdout)
    lines.setFormatter(logging.Formatter("%(message)s"))
    access.addHandler(lines)
    access.setLevel(logging.INFO)
    access.propagate = False
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")


if __name__ == "__main__":  # a worker process, whose argument is the socket
    try:
        serve(settings_of_parent(), socket.socket(fileno=int(sys.argv[1])))
    except NestlingError:  # the log has it
        sys.exit(CANNOT_LOAD)
