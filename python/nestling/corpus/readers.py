"""Files in, a stream of documents out.

| form | a document | its id |
|---|---|---|
| a folder | one .txt or .md file in it, at any depth; not hidden, not empty | its path there |
| .txt, .md | the whole file | the file's name |
| .jsonl, .ndjson | one object per line, as in BEIR's corpus.jsonl | `id` or `_id` |
| .csv, .tsv | one row; the first row names the columns | `id` or `_id` |
| .parquet | one row; needs pyarrow: `pip install 'nestling[parquet]'` | `id` or `_id` |

The `metadata` of a record, an object or JSON text of one, is that of the document; further fields
become metadata where they are named. In .csv and .tsv, values written like JSON numbers are read as
numbers: 2020 is one, 007 is not; empty cells are absent.

Text is UTF-8, with or without a byte order mark. BEIR: Thakur et al. 2021, "BEIR: A Heterogeneous
Benchmark for Zero-shot Evaluation of Information Retrieval Models".
"""

from __future__ import annotations

import codecs
import csv
import itertools
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from nestling.corpus.fields import Document, Fields, table_value
from nestling.errors import CorpusError

__all__ = ["Document", "Fields", "read_documents", "read_json_lines", "read_lines", "read_stream"]

TEXT_SUFFIXES: Final = (".txt", ".md")
JSON_SUFFIXES: Final = (".jsonl", ".ndjson")
CSV_DELIMITERS: Final = {".csv": ",", ".tsv": "\t"}
FORMS: Final = "a folder of .txt and .md files, or a .jsonl, .csv, .tsv, .parquet, .txt or .md file"


def read_documents(
    source: str | os.PathLike[str], *, fields: Fields | None = None
) -> Iterator[Document]:
    """Streams the documents of a corpus, in the order of the corpus.

    Args:
        source: A folder or a file in one of the forms in the table of this module.
        fields: Which fields of a record to read; `text`, `id` or `_id`, and `title` by default.

    Returns:
        An iterator. Files are read as it is consumed; only .txt and .md files are held in memory.

    Raises:
        CorpusError: At once, if `source` is missing or has an unknown form. While iterating, with
            the file and the line: a record is malformed or not UTF-8, or there are no documents.

    Example:
        >>> line = '{"_id": "b1", "title": "Bread", "text": "Flour and water.", "year": 2024}'
        >>> _ = Path("corpus.jsonl").write_text(line)
        >>> for document in read_documents("corpus.jsonl", fields=Fields(metadata=("year",))):
        ...     print(document.id, document.passage, document.metadata, sep=" | ")
        b1 | Bread
        Flour and water. | {'year': 2024}
    """
    path = Path(source)
    fields = fields or Fields()
    suffix = path.suffix.lower()
    if path.is_dir():
        documents = _read_folder(path)
    elif not path.exists():
        raise CorpusError(f"{path}: no such file or folder")
    elif suffix in TEXT_SUFFIXES:
        documents = _read_text(path)
    elif suffix in JSON_SUFFIXES:
        documents = _read_jsonl(path, fields)
    elif suffix in CSV_DELIMITERS:
        documents = _read_csv(path, fields)
    elif suffix == ".parquet":
        documents = _read_parquet(path, fields)
    else:
        raise CorpusError(f"{path}: this form cannot be read; expected {FORMS}")
    return _not_empty(documents, path)


def read_stream(
    stream: Iterable[bytes], name: str, *, fields: Fields | None = None
) -> Iterator[Document]:
    r"""Streams the documents of a binary stream: JSONL if it begins with "{", else texts.

    Args:
        stream: Lines of bytes; each non-blank line is a document.
        name: The name of the stream in error messages.
        fields: As for `read_documents`.

    Raises:
        CorpusError: As for `read_documents`, while iterating.

    Example:
        >>> [document.text for document in read_stream([b"one\n", b"two\n"], "stdin")]
        ['one', 'two']
    """
    lines = enumerate(read_lines(stream, name), 1)
    filled = ((number, line) for number, line in lines if line.strip())
    first = next(filled, None)
    if first is None:
        raise CorpusError(f"{name}: no documents found")
    numbered = itertools.chain([first], filled)
    if first[1].lstrip().startswith("{"):
        yield from _json_documents(numbered, name, fields or Fields())
    else:
        for _, line in numbered:
            yield Document(line.strip())


def read_lines(stream: Iterable[bytes], name: str) -> Iterator[str]:
    r"""Decodes a binary stream line by line, without line ends and byte order mark.

    Args:
        stream: Lines of bytes, as an open binary file yields them.
        name: The name of the stream in error messages.

    Raises:
        CorpusError: A line is not UTF-8.

    Example:
        >>> list(read_lines([b"one\r\n", b"two"], "stdin"))
        ['one', 'two']
    """
    for number, raw in enumerate(stream, 1):
        if number == 1:
            raw = _without_mark(raw, name)
        yield _decode(raw, f"{name}, line {number}").rstrip("\r\n")


def _not_empty(documents: Iterator[Document], path: Path) -> Iterator[Document]:
    empty = True
    try:
        for document in documents:
            empty = False
            yield document
    except OSError as error:
        raise CorpusError(f"{error.filename or path}: cannot read: {error.strerror}") from error
    if empty:
        what = "no .txt or .md file with text found" if path.is_dir() else "no documents found"
        raise CorpusError(f"{path}: {what}")


def _read_folder(root: Path) -> Iterator[Document]:
    def unreadable(error: OSError) -> None:
        raise error

    for folder, subfolders, names in os.walk(root, onerror=unreadable):
        # os.walk descends into what is left in this list; hidden folders are .git and the like.
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if path.suffix.lower() in TEXT_SUFFIXES and not name.startswith("."):
                for document in _read_text(path):
                    yield Document(document.text, id=path.relative_to(root).as_posix())


def _read_text(path: Path) -> Iterator[Document]:
    text = _decode(_without_mark(path.read_bytes(), str(path)), str(path)).strip()
    if text:
        yield Document(text, id=path.name)


def _read_jsonl(path: Path, fields: Fields) -> Iterator[Document]:
    with path.open("rb") as stream:
        yield from _json_documents(enumerate(read_lines(stream, str(path)), 1), str(path), fields)


def read_json_lines(stream: Iterable[bytes], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    r"""Yields the objects of a JSONL stream, each with the words that name its line.

    Args:
        stream: Lines of bytes, as an open binary file yields them; blank ones are skipped.
        name: What an error calls the stream.

    Raises:
        CorpusError: A line is not UTF-8, or not a JSON object.

    Example:
        >>> list(read_json_lines([b'{"text": "bread"}\n'], "notes.jsonl"))
        [('notes.jsonl, line 1', {'text': 'bread'})]
    """
    return _json_records(enumerate(read_lines(stream, name), 1), name)


def _json_records(
    lines: Iterable[tuple[int, str]], name: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in lines:
        if not line.strip():
            continue
        where = f"{name}, line {number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CorpusError(f"{where}: not JSON: {error}") from error
        if not isinstance(record, dict):
            raise CorpusError(f"{where}: expected a JSON object, not a {type(record).__name__}")
        yield where, record


def _json_documents(
    lines: Iterable[tuple[int, str]], name: str, fields: Fields
) -> Iterator[Document]:
    for where, record in _json_records(lines, name):
        yield fields.document(record, where)


def _read_csv(path: Path, fields: Fields) -> Iterator[Document]:
    # The limit of the csv module, 128 kB per field, is global to the process: only raise it.
    csv.field_size_limit(max(csv.field_size_limit(), 2**31 - 1))
    with path.open("rb") as stream:
        lines = (f"{line}\n" for line in read_lines(stream, str(path)))
        rows = csv.DictReader(lines, delimiter=CSV_DELIMITERS[path.suffix.lower()], strict=True)
        try:
            if rows.fieldnames is not None:
                fields.check_table(rows.fieldnames, f"{path}, line 1")
            for row in rows:
                yield fields.document(row, f"{path}, line {rows.line_num}", value=table_value)
        except csv.Error as error:
            raise CorpusError(f"{path}, line {rows.reader.line_num}: not CSV: {error}") from error


def _read_parquet(path: Path, fields: Fields) -> Iterator[Document]:
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
            for batch in table.iter_batches(batch_size=4096, columns=fields.present(columns)):
                for record in batch.to_pylist():
                    yield fields.document(record, f"{path}, row {row}")
                    row += 1
    except pyarrow.ArrowException as error:
        raise CorpusError(f"{path}: not a readable parquet file: {error}") from error


def _without_mark(raw: bytes, where: str) -> bytes:
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise CorpusError(f"{where}: the file is UTF-16; save it as UTF-8")
    return raw.removeprefix(codecs.BOM_UTF8)


def _decode(raw: bytes, where: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{where}: not UTF-8 (byte 0x{raw[error.start]:02x} at position {error.start}); "
            "save it as UTF-8"
        ) from error
