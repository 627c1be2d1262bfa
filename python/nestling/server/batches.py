"""Which uploaded texts became documents of a collection together, as files of a folder."""

from __future__ import annotations

import re
import time
import uuid
from pathlib import Path
from typing import Final

import msgspec

from nestling._util.atomic import new_file
from nestling.errors import StorageError
from nestling.server.catalog import Catalog
from nestling.server.errors import RequestError

__all__ = ["FileBatch", "FileBatches"]

_FOLDER: Final = ".batches"  # hidden: it is not a collection
_ID: Final = re.compile(r"vsfb_[0-9a-f]{32}")
_MOST: Final = 10_000


class FileBatch(msgspec.Struct, frozen=True):
    """Texts that became documents together.

    Attributes:
        id: Its id.
        created_at: Seconds since 1970.
        store: Name of the collection.
        files: Ids of the texts, which are those of the documents, in the order of the request.
    """

    id: str
    created_at: int
    store: str
    files: tuple[str, ...]


class FileBatches:
    """The batches of a server: the newest 10,000 are known. Threads may share it.

    Args:
        catalog: The collections; batches stand beside those that were created.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def add(self, store: str, files: tuple[str, ...]) -> FileBatch:
        """Notes a batch whose documents are stored.

        Raises:
            RequestError: 409; no folder of collections is served.
            StorageError: The system refused.
        """
        self._catalog.require_writable()
        folder = self._folder()
        if folder is None:
            raise RequestError(409, "no folder of collections is served, so nothing can be stored")
        batch = FileBatch(f"vsfb_{uuid.uuid4().hex}", int(time.time()), store, files)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._forget_oldest(folder)
        except OSError as error:
            raise StorageError(error.errno, error.strerror, str(folder)) from error
        with new_file(folder / f"{batch.id}.json") as staged:
            staged.write_bytes(msgspec.json.encode(batch))
        return batch

    def get(self, store: str, id: str) -> FileBatch:
        """Returns a batch of a collection.

        Raises:
            RequestError: 404; there is none.
        """
        batch = self._read(id)
        if batch is None or batch.store != store:
            raise RequestError(
                404, f"there is no batch {id[:100]!r}", param="batch_id", code="batch_not_found"
            )
        return batch

    def _read(self, id: str) -> FileBatch | None:
        folder = self._folder()
        if folder is None or not _ID.fullmatch(id):
            return None
        try:
            return msgspec.json.decode((folder / f"{id}.json").read_bytes(), type=FileBatch)
        except (OSError, msgspec.DecodeError):
            return None

    def _folder(self) -> Path | None:
        root = self._catalog.root
        return None if root is None else root / _FOLDER

    @staticmethod
    def _forget_oldest(folder: Path) -> None:
        known = list(folder.glob("vsfb_*.json"))
        if len(known) >= _MOST:
            known.sort(key=lambda path: path.stat().st_mtime_ns)
            for path in known[: len(known) - _MOST + 1]:
                path.unlink(missing_ok=True)
