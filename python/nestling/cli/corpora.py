"""Corpora into collections: the work behind `index`, `add` and `demo`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nestling._util.console import notify
from nestling._util.progress import ProgressBar
from nestling.corpus import Document, Fields, read_documents, read_stream
from nestling.errors import DocumentError, MetadataError

if TYPE_CHECKING:
    from nestling.collection import AddResult, Collection
    from nestling.collection.ingestor import OnConflict

__all__ = ["Corpus", "add_corpus", "counts_as_json", "record_of"]

STDIN: Final = "-"
_NOT_TEXT: Final = re.compile("[\0\ud800-\udfff]")


@dataclass(slots=True)
class Corpus:
    """The documents of a source, in the form that `Collection.add` takes.

    Attributes:
        source: A file or folder that `read_documents` reads, a file that `export` wrote, or "-".
        fields: Which fields of a record to read.
        total: How many documents there are; None until they were counted.
        sanitized: Texts so far whose NUL or lone surrogates were replaced by U+FFFD.

    Example:
        >>> _ = Path("corpus.jsonl").write_text('{"_id": "w", "text": "whales sing"}')
        >>> [record["text"] for record in Corpus("corpus.jsonl", Fields())]
        ['whales sing']
    """

    source: str
    fields: Fields
    total: int | None = None
    sanitized: int = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        from nestling.collection.upkeep.transfer import import_records, is_export

        path = Path(self.source)
        if self.source != STDIN and is_export(path):
            yield from import_records(path)
            return
        for document in self._documents():
            record = record_of(document)
            for name in ("text", "title"):
                record[name], replaced = _NOT_TEXT.subn("\ufffd", record[name])
                self.sanitized += bool(replaced)
            yield record

    def check(self) -> None:
        """Reads a file or folder to its end, so that a bad line is found before the encoding.

        Raises:
            CorpusError: It cannot be read.
        """
        if self.source != STDIN:
            self.total = sum(1 for _ in self._documents())

    def _documents(self) -> Iterator[Document]:
        if self.source == STDIN:
            return read_stream(sys.stdin.buffer, "stdin", fields=self.fields)
        return read_documents(self.source, fields=self.fields)


def record_of(document: Document) -> dict[str, Any]:
    """Returns a document in the form that `Collection.add` takes."""
    return {
        "id": document.id,
        "title": document.title,
        "text": document.text,
        "metadata": document.metadata,
    }


def add_corpus(
    collection: Collection, corpus: Corpus, *, on_conflict: OnConflict = "replace"
) -> AddResult:
    """Adds a corpus to a collection, and says on stderr which texts were cut or sanitized.

    Raises:
        CorpusError: The corpus cannot be read.
        DocumentError, MetadataError: A document cannot be stored; the message names the corpus.
        IdError, LockedError, StorageError: As for `Collection.add`.
    """
    try:
        with ProgressBar("Adding", total=corpus.total) as bar:
            records = _counted(corpus, bar)
            result = collection.add(records, on_conflict=on_conflict, progress=False)
    except (DocumentError, MetadataError) as error:
        raise type(error)(f"{corpus.source}: {error}") from error
    if result.truncated:
        notify(
            f"{result.truncated:,} passages are longer than the encoder reads; only their starts "
            "can be found."
        )
    if corpus.sanitized:
        notify(
            f"{corpus.sanitized:,} texts contained NUL or lone surrogates, which are not text; "
            "they were replaced by U+FFFD."
        )
    return result


def _counted(corpus: Corpus, bar: ProgressBar) -> Iterator[dict[str, Any]]:
    for record in corpus:
        yield record
        bar.advance()


def counts_as_json(result: AddResult) -> dict[str, Any]:
    """Returns the counts of an add as `--json` prints them."""
    names = ("added", "replaced", "updated", "unchanged", "skipped", "passages", "truncated")
    return {name: getattr(result, name) for name in names}
