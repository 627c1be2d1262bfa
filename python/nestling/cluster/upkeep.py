"""The upkeep of a dataset: documents removed, shards merged, files checked, old versions pruned."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from nestling._util.value import Value
from nestling.cluster.build.merge import merge_shards
from nestling.cluster.build.removal import remove_ids
from nestling.cluster.build.scratch import scratch_folder
from nestling.cluster.dataset import Dataset, manifest_name
from nestling.cluster.manifest import FileEntry, Manifest, ShardEntry
from nestling.cluster.storage import Storage
from nestling.cluster.tasks import TaskOptions, run_tasks
from nestling.errors import FormatError
from nestling.index.arguments import positive
from nestling.inputs.ids import text_ids

__all__ = ["DatasetReport", "check", "compact", "delete", "prune"]

_OF_BUILD: Final = re.compile(
    r"(?:shards/|digests/|templates/)([0-9a-f]{16})(?:-\d+(?:/|$)|\.nest$)"
)
_READERS: Final = 8  # shards that a delete looks into at a time
_CHECKED: Final = 16  # files that a task checks


def delete(
    path: str | os.PathLike[str],
    ids: str | int | Iterable[str | int],
    *,
    storage_options: Mapping[str, Any] | None = None,
) -> Manifest:
    """Removes documents from a dataset, as a new version; those that it lacks are ignored.

    The shards stay as they are: the version names a file with the removed ids of each shard that
    had some. `compact` writes such shards again.

    Args:
        path: The dataset's folder.
        ids: Ids of documents; numbers of rows, where the shards are indexes.
        storage_options: Options of the dataset's file system, as fsspec takes them.

    Returns:
        The newest version: as before, if no document was removed.

    Raises:
        FormatError: There is no dataset, or a file of it is missing or corrupted.
        IdError: An id is not one.
        LockedError: Others committed versions again and again meanwhile.
        StorageError: The storage failed, or is full.

    Example:
        >>> nestling.cluster.delete("news.shards", ["a-17", "a-18"]).documents  # doctest: +SKIP
        1204809
    """
    dataset = Dataset.open(path, storage_options=storage_options)
    requested = text_ids(ids)

    def change(before: Manifest) -> Manifest:
        with ThreadPoolExecutor(_READERS) as pool:
            remove = partial(remove_ids, dataset.storage, ids=requested)
            shards = tuple(pool.map(remove, before.shards))
        if shards == before.shards:
            return before
        return replace(before, version=before.version + 1, shards=shards)

    return dataset.commit(change)


def compact(
    path: str | os.PathLike[str],
    *,
    shard_rows: int | None = None,
    threads: int = 1,
    storage_options: Mapping[str, Any] | None = None,
    progress: bool | None = None,
) -> Manifest:
    """Merges small neighbouring shards on Ray, and drops removed documents, as a new version.

    Rows keep their numbers. Hits stay the same to the last bit, except where the shards have cells.

    Args:
        path: The dataset's folder.
        shard_rows: Living rows that a shard may have after a merge. Default: those of the largest.
        threads: Cores that a task may use.
        storage_options: Options of the dataset's file system, as fsspec takes them.
        progress: Whether to show a bar on stderr. Default: on a terminal, after two seconds.

    Returns:
        The newest version: as before, if there is nothing to merge or to drop.

    Raises:
        FormatError: There is no dataset, or a shard is corrupted.
        LockedError: Others committed versions again and again meanwhile.
        StorageError: The storage or a node's disk failed, or is full.
        ClusterError: A task was killed again and again.

    Example:
        >>> len(nestling.cluster.compact("news.shards").shards)  # doctest: +SKIP
        4
    """
    dataset = Dataset.open(path, storage_options=storage_options)
    manifest = dataset.manifest()
    most = max((shard.rows for shard in manifest.shards), default=0)
    most = most if shard_rows is None else positive("shard_rows", shard_rows)
    groups = _groups(manifest.shards, most)
    merged = run_tasks(
        merge_shards,
        (dataset.storage, manifest, threads),
        [(group,) for group in groups],
        TaskOptions(threads=positive("threads", threads)),
        title="Merging shards",
        progress=progress,
    )

    def change(before: Manifest) -> Manifest:
        shards = list(before.shards)
        for group, shard in zip(groups, merged, strict=True):
            if all(old in shards for old in group):  # otherwise others have changed one meanwhile
                start = shards.index(group[0])
                shards[start : start + len(group)] = [] if shard is None else [shard]
        if tuple(shards) == before.shards:
            return before
        return replace(before, version=before.version + 1, shards=tuple(shards))

    return dataset.commit(change)


def _groups(shards: Sequence[ShardEntry], most: int) -> list[tuple[ShardEntry, ...]]:
    """Returns neighbours to merge, with at most so many rows, and shards to write again."""
    groups: list[list[ShardEntry]] = []
    for shard in shards:
        if groups and sum(one.rows for one in groups[-1]) + shard.rows <= most:
            groups[-1].append(shard)
        else:
            groups.append([shard])
    return [tuple(group) for group in groups if len(group) > 1 or group[0].tombstones]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class DatasetReport(Value):
    """The result of a check.

    Attributes:
        version: The version that was checked.
        files: Files that were read.
        size: Bytes of them.
        problems: One line per problem, which names the file; empty if there is none.

    Example:
        >>> nestling.cluster.check("news.shards").ok  # doctest: +SKIP
        True
    """

    version: int
    files: int
    size: int
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return not self.problems

    def __str__(self) -> str:
        head = f"version {self.version}, {self.files:,} files, {self.size:,} bytes"
        if self.ok:
            return f"{head}: no problems"
        return "\n".join([f"{head}: {len(self.problems)} problems", *self.problems])


def check(
    path: str | os.PathLike[str],
    *,
    version: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    progress: bool | None = None,
) -> DatasetReport:
    """Reads every file of a version on Ray, and compares it with its checksum.

    Args:
        path: The dataset's folder.
        version: The version. Default: the newest.
        storage_options: Options of the dataset's file system, as fsspec takes them.
        progress: Whether to show a bar on stderr. Default: on a terminal, after two seconds.

    Raises:
        FormatError: There is no dataset, or the manifest itself is corrupted.
        ArgumentError: There is no such version.
        StorageError: The storage failed, or a node's disk is full.

    Example:
        >>> print(nestling.cluster.check("news.shards"))  # doctest: +SKIP
        version 2, 33 files, 1,480,133,920 bytes: no problems
    """
    dataset = Dataset.open(path, storage_options=storage_options)
    manifest = dataset.manifest(version)
    files = manifest.files()
    batches = [files[first : first + _CHECKED] for first in range(0, len(files), _CHECKED)]
    found = run_tasks(
        _problems,
        dataset.storage,
        [(batch,) for batch in batches],
        TaskOptions(),
        title="Checking files",
        progress=progress,
    )
    problems = tuple(problem for some in found for problem in some)
    return DatasetReport(manifest.version, len(files), sum(file.bytes for file in files), problems)


def _problems(storage: Storage, files: Sequence[FileEntry]) -> list[str]:
    problems = []
    with scratch_folder(f"check-{files[0].checksum}") as folder:
        for file in files:
            target = folder / "file"
            try:
                storage.get(file, target, link=True)
            except FormatError as error:
                problems.append(str(error))
            target.unlink(missing_ok=True)
    return problems


def prune(
    path: str | os.PathLike[str],
    *,
    keep: int = 1,
    storage_options: Mapping[str, Any] | None = None,
) -> int:
    """Removes old versions and the files that only they need, and what builds do not need any more.

    That are the copies of Ray `Dataset`s, and those of documents that were assigned by cells.
    Nobody may read an old version, or change the dataset, meanwhile. What builds that were not
    committed have made stays, so that these can be resumed.

    Args:
        path: The dataset's folder.
        keep: Versions to keep: the newest ones.
        storage_options: Options of the dataset's file system, as fsspec takes them.

    Returns:
        The number of files that were removed.

    Raises:
        FormatError: There is no dataset, or a manifest is corrupted.
        StorageError: The storage failed.

    Example:
        >>> nestling.cluster.prune("news.shards", keep=2)  # doctest: +SKIP
        17
    """
    dataset = Dataset.open(path, storage_options=storage_options)
    storage = dataset.storage
    versions = dataset.versions()
    kept = [dataset.manifest(version) for version in versions[-positive("keep", keep) :]]
    needed = {file.name for manifest in kept for file in manifest.files()}
    built = set(kept[-1].builds)
    unneeded = [manifest_name(version) for version in versions[: -len(kept)]]
    for folder in ("shards", "digests", "tombstones", "centroids", "templates", "sources"):
        for name in storage.list(folder):
            match = _OF_BUILD.match(name)
            unfinished = match is not None and match[1] not in built
            if name not in needed and not unfinished:
                unneeded.append(name)
    for name in storage.list("builds"):
        _, build, kind, *_ = name.split("/")
        if build in built and kind == "rows" and name.endswith(".jsonl"):
            unneeded.append(name)
    for name in unneeded:  # the versions first
        storage.remove(name)
    return len(unneeded)
