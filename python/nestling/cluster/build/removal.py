"""Documents removed from finished shards: found by the digests of their ids, and counted.

Of a collection's shard, only the files of the ids and of the words are fetched.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nestling.cluster.build.scratch import scratch_folder
from nestling.cluster.build.writer import INDEX_FILE
from nestling.cluster.digests import PARTITIONS, Digests, digests_of, read_digests
from nestling.cluster.manifest import FileEntry, ShardEntry
from nestling.cluster.storage import Storage
from nestling.cluster.tombstones import read_tombstones, write_tombstones
from nestling.collection.storage.document_ids import DocumentIds
from nestling.collection.storage.words import open_words
from nestling.index import Index

__all__ = [
    "find_duplicates",
    "partitions",
    "remove_digests",
    "remove_ids",
    "write_duplicates",
]

_TOGETHER = 4_000_000  # digests that a task compares


def partitions(documents: int) -> list[tuple[int, int]]:
    """Returns ranges of partitions such that one task holds the digests of each.

    Example:
        >>> partitions(6_000_000)
        [(0, 2048), (2048, 4096)]
    """
    count = 1
    while documents > count * _TOGETHER and count < PARTITIONS:
        count *= 2
    step = PARTITIONS // count
    return [(start, start + step) for start in range(0, PARTITIONS, step)]


def find_duplicates(
    shared: tuple[Storage, Sequence[ShardEntry], int], start: int, end: int
) -> tuple[list[int] | Digests, ...]:
    """Finds ids that several shards have: the first shard keeps its document.

    Args:
        shared: The dataset's folder; all shards, in their order; how many of them are old.
        start: The first partition of digests to compare.
        end: The one after the last.

    Returns:
        How many documents of each new shard are duplicates; then for each the digests of these.

    Raises:
        FormatError: A file is missing or corrupted.
        StorageError: The storage cannot be read.
    """
    storage, shards, old = shared
    found = [np.empty((0, 2), np.uint64)]
    owners = [np.empty(0, np.int64)]
    for number, shard in enumerate(shards):
        if shard.digests is None:
            continue
        digests, _ = read_digests(storage, shard.digests, start, end)
        if shard.tombstones:
            dead = _positions(digests, digests_of(read_tombstones(storage, shard)))
            digests = np.delete(digests, dead, axis=0)
        found.append(digests)
        owners.append(np.full(len(digests), number))
    keys, owner = np.concatenate(found), np.concatenate(owners)
    order = np.lexsort((owner, keys[:, 1], keys[:, 0]))
    keys, owner = keys[order], owner[order]
    again = np.zeros(len(keys), np.bool_)
    again[1:] = (keys[1:] == keys[:-1]).all(axis=1)
    later = [keys[again & (owner == number)] for number in range(old, len(shards))]
    return [len(digests) for digests in later], *later


def remove_digests(storage: Storage, shard: ShardEntry, *digests: Digests) -> ShardEntry:
    """Returns a shard without the documents whose ids have some digests.

    Args:
        storage: The dataset's folder; gets a file of tombstones.
        shard: A shard of a collection.
        digests: The digests; those of other shards are ignored.

    Raises:
        FormatError: A file of the shard is missing or corrupted.
        StorageError: The storage failed, or is full.
    """
    assert shard.digests is not None
    known, rows = read_digests(storage, shard.digests)
    positions = _positions(known, np.concatenate([np.empty((0, 2), np.uint64), *digests]))
    if shard.tombstones and len(positions):
        dead = _positions(known, digests_of(read_tombstones(storage, shard)))
        positions = np.setdiff1d(positions, dead)
    if not len(positions):
        return shard
    return _without(storage, shard, np.sort(rows[positions]))


def remove_ids(storage: Storage, shard: ShardEntry, ids: Sequence[str]) -> ShardEntry:
    """Returns a shard without the documents of some ids; those that it lacks are ignored.

    Raises:
        FormatError: A file of the shard is missing or corrupted.
        StorageError: The storage failed, or is full.
    """
    if shard.digests is not None:
        return remove_digests(storage, shard, digests_of(ids))
    rows = {int(id) for id in ids if id.isascii() and id.isdecimal()}
    rows = {row for row in rows if shard.first <= row <= shard.last}
    removed = set(map(int, read_tombstones(storage, shard)))
    rows -= removed
    if shard.rows + len(removed) <= shard.last - shard.first:  # some rows were compacted away
        with scratch_folder(f"rows-{shard.name}") as folder:
            storage.get(_file(shard, INDEX_FILE), folder / INDEX_FILE, link=True)
            present = Index.load(folder / INDEX_FILE).ids + shard.first
            rows &= set(present.tolist())
    if not rows:
        return shard
    file = write_tombstones(storage, shard.name, map(str, rows))
    return replace(
        shard,
        rows=shard.rows - len(rows),
        documents=shard.documents - len(rows),
        tombstones=(*shard.tombstones, file),
    )


def _without(storage: Storage, shard: ShardEntry, firsts: NDArray[np.int64]) -> ShardEntry:
    """Returns a shard without the documents whose first passages are in some rows."""
    count = shard.last - shard.first + 1
    with scratch_folder(f"ids-{shard.name}") as folder:
        paths: dict[str, Path] = {}
        for suffix in (".ids", ".words"):
            paths[suffix] = folder / f"shard{suffix}"
            storage.get(_file(shard, suffix), paths[suffix], link=True)
        ids = DocumentIds.open(paths[".ids"], count, verify=False)
        words = open_words(paths[".words"], count, verify=False)
        ends = ids.ends[1:][ids.rows.searchsorted(firsts)]
        rows = np.concatenate(
            [np.arange(first, end) for first, end in zip(firsts, ends, strict=True)]
        )
        tokens = words.tokens - words.without(rows).tokens
        file = write_tombstones(storage, shard.name, ids.ids(firsts))
    return replace(
        shard,
        rows=shard.rows - len(rows),
        documents=shard.documents - len(firsts),
        tokens=shard.tokens - tokens,
        tombstones=(*shard.tombstones, file),
    )


def write_duplicates(storage: Storage, build: str, before: ShardEntry, after: ShardEntry) -> None:
    """Writes the ids of duplicates aside, as the records that a build leaves out."""
    new = replace(after, tombstones=after.tombstones[len(before.tombstones) :])
    reason = "a document of an earlier shard has this id"
    lines = [json.dumps({"id": id, "reason": reason}) for id in read_tombstones(storage, new)]
    if lines:
        name = f"rejected/{build}/duplicates-{after.name}.jsonl"
        storage.write(name, "".join(f"{line}\n" for line in lines).encode())


def _file(shard: ShardEntry, suffix: str) -> FileEntry:
    return next(file for file in shard.files if file.name.endswith(suffix))


def _positions(known: Digests, wanted: Digests) -> NDArray[np.int64]:
    """Returns where ascending digests are equal to one of others, each once."""
    first = known[:, 0].searchsorted(wanted[:, 0])
    found = [np.empty(0, np.int64)]
    while len(wanted):  # twice only where the first halves of two digests are equal
        inside = first < len(known)
        first, wanted = first[inside], wanted[inside]
        close = known[first, 0] == wanted[:, 0]
        first, wanted = first[close], wanted[close]
        same = known[first, 1] == wanted[:, 1]
        found.append(first[same])
        first, wanted = first[~same] + 1, wanted[~same]
    return np.unique(np.concatenate(found))
