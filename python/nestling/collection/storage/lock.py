"""One writer at a time, among threads and processes."""

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
        reset_after_fork(self)

    @contextmanager
    def holding(self) -> Iterator[bool]:
        """Keeps other processes from writing; yields whether the lock was free until now.

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
        """As `holding`, for one thread at a time; `patient` waits for threads as long as it takes.

        Raises:
            LockedError: Another thread or process is writing.
        """
        timeout = -1 if patient or self._timeout < 0 else self._timeout
        if not self._thread.acquire(timeout=timeout):
            raise LockedError(
                f"{self._folder}: another thread has been writing for {self._timeout:g} s; wait "
                "for it, or open the collection with a longer timeout"
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
                "there is one writer at a time: try again, or open with a longer lock_timeout"
            ) from None
        except OSError as error:
            raise StorageError(
                error.errno,
                f"cannot lock the collection ({error.strerror}); to search only, read_only=True",
                str(self._folder),
            ) from error

    def _new_file(self) -> FileLock:
        return FileLock(self._folder / LOCK_FILE, thread_local=False)

    def after_fork(self) -> None:
        """Leaves the parent its lock."""
        _foreign.append(self._file)
        self._file, self._count = self._new_file(), 0
        self._counting, self._thread = threading.Lock(), threading.RLock()
