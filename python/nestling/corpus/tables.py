"""Data frames of pandas and polars, Arrow tables and Parquet files: their rows as documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from nestling.corpus.fields import Document, Fields
from nestling.corpus.log import ReadLog
from nestling.corpus.values import is_missing, json_value
from nestling.errors import CorpusError, DocumentError
from nestling.inputs.columns import listed
from nestling.inputs.texts import quote

__all__ = ["TableRow", "batch_records", "read_parquet", "table_documents", "table_metadata"]

_FIELDS: Final = Fields(metadata=("*",))
_EXTRA: Final = ("vectors", "spans", "encoder")  # columns that `add` takes as they are
_MISNAMED: Final = ("embedding", "embeddings", "vector")
_BATCH: Final = 4096
_UNREADABLE: Final = (ValueError, OverflowError, TypeError)  # the year 10000, or not UTF-8


class TableRow:
    """A row of a data frame, converted when it is its turn, so that an error names it."""

    __slots__ = ("_record",)

    def __init__(self, record: dict[str, Any]) -> None:
        self._record = record

    def as_mapping(self) -> dict[str, Any]:
        """Returns the row as a mapping that `Collection.add` takes.

        Raises:
            DocumentError, IdError, MetadataError: A value cannot be stored.
        """
        record = dict(self._record)
        extra = {name: record.pop(name) for name in _EXTRA if name in record}
        log = ReadLog()
        document = _FIELDS.checked(record, log)
        if log.sanitized:
            raise DocumentError("a string has a NUL character or a lone surrogate; remove it")
        found = {
            "id": document.id,
            "title": document.title,
            "text": document.text,
            "metadata": document.metadata,
        }
        for name, value in extra.items():
            if not is_missing(value):
                found[name] = _nested(value)
        return found


def table_documents(table: Any) -> list[TableRow]:
    """Returns the rows of a data frame or an Arrow table as documents.

    The columns `text`, `id` or `_id`, `title` and `metadata` are what they are called, `vectors`,
    `spans` and `encoder` those of an export; the other columns become metadata. A named index of
    pandas is a column.

    Raises:
        DocumentError: There is no column `text`, two have the same name, or a name is not a string.
    """
    names, columns = _columns(table)
    if "text" not in names:
        found = ", ".join(map(quote, names)) or "none"
        raise DocumentError(
            f"the table has no column 'text'; its columns are {found}. Rename one of them"
        )
    for name in _MISNAMED:
        values = columns[names.index(name)] if name in names else []
        if any(isinstance(value, (list, tuple, np.ndarray)) for value in values[:1]):
            raise DocumentError(
                f"the column {name!r} holds vectors: call it 'vectors', or leave it out"
            )
    return [TableRow(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]


def table_metadata(table: Any) -> list[dict[str, Any]]:
    """Returns the rows of a data frame or an Arrow table as metadata, one mapping per document.

    Raises:
        DocumentError: Two columns have the same name, or a name is not a string.
        MetadataError: A value cannot be stored.
    """
    names, columns = _columns(table)
    log = ReadLog()
    rows = []
    for row in zip(*columns, strict=True):
        found = {name: json_value(value, log, 1) for name, value in zip(names, row, strict=True)}
        rows.append({name: value for name, value in found.items() if value is not None})
    return rows


def _columns(table: Any) -> tuple[list[str], list[Sequence[Any]]]:
    """Returns the names and the values of the columns."""
    named: list[tuple[Any, Any]]
    if hasattr(table, "iterrows"):  # pandas
        named = [(name, table.iloc[:, place]) for place, name in enumerate(table.columns)]
        given = [name for name, _ in named]
        named += [
            (level, table.index.get_level_values(level))
            for level in table.index.names
            if level is not None and level not in given
        ]
    elif hasattr(table, "get_columns"):  # polars
        named = [(column.name, column) for column in table.get_columns()]
    elif hasattr(table, "schema") and hasattr(table, "columns"):  # Arrow
        named = list(zip(table.schema.names, table.columns, strict=True))
    else:
        raise DocumentError(
            f"a {type(table).__name__} cannot be read; give a data frame of pandas or polars, or "
            "an Arrow table"
        )
    names = [name for name, _ in named]
    for name in names:
        if not isinstance(name, str):
            raise DocumentError(f"a column is called {quote(name)}; names are strings")
        if names.count(name) > 1:
            raise DocumentError(f"two columns are called {name!r}; rename one")
    return names, [listed(values) or [] for _, values in named]


def _nested(value: Any) -> Any:
    """Returns a cell that pandas holds as an array of arrays as a list of them."""
    return list(value) if isinstance(value, np.ndarray) and value.dtype.kind == "O" else value


def read_parquet(path: Path, fields: Fields, log: ReadLog) -> Iterator[Document]:
    """Yields the documents of a .parquet file.

    Raises:
        CorpusError: The file or one of its rows cannot be read, or pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise CorpusError(
            f"{path}: reading .parquet needs pyarrow: pip install 'nestling[parquet]'"
        ) from error
    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            columns = table.schema_arrow.names
            fields.check_table(columns, str(path))
            row = 0
            for batch in table.iter_batches(batch_size=_BATCH, columns=fields.present(columns)):
                for record in batch_records(batch):
                    try:
                        if isinstance(record, Exception):
                            raise CorpusError(f"a value cannot be read: {record}")
                        document = fields.document(record, log=log)
                    except CorpusError as error:
                        log.bad_record(str(path), "row", row, str(error))
                    else:
                        yield document
                    row += 1
    except pyarrow.ArrowException as error:
        raise CorpusError(f"{path}: not a readable parquet file: {error}") from error


def batch_records(batch: Any) -> Iterator[dict[str, Any] | Exception]:
    """Yields the rows of a batch of Arrow; for one that Python cannot hold, the error."""
    has_maps = any("map<" in str(field.type) for field in batch.schema)
    try:
        rows = batch.to_pylist()
    except _UNREADABLE:
        rows = [_record(batch, place) for place in range(batch.num_rows)]
    for row in rows:
        yield _with_maps(row) if has_maps else row


def _record(batch: Any, place: int) -> dict[str, Any] | Exception:
    try:
        record: dict[str, Any] = batch.slice(place, 1).to_pylist()[0]
    except _UNREADABLE as error:
        return error
    return record


def _with_maps(value: Any) -> Any:
    """Returns nested values in which Arrow's maps, lists of pairs, are mappings."""
    if isinstance(value, dict):
        return {key: _with_maps(item) for key, item in value.items()}
    if not isinstance(value, list):
        return value
    if value and all(isinstance(item, tuple) for item in value):
        return {key: _with_maps(item) for key, item in value}
    return [_with_maps(item) for item in value]
