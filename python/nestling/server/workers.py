"""Several processes that serve one socket: started, replaced when they die, stopped together."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from types import FrameType
from typing import Final

import msgspec
from prometheus_client.multiprocess import mark_process_dead

from nestling.errors import SettingError
from nestling.server.metrics import MULTIPROCESS
from nestling.server.settings import ServerSettings

__all__ = ["CANNOT_LOAD", "Workers", "settings_of_parent"]

CANNOT_LOAD: Final = 3
"""The exit code of a worker that cannot load what it is to serve."""

_FIRST_PAUSE: Final = 0.1  # seconds before a worker that died at once is replaced; then twice that
_LONGEST_PAUSE: Final = 10.0
_SOON: Final = 5.0  # seconds: a worker that lived shorter did not serve
_STEP: Final = 0.05  # seconds between two looks at the workers
_log = logging.getLogger("nestling.server")


class Workers:
    """Worker processes, each a new interpreter: models have threads, which a fork would lose.

    Args:
        settings: The settings, which a worker reads from its standard input.
        listener: The socket that they share.
    """

    def __init__(self, settings: ServerSettings, listener: socket.socket) -> None:
        self._settings = settings
        self._listener = listener
        self._running: dict[subprocess.Popen[bytes], float] = {}  # and when they started
        self._stopping = False

    def run(self) -> None:
        """Runs them until SIGTERM or SIGINT, which they get too.

        Raises:
            SettingError: One of the first workers could not load what it was to serve. A later one
                is replaced, as others serve meanwhile.
        """
        handlers = {sig: signal.signal(sig, self._stop) for sig in (signal.SIGTERM, signal.SIGINT)}
        pause = _FIRST_PAUSE
        try:
            for _ in range(self._settings.workers):
                self._start()
            first = set(self._running)
            while not self._stopping:
                time.sleep(_STEP)
                for worker in [each for each in self._running if each.poll() is not None]:
                    lived = time.monotonic() - self._running.pop(worker)
                    if MULTIPROCESS in os.environ:
                        mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
                    if worker.returncode == CANNOT_LOAD and worker in first:
                        raise SettingError("nothing is served; the log says what cannot be loaded")
                    _log.warning(
                        "worker %d ended with %d: another one starts",
                        worker.pid,
                        worker.returncode,
                    )
                    pause = min(2 * pause, _LONGEST_PAUSE) if lived < _SOON else _FIRST_PAUSE
                    self._wait(pause if lived < _SOON else 0)
                    if not self._stopping:
                        self._start()
            self._finish()
        finally:
            for worker in self._running:
                worker.kill()
            for sig, handler in handlers.items():
                signal.signal(sig, handler)

    def _start(self) -> None:
        worker = subprocess.Popen(
            [sys.executable, "-m", "nestling.server.run", str(self._listener.fileno())],
            stdin=subprocess.PIPE,
            pass_fds=[self._listener.fileno()],
            start_new_session=True,  # so that a Ctrl-C reaches the parent alone, which passes it on
        )
        assert worker.stdin is not None
        worker.stdin.write(msgspec.json.encode(self._settings) + b"\n")
        worker.stdin.flush()  # and stays open
        self._running[worker] = time.monotonic()

    def _stop(self, sig: int, _: FrameType | None) -> None:
        """Passes a signal on: the first one begins to drain the workers, a second one ends that."""
        self._stopping = True
        for worker in self._running:
            worker.send_signal(signal.SIGTERM)

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < until:
            time.sleep(_STEP)

    def _finish(self) -> None:
        settings = self._settings
        deadline = time.monotonic() + settings.drain_seconds + settings.shutdown_seconds + 5
        while self._running and time.monotonic() < deadline:
            time.sleep(_STEP)
            for worker in [each for each in self._running if each.poll() is not None]:
                del self._running[worker]
        for worker in self._running:
            _log.warning("worker %d does not stop, and is killed", worker.pid)


def settings_of_parent() -> ServerSettings:
    """Returns the settings that the parent sends; when it is gone, this process gets SIGTERM."""
    settings = msgspec.json.decode(sys.stdin.buffer.readline(), type=ServerSettings)
    threading.Thread(target=_end_with_parent, name="nestling-parent", daemon=True).start()
    return settings


def _end_with_parent() -> None:
    # Until its end, which comes with the parent's. A thread that waits in `sys.stdin` would hold
    # its lock, without which the interpreter cannot end.
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
