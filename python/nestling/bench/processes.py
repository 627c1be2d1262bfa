"""Both sides of a benchmark's worker, a process of its own.

The benchmark starts it, sends requests, reports how it died and ends it. The worker reads requests
from an inherited socket, and sleeps in between. It ends when the socket closes: when the benchmark
is done with it, or was killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Final, TypeVar

from nestling.errors import NestlingError

__all__ = ["Failed", "Ready", "Worker", "WorkerError", "serve"]

_START: Final = "import importlib, sys; importlib.import_module(sys.argv[1]).main(int(sys.argv[2]))"
_THREADS: Final = (
    "MKL_NUM_THREADS",
    "NESTLING_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "RAYON_NUM_THREADS",
)
_IDLE: Final = {"OMP_WAIT_POLICY": "passive"}  # waiting threads must not occupy a core
_LAST_LINES = 3  # of a dead worker's output

Reply = TypeVar("Reply")


class WorkerError(NestlingError, RuntimeError):
    """A worker died, took too long, or its library raised; the message says which."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The reply if a library raised: the error, and its traceback."""

    error: str
    trace: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The reply to the first request, the job."""


def serve(descriptor: int, begin: Callable[[Any], Callable[[Any], object]]) -> None:
    """Replies to the requests of a socket until it closes, whatever the library raises.

    Args:
        descriptor: The socket's file descriptor.
        begin: Takes the first request, the job, and returns what turns later ones into replies.
    """
    answer: Callable[[Any], object] | None = None
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the benchmark ends its workers itself
    with Connection(descriptor) as connection:
        try:
            while True:
                request = connection.recv()
                try:
                    if answer is None:
                        answer = begin(request)
                        reply: object = Ready()
                    else:
                        reply = answer(request)
                except Exception as error:
                    reply = Failed(f"{type(error).__name__}: {error}", traceback.format_exc())
                connection.send(reply)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return


class Worker:
    """The process of one configuration, as a context manager that ends it.

    Args:
        module: The module whose `main(descriptor)` the process runs, which calls `serve`.
        threads: Threads of every pool that an environment variable controls.

    Example:
        >>> with Worker("nestling.bench.peers.worker", threads=1) as worker:  # doctest: +SKIP
        ...     worker.request(job, Ready, timeout=60)
        ...     built = worker.request(Build(), Built, timeout=600)
    """

    def __init__(self, module: str, *, threads: int) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._connection, child = Pipe()
        environment = os.environ | dict.fromkeys(_THREADS, str(threads)) | _IDLE
        with child:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, module, str(child.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=[child.fileno()],
                env=environment,
            )

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()
        self._process.kill()  # some libraries crash at an exit of their own
        self._process.wait()
        self._log.close()

    def request(self, message: object, reply: type[Reply], *, timeout: float) -> Reply:
        """Sends a request and waits for its reply.

        Args:
            message: The request.
            reply: The class of the reply.
            timeout: Seconds to wait at most.

        Raises:
            WorkerError: Another reply or none came: a crash, a time-out, or an error of the
                library.
        """
        self._send(message)
        answer = self._receive(timeout)
        if isinstance(answer, Failed):
            raise WorkerError(answer.error)
        if not isinstance(answer, reply):
            raise WorkerError(f"expected {reply.__name__}, not {answer!r}")
        return answer

    def _send(self, message: object) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # the reply will be missing
            self._connection.send(message)

    def _receive(self, timeout: float) -> Any:
        until = time.monotonic() + timeout
        try:
            while not self._connection.poll(min(1.0, max(0.0, until - time.monotonic()))):
                if time.monotonic() >= until:
                    self._process.kill()
                    raise WorkerError(f"took more than {timeout:,.0f} s")
            return self._connection.recv()
        except (EOFError, ConnectionResetError):
            raise WorkerError(self._death()) from None

    def _death(self) -> str:
        code = self._process.wait()
        how = f"exited with {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return f"{how}: {' | '.join(lines[-_LAST_LINES:])}" if lines else how
