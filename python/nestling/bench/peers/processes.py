"""The benchmark's side of a worker: start it, ask it, say how it died, leave none behind."""

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

__all__ = ["Worker", "WorkerError"]

_START: Final = "import sys; from nestling.bench.peers import worker; worker.main(int(sys.argv[1]))"
_THREADS: Final = (
    "MKL_NUM_THREADS",
    "NESTLING_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "RAYON_NUM_THREADS",
)
_ASLEEP: Final = {"OMP_WAIT_POLICY": "passive"}  # threads that wait take no core from others
_LAST_LINES = 3  # of what a dead worker wrote

Reply = TypeVar("Reply")


class WorkerError(Exception):
    """A worker died, took too long, or its library raised; the message says which."""


class Worker:
    """A process that has one configuration, as a context manager that ends it.

    Args:
        threads: Of every pool that the environment can tell a library.

    Example:
        >>> with Worker(threads=1) as worker:  # doctest: +SKIP
        ...     worker.ask(job, Ready, patience=60)
        ...     built = worker.ask(Build(), Built, patience=600)
    """

    def __init__(self, *, threads: int) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._connection, theirs = Pipe()
        environment = os.environ | dict.fromkeys(_THREADS, str(threads)) | _ASLEEP
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=[theirs.fileno()],
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

    def ask(self, request: object, reply: type[Reply], *, patience: float) -> Reply:
        """Sends a request and waits for its reply.

        Args:
            request: What to do.
            reply: The class of what comes back.
            patience: Seconds to wait at most.

        Raises:
            WorkerError: There is no such reply: a crash, a time-out, or an error of the library.
        """
        self._send(request)
        got = self._receive(patience)
        if isinstance(got, Failed):
            raise WorkerError(got.error)
        if not isinstance(got, reply):
            raise WorkerError(f"expected {reply.__name__}, not {got!r}")
        return got

    def _send(self, message: object) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # the reply will be missing
            self._connection.send(message)

    def _receive(self, patience: float) -> Any:
        until = time.monotonic() + patience
        try:
            while not self._connection.poll(min(1.0, max(0.0, until - time.monotonic()))):
                if time.monotonic() >= until:
                    self._process.kill()
                    raise WorkerError(f"took more than {patience:,.0f} s")
            return self._connection.recv()
        except (EOFError, ConnectionResetError):
            raise WorkerError(self._death()) from None

    def _death(self) -> str:
        code = self._process.wait()
        how = f"exited with {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return f"{how}: {' | '.join(lines[-_LAST_LINES:])}" if lines else how
