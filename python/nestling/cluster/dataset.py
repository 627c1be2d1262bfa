"""A dataset: shards in a folder, and one manifest a version.

| path | contents |
|---|---|
| manifests/000000000001.json | a version: its shards, their files and checksums |
| shards/NAME/… | the files of a shard; never changed |
| tombstones/NAME/… | ids of documents that were removed from a shard |
| templates/… | an index without rows, with what all shards share |
| rejected/BUILD/… | records that a build left out, as JSON lines |
| builds/BUILD/… | what a build has finished, so that it can be resumed |

A version is committed by creating its manifest, which fails if another writer has created it first:
compare and swap. A version that was read stays as it is until `prune` removes it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from nestling._util.value import short_repr
from nestling.cluster.manifest import Manifest
from nestling.cluster.storage import Storage
from nestling.errors import ArgumentError, FormatError, LockedError

__all__ = ["Dataset", "manifest_name"]

_MANIFEST: Final = re.compile(r"manifests/(\d{12})\.json")
_COMMIT_ATTEMPTS: Final = 20


class Dataset:
    """Shards in a folder at any path of fsspec, as of any version.

    It can be pickled, and used by any number of threads and processes.

    Args:
        storage: The folder.

    Example:
        >>> dataset = Dataset.open("s3://corpora/wikipedia")  # doctest: +SKIP
        >>> dataset.versions(), dataset.manifest().documents  # doctest: +SKIP
        ([1, 2], 6407814)
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        storage_options: Mapping[str, Any] | None = None,
    ) -> Dataset:
        """Opens a dataset.

        Args:
            path: Its folder: a local path, or a URL such as "s3://bucket/folder".
            storage_options: Options of the file system, as fsspec takes them.

        Raises:
            FormatError: There is no dataset.
            ArgumentError: There is no such file system, or it does not take the options.
            PackageError: The package of the file system is not installed.
            StorageError: The storage cannot be read.

        Example:
            >>> dataset = Dataset.open("s3://corpora/wikipedia")  # doctest: +SKIP
        """
        dataset = cls(Storage(path, storage_options))
        if not dataset.versions():
            raise FormatError(f"{dataset.path}: not a dataset: it has no manifest")
        return dataset

    @property
    def path(self) -> str:
        """Its folder, as it was given."""
        return self.storage.path

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Dataset):
            return NotImplemented
        return self.storage == other.storage

    def __hash__(self) -> int:
        return hash(self.storage)

    def __repr__(self) -> str:
        return f"Dataset({short_repr(self.path)})"

    def versions(self) -> list[int]:
        """Returns the versions that there are, ascending.

        Example:
            >>> Dataset.open("s3://corpora/wikipedia").versions()  # doctest: +SKIP
            [1, 2]
        """
        matches = map(_MANIFEST.fullmatch, self.storage.list("manifests"))
        return [int(match[1]) for match in matches if match is not None]

    def manifest(self, version: int | None = None) -> Manifest:
        """Returns the manifest of a version; by default of the newest one.

        Raises:
            FormatError: The manifest is corrupted, or there is no dataset.
            ArgumentError: There is no such version.
            StorageError: The storage cannot be read.

        Example:
            >>> Dataset.open("s3://corpora/wikipedia").manifest(1).rows  # doctest: +SKIP
            41488110
        """
        versions = self.versions()
        if not versions:
            raise FormatError(f"{self.path}: not a dataset: it has no manifest")
        chosen = versions[-1] if version is None else version
        if chosen not in versions:
            raise ArgumentError(
                f"{self.path} has no version {chosen}; it has {versions[0]} to {versions[-1]}"
            )
        name = manifest_name(chosen)
        try:
            data = self.storage.read(name)
        except FileNotFoundError as error:
            raise ArgumentError(f"{self.path}: version {chosen} was removed") from error
        manifest = Manifest.from_json(data, self.storage.describe(name))
        if manifest.version != chosen:
            raise FormatError(f"{self.storage.describe(name)}: of version {manifest.version}")
        return manifest

    def create(self, manifest: Manifest) -> bool:
        """Commits a version, unless another writer has committed one of this number.

        Returns:
            Whether it was committed.

        Raises:
            StorageError: The storage cannot be written.

        Example:
            >>> dataset.create(replace(dataset.manifest(), version=3))  # doctest: +SKIP
            True
        """
        try:
            self.storage.create(manifest_name(manifest.version), manifest.to_json())
        except FileExistsError:
            return False
        return True

    def commit(self, change: Callable[[Manifest], Manifest]) -> Manifest:
        """Commits a change of the newest version.

        Args:
            change: Returns the next version, given the newest one; called again whenever another
                writer was faster. What it returns unchanged is not committed.

        Raises:
            LockedError: Others were faster again and again.
            StorageError: The storage cannot be written.

        Example:
            >>> dataset.commit(lambda newest: newest).version  # doctest: +SKIP
            3
        """
        for _ in range(_COMMIT_ATTEMPTS):
            before = self.manifest()
            after = change(before)
            if after == before or self.create(after):
                return after
        raise LockedError(
            f"{self.path}: others committed {_COMMIT_ATTEMPTS} versions before this one; try again"
        )


def manifest_name(version: int) -> str:
    """Returns the name of the file of a version.

    Example:
        >>> manifest_name(7)
        'manifests/000000000007.json'
    """
    return f"manifests/{version:012}.json"
