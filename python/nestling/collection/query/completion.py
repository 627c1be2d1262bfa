"""The words that an unfinished one may become, as a user types.

A word that a query ends with is searched for by all words that begin so: the most frequent ones,
which count as one word together, as rare as all of them. So a rare word does not lead the ranking
because it happens to begin as a frequent one does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from nestling.collection.ingest.analysis import token, unfinished_word
from nestling.collection.query.terms import Count, PartKind

__all__ = ["Unfinished", "complete"]

Completions = Callable[[str, int], Sequence[str]]

_MOST: Final = 32  # words that one is completed to
_FEWEST_LETTERS: Final = 3  # that are left where an ending is taken off
_LONGEST_ENDING: Final = 3  # letters


class Unfinished(NamedTuple):
    """A query that ends with an unfinished word.

    Attributes:
        head: What is before the word.
        tokens: The tokens that the word is searched for by; none if the last word is finished.
    """

    head: str
    tokens: list[str]


def complete(count: Count, completions: Completions, query: str) -> Unfinished:
    """Returns a query without its last word, and what this may become.

    Documents are indexed without English and Arabic endings. So where no document has the word or
    one that begins so, up to three of its last letters are taken off: "runnin" finds "run".

    Args:
        count: As for `search_parts`.
        completions: Returns the most frequent tokens that begin so, at most so many.
        query: Any text.
    """
    head, term = unfinished_word(query)
    if not term:
        return Unfinished(query, [])
    own = token(term)
    found = dict.fromkeys([own, *completions(term, _MOST)])
    (known,) = count([([own], PartKind.PHRASE)])
    shorter = term
    fewest = max(_FEWEST_LETTERS, len(term) - _LONGEST_ENDING)
    while not known and len(found) == 1 and len(shorter) > fewest:
        shorter = shorter[:-1]
        found.update(dict.fromkeys(completions(shorter, _MOST)))
    return Unfinished(head, list(found))
