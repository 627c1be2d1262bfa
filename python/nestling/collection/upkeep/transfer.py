"""Collections as files that other programs read: JSONL and Parquet, with vectors.

One record per document: `id`, `title`, `text`, `metadata`, `spans` (start and end of each passage,
in characters) and `vectors` (one per passage), with the key of their `encoder`. In Parquet,
`metadata` is JSON text, `spans` a list of pairs, `vectors` a list of float32 lists.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from nestling._util.atomic import new_file
from nestling._util.progress import ProgressBar
from nestling.collection.query.filters import compile_filter
from nestling.collection.storage import documents
from nestling.collection.storage.state import State
from nestling.collection.storage.store import Store
from nestling.corpus.fields import parse_json
from nestling.corpus.log import ReadLog
from nestling.corpus.readers import read_json_lines
from nestling.errors import ArgumentError, CorpusError, PackageError
from nestling.inputs.bad_records import BadRecord

__all__ = ["FORMATS", "ExportFile", "export_documents", "is_export", "load_pyarrow"]

FORMATS: Final = (".jsonl", ".parquet")
_PAGE: Final = 1_000  # documents written together
_KEYS: Final = frozenset({"id", "title", "text", "metadata", "spans"})  # of every record

Record = dict[str, Any]


def export_documents(
    store: Store, path: Path, where: Mapping[str, Any] | None, *, vectors: bool
) -> int:
    """Writes the documents of one commit to a file, and returns how many.

    Raises:
        ArgumentError: The name does not end in one of `FORMATS`.
        PackageError: Parquet needs pyarrow.
        StorageError: The operating system refused to write.
    """
    write = _by_suffix(path, {".jsonl": _write_jsonl, ".parquet": _write_parquet})
    with store.reading() as (connection, view), new_file(path) as staged:
        chosen = compile_filter({} if where is None else where, view.settings.fields)
        total = State.read(connection).documents
        encoder = view.settings.encoder
        key = None if encoder is None else encoder.key

        def records() -> Iterator[Record]:
            with ProgressBar("exporting", total=total) as bar:
                found = documents.documents_where(connection, chosen.sql, chosen.parameters)
                for document in found:
                    record: Record = {
                        "id": document.id,
                        "title": document.title,
                        "text": document.text,
                        "metadata": document.metadata,
                        "spans": document.spans,
                    }
                    if vectors:
                        rows = np.arange(document.row, document.row + len(document.spans))
                        record["vectors"] = view.reconstruct(rows)
                        record["encoder"] = key
                    bar.advance()
                    yield record

        count: int = write(staged, records())
    return count


class ExportFile:
    """A file that `export_documents` wrote: its records, as `Collection.add` takes them.

    Args:
        path: The file.
        log: What becomes of records that cannot be read, or cannot be documents.

    Raises:
        ArgumentError: The name does not end in one of `FORMATS`.
    """

    def __init__(self, path: Path, log: ReadLog) -> None:
        self._path = path
        self._log = log
        self._read = _by_suffix(path, {".jsonl": _read_jsonl, ".parquet": _read_parquet})
        self._unit = "line" if path.suffix.lower() == ".jsonl" else "row"
        self._place = 0

    def __iter__(self) -> Iterator[Record]:
        """Yields the records.

        Raises:
            CorpusError: The file cannot be read; the message names the line.
            PackageError: Parquet needs pyarrow.
        """
        for place, record in self._read(self._path, self._log):
            self._place = place
            yield record

    def reject(self, record: BadRecord) -> None:
        """Reports the current record as one that cannot be a document, with its place.

        Raises:
            CorpusError: The log says so.
        """
        self._log.bad_record(str(self._path), self._unit, self._place, record.reason)


def is_export(path: Path) -> bool:
    """Returns whether a file was written by `export_documents`, judging by its first record."""
    if path.suffix.lower() not in FORMATS or not path.is_file():
        return False
    names: Iterable[str]
    try:
        if path.suffix.lower() == ".jsonl":
            _, names = next(_read_jsonl(path, ReadLog()), (0, {}))
        else:
            names = load_pyarrow().parquet.read_schema(path).names
    except (CorpusError, PackageError, OSError, ValueError):
        return False  # reading it as a corpus raises the same error
    return set(names) - {"encoder", "vectors"} == _KEYS


def _by_suffix(path: Path, functions: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    suffix = path.suffix.lower()
    if suffix not in functions:
        raise ArgumentError(f"{path}: the name must end in {' or '.join(functions)}")
    return functions[suffix]


def _write_jsonl(path: Path, records: Iterator[Record]) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for record in records:
            if "vectors" in record:
                record["vectors"] = record["vectors"].tolist()
            stream.write(json.dumps(record, ensure_ascii=False) + "\n")
            count += 1
    return count


def _read_jsonl(path: Path, log: ReadLog) -> Iterator[tuple[int, Record]]:
    try:
        with path.open("rb") as stream:
            yield from read_json_lines(stream, str(path), log)
    except OSError as error:
        raise CorpusError(f"{path}: cannot read: {error.strerror}") from error


def load_pyarrow() -> Any:
    """Returns the package pyarrow, with its Parquet files.

    Raises:
        PackageError: It is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise PackageError("Parquet files need pyarrow: pip install 'nestling[parquet]'") from error
    return pyarrow


def _write_parquet(path: Path, records: Iterator[Record]) -> int:
    pyarrow = load_pyarrow()
    schema = pyarrow.schema(
        [
            ("id", pyarrow.string()),
            ("title", pyarrow.string()),
            ("text", pyarrow.string()),
            ("metadata", pyarrow.string()),
            ("spans", pyarrow.list_(pyarrow.list_(pyarrow.int64(), 2))),
            ("vectors", pyarrow.list_(pyarrow.list_(pyarrow.float32()))),
            ("encoder", pyarrow.string()),
        ]
    )
    count = 0
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        while page := list(islice(records, _PAGE)):
            for record in page:
                record["metadata"] = json.dumps(record["metadata"], ensure_ascii=False)
                record["vectors"] = list(record["vectors"]) if "vectors" in record else None
            writer.write_table(pyarrow.Table.from_pylist(page, schema=schema))
            count += len(page)
    return count


def _read_parquet(path: Path, log: ReadLog) -> Iterator[tuple[int, Record]]:
    pyarrow = load_pyarrow()
    row = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_PAGE):
                for record in batch.to_pylist():
                    try:
                        if isinstance(record.get("metadata"), str):
                            record["metadata"] = parse_json(record["metadata"])
                    except (ValueError, RecursionError) as error:
                        log.bad_record(str(path), "row", row, f"metadata is not JSON: {error}")
                    else:
                        kept = {name: value for name, value in record.items() if value is not None}
                        yield row, kept
                    row += 1
    except CorpusError:
        raise
    except (pyarrow.ArrowException, ValueError, OSError) as error:
        raise CorpusError(f"{path}: not a readable parquet file: {error}") from error
