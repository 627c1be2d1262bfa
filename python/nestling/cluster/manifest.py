"""The manifest of a dataset: which shards one version has, with the checksums of all their files.

A manifest is a JSON file that is created once and never changed: `manifests/000000000007.json` is
version 7. It holds a checksum of itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, get_args

from nestling import _core
from nestling._util.value import Value
from nestling.collection.ingest.identity import EncoderIdentity
from nestling.collection.ingest.passages import Passages
from nestling.errors import FormatError
from nestling.index.cells import Cells
from nestling.index.funnel import Funnel
from nestling.index.header import METRICS, Metric

__all__ = [
    "FORMAT_VERSION",
    "FileEntry",
    "Manifest",
    "ShardEntry",
    "ShardKind",
    "shard_of_json",
]

FORMAT_VERSION: Final = 2

ShardKind = Literal["collection", "index"]
"""What a shard is: the folder of a collection, or the file of an index."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class FileEntry(Value):
    """A file of a dataset.

    Attributes:
        name: Its path, relative to the dataset, with "/" between folders.
        bytes: Its size.
        checksum: XXH64 of all its bytes, 16 hexadecimal digits.

    Raises:
        FormatError: The name could lead out of the dataset, or a value has another form.

    Example:
        >>> FileEntry(name="shards/a/index.nest", bytes=3, checksum="44bc2cf5ad770999").name
        'shards/a/index.nest'
    """

    name: str
    bytes: int
    checksum: str

    def __post_init__(self) -> None:
        parts = self.name.split("/")
        if any(part in ("", ".", "..") for part in parts) or "\\" in self.name:
            raise FormatError(f"{self.name!r} is not the name of a file of a dataset")
        if self.bytes < 0 or len(self.checksum) != 16:
            raise FormatError(f"{self.name}: {self.bytes} bytes, checksum {self.checksum!r}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ShardEntry(Value):
    """One shard of a version.

    Attributes:
        name: Its name, unique in the dataset for all time.
        kind: Whether it is a collection or an index.
        first: Number of its first row in the dataset.
        last: Number of its last row: `first` to `last` are its own, removed rows included.
        rows: Living rows: those whose documents were not removed.
        documents: Living documents; those of an index are its rows.
        tokens: Words in the living rows, repetitions included.
        files: Its files, below `folder`.
        tombstones: Files with the ids of documents that were removed since it was written.
        digests: The file with the digests of its ids (`nestling.cluster.digests`), which finds
            duplicates; None for an index.
        centroids: A .npy file, (c, dim) float32: the centroids that its rows lie near to; None
            where rows are not assigned to shards by cells.
        key: Identity of all that is searched: with the same key, a shard gives the same answers.

    Example:
        >>> file = FileEntry(name="shards/a/index.nest", bytes=3, checksum="44bc2cf5ad770999")
        >>> shard = ShardEntry(name="a", kind="index", first=0, last=9, rows=10, documents=10,
        ...                    tokens=0, files=(file,))
        >>> shard.folder, shard.key
        ('shards/a', '...')
    """

    name: str
    kind: ShardKind
    first: int
    last: int
    rows: int
    documents: int
    tokens: int
    files: tuple[FileEntry, ...]
    tombstones: tuple[FileEntry, ...] = ()
    digests: FileEntry | None = None
    centroids: FileEntry | None = None
    key: str = field(init=False)

    def __post_init__(self) -> None:
        if self.kind not in get_args(ShardKind):
            raise FormatError(f"shard {self.name!r} is a {self.kind!r}")
        counts = (self.first, self.rows, self.documents, self.tokens)
        if min(counts) < 0 or self.rows > self.last - self.first + 1:
            raise FormatError(f"shard {self.name!r} has impossible counts")
        if not all(file.name.startswith(f"{self.folder}/") for file in self.files):
            raise FormatError(f"shard {self.name!r} has files outside of its folder")
        identity = [self.name, self.kind, self.first, self.last]
        files = [[file.name, file.checksum] for file in (*self.files, *self.tombstones)]
        object.__setattr__(self, "key", _checksum([*identity, *files]))

    @property
    def folder(self) -> str:
        """Its folder, relative to the dataset."""
        return f"shards/{self.name}"

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(file.bytes for file in self.files)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Manifest(Value):
    """One version of a dataset; immutable.

    Attributes:
        version: Its number, from 1.
        kind: What every shard is.
        dim: Dimensions of an embedding.
        metric: Either "cosine" or "ip".
        funnel: How every shard stores its rows, and how a search runs by default.
        encoder: Identity of the encoder; None for bare vectors.
        passages: How long documents are split; None if they are not.
        title_weight: How many times the words of a title count.
        fields: Metadata fields that have an index in every shard.
        cells: How each shard's rows are partitioned; None where they are not.
        template: The file of an index without rows, with the rotation and the centre of all shards.
        next_row: Number that the next new row gets; no number is used twice.
        builds: Ids of the builds that this version has the shards of.
        shards: The shards, in the order of their rows.

    Example:
        >>> from nestling.cluster import Dataset
        >>> Dataset.open("s3://corpora/wikipedia").manifest().rows  # doctest: +SKIP
        41488110
    """

    version: int
    kind: ShardKind
    dim: int
    metric: Metric
    funnel: str
    encoder: EncoderIdentity | None
    passages: Passages | None
    title_weight: int
    fields: tuple[str, ...]
    cells: Cells | None
    template: FileEntry
    next_row: int
    builds: tuple[str, ...]
    shards: tuple[ShardEntry, ...]

    def __post_init__(self) -> None:
        Funnel.of(self.funnel)
        if self.version < 1 or self.dim < 1 or self.metric not in METRICS:
            raise FormatError(f"version {self.version}, dim {self.dim}, metric {self.metric!r}")
        before = -1
        for shard in self.shards:
            if shard.kind != self.kind or shard.first <= before or shard.last < shard.first:
                raise FormatError(f"shard {shard.name!r} does not fit in with the others")
            before = shard.last
        if before >= self.next_row:
            raise FormatError(f"the next row, {self.next_row}, is in use")
        if len({shard.name for shard in self.shards}) < len(self.shards):
            raise FormatError("two shards have the same name")

    @property
    def rows(self) -> int:
        """Living rows of all shards."""
        return sum(shard.rows for shard in self.shards)

    @property
    def documents(self) -> int:
        """Living documents of all shards."""
        return sum(shard.documents for shard in self.shards)

    @property
    def tokens(self) -> int:
        """Words in the living rows of all shards."""
        return sum(shard.tokens for shard in self.shards)

    @property
    def size(self) -> int:
        """Bytes of the files of all shards."""
        return sum(shard.size for shard in self.shards)

    @property
    def by_cells(self) -> bool:
        """Whether rows were assigned to shards by cells, so that queries can be routed."""
        return bool(self.shards) and all(shard.centroids is not None for shard in self.shards)

    def shard(self, name: str) -> ShardEntry:
        """Returns a shard by its name.

        Raises:
            LookupError: There is none.

        Example:
            >>> manifest.shard("806554f30972b36c-00000").rows  # doctest: +SKIP
            179
        """
        for shard in self.shards:
            if shard.name == name:
                return shard
        raise LookupError(name)

    def files(self) -> tuple[FileEntry, ...]:
        """Returns every file that this version needs.

        Example:
            >>> sum(file.bytes for file in manifest.files())  # doctest: +SKIP
            1317788
        """
        found = [self.template]
        for shard in self.shards:
            found += [*shard.files, *shard.tombstones]
            found += [file for file in (shard.digests, shard.centroids) if file is not None]
        return tuple(found)

    def to_json(self) -> bytes:
        """Returns the bytes of the manifest's file.

        Example:
            >>> Manifest.from_json(manifest.to_json()) == manifest  # doctest: +SKIP
            True
        """
        values = asdict(self)
        for shard in values["shards"]:
            del shard["key"]  # which follows from the others
        head = {"kind": "dataset", "format": FORMAT_VERSION, "checksum": _checksum(values)}
        return json.dumps({**head, "manifest": values}, indent=1).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes, name: str = "the manifest") -> Manifest:
        """Reads the bytes of a manifest's file.

        Args:
            data: The bytes.
            name: What errors call the file.

        Raises:
            FormatError: They are not those of a manifest, corrupted, or of another version.

        Example:
            >>> Manifest.from_json(b"{")
            Traceback (most recent call last):
            nestling.errors.FormatError: the manifest: not a manifest of a dataset
        """
        try:
            outer = json.loads(data)
            if outer["kind"] != "dataset":
                raise FormatError("not the manifest of a dataset")
            if outer["format"] != FORMAT_VERSION:
                raise FormatError(
                    f"format version {outer['format']}; this nestling reads {FORMAT_VERSION}"
                )
            values = outer["manifest"]
            if outer["checksum"] != _checksum(values):
                raise FormatError("the checksum does not match")
            return _manifest(values)
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise FormatError(f"{name}: corrupted, or not a manifest: {error}") from error


def _manifest(values: Mapping[str, Any]) -> Manifest:
    found = dict(values)
    for name, kind in (("encoder", EncoderIdentity), ("passages", Passages), ("cells", Cells)):
        found[name] = None if found[name] is None else kind(**found[name])
    for name in ("fields", "builds"):
        found[name] = tuple(found[name])
    found["template"] = FileEntry(**found["template"])
    found["shards"] = tuple(shard_of_json(shard) for shard in found["shards"])
    return Manifest(**found)


def shard_of_json(values: Mapping[str, Any]) -> ShardEntry:
    """Returns a shard, given its attributes but the key as JSON values.

    Raises:
        FormatError, LookupError, TypeError: They are not those of a shard.
    """
    found = dict(values)
    for name in ("files", "tombstones"):
        found[name] = tuple(FileEntry(**file) for file in found[name])
    for name in ("digests", "centroids"):
        found[name] = None if found[name] is None else FileEntry(**found[name])
    return ShardEntry(**found)


def _checksum(values: Any) -> str:
    """Returns the checksum of JSON values, whatever the order of their keys."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return f"{_core.xxh64(text.encode()):016x}"
