"""A folder for one task's work on the local disk, which a task that was killed leaves no trace of.

The folder has a fixed name, and a lock that the system releases when its process dies: the next
attempt on the same machine begins by emptying it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from nestling.errors import NestlingError, StorageError

__all__ = ["scratch_folder"]


@contextmanager
def scratch_folder(name: str) -> Iterator[Path]:
    """Yields an empty folder, which is removed at the end.

    Args:
        name: Its name; a block with the same name on this machine waits for this one's end.

    Raises:
        StorageError: The disk is full, or cannot be written.

    Example:
        >>> with scratch_folder("example") as folder:
        ...     list(folder.iterdir())
        []
    """
    parent = Path(tempfile.gettempdir(), "nestling-scratch")
    folder = parent / name
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with FileLock(parent / f"{name}.lock") as lock:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
                Path(lock.lock_file).unlink(missing_ok=True)
    except NestlingError:  # some are OSErrors too
        raise
    except OSError as error:
        where = error.filename or folder
        raise StorageError(error.errno, f"{where}: cannot write: {error.strerror}") from error
