"""Shards on the local disk, by the checksums of their files; any number of processes share them.

| name | what |
|---|---|
| KEY-BYTES/ | the files of a shard, complete and checked |
| KEY-BYTES.tmp/ | a shard that is being fetched |
| KEY-BYTES.lock | held while a shard is fetched, pinned or removed |
| KEY-BYTES.….pin | held while a process uses the shard |

The system releases the locks of a process that dies, so it pins nothing, and what it left half
fetched is fetched again.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from nestling import _core
from nestling._util.atomic import sync, sync_tree
from nestling._util.paths import absolute
from nestling._util.value import Value
from nestling.cluster.dataset import Dataset
from nestling.cluster.manifest import ShardEntry
from nestling.cluster.tombstones import read_tombstones
from nestling.errors import StorageError

__all__ = ["LocalShard", "ShardCache"]

_LINKED: Final = (".nest", ".ids", ".words")  # mapped, and never written to


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LocalShard(Value):
    """A shard on the local disk.

    Attributes:
        folder: The folder with its files: that of a collection, or the one with `index.nest`.
        entry: Its line of the manifest.
        removed: Ids of the documents that were removed since it was written, sorted.

    Example:
        >>> with ShardCache(folder).fetch(dataset, entry) as shard:  # doctest: +SKIP
        ...     shard.removed
        ('n17', 'n18')
    """

    folder: Path
    entry: ShardEntry
    removed: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ShardCache(Value):
    """Shards on the local disk.

    Attributes:
        folder: The folder; created when it is needed.
        max_bytes: The most bytes that shards may take: those that nobody uses, and that were used
            longest ago, are removed to make room. None for no limit but the disk's.

    Example:
        >>> cache = ShardCache(Path("cache"), max_bytes=100_000_000_000)
        >>> cache.size
        0
    """

    folder: Path
    max_bytes: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", absolute(self.folder))

    @property
    def size(self) -> int:
        """Bytes of the shards in it, those that are being fetched included."""
        return sum(_bytes_of(path) for path in self._shards(".tmp"))

    @contextmanager
    def fetch(self, dataset: Dataset, entry: ShardEntry) -> Iterator[LocalShard]:
        """Yields a shard, fetched and checked unless it is here already; it stays for the block.

        Args:
            dataset: The dataset.
            entry: A shard of one of its versions.

        Raises:
            FormatError: A file of the shard is missing or corrupted; the message names it.
            StorageError: The storage cannot be read, or no room can be made for the shard; nothing
                is left behind.

        Example:
            >>> with ShardCache(folder).fetch(dataset, entry) as shard:  # doctest: +SKIP
            ...     nestling.Collection(shard.folder, read_only=True)
        """
        removed = read_tombstones(dataset.storage, entry)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(error.errno, error.strerror, str(self.folder)) from error
        folder = self.folder / _name(entry)
        pin = _lock(self.folder / f"{folder.name}.{secrets.token_hex(8)}.pin")
        with _lock(_beside(folder, ".lock")):
            if not _is_complete(folder, entry):
                self._fill(dataset, entry, folder)
            os.utime(folder)
            pin.acquire()
        try:
            yield LocalShard(folder, entry, removed)
        finally:
            pin.release()
            Path(pin.lock_file).unlink(missing_ok=True)

    def _fill(self, dataset: Dataset, entry: ShardEntry, folder: Path) -> None:
        """Fetches a shard; the caller holds its lock."""
        shutil.rmtree(folder, ignore_errors=True)
        self._make_room(entry.size)
        while True:
            try:
                self._fetch(dataset, entry, folder)
            except StorageError as error:  # noqa: PERF203
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                if not self._evict():
                    raise StorageError(
                        error.errno,
                        f"{self.folder}: no room for the shard {entry.name} of {entry.size:,} "
                        "bytes: the disk is full, and all other shards on it are in use",
                    ) from error
            else:
                return

    def _fetch(self, dataset: Dataset, entry: ShardEntry, folder: Path) -> None:
        staged = _beside(folder, ".tmp")
        shutil.rmtree(staged, ignore_errors=True)
        try:
            for file in entry.files:
                target = staged / file.name.removeprefix(f"{entry.folder}/")
                target.parent.mkdir(parents=True, exist_ok=True)
                dataset.storage.get(file, target, link=target.suffix in _LINKED)
            sync_tree(staged)
            staged.rename(folder)
            sync(folder.parent)
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise StorageError(error.errno, error.strerror, str(staged)) from error
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    def _make_room(self, size: int) -> None:
        if self.max_bytes is None:
            return
        with _lock(self.folder / "room.lock"):
            while self.size + size > self.max_bytes:
                if not self._evict():
                    raise StorageError(
                        errno.ENOSPC,
                        f"{self.folder}: no room for a shard of {size:,} bytes: of "
                        f"{self.max_bytes:,}, shards in use take {self.size:,}",
                    )

    def _evict(self) -> bool:
        """Removes the shard that was used longest ago and is not in use; False if there is none."""
        for folder in self._shards(".tmp"):
            lock = _lock(self.folder / f"{folder.stem}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:  # it is being fetched, pinned or removed
                continue
            try:
                if folder.suffix == ".tmp" or not self._is_pinned(folder):
                    shutil.rmtree(folder, ignore_errors=True)
                    return True
            finally:
                lock.release()
        return False

    def _is_pinned(self, folder: Path) -> bool:
        for path in self.folder.glob(f"{folder.name}.*.pin"):
            pin = _lock(path)
            try:
                pin.acquire(timeout=0)
            except Timeout:
                return True
            path.unlink(missing_ok=True)  # of a process that died
            pin.release()
        return False

    def _shards(self, *suffixes: str) -> list[Path]:
        """Returns the folders of shards, the one that was used longest ago first."""
        found = []
        with suppress(FileNotFoundError):
            for path in self.folder.iterdir():
                with suppress(FileNotFoundError):  # others remove them
                    if path.suffix in ("", *suffixes) and path.is_dir():
                        found.append((path.stat().st_mtime_ns, path))
        return [path for _, path in sorted(found)]


def _name(entry: ShardEntry) -> str:
    """Returns the name of a shard's folder: shards with the same files share it."""
    folder = f"{entry.folder}/"
    files = [[file.name.removeprefix(folder), file.checksum] for file in entry.files]
    key = _core.xxh64(json.dumps([entry.kind, files]).encode())
    return f"{key:016x}-{entry.size}"


def _bytes_of(folder: Path) -> int:
    return int(folder.stem.partition("-")[2] or 0)


def _beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(folder.name + suffix)


def _is_complete(folder: Path, entry: ShardEntry) -> bool:
    try:
        return all(
            (folder / file.name.removeprefix(f"{entry.folder}/")).stat().st_size == file.bytes
            for file in entry.files
        )
    except OSError:
        return False


def _lock(path: Path) -> FileLock:
    return FileLock(path, thread_local=False)
