"""One writer at a time, among threads and processes.

filelock keeps other processes out: the operating system releases its lock when a process dies.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from nestling._util.fork import reset_after_fork
from nestling.errors import LockedError, StorageError

__all__ = ["LOCK_FILE", "WriterLock"]

LOCK_FILE: Final = "writer.lock"

# Locks inherited through a fork: releasing them would release the parent's.
_inherited: Final[list[FileLock]] = []


class WriterLock:
    """The lock that lets one process write to a folder.

    Within the process that holds it, `changing` admits one thread at a time to change documents,
    while `holding` admits any number, such as a compaction in the background.

    Args:
        folder: The collection's folder.
        timeout: Seconds to wait for another writer; 0 not to wait, -1 to wait without limit.
    """

    def __init__(self, folder: Path, timeout: float) -> None:
        self._folder = folder
        self._timeout = timeout
        self._file = self._new_file()
        self._count = 0
        self._counting = threading.Lock()
        self._thread = threading.RLock()
        reset_after_fork(self)

    @contextmanager
    def holding(self) -> Iterator[bool]:
        """Keeps other processes from writing; yields whether this call acquired the lock.

        Raises:
            LockedError: Another process is writing.
            StorageError: The lock file cannot be written.
        """
        with self._counting:
            first = self._count == 0
            if first:
                self._acquire()
            self._count += 1
        try:
            yield first
        finally:
            with self._counting:
                self._count -= 1
                if self._count == 0:
                    self._file.release()

    @contextmanager
    def changing(self, *, patient: bool = False) -> Iterator[bool]:
        """As `holding`, for one thread at a time; `patient` waits for threads without limit.

        Raises:
            LockedError: Another thread or process is writing.
        """
        timeout = -1 if patient or self._timeout < 0 else self._timeout
        if not self._thread.acquire(timeout=timeout):
            raise LockedError(
                f"{self._folder}: another thread is still writing after {self._timeout:g} s; wait "
                "for it, or open the collection with a longer lock_timeout"
            )
        try:
            with self.holding() as first:
                yield first
        finally:
            self._thread.release()

    def _acquire(self) -> None:
        try:
            self._file.acquire(timeout=self._timeout if self._timeout >= 0 else -1)
        except Timeout:
            raise LockedError(
                f"{self._folder}: another process is still writing after {self._timeout:g} s; "
                "only one writer is allowed: try again, or open with a longer lock_timeout"
            ) from None
        except OSError as error:
            raise StorageError(
                error.errno,
                f"cannot lock the collection ({error.strerror}); to search it, use read_only=True",
                str(self._folder),
            ) from error

    def _new_file(self) -> FileLock:
        return FileLock(self._folder / LOCK_FILE, thread_local=False)

    def after_fork(self) -> None:
        """Leaves the inherited lock alone: it belongs to the parent."""
        _inherited.append(self._file)
        self._file, self._count = self._new_file(), 0
        self._counting, self._thread = threading.Lock(), threading.RLock()
