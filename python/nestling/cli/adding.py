"""Corpora into collections: the work behind `index`, `add` and `demo`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nestling._util.console import tell
from nestling._util.progress import ProgressBar
from nestling.cli.building import open_encoder
from nestling.corpus import Document, Fields, read_documents, read_stream
from nestling.errors import DocumentError, MetadataError

if TYPE_CHECKING:
    from nestling.collection import AddResult, Collection
    from nestling.collection.ingestor import OnConflict
    from nestling.encoder import Encoder
    from nestling.runtime.folder import Precision

__all__ = ["Corpus", "add_corpus", "added_as_json", "collection_encoder", "record_of"]

STDIN: Final = "-"
_NO_TEXT: Final = re.compile("[\0\ud800-\udfff]")


def collection_encoder(model: str, *, precision: Precision | None, threads: int | None) -> Encoder:
    """Opens the encoder of a new collection, which remembers it by the name that it has then.

    Raises:
        ModelError: There is no such model, or it cannot be fetched or used.
    """
    from nestling.collection.ingest.encoder import canonical_model_name

    encoder = open_encoder(model, precision=precision or "int8", threads=threads)
    encoder.name = canonical_model_name(model)
    return encoder


@dataclass(slots=True)
class Corpus:
    """The documents of a source, as `Collection.add` takes them.

    Attributes:
        source: A file or folder that `read_documents` reads, a file that `export` wrote, or "-".
        fields: Which fields of a record to read.
        total: How many documents there are; None until they were counted.
        mended: Texts so far that held NUL or half a surrogate pair, now U+FFFD.
    """

    source: str
    fields: Fields
    total: int | None = None
    mended: int = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        from nestling.collection.upkeep.transfer import import_records, is_export

        path = Path(self.source)
        if self.source != STDIN and is_export(path):
            yield from import_records(path)
            return
        for document in self._documents():
            record = record_of(document)
            for name in ("text", "title"):
                record[name], found = _NO_TEXT.subn("\ufffd", record[name])
                self.mended += bool(found)
            yield record

    def check(self) -> None:
        """Reads a file or folder to its end: a bad line is known before the encoding.

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
    """Returns a document as `Collection.add` takes it."""
    return {
        "id": document.id,
        "title": document.title,
        "text": document.text,
        "metadata": document.metadata,
    }


def add_corpus(
    collection: Collection, corpus: Corpus, *, on_conflict: OnConflict = "replace"
) -> AddResult:
    """Adds a corpus to a collection, and tells what was not as it should be.

    Raises:
        CorpusError: The corpus cannot be read.
        DocumentError, MetadataError: A document cannot be stored; the message names the corpus.
        IdError, LockedError, StorageError: As for `Collection.add`.
    """
    try:
        with ProgressBar("Adding", total=corpus.total) as bar:
            records = _counted(corpus, bar)
            done = collection.add(records, on_conflict=on_conflict, progress=False)
    except (DocumentError, MetadataError) as error:
        raise type(error)(f"{corpus.source}: {error}") from error
    if done.truncated:
        tell(
            f"{done.truncated:,} passages are longer than the encoder reads: they are found by "
            "their start only"
        )
    if corpus.mended:
        tell(
            f"{corpus.mended:,} texts held NUL or half a surrogate pair, which no text has: now "
            "U+FFFD"
        )
    return done


def _counted(corpus: Corpus, bar: ProgressBar) -> Iterator[dict[str, Any]]:
    for record in corpus:
        yield record
        bar.advance()


def added_as_json(done: AddResult) -> dict[str, Any]:
    """Returns what an add did, as `--json` prints it."""
    names = ("added", "replaced", "updated", "unchanged", "skipped", "passages", "truncated")
    return {name: getattr(done, name) for name in names}
