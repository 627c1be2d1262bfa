"""Copies of a collection, complete as of one commit."""

from __future__ import annotations

import errno
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

from nestling._util.atomic import new_folder
from nestling.collection.storage.connection import connect
from nestling.collection.storage.database import DATABASE_FILE
from nestling.collection.storage.segments import SEGMENTS_FOLDER, Segment, read_manifest
from nestling.collection.storage.store import Store
from nestling.errors import StorageError

__all__ = ["backup"]

_ATTEMPTS: Final = 20  # while compactions remove segments before they are copied


def backup(store: Store, target: Path) -> None:
    """Copies the collection of `store` to a new folder.

    Raises:
        StorageError: `target` exists and is not an empty folder, or the operating system refused
            to write.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise StorageError(
            errno.EEXIST, "the target exists; choose a new or an empty folder", str(target)
        )
    with new_folder(target) as folder:
        for left in reversed(range(_ATTEMPTS)):
            try:
                _copy(store, folder)
                break
            except FileNotFoundError:
                if left == 0:
                    raise
                shutil.rmtree(folder)
                folder.mkdir()


def _copy(store: Store, folder: Path) -> None:
    (folder / SEGMENTS_FOLDER).mkdir()
    store.database.backup(folder / DATABASE_FILE)
    for segment in _manifest(folder / DATABASE_FILE):
        shutil.copyfile(segment.path(store.folder), segment.path(folder))
        others = zip(segment.files(store.folder)[1:], segment.files(folder)[1:], strict=True)
        for source, copy in others:
            with suppress(FileNotFoundError):
                shutil.copyfile(source, copy)
        segment.path(store.folder).stat()  # raises if a compaction has removed all of them


def _manifest(path: Path) -> list[Segment]:
    connection = connect(path, "rw")
    try:
        return read_manifest(connection)
    finally:
        connection.close()
