"""Neighbouring shards merged into one, without the documents that were removed from them.

Codes are copied bit for bit, and rows keep their numbers: so hits and their order stay the same, to
the last bit, except where rows move to another cell.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from nestling.cluster.build.plan import open_template, settings_of
from nestling.cluster.build.scratch import scratch_folder
from nestling.cluster.build.shard import put_shard
from nestling.cluster.build.writer import (
    INDEX_FILE,
    CollectionWriter,
    Written,
    partitioned,
    save_index,
)
from nestling.cluster.manifest import Manifest, ShardEntry
from nestling.cluster.routing import distinct_centroids, read_centroids, write_centroids
from nestling.cluster.storage import Storage
from nestling.cluster.tombstones import read_tombstones
from nestling.collection.ingest.records import Record, digest_of
from nestling.collection.storage import documents
from nestling.collection.storage.document_ids import DocumentIds
from nestling.collection.storage.options import AccessOptions
from nestling.collection.storage.store import Store
from nestling.collection.storage.view import Part
from nestling.collection.storage.words import PlacedWords, join_words
from nestling.index import Index
from nestling.inputs.metadata import to_json

__all__ = ["merge_shards", "merged_name"]

_TOGETHER = 4096  # documents


def merged_name(shards: Sequence[ShardEntry]) -> str:
    """Returns the name of the shard that some shards become."""
    keys = " ".join(shard.key for shard in shards)
    return f"{hashlib.blake2b(keys.encode(), digest_size=8).hexdigest()}-merged"


def merge_shards(
    shared: tuple[Storage, Manifest, int], shards: Sequence[ShardEntry]
) -> ShardEntry | None:
    """Merges shards.

    Args:
        shared: The dataset's folder; the version that has the shards; threads to use.
        shards: Neighbouring shards of it.

    Returns:
        The new shard, with the row numbers of the old ones; None if no row is left.

    Raises:
        FormatError: A shard is corrupted.
        StorageError: The storage or the local disk failed, or is full; nothing is left behind.
    """
    storage, manifest, threads = shared
    name = merged_name(shards)
    with scratch_folder(name) as scratch:
        folder = scratch / "shard"
        folder.mkdir()
        fetched = []
        for number, shard in enumerate(shards):
            fetched.append(scratch / str(number))
            for file in shard.files:
                target = fetched[-1] / file.name.removeprefix(f"{shard.folder}/")
                target.parent.mkdir(parents=True, exist_ok=True)
                storage.get(file, target, link=target.suffix != ".db")
        merge = _merge_indexes if manifest.kind == "index" else _merge_collections
        written = merge(storage, manifest, shards, fetched, folder, threads)
        if written is None:
            return None
        entry = put_shard(storage, name, folder, written)
    if manifest.by_cells:
        centroids, _ = distinct_centroids([read_centroids(storage, shard) for shard in shards])
        entry = write_centroids(storage, entry, centroids)
    return replace(entry, first=shards[0].first, last=shards[-1].last)


def _merge_indexes(
    storage: Storage,
    manifest: Manifest,
    shards: Sequence[ShardEntry],
    fetched: Sequence[Path],
    folder: Path,
    threads: int,
) -> Written | None:
    indexes, shifts = [], []
    for shard, path in zip(shards, fetched, strict=True):
        index = Index.load(path / INDEX_FILE, threads=threads)
        index.remove([int(id) - shard.first for id in read_tombstones(storage, shard)])
        if len(index):
            indexes.append(index)
            shifts.append(shard.first - shards[0].first)
    if not indexes:
        return None
    merged = Index.merge(indexes, shifts=shifts)
    template = open_template(storage, manifest.template, threads)
    return save_index(folder / INDEX_FILE, partitioned(merged, manifest.cells, template))


def _merge_collections(
    storage: Storage,
    manifest: Manifest,
    shards: Sequence[ShardEntry],
    fetched: Sequence[Path],
    folder: Path,
    threads: int,
) -> Written | None:
    access = AccessOptions(read_only=True, threads=threads)
    template = open_template(storage, manifest.template, threads)
    indexes: list[Index] = []
    shifts: list[int] = []
    ids: list[tuple[DocumentIds, int]] = []
    words: list[PlacedWords] = []
    writer = None
    with ExitStack() as stack:
        for shard, path in zip(shards, fetched, strict=True):
            shift = shard.first - shards[0].first
            store = Store(path, access)
            stack.callback(store.close)
            connection, view = stack.enter_context(store.reading())
            removed = set(read_tombstones(storage, shard))
            part = _without(view.segments[0], sorted(removed))
            if not len(part.index):
                continue
            if writer is None:
                writer = CollectionWriter(folder, settings_of(manifest), template)
                stack.callback(writer.close)
            indexes.append(part.index)
            shifts.append(shift)
            ids.append((part.ids, shift))
            weight = view.settings.title_weight
            placed = part.words.read(connection, part.last, weight)
            words += [(index, row + shift) for index, row in placed]
            found = documents.documents_where(connection, "1", ())
            living = (document for document in found if document.id not in removed)
            _insert(writer, living, shift)
        if writer is None:
            return None
        index = Index.merge(indexes, shifts=shifts)
        joined = DocumentIds.joined(ids).of_rows(index.ids)
        celled = partitioned(index, manifest.cells, template)
        return writer.write(celled, joined, join_words(words, 0))


def _without(part: Part, removed: Sequence[str]) -> Part:
    """Returns a segment without the rows of some documents."""
    if not removed:
        return part
    dead = set(removed)
    known = part.ids.ids(part.ids.rows)
    gone = [number for number, id in enumerate(known) if id in dead]
    ranges = [np.arange(part.ids.rows[n], part.ids.ends[n + 1]) for n in gone]
    return part.without(np.concatenate([np.empty(0, np.int64), *ranges]))


def _insert(
    writer: CollectionWriter, living: Iterator[documents.StoredDocument], shift: int
) -> None:
    """Stores documents at their rows; those whose rows follow one another, together."""
    while page := list(islice(living, _TOGETHER)):
        run: list[Record] = []
        first = row = page[0].row
        for document in page:
            if document.row != row:
                writer.insert(run, first + shift)
                run, first = [], document.row
            json = to_json(document.metadata)
            digest = digest_of(document.title, document.text, json, id=document.id)
            run.append(
                Record(
                    document.id,
                    document.title,
                    document.text,
                    document.metadata,
                    json,
                    digest,
                    document.spans,
                )
            )
            row = document.row + len(document.spans)
        writer.insert(run, first + shift)
