"""The plan of a build: all that its tasks must know, the same in every attempt."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nestling import _core
from nestling.cluster.build.records import RecordReader, Rejected, vectors_of
from nestling.cluster.build.settings import BuildSettings
from nestling.cluster.build.source import Batch, Slice, Source, cut, read_sample, read_slice
from nestling.cluster.manifest import FileEntry, Manifest, ShardKind
from nestling.cluster.storage import Storage
from nestling.collection.ingest.encoder import EncoderSlot
from nestling.collection.ingest.identity import EncoderIdentity, is_model_encoder
from nestling.collection.ingestor import encode_records
from nestling.collection.storage.options import CollectionOptions
from nestling.collection.storage.settings import Settings
from nestling.errors import ArgumentError, CorpusError, EncoderMismatchError, VectorError
from nestling.index import Index
from nestling.index.cells import Cells
from nestling.index.funnel import Funnel, default_funnel
from nestling.runtime.text_encoder import TextEncoder

__all__ = [
    "Plan",
    "batches_of",
    "found_template",
    "learn_template",
    "make_plan",
    "open_template",
    "reader_of",
    "sample_rows",
    "settings_of",
]

_PROBED: Final = 256  # records that are read to find out what they are


@dataclass(frozen=True, slots=True)
class Plan:
    """What every task of a build knows.

    Attributes:
        id: Digest of the source and of the settings: equal builds have equal ids.
        storage: The dataset's folder.
        settings: The settings.
        kind: What shards are.
        collection: Settings of the collections; those of an index have no encoder and no fields.
        cells: How each shard's rows are partitioned.
        template: The file of an index without rows, with what all shards share: the transform, and
            the centroids of cells. None in the plan by which it is learned.
        encoder: An encoder that has no name to open it by; None for one that has, or for none.
        parts: The slices of each shard.
        options: Options of the source's file system.
        where: What errors call the dataset.
    """

    id: str
    storage: Storage
    settings: BuildSettings
    kind: ShardKind
    collection: Settings
    cells: Cells | None
    template: FileEntry | None
    encoder: TextEncoder | None
    parts: tuple[tuple[Slice, ...], ...]
    options: Mapping[str, Any]

    @property
    def folder(self) -> str:
        """The folder of what the build has finished."""
        return f"builds/{self.id}"

    @property
    def template_name(self) -> str:
        """The name of the template of a new dataset."""
        return f"templates/{self.id}.nest"

    def shard_name(self, number: int) -> str:
        """Returns the name of a shard."""
        return f"{self.id}-{number:05}"

    def open_encoder(self) -> EncoderSlot:
        """Returns the encoder, which is opened when it is first needed."""
        return EncoderSlot(
            self.collection.encoder,
            self.encoder,
            threads=self.settings.threads,
            where=self.storage.path,
        )

    def open_template(self) -> Index:
        """Fetches and opens the template.

        Raises:
            FormatError: It is corrupted.
            StorageError: The storage cannot be read.
        """
        assert self.template is not None
        return open_template(self.storage, self.template, self.settings.threads)

    def columns(self) -> list[str] | None:
        """Returns the columns of a Parquet file that are read; None for all."""
        if self.kind == "index":
            return []
        record = self.settings.record
        names = [*record.metadata, record.text, record.title, "metadata", "spans", "encoder"]
        names += ["id", "_id"] if record.id is None else [record.id]
        return None if "*" in record.metadata else names


def open_template(storage: Storage, file: FileEntry, threads: int) -> Index:
    """Fetches and opens an index without rows.

    Raises:
        FormatError: It is corrupted.
        StorageError: The storage cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="nestling-") as folder:
        path = Path(folder, "template.nest")
        storage.get(file, path)
        return Index.load(path, threads=threads)


def batches_of(plan: Plan, number: int) -> Iterator[Batch]:
    """Yields the records of one part of the source."""
    for part in plan.parts[number]:
        yield from read_slice(
            part, plan.options, columns=plan.columns(), vectors=plan.settings.vectors
        )


def reader_of(plan: Plan, rejected: Rejected) -> RecordReader:
    """Returns what makes records of batches."""
    identity = plan.collection.encoder
    return RecordReader(
        plan.settings.record,
        plan.settings.vectors,
        plan.collection.dim,
        None if identity is None else identity.key,
        rejected,
    )


def make_plan(
    source: Source,
    storage: Storage,
    settings: BuildSettings,
    *,
    encoder: str | os.PathLike[str] | TextEncoder | None,
    shards: int,
    base: Manifest | None,
) -> Plan:
    """Decides what a build makes of its source.

    Args:
        source: The source.
        storage: The dataset's folder.
        settings: The settings.
        encoder: The encoder; None for vectors that come along.
        shards: Shards to build.
        base: The version that shards are appended to, whose settings hold; None for a new dataset.

    Returns:
        The plan; that of a new dataset lacks the template.

    Raises:
        CorpusError: The source has no record that can be stored.
        EncoderMismatchError: The dataset was made with another encoder.
        ArgumentError: A setting is not that of the dataset.
        FunnelError: The funnel does not fit.
    """
    probe = _Probe(source, settings)
    kind = _kind(settings, base, probe)
    collection, opened = _collection(settings, base, encoder, kind, probe)
    cells = Cells.of(settings.cells, collection.dim) if base is None else base.cells
    digest = _build_id(source, settings, collection, kind, shards, base)
    return Plan(
        id=digest,
        storage=storage,
        settings=settings,
        kind=kind,
        collection=collection,
        cells=cells,
        template=None if base is None else base.template,
        encoder=None if opened is None or is_model_encoder(opened) else opened,
        parts=tuple(tuple(part) for part in cut(source, shards)),
        options=source.options,
    )


class _Probe:
    """The first records of a source, read when they are needed."""

    def __init__(self, source: Source, settings: BuildSettings) -> None:
        self._source = source
        self._settings = settings
        self._found: tuple[bool, int | None] | None = None

    @property
    def has_text(self) -> bool:
        return self._read()[0]

    @property
    def dim(self) -> int | None:
        """Dimensions of the first vector; None if there is none."""
        return self._read()[1]

    def _read(self) -> tuple[bool, int | None]:
        if self._found is None:
            has_text, dim = False, None
            for part in cut(self._source, 1)[0]:
                for batch in read_slice(
                    part, self._source.options, vectors=self._settings.vectors, rows=_PROBED
                ):
                    if batch.vectors is not None:
                        dim = dim or batch.vectors.shape[1]
                    for record in batch.records:
                        if isinstance(record, Exception):
                            continue
                        has_text = has_text or self._settings.record.text in record
                        value = record.get(self._settings.vectors)
                        if dim is None and value is not None:
                            dim = _dim_of(value)
                    break
                if has_text or dim is not None:
                    break
            self._found = has_text, dim
        return self._found


def _dim_of(vectors: Any) -> int | None:
    """Returns the dimensions of a vector, or of the first of several; None if it is neither."""
    try:
        return np.atleast_2d(np.asarray(vectors, np.float32)).shape[-1] or None
    except (ValueError, TypeError):
        return None


def _kind(settings: BuildSettings, base: Manifest | None, probe: _Probe) -> ShardKind:
    if base is not None:
        if settings.kind not in (None, base.kind):
            raise ArgumentError(f"the dataset has shards of kind {base.kind}")
        return base.kind
    if settings.kind is not None:
        return settings.kind
    if probe.has_text:
        return "collection"
    if probe.dim is None:
        raise CorpusError(
            f"the first records have neither a field {settings.record.text!r} nor a field "
            f"{settings.vectors!r}; name the right ones in the settings"
        )
    return "index"


def _collection(
    settings: BuildSettings,
    base: Manifest | None,
    encoder: str | os.PathLike[str] | TextEncoder | None,
    kind: ShardKind,
    probe: _Probe,
) -> tuple[Settings, TextEncoder | None]:
    """Returns the settings of the collections, and the encoder, opened."""
    if kind == "index" and encoder is not None:
        raise ArgumentError("bare vectors have no text for an encoder")
    if base is not None:
        made = settings_of(base)
        if encoder is None:
            return made, None
        if base.encoder is None:
            raise EncoderMismatchError("the dataset holds bare vectors, without an encoder")
        options = CollectionOptions.of(encoder).with_open_encoder(settings.threads)
        assert options.encoder is not None
        base.encoder.check(EncoderIdentity.of(options.encoder), "the dataset")
        return made, options.encoder
    dim = probe.dim if encoder is None else None
    if dim is None and encoder is None:
        raise VectorError(
            f"the first records have no field {settings.vectors!r}: give an encoder, or vectors"
        )
    if kind == "index":
        assert dim is not None
        index = Index(dim, funnel=settings.funnel or default_funnel(dim), metric=settings.metric)
        return Settings(dim, settings.metric, index.funnel, None, None, {}), None
    options = CollectionOptions.of(
        encoder,
        dim=dim,
        metric=settings.metric,
        funnel=settings.funnel,
        passages=settings.passages,
        title_weight=settings.title_weight,
        fields=settings.fields,
    ).with_open_encoder(settings.threads)
    fields = dict.fromkeys(settings.fields, "")  # columns are named when they are made
    return replace(options.settings(), fields=fields), options.encoder


def settings_of(manifest: Manifest) -> Settings:
    """Returns the settings of the collections of a version; fields have no columns yet."""
    return Settings(
        manifest.dim,
        manifest.metric,
        Funnel.of(manifest.funnel),
        manifest.encoder,
        manifest.passages,
        dict.fromkeys(manifest.fields, ""),
        manifest.title_weight,
    )


def _build_id(
    source: Source,
    settings: BuildSettings,
    collection: Settings,
    kind: ShardKind,
    shards: int,
    base: Manifest | None,
) -> str:
    encoder = collection.encoder
    identity = {
        "nestling": _core.__version__,
        "format": _core.FORMAT_VERSION,
        "kind": kind,
        "settings": settings.identity(),
        "encoder": None if encoder is None else encoder.key,
        "dim": collection.dim,
        "funnel": str(collection.funnel),
        "shards": shards,
        "base": None if base is None else base.template.checksum,
        "source": [source.form, [[file.url, file.size, file.identity] for file in source.files]],
    }
    text = json.dumps(identity, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def sample_rows(
    shared: tuple[Plan, Source], part: int, parts: int
) -> tuple[int, NDArray[np.float32]]:
    """Reads a part of the sample: vectors of records that are spread evenly over the source.

    Args:
        shared: The plan of the build; its source.
        part: Number of the part, from 0.
        parts: In how many parts the sample is read.

    Returns:
        How many vectors there are, and the vectors.
    """
    plan, source = shared
    settings, dim = plan.settings, plan.collection.dim
    size = settings.sample_size(encoded=plan.collection.encoder is not None)
    encoder = plan.open_encoder()
    rejected = Rejected()
    reader = reader_of(plan, rejected)
    rows = [np.empty((0, dim), np.float32)]
    for batch in read_sample(
        source, size, part, parts, columns=plan.columns(), vectors=settings.vectors
    ):
        if plan.kind == "index":
            rows.append(vectors_of(batch, settings.vectors, dim, rejected))
            continue
        records = reader.read(batch)
        found = read = 0  # as many vectors as records: a long document has many
        while read < len(records) and found < len(records):
            more = (len(records) - found) * read // found if found else 1
            some = records[read : read + max(more, 1)]
            encode_records(some, plan.collection.passages, encoder)
            vectors = [record.vectors for record in some if record.vectors is not None]
            rows += vectors
            found += sum(map(len, vectors))
            read += len(some)
    joined = np.concatenate(rows)
    return len(joined), joined


def learn_template(plan: Plan, *samples: NDArray[np.float32]) -> FileEntry:
    """Learns what all shards share, and writes it to the dataset.

    Args:
        plan: The plan of the build.
        samples: Vectors of the sample; none where nothing is to be learned.

    Raises:
        CorpusError: There is no vector to learn from.
        StorageError: The storage or the local disk failed, or is full.
    """
    made, settings = plan.collection, plan.settings
    index = Index(made.dim, funnel=made.funnel, metric=made.metric, threads=settings.threads)
    if samples:
        for rows in samples:
            if len(rows):
                index.add(rows)
        if not len(index):
            raise CorpusError("no record of the sample can be stored, so nothing can be learned")
        if settings.rotate or settings.centre:
            index.rebuild(rotate=settings.rotate, centre=settings.centre)
        index = index.empty(plan.cells if settings.shares_cells else None)
    with tempfile.TemporaryDirectory(prefix="nestling-") as folder:
        path = Path(folder, "template.nest")
        index.save(path)
        return plan.storage.put(path, plan.template_name)


def found_template(plan: Plan) -> FileEntry | None:
    """Returns the template that an earlier attempt has learned; None if there is none.

    Raises:
        StorageError: The storage cannot be read.
    """
    try:
        data = plan.storage.read(plan.template_name)
    except FileNotFoundError:
        return None
    checksum = f"{_core.xxh64(data):016x}"
    return FileEntry(name=plan.template_name, bytes=len(data), checksum=checksum)
