"""The ids of documents that were removed from a shard: files that a version names.

A shard is never changed. A delete adds a file with the removed ids of each shard that had some; an
`open` applies them; `compact` writes the shard again without them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from nestling import _core
from nestling.cluster.manifest import FileEntry, ShardEntry
from nestling.cluster.storage import Storage
from nestling.errors import FormatError

__all__ = ["read_tombstones", "write_tombstones"]


def write_tombstones(storage: Storage, shard: str, ids: Iterable[str]) -> FileEntry:
    """Writes a file of ids, named by its contents.

    Args:
        storage: The dataset's folder.
        shard: The name of the shard that the documents are in.
        ids: Their ids; those of an index are row numbers of the dataset.

    Raises:
        StorageError: The storage cannot be written.

    Example:
        >>> file = write_tombstones(Storage("dataset"), "a", ["flour", "bread"])
        >>> file.name
        'tombstones/a/985c2b2933626bf0.json'
        >>> Storage("dataset").read(file.name)
        b'["bread", "flour"]'
    """
    data = json.dumps(sorted(ids)).encode()
    checksum = f"{_core.xxh64(data):016x}"
    name = f"tombstones/{shard}/{checksum}.json"
    storage.write(name, data)
    return FileEntry(name=name, bytes=len(data), checksum=checksum)


def read_tombstones(storage: Storage, shard: ShardEntry) -> tuple[str, ...]:
    """Returns the ids of all documents that were removed from a shard, sorted.

    Raises:
        FormatError: A file is missing or corrupted; the message names it.
        StorageError: The storage cannot be read.
    """
    return tuple(sorted({id for file in shard.tombstones for id in _read(storage, file)}))


def _read(storage: Storage, file: FileEntry) -> Sequence[str]:
    where = storage.describe(file.name)
    try:
        data = storage.read(file.name)
    except FileNotFoundError as error:
        raise FormatError(f"{where}: the file is missing") from error
    if f"{_core.xxh64(data):016x}" != file.checksum:
        raise FormatError(f"{where}: corrupted: its checksum is not that of the manifest")
    ids: list[str] = json.loads(data)
    return ids
