"""One writer at a time, among threads and processes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from nestling.errors import LockedError, StorageError

__all__ = ["LOCK_FILE", "WriterLock"]

LOCK_FILE: Final = "writer.lock"

_foreign: Final[
    list[FileLock]
] = []  # of the process that forked: releasing them would free its own


class WriterLock:
    """The right to write into a folder.

    The system takes it from a process that dies. Within the process that has it, `changing` lets
    one thread at a time change documents, while `holding` lets work go on beside.

    Args:
        folder: The collection's folder.
        timeout: Seconds to wait for another writer; 0 for none, -1 for ever.
    """

    def __init__(self, folder: Path, timeout: float) -> None:
        self._folder = folder
        self._timeout = timeout
        self._file = self._new_file()
        self._count = 0
        self._counting = threading.Lock()
        self._thread = threading.RLock()
        self._process = os.getpid()

    @contextmanager
    def holding(self) -> Iterator[bool]:
        """Keeps other processes from writing; yields whether the lock was free until now.

        Raises:
            LockedError: Another process is writing.
            StorageError: The lock file cannot be written.
        """
        deadline = time.monotonic() + self._timeout
        self._after_fork()
        with self._counting:
            first = self._count == 0
            if first:
                self._acquire(max(deadline - time.monotonic(), 0) if self._timeout >= 0 else -1)
            self._count += 1
        try:
            yield first
        finally:
            with self._counting:
                self._count -= 1
                if self._count == 0:
                    self._file.release()

    @contextmanager
    def changing(self) -> Iterator[bool]:
        """As `holding`, for one thread at a time.

        Raises:
            LockedError: Another thread or process is writing.
        """
        if not self._thread.acquire(timeout=self._timeout if self._timeout >= 0 else -1):
            raise LockedError(
                f"{self._folder}: another thread has been writing for {self._timeout:g} s; wait "
                "for it, or open the collection with a longer timeout"
            )
        try:
            with self.holding() as first:
                yield first
        finally:
            self._thread.release()

    def _acquire(self, timeout: float) -> None:
        try:
            self._file.acquire(timeout=timeout)
        except Timeout:
            raise LockedError(
                f"{self._folder}: another process is still writing after {self._timeout:g} s; "
                "there is one writer at a time: try again, or open with a longer lock_timeout"
            ) from None
        except OSError as error:
            raise StorageError(
                error.errno, f"cannot lock the collection: {error.strerror}", str(self._folder)
            ) from error

    def _new_file(self) -> FileLock:
        return FileLock(self._folder / LOCK_FILE, thread_local=False)

    def _after_fork(self) -> None:
        if self._process == os.getpid():
            return
        _foreign.append(self._file)
        self._file, self._count, self._process = self._new_file(), 0, os.getpid()
        self._counting, self._thread = threading.Lock(), threading.RLock()
