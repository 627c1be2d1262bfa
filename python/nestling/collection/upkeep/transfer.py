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
from nestling.corpus.readers import read_json_lines
from nestling.errors import ArgumentError, CorpusError, PackageError

__all__ = ["FORMATS", "export_documents", "import_records", "is_export"]

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


def import_records(path: Path) -> Iterator[Record]:
    """Yields the records of a file written by `export_documents`, as `Collection.add` takes them.

    Raises:
        ArgumentError: The name does not end in one of `FORMATS`.
        CorpusError: The file cannot be read; the message names the line.
        PackageError: Parquet needs pyarrow.
    """
    read = _by_suffix(path, {".jsonl": _read_jsonl, ".parquet": _read_parquet})
    records: Iterator[Record] = read(path)
    return records


def is_export(path: Path) -> bool:
    """Returns whether a file was written by `export_documents`, judging by its first record."""
    if path.suffix.lower() not in FORMATS or not path.is_file():
        return False
    try:
        if path.suffix.lower() == ".jsonl":
            names: Iterable[str] = next(_read_jsonl(path), {})
        else:
            names = _parquet().parquet.read_schema(path).names
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


def _read_jsonl(path: Path) -> Iterator[Record]:
    try:
        with path.open("rb") as stream:
            for _, record in read_json_lines(stream, str(path)):
                yield record
    except OSError as error:
        raise CorpusError(f"{path}: cannot read: {error.strerror}") from error


def _parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise PackageError("Parquet files need pyarrow: pip install 'nestling[parquet]'") from error
    return pyarrow


def _write_parquet(path: Path, records: Iterator[Record]) -> int:
    pyarrow = _parquet()
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


def _read_parquet(path: Path) -> Iterator[Record]:
    pyarrow = _parquet()
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_PAGE):
                for record in batch.to_pylist():
                    if isinstance(record.get("metadata"), str):
                        record["metadata"] = json.loads(record["metadata"])
                    yield {name: value for name, value in record.items() if value is not None}
    except (pyarrow.ArrowException, ValueError, OSError) as error:
        raise CorpusError(f"{path}: not a readable parquet file: {error}") from error
