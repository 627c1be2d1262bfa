"""A server in a process of its own: started, waited for, watched, ended."""

from __future__ import annotations

import http.client
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Final

from nestling.bench.server.load import Address
from nestling.errors import StorageError

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["ServerProcess", "free_port"]

_START_SECONDS: Final = 120.0
_END_SECONDS: Final = 15.0
_STEP: Final = 0.05
_PORTS: Final = range(20_000, 32_000)  # below those that systems give to clients


class ServerProcess:
    """A server, from its start to its end. Use it in a `with` block.

    Args:
        command: What starts it.
        port: Where it listens.
        ready: A path that answers 200 once it serves.
        log: Where its output goes.
        environment: Variables beside those of this process.

    Attributes:
        address: Host and port.

    Raises:
        StorageError: It does not start.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        port: int,
        ready: str,
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.address: Address = ("127.0.0.1", port)
        self._ready = ready
        self._path = log
        self._log: IO[bytes] = log.open("wb")
        self._process = subprocess.Popen(
            command,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        deadline = time.monotonic() + _START_SECONDS
        while self._status() != 200:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.close()
                lines = self._path.read_text(errors="replace").splitlines()[-5:]
                raise StorageError("the server did not start: " + " | ".join(lines))
            time.sleep(_STEP)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def wait(self, seconds: float) -> int:
        """Waits for its end; returns its exit status.

        Raises:
            subprocess.TimeoutExpired: It did not end in time.
        """
        return self._process.wait(seconds)

    @property
    def memory(self) -> int:
        """Resident bytes of the process now; 0 where the system does not tell."""
        return _kilobytes(self._process.pid, "VmRSS") * 1024

    def close(self) -> None:
        """Ends the process, by force if it must be."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._log.close()

    def _status(self) -> int:
        connection = http.client.HTTPConnection(*self.address, timeout=5)
        try:
            connection.request("GET", self._ready)
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()


def free_port() -> int:
    """Returns a port that nothing uses, and that no system hands out meanwhile."""
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _kilobytes(process: int, name: str) -> int:
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    for line in status.splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0
