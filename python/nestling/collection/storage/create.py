"""A new collection in a folder: complete, or absent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from nestling._util.atomic import install
from nestling.collection.storage.connection import connect
from nestling.collection.storage.database import DATABASE_FILE, Database
from nestling.collection.storage.lock import LOCK_FILE, WriterLock
from nestling.collection.storage.segments import SEGMENTS_FOLDER
from nestling.collection.storage.settings import Settings
from nestling.errors import FormatError, NestlingError, StorageError

__all__ = ["create_folder", "is_collection"]

_NEW: Final = f"{DATABASE_FILE}.new"
_OWN_FILES: Final = (
    LOCK_FILE,
    SEGMENTS_FOLDER,
    _NEW,
    f"{_NEW}-wal",
    f"{_NEW}-shm",
    f"{_NEW}-journal",
)


def is_collection(folder: Path) -> bool:
    """Returns whether a folder holds a collection.

    Example:
        >>> from pathlib import Path
        >>> nestling.Collection("notes", dim=2).close()
        >>> is_collection(Path("notes")), is_collection(Path("elsewhere"))
        (True, False)
    """
    return (folder / DATABASE_FILE).is_file()


def create_folder(
    folder: Path, settings: Settings, fields: Sequence[str], *, lock_timeout: float
) -> None:
    """Creates an empty collection, unless another process has created one meanwhile.

    The database gets its name once it is complete, so that a crash leaves all of it or nothing.

    Raises:
        FormatError: The folder holds something else.
        StorageError: The operating system refused to write.
        LockedError: Another process is creating it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        foreign = [path.name for path in folder.iterdir() if path.name not in _OWN_FILES]
        if foreign and not is_collection(folder):
            raise FormatError(
                f"{folder}: not a collection, and not empty (it has {min(foreign)}); choose "
                "another folder"
            )
        segments = folder / SEGMENTS_FOLDER
        if segments.is_dir() and any(segments.iterdir()) and not is_collection(folder):
            raise FormatError(
                f"{folder}: it has segments but no {DATABASE_FILE}; restore a backup, or choose "
                "another folder"
            )
        with WriterLock(folder, lock_timeout).holding():
            if is_collection(folder):
                return
            for path in folder.glob(f"{_NEW}*"):
                path.unlink()
            (folder / SEGMENTS_FOLDER).mkdir(exist_ok=True)
            _write(folder / _NEW, settings, fields)
            install(folder / _NEW, folder / DATABASE_FILE)
    except NestlingError:  # some are OSErrors too
        raise
    except OSError as error:
        raise StorageError(
            error.errno, f"cannot create a collection: {error.strerror}", str(folder)
        ) from error


def _write(path: Path, settings: Settings, fields: Sequence[str]) -> None:
    Database.create(path)
    connection = connect(path, "rw")
    try:
        connection.execute("BEGIN")
        settings.declare(connection, fields)
        connection.execute("COMMIT")
    finally:
        connection.close()
