r"""Files in, a stream of documents out.

| form | a document | its id |
|---|---|---|
| a folder | one .txt or .md file in it, at any depth; not hidden, not empty | its path there |
| .txt, .md | the whole file | the file's name |
| .jsonl, .ndjson | one object per line, as in BEIR's corpus.jsonl | `id` or `_id` |
| .csv, .tsv | one row; the first row names the columns | `id` or `_id` |
| .parquet | one row; needs pyarrow: `pip install 'nestling[parquet]'` | `id` or `_id` |

The `metadata` of a record, an object or JSON text of one, is that of the document; further fields
become metadata where they are named, as `nestling.corpus.values` says. The cells of a .csv or .tsv
column are all integers, all numbers or all texts (`nestling.corpus.delimited`); empty ones are
absent. In texts and metadata, NUL and lone surrogates become U+FFFD.

Of a folder, text files that are empty, unreadable, not regular or larger than 100 MB are passed
over with a note, and so are links to folders; a name that is not UTF-8 gives an id with `\xe9` for
a byte.

Text is UTF-8, with or without a byte order mark. BEIR: Thakur et al. 2021, "BEIR: A Heterogeneous
Benchmark for Zero-shot Evaluation of Information Retrieval Models".
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from nestling.corpus.delimited import read_delimited
from nestling.corpus.fields import Document, Fields, parse_json
from nestling.corpus.lines import decode, first_line
from nestling.corpus.log import ReadLog
from nestling.corpus.tables import read_parquet
from nestling.errors import CorpusError
from nestling.inputs.texts import MAX_TEXT_CHARACTERS

__all__ = ["Document", "Fields", "read_documents", "read_json_lines", "read_stream"]

TEXT_SUFFIXES: Final = (".txt", ".md")
JSON_SUFFIXES: Final = (".jsonl", ".ndjson")
CSV_DELIMITERS: Final = {".csv": ",", ".tsv": "\t"}
FORMS: Final = "a folder of .txt and .md files, or a .jsonl, .csv, .tsv, .parquet, .txt or .md file"


def read_documents(
    source: str | os.PathLike[str], *, fields: Fields | None = None, log: ReadLog | None = None
) -> Iterator[Document]:
    """Streams the documents of a corpus, in the order of the corpus.

    Args:
        source: A folder or a file in one of the forms in the table of this module.
        fields: Which fields of a record to read; `text`, `id` or `_id`, and `title` by default.
        log: What to do with records that cannot be documents. Default: a `CorpusError`.

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
    log = log or ReadLog()
    suffix = path.suffix.lower()
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, ValueError):
        raise CorpusError(f"{path}: no such file or folder") from None
    except OSError as error:
        raise CorpusError(f"{path}: cannot read: {error.strerror}") from error
    if stat.S_ISDIR(mode):
        documents = _read_folder(path, log)
    elif not stat.S_ISREG(mode):
        raise CorpusError(f"{path}: not a regular file; to read a pipe, give it as stdin")
    elif suffix in TEXT_SUFFIXES:
        documents = _read_text(path, path.name, log)
    elif suffix in JSON_SUFFIXES:
        documents = _read_jsonl(path, fields, log)
    elif suffix in CSV_DELIMITERS:
        documents = read_delimited(path, CSV_DELIMITERS[suffix], fields, log)
    elif suffix == ".parquet":
        documents = read_parquet(path, fields, log)
    else:
        raise CorpusError(f"{path}: this form cannot be read; expected {FORMS}")
    return _not_empty(documents, path, log)


def read_stream(
    stream: Iterable[bytes],
    name: str,
    *,
    fields: Fields | None = None,
    log: ReadLog | None = None,
) -> Iterator[Document]:
    r"""Streams the documents of a binary stream: JSONL if it begins with "{", else texts.

    Args:
        stream: Lines of bytes; each non-blank line is a document.
        name: The name of the stream in error messages.
        fields: As for `read_documents`.
        log: As for `read_documents`.

    Raises:
        CorpusError: As for `read_documents`, while iterating.

    Example:
        >>> [document.text for document in read_stream([b"one\n", b"two\n"], "stdin")]
        ['one', 'two']
    """
    fields, log = fields or Fields(), log or ReadLog()
    parse: Callable[[str], Document] | None = None
    for number, raw in enumerate(stream, 1):
        if number == 1:
            raw = first_line(raw, name)
        if not raw.strip():
            continue
        if parse is None:
            is_json = raw.lstrip().startswith(b"{")
            parse = _json_parser(fields, log) if is_json else _text_parser(log)
        yield from _parsed(raw, number, name, parse, log)
    if parse is None:
        raise CorpusError(f"{name}: no documents found")


def _json_parser(fields: Fields, log: ReadLog) -> Callable[[str], Document]:
    return lambda line: fields.document(_json_object(line), log=log)


def _text_parser(log: ReadLog) -> Callable[[str], Document]:
    return lambda line: Document(log.text(line.strip()))


def _parsed(
    raw: bytes, number: int, name: str, parse: Callable[[str], Document], log: ReadLog
) -> Iterator[Document]:
    """Yields the document of a line, or nothing where the log takes a bad record."""
    try:
        document = parse(decode(raw))
    except CorpusError as error:
        log.bad_record(name, "line", number, str(error))
    else:
        yield document


def _not_empty(documents: Iterator[Document], path: Path, log: ReadLog) -> Iterator[Document]:
    empty = True
    try:
        for document in documents:
            empty = False
            yield document
    except OSError as error:
        reason = error.strerror or error
        raise CorpusError(f"{error.filename or path}: cannot read: {reason}") from error
    if empty and log.on_bad_record is None:
        what = "no .txt or .md file with text found" if path.is_dir() else "no documents found"
        raise CorpusError(f"{path}: {what}")


def _read_folder(root: Path, log: ReadLog) -> Iterator[Document]:
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if folder == root:
                raise
            _pass_over(log, folder, error)
            continue
        subfolders = []
        for entry in found:
            path = Path(entry.path)
            if entry.name.startswith("."):
                continue  # .git and the like
            if entry.is_dir(follow_symlinks=False):
                subfolders.append(path)
            elif entry.is_symlink() and _is_folder(path):
                _pass_over(log, path, "a link to a folder")
            elif path.suffix.lower() in TEXT_SUFFIXES:
                yield from _read_entry(path, root, log)
        waiting += reversed(subfolders)


def _read_entry(path: Path, root: Path, log: ReadLog) -> Iterator[Document]:
    id = path.relative_to(root).as_posix()
    shown = os.fsencode(id).decode("utf-8", "backslashreplace")
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            _pass_over(log, path, "not a regular file")
            return
        if found.st_size > MAX_TEXT_CHARACTERS:
            _pass_over(log, path, f"larger than {MAX_TEXT_CHARACTERS:,} bytes")
            return
        documents = list(_read_text(path, shown, log))
    except OSError as error:
        _pass_over(log, path, error)
        return
    if not documents and not found.st_size:
        _pass_over(log, path, "empty")
    elif shown != id:
        log.note(f"{_shown(path)}: the name is not UTF-8; the id is {shown!r}")
    yield from documents


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a loop of links
        return False


def _shown(path: Path) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _pass_over(log: ReadLog, path: Path, reason: str | OSError) -> None:
    if isinstance(reason, OSError):
        reason = reason.strerror or str(reason)
    log.note(f"{_shown(path)}: passed over: {reason}")


def _read_text(path: Path, id: str, log: ReadLog) -> Iterator[Document]:
    raw = path.read_bytes()
    try:
        text = log.text(decode(first_line(raw, "")).strip())
    except CorpusError as error:
        log.bad_record(_shown(path), "line", None, str(error))
        return
    if text:
        yield Document(text, id=id)


def _read_jsonl(path: Path, fields: Fields, log: ReadLog) -> Iterator[Document]:
    parse = _json_parser(fields, log)
    with path.open("rb") as stream:
        for number, raw in enumerate(stream, 1):
            if number == 1:
                raw = first_line(raw, str(path))
            if raw.strip():
                yield from _parsed(raw, number, str(path), parse, log)


def read_json_lines(
    stream: Iterable[bytes], name: str, log: ReadLog | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    r"""Yields the objects of a JSONL stream, each with the number of its line.

    Args:
        stream: Lines of bytes, as an open binary file yields them; blank ones are skipped.
        name: What an error calls the stream.
        log: What becomes of a line that is not UTF-8, or not a JSON object.

    Raises:
        CorpusError: A line is not UTF-8, or not a JSON object.

    Example:
        >>> list(read_json_lines([b'{"text": "bread"}\n'], "notes.jsonl"))
        [(1, {'text': 'bread'})]
    """
    log = log or ReadLog()
    for number, raw in enumerate(stream, 1):
        if number == 1:
            raw = first_line(raw, name)
        if not raw.strip():
            continue
        try:
            record = _json_object(decode(raw))
        except CorpusError as error:
            log.bad_record(name, "line", number, str(error))
        else:
            yield number, record


def _json_object(line: str) -> dict[str, Any]:
    try:
        record = parse_json(line)
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"not JSON: {error}") from error
    if not isinstance(record, dict):
        raise CorpusError(f"expected a JSON object, not a {type(record).__name__}")
    return record
