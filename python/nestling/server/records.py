"""Small records of a server, one JSON file each, in a hidden folder beside its collections."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Generic, TypeVar
from uuid import uuid4

import msgspec

from nestling._util.atomic import new_file
from nestling.errors import StorageError
from nestling.server.catalog import Catalog
from nestling.server.errors import RequestError

__all__ = ["Records"]

_NUMBER: Final = re.compile(r"[0-9a-f]{32}")
_Record = TypeVar("_Record", bound=msgspec.Struct)


class Records(Generic[_Record]):
    """Records by id; each is whole or absent. Threads and processes may share them.

    Args:
        catalog: The collections that the folder stands beside.
        folder: Its name, which begins with a dot: it is not a collection.
        prefix: What ids begin with.
        record: What they are.
    """

    def __init__(
        self, catalog: Catalog, folder: str, *, prefix: str, record: type[_Record]
    ) -> None:
        self._catalog = catalog
        self._name = folder
        self._prefix = prefix
        self._record = record

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name!r}, record={self._record.__name__})"

    def new_id(self) -> str:
        """Returns an id that no record has."""
        return self._prefix + uuid4().hex

    def writable_folder(self) -> Path:
        """Returns the folder, which exists.

        Raises:
            RequestError: 409; nothing may be written, or no folder of collections is served.
            StorageError: The system refused.
        """
        self._catalog.require_writable()
        folder = self._folder()
        if folder is None:
            raise RequestError(409, "no folder of collections is served, so nothing can be stored")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(error.errno, error.strerror, str(folder)) from error
        return folder

    def put(self, id: str, record: _Record) -> None:
        """Stores a record.

        Raises:
            RequestError: As `writable_folder`.
            StorageError: The system refused.
        """
        with new_file(self.writable_folder() / f"{id}.json") as staged:
            staged.write_bytes(msgspec.json.encode(record))

    def get(self, id: str) -> _Record | None:
        """Returns a record, or None where there is none that can be read."""
        folder = self._folder()
        number = id.removeprefix(self._prefix)
        if folder is None or number == id or not _NUMBER.fullmatch(number):
            return None
        try:
            return msgspec.json.decode((folder / f"{id}.json").read_bytes(), type=self._record)
        except (OSError, msgspec.DecodeError):
            return None

    def paths(self) -> list[Path]:
        """Returns the files of the records, in any order."""
        folder = self._folder()
        return [] if folder is None else list(folder.glob(f"{self._prefix}*.json"))

    def __iter__(self) -> Iterator[_Record]:
        for path in self.paths():
            if (record := self.get(path.stem)) is not None:
                yield record

    def remove(self, id: str) -> None:
        """Removes a record, if it is there.

        Raises:
            RequestError: As `writable_folder`.
        """
        (self.writable_folder() / f"{id}.json").unlink(missing_ok=True)

    def _folder(self) -> Path | None:
        root = self._catalog.root
        return None if root is None else root / self._name
