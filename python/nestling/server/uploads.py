"""Texts that were uploaded and wait to be put into collections, as files of a folder."""

from __future__ import annotations

import time
from typing import Final

import msgspec

from nestling.server.catalog import Catalog
from nestling.server.errors import RequestError
from nestling.server.keys import ApiKey
from nestling.server.records import Records

__all__ = ["Upload", "Uploads"]

_MOST: Final = 10_000


class Upload(msgspec.Struct, frozen=True):
    """A text that was uploaded.

    Attributes:
        id: Its id.
        filename: The name it had.
        purpose: What it was said to be for.
        created_at: Seconds since 1970.
        owner: Name of the key that uploaded it.
        text: The text.
    """

    id: str
    filename: str
    purpose: str
    created_at: int
    owner: str
    text: str

    @property
    def size(self) -> int:
        """Bytes of the text."""
        return len(self.text.encode())


class Uploads:
    """The uploaded texts of a server: each key sees its own, an admin's all. Threads may share it.

    Args:
        catalog: The collections; uploads stand beside those that were created.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._records = Records(catalog, ".uploads", prefix="file-", record=Upload)

    def add(self, filename: str, purpose: str, content: bytes, key: ApiKey) -> Upload:
        """Stores a text.

        Raises:
            RequestError: 422 if it is not text; 409 where there is no folder for it, or it is full.
            StorageError: The system refused.
        """
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise RequestError(
                422, f"{filename[:100]!r} is not a text in UTF-8: {error}", param="file"
            ) from None
        if len(self._records.paths()) >= _MOST:
            raise RequestError(409, f"there are {_MOST:,} uploads: delete some")
        id = self._records.new_id()
        upload = Upload(id, filename, purpose, int(time.time()), key.name, text)
        self._records.put(id, upload)
        return upload

    def get(self, id: str, key: ApiKey) -> Upload:
        """Returns an upload.

        Raises:
            RequestError: 404; there is none that the key may see.
        """
        upload = self._records.get(id)
        if upload is None or not _sees(key, upload):
            raise RequestError(
                404, f"there is no file {id[:100]!r}", param="file_id", code="file_not_found"
            )
        return upload

    def all(self, key: ApiKey) -> list[Upload]:
        """Returns the uploads that a key may see, the newest first."""
        found = [upload for upload in self._records if _sees(key, upload)]
        return sorted(found, key=lambda upload: (upload.created_at, upload.id), reverse=True)

    def delete(self, id: str, key: ApiKey) -> None:
        """Removes an upload; the documents that were made of it stay.

        Raises:
            RequestError: 404; there is none that the key may see. 409; nothing may be written.
        """
        self.get(id, key)
        self._records.remove(id)


def _sees(key: ApiKey, upload: Upload) -> bool:
    return key.name == upload.owner or key.allows("admin")
