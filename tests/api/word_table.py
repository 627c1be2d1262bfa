"""Words in FTS5 as a collection stores them, in a table of its own."""

from __future__ import annotations

import sqlite3

from nestling.bench.lexical.fts5 import TOKENIZER, match_expression
from nestling.collection.ingest.analysis import index_text


def table(*texts: str) -> sqlite3.Connection:
    database = sqlite3.connect(":memory:")
    database.execute(f'CREATE VIRTUAL TABLE t USING fts5(x, tokenize="{TOKENIZER}")')
    database.execute("CREATE VIRTUAL TABLE v USING fts5vocab(t, instance)")
    rows = enumerate(map(index_text, texts))
    database.executemany("INSERT INTO t(rowid, x) VALUES (?, ?)", rows)
    return database


def rows(database: sqlite3.Connection, query: str) -> list[int]:
    expression = match_expression(query)
    if expression is None:
        return []
    found = database.execute("SELECT rowid FROM t WHERE t MATCH ? ORDER BY rowid", [expression])
    return [row for (row,) in found]


def ranking(database: sqlite3.Connection, query: str) -> list[tuple[int, float]]:
    """Rows with their BM25, in the order of rows."""
    expression = match_expression(query)
    if expression is None:
        return []
    select = "SELECT rowid, -bm25(t) FROM t WHERE t MATCH ? ORDER BY rowid"
    return list(database.execute(select, (expression,)))


def found(text: str, query: str) -> bool:
    database = table(text)
    try:
        return rows(database, query) == [0]
    finally:
        database.close()
