"""The work of one task: a part of the source becomes a shard, which a marker says is finished.

The steps can be interrupted anywhere: files get their names whole, the marker comes last, and an
attempt that finds it does nothing. Two attempts at the same time write the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestling.cluster.build.plan import Plan, batches_of, reader_of
from nestling.cluster.build.records import Rejected, vectors_of
from nestling.cluster.build.scratch import scratch_folder
from nestling.cluster.build.writer import INDEX_FILE, CollectionWriter, Written, write_index
from nestling.cluster.digests import digests_of, write_digests
from nestling.cluster.manifest import FileEntry, ShardEntry, shard_of_json
from nestling.cluster.storage import Storage
from nestling.collection.ingest.records import Record
from nestling.collection.ingestor import encode_records
from nestling.errors import FormatError

__all__ = ["ShardReport", "build_shard", "finished", "marker", "put_shard"]


@dataclass(frozen=True, slots=True)
class ShardReport:
    """What a task tells the driver.

    Attributes:
        shard: The shard, with rows that count from 0; None if no record could be stored.
        bad: Records that were left out because they cannot be stored.
        duplicates: Documents that were left out because an earlier one of the part has their id.
        truncated: Passages that are longer than the encoder reads.
    """

    shard: ShardEntry | None
    bad: int
    duplicates: int
    truncated: int

    def to_json(self) -> bytes:
        """Returns the bytes of a marker."""
        values = asdict(self)
        if values["shard"] is not None:
            del values["shard"]["key"]
        return json.dumps(values).encode()

    @classmethod
    def from_json(cls, data: bytes, where: str) -> ShardReport:
        """Reads the bytes of a marker.

        Raises:
            FormatError: They are corrupted.
        """
        try:
            values: dict[str, Any] = json.loads(data)
            shard = values.pop("shard")
            return cls(None if shard is None else shard_of_json(shard), **values)
        except (ValueError, LookupError, TypeError) as error:
            raise FormatError(f"{where}: corrupted: {error}") from error


def marker(plan: Plan, number: int) -> str:
    """Returns the name of the file that says that a shard is finished."""
    return f"{plan.folder}/shards/{number:05}.json"


def finished(plan: Plan, number: int) -> ShardReport | None:
    """Returns the report of a shard that is finished; None if it is not.

    Raises:
        FormatError: The marker is corrupted.
        StorageError: The storage cannot be read.
    """
    name = marker(plan, number)
    try:
        return ShardReport.from_json(plan.storage.read(name), plan.storage.describe(name))
    except FileNotFoundError:
        return None


def build_shard(plan: Plan, number: int) -> ShardReport:
    """Builds a shard, unless it is finished.

    Args:
        plan: The plan of the build.
        number: Which part of the source becomes the shard.

    Raises:
        StorageError: The storage or the local disk failed, or is full; nothing is left behind.
        CorpusError, EncoderMismatchError, ModelError, VectorError: The source or the encoder cannot
            be used.
    """
    if (report := finished(plan, number)) is not None:
        return report
    name = plan.shard_name(number)
    with scratch_folder(name) as scratch:
        folder = scratch / "shard"
        folder.mkdir()
        aside = scratch / "rejected.jsonl"
        with aside.open("w", encoding="utf-8") as stream:
            rejected = Rejected(stream)
            if plan.kind == "index":
                written, truncated = _write_index(plan, number, folder, rejected), 0
            else:
                written, truncated = _write_collection(plan, number, folder, rejected)
        if rejected.bad or rejected.duplicates:
            plan.storage.put(aside, f"rejected/{plan.id}/{number:05}.jsonl", move=True)
        shard = None if not written.rows else put_shard(plan.storage, name, folder, written)
    report = ShardReport(shard, rejected.bad, rejected.duplicates, truncated)
    plan.storage.write(marker(plan, number), report.to_json())
    return report


def put_shard(storage: Storage, name: str, folder: Path, written: Written) -> ShardEntry:
    """Moves the files of a shard into a dataset.

    Args:
        storage: The dataset's folder.
        name: The shard's name.
        folder: Its files.
        written: What they hold.

    Returns:
        Its entry, with rows that count from 0.

    Raises:
        StorageError: The storage failed, or is full.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files: list[FileEntry] = []
    for path in paths:
        relative = path.relative_to(folder).as_posix()
        files.append(storage.put(path, f"shards/{name}/{relative}", move=True))
    digests = None
    if written.digests is not None and written.firsts is not None:
        path = folder / "digests"
        write_digests(written.digests, written.firsts, path)
        digests = storage.put(path, f"digests/{name}", move=True)
    return ShardEntry(
        name=name,
        kind="index" if written.digests is None else "collection",
        first=0,
        last=written.last,
        rows=written.rows,
        documents=written.documents,
        tokens=written.tokens,
        files=tuple(files),
        digests=digests,
    )


def _write_index(plan: Plan, number: int, folder: Path, rejected: Rejected) -> Written:
    def vectors() -> Iterator[NDArray[np.float32]]:
        for batch in batches_of(plan, number):
            yield vectors_of(batch, plan.settings.vectors, plan.collection.dim, rejected)

    return write_index(folder / INDEX_FILE, plan.open_template(), vectors(), plan.cells)


def _write_collection(
    plan: Plan, number: int, folder: Path, rejected: Rejected
) -> tuple[Written, int]:
    encoder = plan.open_encoder()
    reader = reader_of(plan, rejected)
    writer = CollectionWriter(folder, plan.collection, plan.open_template())
    try:
        row = truncated = 0
        seen: set[bytes] = set()
        for batch in batches_of(plan, number):
            records = _distinct(reader.read(batch), seen, rejected)
            truncated += encode_records(records, plan.collection.passages, encoder)
            row = writer.add(records, row)
        return writer.finish(plan.cells), truncated
    finally:
        writer.close()


def _distinct(records: list[Record], seen: set[bytes], rejected: Rejected) -> list[Record]:
    """Returns the records whose ids are not among those seen, and adds these."""
    kept = []
    for record, digest in zip(records, digests_of(record.id for record in records), strict=True):
        key = digest.tobytes()
        if key in seen:
            rejected.add_duplicate(record.id)
        else:
            seen.add(key)
            kept.append(record)
    return kept
