"""Which uploaded texts became documents of a collection together, as files of a folder."""

from __future__ import annotations

import time
from typing import Final

import msgspec

from nestling.errors import StorageError
from nestling.server.catalog import Catalog
from nestling.server.errors import RequestError
from nestling.server.records import Records

__all__ = ["FileBatch", "FileBatches"]

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
        self._records = Records(catalog, ".batches", prefix="vsfb_", record=FileBatch)

    def add(self, store: str, files: tuple[str, ...]) -> FileBatch:
        """Notes a batch whose documents are stored.

        Raises:
            RequestError: 409; no folder of collections is served.
            StorageError: The system refused.
        """
        batch = FileBatch(self._records.new_id(), int(time.time()), store, files)
        self._records.put(batch.id, batch)
        self._forget_oldest()
        return batch

    def get(self, store: str, id: str) -> FileBatch:
        """Returns a batch of a collection.

        Raises:
            RequestError: 404; there is none.
        """
        batch = self._records.get(id)
        if batch is None or batch.store != store:
            raise RequestError(
                404, f"there is no batch {id[:100]!r}", param="batch_id", code="batch_not_found"
            )
        return batch

    def _forget_oldest(self) -> None:
        known = self._records.paths()
        if len(known) <= _MOST:
            return
        try:
            known.sort(key=lambda path: path.stat().st_mtime_ns)
            for path in known[: len(known) - _MOST]:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(error.errno, error.strerror, error.filename) from error
