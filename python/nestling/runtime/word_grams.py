"""Runs of four letters inside words, which have rows of their own beside the tokens of a text.

Forms of a word share most of their runs: what is known of one helps with another that no text had
(Bojanowski et al. 2017, "Enriching Word Vectors with Subword Information"). Arabic, whose words
have many forms, gains most. The begin and the end of a word count as letters.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final

__all__ = ["WordGrams", "grams_of"]

_SIZE: Final = 4
_LETTERS: Final = re.compile(r"\w+").findall
# What is read of a text: a query has no more, and a document is not what they are for.
_MOST_WORDS: Final = 256
_MOST_LETTERS: Final = 4096
_MOST_KNOWN: Final = 32_768  # words that are kept; when there are more, it begins again
_LONGEST_KNOWN: Final = 64  # letters of a word that is kept
_TATWEEL: Final = "ـ"  # stretches an Arabic word and says nothing


def grams_of(word: str) -> Iterator[str]:
    """Yields the runs of four letters of a word, which may hold other characters beside letters.

    Case, marks above and below letters, and ways to write the same letter make no difference.

    Args:
        word: What stands between two spaces.

    Example:
        >>> list(grams_of("Sings!"))
        ['<sin', 'sing', 'ings', 'ngs>']
        >>> list(grams_of("أُمّ")) == list(grams_of("ام"))
        True
    """
    for letters in _LETTERS(_plain(word)):
        whole = f"<{letters}>"
        for start in range(len(whole) - _SIZE + 1):
            yield whole[start : start + _SIZE]


class WordGrams:
    """The runs of letters that have a row. Threads may share it.

    Args:
        grams: The runs, each once.
        first: The id of the first one; the others follow.

    Attributes:
        first: As given.

    Example:
        >>> grams = WordGrams(["<sin", "ing>"], first=100)
        >>> grams.ids("It sings: singing"), len(grams)
        ([100, 100, 101], 2)
    """

    def __init__(self, grams: Sequence[str], first: int) -> None:
        self.first = first
        self._ids = {gram: first + place for place, gram in enumerate(grams)}
        self._known: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def ids(self, text: str) -> list[int]:
        """Returns the ids of the runs of a text's first words, in their order."""
        known = self._known
        ids: list[int] = []
        for word in text[:_MOST_LETTERS].split(None, _MOST_WORDS)[:_MOST_WORDS]:
            found = known.get(word)
            ids += self._learn(word) if found is None else found
        return ids

    def _learn(self, word: str) -> list[int]:
        rows = [self._ids[gram] for gram in grams_of(word) if gram in self._ids]
        if len(word) <= _LONGEST_KNOWN:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[word] = rows
        return rows


def _plain(word: str) -> str:
    if word.isascii():
        return word.lower()
    letters = unicodedata.normalize("NFKD", word).casefold().replace(_TATWEEL, "")
    return "".join(itertools.filterfalse(unicodedata.combining, letters))
