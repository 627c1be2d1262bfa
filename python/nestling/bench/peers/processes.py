"""The benchmark's side of a worker: starts it, sends requests, reports how it died, ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from multiprocessing import Pipe
from types import TracebackType
from typing import Any, Final, TypeVar

from nestling.bench.peers.worker import Failed
from nestling.errors import NestlingError

__all__ = ["Worker", "WorkerError"]

_START: Final = "import sys; from nestling.bench.peers import worker; worker.main(int(sys.argv[1]))"
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


class Worker:
    """The process of one configuration, as a context manager that ends it.

    Args:
        threads: Threads of every pool that an environment variable controls.

    Example:
        >>> with Worker(threads=1) as worker:  # doctest: +SKIP
        ...     worker.request(job, Ready, timeout=60)
        ...     built = worker.request(Build(), Built, timeout=600)
    """

    def __init__(self, *, threads: int) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._connection, child = Pipe()
        environment = os.environ | dict.fromkeys(_THREADS, str(threads)) | _IDLE
        with child:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, str(child.fileno())],
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
