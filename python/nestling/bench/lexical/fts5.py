"""SQLite's FTS5, with the tokens of a collection and no text in the index."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from nestling.bench.lexical.engine import Configuration, Selected, WordEngine, folder_size
from nestling.bench.lexical.workload import Question, Tags
from nestling.collection.ingest.analysis import index_text, is_single_character, query_parts

__all__ = ["TOKENIZER", "configurations", "match_expression"]

# Every character beyond ASCII is part of a token, so that the analysis of a collection decides on
# words alone, whatever edition of Unicode SQLite was built with.
TOKENIZER: Final = "porter ascii"

_TABLES: Final = f"""
PRAGMA journal_mode = WAL;
CREATE VIRTUAL TABLE words USING fts5(text, content='', tokenize="{TOKENIZER}");
CREATE TABLE tags(row INTEGER PRIMARY KEY, hundredth INTEGER, half INTEGER);
"""
_SEARCH: Final = "SELECT words.rowid FROM words {} WHERE words MATCH ? {} ORDER BY rank LIMIT ?"
_COMMIT: Final = 65_536  # documents of a transaction


def match_expression(query: str) -> str | None:
    """Returns the MATCH expression of rows with any word or phrase of a query.

    Any text gives a valid expression: words are quoted, so that FTS5 sees no operators in them.

    Returns:
        The expression, for a column of `index_text` under `TOKENIZER`; None if there is no word.

    Example:
        >>> match_expression("rust OR c++ (2024)")
        '"rust" OR "c" OR "2024"'
    """
    return " OR ".join(map(_quoted, query_parts(query))) or None


def _quoted(part: tuple[str, ...]) -> str:
    text = " ".join(part)
    # Matches every pair that begins with it, and it at the end of a run: all its occurrences.
    return f'"{text}" *' if is_single_character(part) else f'"{text}"'


def configurations() -> list[Configuration]:
    """Returns the only configuration."""
    return [Configuration(f"tokenizer {TOKENIZER}", _Table)]


class _Table(WordEngine):
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._connection = sqlite3.connect(folder / "words.db", isolation_level=None)
        self._connection.executescript(_TABLES)

    def build(self, texts: Sequence[str], tags: Tags) -> None:
        execute = self._connection.execute
        for start in range(0, len(texts), _COMMIT):
            numbers = range(start, min(start + _COMMIT, len(texts)))
            execute("BEGIN")
            self._connection.executemany(
                "INSERT INTO words(rowid, text) VALUES (?, ?)",
                ((number, index_text(texts[number])) for number in numbers),
            )
            values = (tag[numbers.start : numbers.stop].tolist() for tag in tags)
            self._connection.executemany(
                "INSERT INTO tags VALUES (?, ?, ?)", zip(numbers, *values, strict=True)
            )
            execute("COMMIT")
        execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def search(self, question: Question, k: int, where: Selected | None) -> Sequence[int]:
        expression = match_expression(question.words)
        if where is None:
            found = self._connection.execute(_SEARCH.format("", ""), (expression, k))
        else:
            # CROSS JOIN: the words first, and then the tags of what they match.
            query = _SEARCH.format(
                "CROSS JOIN tags ON tags.row = words.rowid", f"AND tags.{where.tag} = ?"
            )
            found = self._connection.execute(query, (expression, where.value, k))
        return [row for (row,) in found]

    def size(self) -> int:
        return folder_size(self._folder)
