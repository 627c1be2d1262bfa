"""Words of a query that no document has, and the words of documents that were probably meant.

Four in five misspellings are one letter too many, too few or wrong, or two letters swapped (Damerau
1964, "A technique for computer detection and correction of spelling errors"). All words that differ
from the one of the query in this way are looked up, which takes time in proportion to its length
and its alphabet, however many words the documents have.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final

from nestling.collection.ingest import arabic
from nestling.collection.ingest.analysis import is_single_character, query_terms, token

__all__ = ["FuzzyWords", "nearest_terms"]

Part = tuple[str, ...]
Count = Callable[[Sequence[str]], Sequence[int]]

_LETTERS: Final = range(4, 33)  # of a word that is corrected: of a shorter one, too much is near
_MOST: Final = 8  # unknown words of a query for which near ones are looked up
_NEAREST: Final = 2  # words that one is replaced by: the most frequent is not always what was meant
_BLOCK: Final = 256  # codes in which the letters of an alphabet stand together


class FuzzyWords:
    """Replaces the words of a query that no document has by the two most frequent that are near.

    Args:
        count: Returns how often each of some tokens occurs, or a bound that it reaches.

    Words with a digit are not replaced, because codes and numbers near each other mean different
    things; nor are words of scripts without spaces, which are searched for in pairs of characters.
    Of the unknown words, the first 8 are looked up, in all calls together.
    """

    def __init__(self, count: Count) -> None:
        self._count = count
        self._found: dict[str, list[str]] = {}  # for unknown words

    def rewrite(self, parts: Iterable[Part]) -> Iterator[Part]:
        """Yields parts of the query, some of their words replaced.

        Example:
            >>> words = FuzzyWords(lambda tokens: [3 * (token == "librari") for token in tokens])
            >>> list(words.rewrite([("old",), ("libarry",)]))
            [('old',), ('library',)]
        """
        for part in parts:
            if len(part) == 1 and self._is_unknown(part[0]):
                yield from ((term,) for term in self._nearest(part[0]))
            else:
                yield part

    def _is_unknown(self, term: str) -> bool:
        if term in self._found:
            return True
        full = len(self._found) == _MOST
        return not full and _is_correctable(term) and not self._count([token(term)])[0]

    def _nearest(self, term: str) -> list[str]:
        if term not in self._found:
            self._found[term] = nearest_terms(term, self._count)[:_NEAREST] or [term]
        return self._found[term]


def nearest_terms(term: str, count: Count) -> list[str]:
    """Returns the terms one letter away that occur, the most frequent first.

    Of several terms with one token, such as a word with different endings, one is returned.

    Args:
        term: A term, as `query_terms` returns it.
        count: As for `FuzzyWords`.

    Example:
        >>> counts = {"bread": 3, "red": 7}
        >>> nearest_terms("bred", lambda tokens: [counts.get(token, 0) for token in tokens])
        ['red', 'bread']
    """
    by_token: dict[str, str] = {}
    for edited in _edits(term):
        by_token.setdefault(token(edited), edited)
        # English is stemmed by `token`; in a term of Arabic, an ending may appear by the edit.
        stem = arabic.stem(edited)
        by_token.setdefault(token(stem), stem)
    by_token.pop(token(term), None)
    counted = zip(count(list(by_token)), by_token.values(), strict=True)
    return [near for number, near in sorted(counted, key=lambda each: -each[0]) if number]


def _is_correctable(term: str) -> bool:
    return len(term) in _LETTERS and term.isalpha() and len(query_terms(term)) == 1


def _edits(term: str) -> Iterator[str]:
    """Yields all terms with one letter removed, two swapped, one replaced, or one inserted."""
    halves = [(term[:place], term[place:]) for place in range(len(term) + 1)]
    yield from (first + second[1:] for first, second in halves if second)
    yield from (
        first + second[1] + second[0] + second[2:] for first, second in halves if len(second) > 1
    )
    letters = sorted({letter for each in term for letter in _alphabet(ord(each) // _BLOCK)})
    for first, second in halves:
        for letter in letters:
            yield first + letter + second
            if second:
                yield first + letter + second[1:]


@lru_cache(maxsize=64)
def _alphabet(block: int) -> tuple[str, ...]:
    """Returns the letters of a block of codes that stand in indexed terms as they are."""
    letters = map(chr, range(block * _BLOCK, (block + 1) * _BLOCK))
    return tuple(
        letter
        for letter in letters
        if unicodedata.category(letter) in ("Ll", "Lo")
        and query_terms(letter) == [letter]
        and not is_single_character((letter,))
    )
