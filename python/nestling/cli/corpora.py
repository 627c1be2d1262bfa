"""Corpora into collections: the work behind `index`, `add` and `demo`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Literal

from nestling._util.console import notify
from nestling._util.progress import ProgressBar
from nestling.corpus import Document, Fields, ReadLog, read_documents, read_stream
from nestling.errors import DocumentError, IdError, MetadataError, StorageError, VectorError
from nestling.inputs.bad_records import BadRecord

if TYPE_CHECKING:
    from nestling.collection import AddResult, Collection
    from nestling.collection.ingestor import OnConflict
    from nestling.collection.upkeep.transfer import ExportFile

__all__ = ["BadRecordFile", "Corpus", "OnBadRecord", "add_corpus", "counts_as_json"]

OnBadRecord = Literal["error", "skip"]
STDIN: Final = "-"
_MAX_NOTES: Final = 20  # about entries of a folder, printed one by one


@dataclass(slots=True)
class BadRecordFile:
    r"""A JSONL file of the records that were skipped; it is made with the first of them.

    Attributes:
        path: The file; an old one is replaced.
        count: Records so far.

    Example:
        >>> with ExitStack() as stack:
        ...     file = BadRecordFile(Path("bad.jsonl"), stack)
        ...     file.write(BadRecord("corpus.jsonl", 3, "not JSON"))
        >>> Path("bad.jsonl").read_text()
        '{"source": "corpus.jsonl", "line": 3, "reason": "not JSON"}\n'
    """

    path: Path
    stack: ExitStack
    count: int = 0
    _stream: IO[str] | None = None

    def write(self, record: BadRecord) -> None:
        """Writes one record.

        Raises:
            StorageError: The system refused to write.
        """
        try:
            if self._stream is None:
                stream = self.path.open("w", encoding="utf-8")
                self._stream = self.stack.enter_context(stream)
            self._stream.write(json.dumps(asdict(record)) + "\n")
        except OSError as error:
            raise StorageError(error.errno, error.strerror, str(self.path)) from error
        self.count += 1


@dataclass(slots=True)
class Corpus:
    """The documents of a source, in the form that `Collection.add` takes.

    Attributes:
        source: A file or folder that `read_documents` reads, a file that `export` wrote, or "-".
        fields: Which fields of a record to read.
        log: What becomes of records that cannot be documents, and of odd entries of a folder.
        total: How many documents there are; None until they were counted.

    Example:
        >>> _ = Path("corpus.jsonl").write_text('{"_id": "w", "text": "whales sing"}')
        >>> [record.text for record in Corpus("corpus.jsonl", Fields())]
        ['whales sing']
    """

    source: str
    fields: Fields
    log: ReadLog = field(default_factory=lambda: ReadLog(on_note=notify))
    total: int | None = None

    def __iter__(self) -> Iterator[Document | dict[str, Any]]:
        return iter(self.export() or self._documents(self.log))

    def export(self) -> ExportFile | None:
        """Returns the source as a file that `export` wrote; None if it is something else."""
        from nestling.collection.upkeep.transfer import ExportFile, is_export

        path = Path(self.source)
        return ExportFile(path, self.log) if self.source != STDIN and is_export(path) else None

    def check(self) -> None:
        """Reads a file or folder to its end, so that a bad record is found before the encoding.

        Raises:
            CorpusError: It cannot be read.
        """
        if self.source != STDIN:
            quiet = ReadLog(on_note=lambda sentence: None)
            self.total = sum(1 for _ in self._documents(quiet))

    def _documents(self, log: ReadLog) -> Iterator[Document]:
        if self.source == STDIN:
            return read_stream(sys.stdin.buffer, "stdin", fields=self.fields, log=log)
        return read_documents(self.source, fields=self.fields, log=log)


def add_corpus(
    collection: Collection,
    corpus: Corpus,
    *,
    on_conflict: OnConflict = "replace",
    on_bad_record: OnBadRecord = "error",
    bad_records: Path,
) -> tuple[AddResult, int]:
    """Adds a corpus to a collection, and says on stderr what was cut, sanitized or left out.

    Args:
        collection: The collection.
        corpus: The corpus.
        on_conflict: As for `Collection.add`.
        on_bad_record: Whether a record that cannot be a document is an error, or is skipped.
        bad_records: The file that lists skipped records.

    Returns:
        What was added, and how many records were skipped.

    Raises:
        CorpusError: The corpus cannot be read.
        DocumentError, MetadataError, VectorError: A document cannot be stored; the message names
            the corpus.
        IdError, LockedError, StorageError: As for `Collection.add`.
    """
    notes = _Notes()
    with ExitStack() as stack, ProgressBar("Adding", total=corpus.total) as bar:
        skipped = BadRecordFile(bad_records, stack)
        corpus.log.on_note = notes.add
        if on_bad_record == "skip":
            corpus.log.on_bad_record = skipped.write
        export = corpus.export()
        try:
            result = collection.add(
                _counted(corpus if export is None else export, bar),
                on_conflict=on_conflict,
                on_bad_record="error" if export is None else export.reject,
                progress=False,
            )
        except (DocumentError, IdError, MetadataError, VectorError) as error:
            raise type(error)(f"{corpus.source}: {error}") from error
    notes.close()
    if result.truncated:
        notify(
            f"{result.truncated:,} passages are longer than the encoder reads; only their starts "
            "can be found."
        )
    if corpus.log.sanitized:
        notify(
            f"{corpus.log.sanitized:,} texts contained NUL or lone surrogates, which are not text; "
            "they were replaced by U+FFFD."
        )
    if corpus.log.infinite:
        notify(f"{corpus.log.infinite:,} infinite numbers in metadata were left out.")
    if skipped.count:
        notify(f"{skipped.count:,} records were skipped; {skipped.path} lists them.")
    return result, skipped.count


@dataclass(slots=True)
class _Notes:
    """Prints the first notes, and counts the others."""

    count: int = 0

    def add(self, sentence: str) -> None:
        self.count += 1
        if self.count <= _MAX_NOTES:
            notify(sentence)

    def close(self) -> None:
        if self.count > _MAX_NOTES:
            notify(f"… and {self.count - _MAX_NOTES:,} more")


def _counted(
    records: Iterable[Document | dict[str, Any]], bar: ProgressBar
) -> Iterator[Document | dict[str, Any]]:
    for record in records:
        yield record
        bar.advance()


def counts_as_json(result: AddResult, bad_records: int) -> dict[str, Any]:
    """Returns the counts of an add as `--json` prints them."""
    names = ("added", "replaced", "updated", "unchanged", "skipped", "passages", "truncated")
    return {**{name: getattr(result, name) for name in names}, "bad_records": bad_records}
