"""What a reader meets besides documents: bad records, entries to pass over, replaced characters."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from nestling.errors import CorpusError, CorpusWarning
from nestling.inputs.bad_records import BadRecord

__all__ = ["ReadLog"]

_NOT_TEXT: Final = re.compile("[\0\ud800-\udfff]")


@dataclass(slots=True)
class ReadLog:
    r"""Collects what `read_documents` meets besides documents.

    Attributes:
        on_bad_record: Called with each record that cannot be a document, which is then left out;
            None to raise a `CorpusError`.
        on_note: Called with a sentence about each entry of a folder that is passed over or has an
            odd name; None for a `CorpusWarning`.
        sanitized: Strings so far in which NUL or lone surrogates were replaced by U+FFFD.
        infinite: Infinite numbers so far, which JSON lacks, and which were left out.

    Example:
        >>> from pathlib import Path
        >>> from nestling.corpus import read_documents
        >>> bad = []
        >>> _ = Path("corpus.jsonl").write_text('{"text": "bread"}\n{"text": 3}\n')
        >>> documents = read_documents("corpus.jsonl", log=ReadLog(on_bad_record=bad.append))
        >>> [document.text for document in documents], bad[0].line, bad[0].reason
        (['bread'], 2, "field 'text' must be a string, but is 3")
    """

    on_bad_record: Callable[[BadRecord], object] | None = None
    on_note: Callable[[str], object] | None = None
    sanitized: int = 0
    infinite: int = 0

    def bad_record(self, source: str, unit: str, line: int | None, reason: str) -> None:
        """Reports a record that cannot be a document.

        Args:
            source: The file.
            unit: What `line` counts: "line" or "row".
            line: The place; None for the file as a whole.
            reason: What is wrong.

        Raises:
            CorpusError: Nothing else is to be done with it.

        Example:
            >>> ReadLog(on_bad_record=print).bad_record("a.csv", "line", 2, "not CSV")
            BadRecord(source='a.csv', line=2, reason='not CSV')
        """
        if self.on_bad_record is None:
            place = source if line is None else f"{source}, {unit} {line}"
            raise CorpusError(f"{place}: {reason}")
        self.on_bad_record(BadRecord(source, line, reason))

    def note(self, sentence: str) -> None:
        """Reports an entry of a folder.

        Example:
            >>> ReadLog(on_note=print).note("notes/a.txt: passed over: empty")
            notes/a.txt: passed over: empty
        """
        if self.on_note is None:
            warnings.warn(sentence, CorpusWarning, stacklevel=3)
        else:
            self.on_note(sentence)

    def text(self, text: str) -> str:
        r"""Returns a text without NUL and lone surrogates, which are not text.

        Example:
            >>> ReadLog().text("a\0b") == "a\ufffdb"
            True
        """
        if text.isascii() and "\0" not in text:
            return text
        replaced, count = _NOT_TEXT.subn("\ufffd", text)
        self.sanitized += bool(count)
        return replaced
