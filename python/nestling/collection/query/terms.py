"""Which words of a long query are searched for: the rarest.

BM25 scores every row that has any of the words, so that the time of a search grows with the rows of
its most frequent words, while the rarest weigh most in the scores. Questions are short and keep all
of their words; of a pasted page, the frequent words cost seconds and decide little.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

from nestling.collection.ingest.analysis import (
    Rewrite,
    is_single_character,
    query_parts,
    token,
)

__all__ = ["MAX_PARTS", "search_parts"]

MAX_PARTS: Final = 32
"""Words and phrases of a query that are searched for."""
_MAX_CONSIDERED: Final = 1_000  # of which they are chosen
_FIRST_LIMIT: Final = 64  # occurrences that are counted of each word at first
_GROWTH: Final = 8

Part = tuple[str, ...]


def search_parts(
    connection: sqlite3.Connection, query: str, rewrite: Rewrite | None = None
) -> list[Part]:
    """Returns the words and phrases of a query that are searched for, in their order.

    These are all of up to 32; of more, the 32 rarest that occur among the first 1,000. Of equally
    rare ones, the first are taken.

    Args:
        connection: A transaction of the database.
        query: A query, as for `query_parts`.
        rewrite: As for `query_parts`.
    """
    parts = query_parts(query, rewrite)
    if len(parts) <= MAX_PARTS:
        return parts
    considered = parts[:_MAX_CONSIDERED]
    chosen = _rarest(connection, considered)
    return [part for part in considered if part in chosen]


def _rarest(connection: sqlite3.Connection, parts: Sequence[Part]) -> set[Part]:
    """Returns the rarest parts of those that occur.

    The occurrences of each are counted up to a limit, which grows until enough parts stay below it.
    So no word costs many times as much as the rarest ones.
    """
    connection.execute(
        "CREATE VIRTUAL TABLE IF NOT EXISTS temp.occurrences USING fts5vocab(main, words, instance)"
    )
    counted: list[tuple[int, Part]] = []
    left: Iterable[Part] = parts
    limit = _FIRST_LIMIT
    while left and len(counted) < MAX_PARTS:
        counts = [(_count(connection, part, limit), part) for part in left]
        counted += [line for line in counts if 0 < line[0] < limit]  # absent ones find nothing
        left = [part for count, part in counts if count >= limit]
        limit *= _GROWTH
    counted.sort(key=lambda line: line[0])
    return {part for _, part in counted[:MAX_PARTS]}


def _count(connection: sqlite3.Connection, part: Part, limit: int) -> int:
    """Returns how often a part occurs, at most; `limit` if it may be that or more.

    A phrase is as frequent as its rarest term at most.
    """
    if is_single_character(part):  # matches every pair that begins with it
        return _occurrences(connection, part[0], f"{part[0]}\U0010ffff", limit)
    least = limit
    for term in dict.fromkeys(part):
        indexed = token(term)
        least = _occurrences(connection, indexed, indexed, least)
        if not least:
            break
    return least


def _occurrences(connection: sqlite3.Connection, first: str, last: str, limit: int) -> int:
    found = "SELECT 1 FROM temp.occurrences WHERE term >= ? AND term <= ? LIMIT ?"
    query = f"SELECT count(*) FROM ({found})"  # noqa: S608 - our own words
    (count,) = connection.execute(query, (first, last, limit)).fetchone()
    return int(count)
