"""One writer at a time, among threads and processes.

A file keeps other processes out: the operating system releases its lock when a process dies.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from functools import partial
from pathlib import Path
from typing import Final

from nestling import _core
from nestling._util.fork import reset_after_fork
from nestling._util.lease import Lease
from nestling.collection.storage.gate import Gate
from nestling.errors import LockedError, StorageError

__all__ = ["LOCK_FILE", "WriterLock"]

LOCK_FILE: Final = "writer.lock"
_POLL_SECONDS: Final = 0.05


class WriterLock:
    """The lock that lets one process write to a folder.

    Within the process that holds it, `changing` admits one thread at a time to change documents,
    while `holding` admits any number, such as a compaction in the background.

    Args:
        folder: The collection's folder, an absolute path.
        timeout: Seconds to wait for another writer; 0 not to wait, -1 to wait without limit.
        gate: Admits the calls.
    """

    def __init__(self, folder: Path, timeout: float, gate: Gate | None = None) -> None:
        self._folder = folder
        self._timeout = timeout
        self._gate = Gate(str(folder)) if gate is None else gate
        self._file = self._new_file()
        self._thread = threading.RLock()
        reset_after_fork(self)

    def holding(self) -> Lease[None]:
        """Keeps other processes from writing, for the length of a `with` block.

        Raises:
            LockedError: Another process is writing.
            StorageError: The lock file cannot be written.
            ClosedError: The collection was closed.
        """
        return Lease(self._hold)

    def changing(self, *, patient: bool = False) -> Lease[None]:
        """As `holding`, for one thread at a time; `patient` waits for threads without limit.

        Raises:
            LockedError: Another thread or process is writing.
            StorageError: The lock file cannot be written.
            ClosedError: The collection was closed.
        """
        return Lease(partial(self._change, patient))

    @property
    def is_held_once(self) -> bool:
        """Whether nothing else in this process holds the lock, for whoever does."""
        return self._file.holders == 1

    def _hold(self, lease: Lease[None]) -> None:
        self._gate.admit(lease)
        deadline = time.monotonic() + self._timeout
        try:
            while not lease.acquire(self._file):
                if self._timeout >= 0 and deadline <= time.monotonic():
                    raise LockedError(
                        f"{self._folder}: another process is still writing after "
                        f"{self._timeout:g} s; only one writer is allowed: try again, or open with "
                        "a longer lock_timeout"
                    )
                time.sleep(_POLL_SECONDS)
        except StorageError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                raise StorageError(
                    error.errno, "the folder was removed", str(self._folder)
                ) from None
            raise StorageError(
                error.errno,
                f"cannot lock the collection ({os.strerror(error.errno or 0)}); to search it, use "
                "read_only=True",
                str(self._folder),
            ) from error

    def _change(self, patient: bool, lease: Lease[None]) -> None:
        timeout = -1 if patient or self._timeout < 0 else min(self._timeout, threading.TIMEOUT_MAX)
        if not lease.acquire(self._thread, (True, timeout)):
            raise LockedError(
                f"{self._folder}: another thread is still writing after {self._timeout:g} s; wait "
                "for it, or open the collection with a longer lock_timeout"
            )
        lease.enter(self.holding())

    def _new_file(self) -> _core.FileLock:
        return _core.FileLock(os.fsencode(self._folder / LOCK_FILE))

    def after_fork(self) -> None:
        """Leaves the inherited lock alone: it belongs to the parent."""
        self._file.abandon()
        self._file = self._new_file()
        self._thread = threading.RLock()
