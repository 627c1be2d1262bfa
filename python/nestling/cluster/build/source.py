"""The source of a build: Parquet or JSONL files in any storage, cut into slices of equal size.

A slice is read by one task, from the middle of a file if need be: a range of rows of a Parquet
file, or a range of bytes of a JSONL file, which has the lines that begin in it.
"""

from __future__ import annotations

import io
import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import IO, Any, Final, Literal

import numpy as np
from fsspec.utils import glob_translate
from numpy.typing import NDArray

from nestling.cluster.packages import missing_cluster_package
from nestling.cluster.storage import Storage
from nestling.corpus.fields import parse_json
from nestling.errors import CorpusError, NestlingError

__all__ = ["Batch", "Slice", "Source", "SourceFile", "cut", "read_sample", "read_slice"]

Form = Literal["parquet", "jsonl"]

_SUFFIXES: Final[dict[str, Form]] = {
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
_BLOCK: Final = 8 << 20  # bytes that are read together from object storage
_READERS: Final = 16  # files whose footers are read at a time
_SMALL_BLOCK: Final = 1 << 18  # for a few records
_TOGETHER: Final = 4096  # records of a batch
_SAMPLED_PLACES: Final = 1024  # many, since a source may be sorted by topic
_SHORTEST_GAP: Final = 256  # records between two of these places
_LONGEST_GAP: Final = 65_536


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of a source.

    Attributes:
        url: Where it is.
        size: Rows of a Parquet file, bytes of a JSONL file.
        identity: Changes when its contents do: size, and time or tag.
    """

    url: str
    size: int
    identity: str


@dataclass(frozen=True, slots=True)
class Slice:
    """A range of a file.

    Attributes:
        url: Where the file is.
        form: Its form.
        start: The first row, or byte.
        end: The one after the last.
    """

    url: str
    form: Form
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Records that were read together.

    Attributes:
        url: The file.
        places: Where each record is in it: its row, or the byte at which its line begins.
        records: The fields of each, without the vectors; for one that cannot be read, the error.
        vectors: (n, dim) float32, one per record, where the file has a column of them.
    """

    url: str
    places: Sequence[int]
    records: Sequence[dict[str, Any] | Exception]
    vectors: NDArray[np.float32] | None

    def first(self, count: int) -> Batch:
        """Returns the first records of the batch, at most `count`.

        Example:
            >>> len(Batch("a.jsonl", [0, 9], [{}, {}], None).first(1).records)
            1
        """
        vectors = None if self.vectors is None else self.vectors[:count]
        return Batch(self.url, self.places[:count], self.records[:count], vectors)


@dataclass(frozen=True, slots=True)
class Source:
    """The files of a source, in their order.

    Attributes:
        form: What they all are.
        files: The files.
        options: Options of their file system, as fsspec takes them.
    """

    form: Form
    files: tuple[SourceFile, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        options: Mapping[str, Any] | None = None,
    ) -> Source:
        """Finds the files of a source.

        Args:
            paths: Files, folders, or patterns such as "s3://bucket/*.parquet". Files of a folder or
                a pattern are sorted by name.
            options: Options of their file system.

        Raises:
            CorpusError: There is no file, or not all are of one form.
            StorageError: They cannot be listed.
        """
        given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
        options = dict(options or {})
        urls = [url for path in given for url in _expanded(os.fspath(path), options)]
        if not urls:
            raise CorpusError(f"{', '.join(map(str, given))}: no .parquet or .jsonl file found")
        forms = {_form(url) for url in urls}
        if len(forms) > 1:
            raise CorpusError("a source has .parquet files or .jsonl files, not both")
        form = forms.pop()
        with ThreadPoolExecutor(_READERS) as pool:
            files = tuple(pool.map(lambda url: _file(url, form, options), urls))
        return cls(form, files, options)

    @property
    def size(self) -> int:
        """Rows of Parquet files, bytes of JSONL files."""
        return sum(file.size for file in self.files)


def cut(source: Source, count: int) -> list[list[Slice]]:
    """Cuts a source into `count` neighbouring parts of equal size, each of one or more slices.

    Example:
        >>> file = SourceFile("a.parquet", 10, "")
        >>> cut(Source("parquet", (file,)), 2)[1]
        [Slice(url='a.parquet', form='parquet', start=5, end=10)]
    """
    bounds = [source.size * number // count for number in range(count + 1)]
    parts: list[list[Slice]] = []
    for first, last in pairwise(bounds):
        part = []
        before = 0
        for file in source.files:
            start, end = max(first - before, 0), min(last - before, file.size)
            if start < end:
                part.append(Slice(file.url, source.form, start, end))
            before += file.size
        parts.append(part)
    return parts


def read_slice(
    part: Slice,
    options: Mapping[str, Any],
    *,
    columns: Sequence[str] | None = None,
    vectors: str,
    rows: int = _TOGETHER,
) -> Iterator[Batch]:
    """Yields the records of a slice.

    Args:
        part: The slice.
        options: Options of the file system.
        columns: Fields to read of a Parquet file, besides the vectors; None for all.
        vectors: The field that holds vectors.
        rows: The most records of a batch.

    Raises:
        CorpusError: The file is not readable Parquet.
        StorageError: The storage cannot be read.
    """
    if part.form == "jsonl":
        return _read_jsonl(part, options, rows)
    return _read_parquet(part, options, columns, vectors, rows)


def read_sample(
    source: Source,
    size: int,
    part: int,
    parts: int,
    *,
    columns: Sequence[str] | None = None,
    vectors: str,
) -> Iterator[Batch]:
    """Yields records of a part of a source: short runs of them, at even distances.

    Of a Parquet file all rows are decoded, since a row can be read only with those before it.

    Args:
        source: The source.
        size: About how many records to read of the whole source.
        part: The part, from 0.
        parts: In how many parts the source is read.
        columns: As for `read_slice`, like `vectors`.
        vectors: See there.

    Raises:
        CorpusError, StorageError: As for `read_slice`.
    """
    places = min(size, _SAMPLED_PLACES)
    if source.form == "parquet":
        gap = min(max(source.size // places, _SHORTEST_GAP), _LONGEST_GAP)
        for piece in cut(source, parts)[part]:
            for batch in _read_parquet(piece, source.options, columns, vectors, gap):
                yield batch.first(-(-len(batch.places) * size // source.size))
        return
    run = -(-size // min(places, 1 + source.size // _SMALL_BLOCK))
    places = -(-size // run)
    for place in cut(source, places)[part * places // parts : (part + 1) * places // parts]:
        left = run
        for piece in place:
            found = next(_read_jsonl(piece, source.options, left, _SMALL_BLOCK), None)
            if found is not None:
                yield found
                left -= len(found.places)
            if left <= 0:
                break


class _File(io.RawIOBase):
    """A file of a storage, which reads its ranges again when the storage fails."""

    def __init__(self, storage: Storage, name: str, size: int) -> None:
        self._storage = storage
        self._name = name
        self._size = size
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any) -> int:
        end = min(self._place + len(buffer), self._size)
        if end <= self._place:
            return 0
        data = self._storage.read(self._name, self._place, end)
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)


def _open(url: str, options: Mapping[str, Any], block: int = _BLOCK) -> IO[bytes]:
    storage, name = _located(url, tuple(sorted(options.items(), key=lambda item: item[0])))
    path = storage.local_path(name)
    try:
        if path is not None:
            return path.open("rb", buffering=block)
        return io.BufferedReader(_File(storage, name, storage.size(name)), block)
    except FileNotFoundError as error:
        raise CorpusError(f"{url}: no such file") from error
    except OSError as error:
        if isinstance(error, NestlingError):
            raise
        raise CorpusError(f"{url}: cannot read: {error.strerror}") from error


def _located(url: str, options: tuple[tuple[str, Any], ...]) -> tuple[Storage, str]:
    folder, _, name = url.rpartition("/")
    try:
        return _storage(folder or "/", options), name
    except TypeError:  # an option that cannot be hashed
        return Storage(folder or "/", dict(options)), name


@lru_cache(maxsize=8)
def _storage(folder: str, options: tuple[tuple[str, Any], ...]) -> Storage:
    return Storage(folder, dict(options))


def _expanded(path: str, options: Mapping[str, Any]) -> list[str]:
    """Returns the URLs of the files that a path, a folder or a pattern names, sorted."""
    head = re.split(r"[*?\[]", path, maxsplit=1)[0]
    if head == path:
        storage = Storage(path, options)
        names = storage.list()
        if names in ([], [""]):  # a file, or nothing
            return [storage.url("")]
        chosen = names
    else:
        parent = head.rpartition("/")[0] or ("/" if head.startswith("/") else ".")
        storage = Storage(parent, options)
        pattern = path if parent == "." else path[len(parent) :].lstrip("/")
        matches = re.compile(glob_translate(pattern))
        chosen = [name for name in storage.list() if matches.match(name)]
    suffixes = tuple(_SUFFIXES)
    return [storage.url(name) for name in chosen if name.lower().endswith(suffixes)]


def _form(url: str) -> Form:
    suffix = posixpath.splitext(url)[1].lower()
    if suffix not in _SUFFIXES:
        raise CorpusError(f"{url}: cannot be read; expected {' or '.join(_SUFFIXES)}")
    return _SUFFIXES[suffix]


def _file(url: str, form: Form, options: Mapping[str, Any]) -> SourceFile:
    storage, name = _located(url, tuple(sorted(options.items(), key=lambda item: item[0])))
    try:
        size = storage.size(name)
        identity = storage.identity(name)
    except FileNotFoundError as error:
        raise CorpusError(f"{url}: no such file") from error
    if form == "parquet":
        with _parquet(url, options) as table:
            size = table.metadata.num_rows
    return SourceFile(url, size, identity)


def _read_jsonl(
    part: Slice, options: Mapping[str, Any], rows: int, block: int = _BLOCK
) -> Iterator[Batch]:
    places: list[int] = []
    records: list[dict[str, Any] | Exception] = []
    with _open(part.url, options, block) as stream:
        place = part.start
        if place:  # a line that began before is of the slice before
            stream.seek(place - 1)
            place += len(stream.readline()) - 1
        while place < part.end and (line := stream.readline()):
            if line.strip():
                places.append(place)
                records.append(_parsed(line))
            place += len(line)
            if len(records) == rows:
                yield Batch(part.url, places, records, None)
                places, records = [], []
    if records:
        yield Batch(part.url, places, records, None)


def _parsed(line: bytes) -> dict[str, Any] | Exception:
    try:
        record = parse_json(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        return CorpusError(f"not JSON: {error}")
    if not isinstance(record, dict):
        return CorpusError(f"expected a JSON object, not a {type(record).__name__}")
    return record


@contextmanager
def _parquet(url: str, options: Mapping[str, Any]) -> Iterator[Any]:
    """Opens a Parquet file.

    Raises:
        CorpusError: It, or what is read of it within the block, is not readable Parquet.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise missing_cluster_package(error) from error
    with _open(url, options) as stream:
        try:
            with pyarrow.parquet.ParquetFile(stream) as table:
                yield table
        except pyarrow.ArrowException as error:
            raise CorpusError(f"{url}: not a readable parquet file: {error}") from error


def _read_parquet(
    part: Slice,
    options: Mapping[str, Any],
    columns: Sequence[str] | None,
    vectors: str,
    rows: int,
) -> Iterator[Batch]:
    from nestling.corpus.tables import batch_records

    with _parquet(part.url, options) as table:
        names = table.schema_arrow.names
        chosen = [name for name in names if columns is None or name in (*columns, vectors)]
        groups, first = [], 0
        skipped = 0
        for number in range(table.metadata.num_row_groups):
            last = first + table.metadata.row_group(number).num_rows
            if last <= part.start:
                skipped = last
            elif first < part.end:
                groups.append(number)
            first = last
        place = skipped
        for batch in table.iter_batches(batch_size=rows, row_groups=groups, columns=chosen):
            start = max(part.start - place, 0)
            end = min(part.end - place, batch.num_rows)
            if start < end:
                some = batch.slice(start, end - start)
                array = None
                if vectors in chosen:
                    array = _array(some.column(vectors))
                if array is not None:
                    some = some.drop_columns([vectors])
                records = list(batch_records(some)) if some.num_columns else [{}] * (end - start)
                yield Batch(part.url, range(place + start, place + end), records, array)
            place += batch.num_rows


def _array(column: Any) -> NDArray[np.float32] | None:
    """Returns a column of vectors, all of the same length, as (n, dim); None if it is another."""
    import pyarrow

    kind = column.type
    lists = (pyarrow.types.is_list, pyarrow.types.is_large_list, pyarrow.types.is_fixed_size_list)
    if not any(is_kind(kind) for is_kind in lists) or column.null_count:
        return None
    if not pyarrow.types.is_floating(kind.value_type):
        return None
    values = column.flatten()
    if values.null_count or not len(column) or len(values) % len(column):
        return None
    if not pyarrow.types.is_fixed_size_list(kind):
        lengths = np.diff(column.offsets.to_numpy(zero_copy_only=False))
        if (lengths != len(values) // len(column)).any():
            return None
    array = values.to_numpy(zero_copy_only=False).reshape(len(column), -1)
    return np.ascontiguousarray(array, np.float32)
