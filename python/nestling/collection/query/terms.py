"""Which words of a query are searched for: of a long one, the rarest.

The rarest words weigh most in BM25. Questions are short and keep all of their words; of a pasted
page, the frequent words cost much and decide little.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Final

from nestling.collection.ingest.analysis import (
    Rewrite,
    is_single_character,
    query_parts,
    token,
)

__all__ = ["MAX_PARTS", "IndexedPart", "PartKind", "indexed", "search_parts"]

MAX_PARTS: Final = 32
"""Words and phrases of a query that are searched for."""
_MAX_CONSIDERED: Final = 1_000  # of which they are chosen

Part = tuple[str, ...]


class PartKind(IntEnum):
    """What the tokens of a part stand for; the numbers are those of the core."""

    PHRASE = 0
    """The tokens in a row, often only one."""
    PREFIX = 1
    """All that begin with the only token, as if they were the same."""
    ANY = 2
    """Any of the tokens, each as rare as all together."""


IndexedPart = tuple[list[str], int]
"""The tokens of a part, and a `PartKind`."""
Count = Callable[[Sequence[IndexedPart]], Sequence[int]]


def search_parts(count: Count, query: str, rewrite: Rewrite | None = None) -> list[Part]:
    """Returns the words and phrases of a query that are searched for, in their order.

    These are all of up to 32; of more, the 32 in the fewest rows, of those that occur among the
    first 1,000. Of equally rare ones, the first are taken. A phrase is as rare as its rarest word.

    Args:
        count: Returns in how many rows each of some parts occurs.
        query: A query, as for `query_parts`.
        rewrite: As for `query_parts`.
    """
    parts = query_parts(query, rewrite)
    if len(parts) <= MAX_PARTS:
        return parts
    considered = parts[:_MAX_CONSIDERED]
    counts = count(indexed(considered))
    present = [place for place, count in enumerate(counts) if count]
    rarest = sorted(present, key=counts.__getitem__)[:MAX_PARTS]
    return [considered[place] for place in sorted(rarest)]


def indexed(parts: Sequence[Part]) -> list[IndexedPart]:
    """Returns parts of a query as the index has them."""
    return [
        _indexed_term(*part) if len(part) == 1 else (list(map(token, part)), PartKind.PHRASE)
        for part in parts
    ]


def _indexed_term(term: str) -> IndexedPart:
    # The kinds are 0 and 1, as booleans are.
    return [token(term)], not term.isascii() and is_single_character((term,))
