"""Documents put into shards by cells: those whose embeddings are near one another, together.

The driver learns centroids from a sample, unless documents are appended to a dataset, which has
some, and divides them among the shards, so that each gets about as many rows. Then tasks read a
part of the source each, encode it, and write every document to the file of its shard; from these
files the shards are built as from any source.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import IO, Final

import numpy as np
from numpy.typing import NDArray

from nestling.cluster.build.plan import Plan, batches_of, reader_of
from nestling.cluster.build.records import Rejected
from nestling.cluster.build.scratch import scratch_folder
from nestling.cluster.build.source import Slice
from nestling.collection.ingest.records import Record
from nestling.collection.ingestor import encode_records
from nestling.corpus.fields import Fields

__all__ = ["Scattered", "by_cells", "divide_centroids", "filled", "learn_centroids", "scatter"]

Floats = NDArray[np.float32]

_PER_SHARD: Final = 16  # centroids
_ROUNDS: Final = 10  # of k-means


@dataclass(frozen=True, slots=True)
class Scattered:
    """What a task of the first phase tells the driver.

    Attributes:
        sizes: Bytes of the file for each shard; 0 for no file.
        documents: How many documents each centroid is the nearest one of.
        bad: Records that were left out because they cannot be stored.
        truncated: Passages that are longer than the encoder reads.
    """

    sizes: tuple[int, ...]
    documents: tuple[int, ...]
    bad: int
    truncated: int


def learn_centroids(rows: Floats, shards: int) -> Floats:
    """Returns the centroids of so many shards, (c, dim), by spherical k-means.

    Args:
        rows: (n, dim), a sample.
        shards: How many shards there are.

    Example:
        >>> rows = np.random.default_rng(0).standard_normal((500, 4)).astype(np.float32)
        >>> learn_centroids(rows, 2).shape
        (32, 4)
    """
    unit = _unit(rows)
    count = min(shards * _PER_SHARD, len(unit))
    centroids = unit[np.linspace(0, len(unit) - 1, count).astype(np.int64)]
    for _ in range(_ROUNDS):
        nearest = _nearest(unit, centroids)
        sums = np.zeros_like(centroids)
        np.add.at(sums, nearest, unit)
        filled = np.bincount(nearest, minlength=count) > 0
        centroids = np.where(filled[:, None], _unit(sums), centroids)
    return centroids


def divide_centroids(centroids: Floats, rows: Floats, shards: int) -> list[Floats]:
    """Returns the centroids of each shard, (c, dim), such that all get about as many rows.

    The centroids are bisected along their principal axes.

    Args:
        centroids: (c, dim), at least as many as shards.
        rows: (n, dim), a sample; not used for one shard.
        shards: How many shards there are.

    Example:
        >>> rows = np.random.default_rng(0).standard_normal((500, 4)).astype(np.float32)
        >>> sum(len(part) for part in divide_centroids(rows[:30], rows, 3))
        30
    """
    count = len(centroids)
    weights = np.zeros(count, np.int64)
    if shards > 1:
        weights = np.bincount(_nearest(_unit(rows), centroids), minlength=count)
    return [centroids[part] for part in _divided(centroids, weights, np.arange(count), shards)]


def _divided(
    centroids: Floats, weights: NDArray[np.int64], part: NDArray[np.int64], shards: int
) -> list[NDArray[np.int64]]:
    """Divides some of the centroids among shards, by their weights."""
    if shards == 1:
        return [part]
    spread = centroids[part] - centroids[part].mean(axis=0)
    _, _, axes = np.linalg.svd(spread, full_matrices=False)
    order = part[np.argsort(spread @ axes[0], kind="stable")]
    first = shards // 2
    reached = np.cumsum(weights[order]) - weights[order] / 2
    share = weights[order].sum() * first / shards
    cut = int(np.clip(np.searchsorted(reached, share), first, len(order) - (shards - first)))
    return [
        *_divided(centroids, weights, order[:cut], first),
        *_divided(centroids, weights, order[cut:], shards - first),
    ]


def scatter(shared: tuple[Plan, Sequence[Floats]], number: int) -> Scattered:
    """Writes the documents of one part of the source to the files of their shards.

    Args:
        shared: The plan of the build; the centroids of each shard.
        number: The part.

    Raises:
        StorageError, CorpusError, EncoderMismatchError, ModelError, VectorError: As for a shard.
    """
    plan, groups = shared
    marker = f"{plan.folder}/rows/{number:05}.json"
    try:
        values = json.loads(plan.storage.read(marker))
        return Scattered(**{**values, **{n: tuple(values[n]) for n in ("sizes", "documents")}})
    except FileNotFoundError:
        pass
    centroids = np.concatenate(groups)
    shard_of = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    encoder = plan.open_encoder()
    identity = plan.collection.encoder
    key = None if identity is None else identity.key
    truncated = 0
    documents = np.zeros(len(centroids), np.int64)
    with scratch_folder(f"{plan.id}-rows-{number:05}") as folder, ExitStack() as stack:
        streams: list[IO[str]] = [
            stack.enter_context((folder / f"{shard:05}").open("w", encoding="utf-8"))
            for shard in range(len(groups))
        ]
        aside = stack.enter_context((folder / "rejected").open("w", encoding="utf-8"))
        rejected = Rejected(aside)
        reader = reader_of(plan, rejected)
        for batch in batches_of(plan, number):
            records = reader.read(batch)
            truncated += encode_records(records, plan.collection.passages, encoder)
            if not records:
                continue
            means = np.stack([_mean(record) for record in records])
            nearest = _nearest(means, centroids)
            documents += np.bincount(nearest, minlength=len(centroids))
            for record, shard in zip(records, shard_of[nearest], strict=True):
                streams[shard].write(_line(record, key))
        stack.close()
        if rejected.bad:
            plan.storage.put(folder / "rejected", f"rejected/{plan.id}/rows-{number:05}.jsonl")
        sizes = []
        for shard in range(len(groups)):
            path = folder / f"{shard:05}"
            sizes.append(path.stat().st_size)
            if sizes[-1]:
                plan.storage.put(path, _rows(plan, number, shard), move=True)
    result = Scattered(tuple(sizes), tuple(documents.tolist()), rejected.bad, truncated)
    plan.storage.write(marker, json.dumps(asdict(result)).encode())
    return result


def by_cells(plan: Plan, scattered: Sequence[Scattered]) -> Plan:
    """Returns the plan of the second phase: shards of the files that the first one wrote."""
    parts = []
    for shard in range(len(plan.parts)):
        part = [
            Slice(plan.storage.url(_rows(plan, number, shard)), "jsonl", 0, each.sizes[shard])
            for number, each in enumerate(scattered)
            if each.sizes[shard]
        ]
        parts.append(tuple(part))
    settings = replace(plan.settings, record=Fields(), vectors="vectors")
    return replace(plan, settings=settings, parts=tuple(parts), options=plan.storage.options)


def filled(groups: Sequence[Floats], scattered: Sequence[Scattered]) -> list[Floats]:
    """Returns the centroids of each shard that are the nearest ones of some of its documents."""
    documents = np.sum([each.documents for each in scattered], axis=0)
    ends = np.cumsum([len(group) for group in groups])
    counts = np.split(documents, ends[:-1])
    return [group[count > 0] for group, count in zip(groups, counts, strict=True)]


def _rows(plan: Plan, number: int, shard: int) -> str:
    return f"{plan.folder}/rows/{number:05}-{shard:05}.jsonl"


def _line(record: Record, encoder: str | None) -> str:
    assert record.vectors is not None
    values = {
        "id": record.id,
        "title": record.title,
        "text": record.text,
        "metadata": record.metadata,
        "spans": record.spans,
        "vectors": record.vectors.tolist(),
    }
    return json.dumps(values if encoder is None else {**values, "encoder": encoder}) + "\n"


def _mean(record: Record) -> Floats:
    assert record.vectors is not None
    mean: Floats = _unit(record.vectors).mean(axis=0)
    return mean


def _unit(rows: Floats) -> Floats:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Floats = (rows / np.maximum(norms, np.finfo(np.float32).tiny)).astype(np.float32)
    return unit


def _nearest(rows: Floats, centroids: Floats) -> NDArray[np.int64]:
    found = [
        (rows[first : first + 4096] @ centroids.T).argmax(axis=1)
        for first in range(0, len(rows), 4096)
    ]
    return np.concatenate(found)
