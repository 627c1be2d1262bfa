"""The words of texts and queries, as the index of words has them.

A word is a run of letters, numbers and their marks; format characters in it (joiners, non-joiners,
directions of writing) are not seen. `index_text` gives each word in one spelling:
compatibility forms, case and accents folded, Arabic normalised and lightly stemmed. In scripts
without spaces between words (Chinese, Japanese, Thai, Khmer, ...) and in Korean, a run becomes
overlapping pairs of characters, each with its marks, as in Lucene's CJK analyser. The core then
stems English. Queries are analysed in the same way: they give the same tokens.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, lru_cache
from typing import Final, NamedTuple

from nestling import _core
from nestling.collection.ingest import arabic
from nestling.collection.ingest.characters import IGNORABLE, UNSPACED

__all__ = [
    "Rewrite",
    "Word",
    "index_text",
    "is_single_character",
    "query_parts",
    "query_terms",
    "token",
    "unfinished_word",
    "words",
]

_LAST_MARK: Final = 0x1E950  # beyond it only variation selectors are combining marks
_IGNORABLE: Final = re.compile(f"[{IGNORABLE}]")
_ASCII_WORD: Final = re.compile("[a-z0-9]+")
_QUOTE: Final = re.compile('["“”„«»]')
# Codes of Korean syllables: leading consonants, vowels, trailing consonants.
_LEADING: Final = "\u1100-\u115e\ua960-\ua97c"
_VOWELS: Final = "\u1161-\u11a7\ud7b0-\ud7c6"
_TRAILING: Final = "\u11a8-\u11ff\ud7cb-\ud7fb"
# The vowel "am" of Thai and Lao is one letter, in one code or in two.
_VOWELS_AM: Final = {"\u0e4d\u0e32": "\u0e33", "\u0ecd\u0eb2": "\u0eb3"}
_SYLLABLE: Final = f"[{_LEADING}][{_VOWELS}]?[{_TRAILING}]?"
_MAX_PHRASE: Final = 64  # terms
_MAX_CACHED: Final = 64  # characters of a word that is kept with its terms
_MAX_TOKEN_BYTES: Final = 32_768  # where the core cuts a token
# Combining classes of points and accents. The others are vowels, viramas and voicing marks, which
# distinguish words of Indic scripts, Thai and Japanese.
_ACCENTS: Final = frozenset((*range(10, 36), *range(200, 241)))

# Words that carry no meaning of their own and are in so many texts that ranking them all is slow.
# Without them, five queries over 200,000 short texts took 0.4 to 2.5 ms each instead of 65 to 150,
# and nDCG@10 rose by 0.005 (ARCD), 0.009 (SQuAD) and 0.012 (Cranfield).
_FUNCTION_WORDS: Final = """
a about an and are as at be been but by can did do does for from had has have he her his how i
if in into is it its me my of on or our s she so t than that the their them then there these
they this those to was we were what when where which who whom whose why will with would you your
من في على إلى عن مع هل ما ماذا متى أين كيف كم لماذا هو هي هم التي الذي الذين هذا هذه ذلك تلك كان
كانت أن إن أو ثم قد لا لم لن بعد قبل كل بين أي و
"""


Rewrite = Callable[[Sequence[str]], Iterable[tuple[str, ...]]]
"""A function from terms in a row to the parts of a query that are searched for in their place."""


class Word(NamedTuple):
    """A word of a text.

    Attributes:
        start: Its first character in the text.
        end: Its end, exclusive.
        term: The spelling that is indexed.
    """

    start: int
    end: int
    term: str


def words(text: str) -> list[Word]:
    """Returns the words of a text, in order; those of scripts without spaces overlap.

    Example:
        >>> words("Café au lait")
        [Word(start=0, end=4, term='cafe'), Word(start=5, end=7, term='au'), ...]
    """
    found = []
    for match in _word().finditer(text):
        word, start = match[0], match.start()
        if word.isascii():
            found.append(Word(start, match.end(), word.lower()))
        else:
            for first, last, term in _terms(word):
                found.append(Word(start + first, start + last, term))
    return found


def index_text(text: str) -> str:
    """Returns the text to index: the words in their indexed spelling, between spaces.

    Time is linear in the text; ASCII is left to the core.

    Example:
        >>> index_text("المكتبات، Café!")
        'مكتب cafe'
    """
    if text.isascii():
        return text.replace("\0", " ")
    return " ".join(
        word if word.isascii() else " ".join([term for _, _, term in _terms(word)])
        for word in _word().findall(text)
    )


def query_parts(query: str, rewrite: Rewrite | None = None) -> list[tuple[str, ...]]:
    """Returns the parts of a query: words, as tuples of one term, and phrases, of several.

    Text between double quotes is a phrase, of which the first 64 terms count. Function words
    outside phrases are left out, unless nothing else would remain. No part is repeated.

    Args:
        query: Any text.
        rewrite: Gives the parts of the terms outside phrases, for synonyms. Default: each term is
            a part.

    Example:
        >>> query_parts('who wrote "war and peace"')
        [('wrote',), ('war', 'and', 'peace')]
    """
    common = _function_terms()
    if rewrite is None and _QUOTE.search(query) is None:  # in fewer steps what is said below
        every = dict.fromkeys(query_terms(query))
        return [(term,) for term in every if term not in common] or list(zip(every))
    pieces = _QUOTE.split(query)
    parts: dict[tuple[str, ...], None] = {}
    for position, piece in enumerate(pieces):
        terms = query_terms(piece)
        # A quote that is never closed does not begin a phrase.
        if position % 2 and position < len(pieces) - 1:
            if terms:
                parts[tuple(terms[:_MAX_PHRASE])] = None
        else:
            if rewrite is None:
                parts.update(dict.fromkeys(zip(terms)))
            else:
                parts.update((part[:_MAX_PHRASE], None) for part in rewrite(terms))
    distinctive = [part for part in parts if len(part) > 1 or part[0] not in common]
    return distinctive or list(parts)


def unfinished_word(query: str) -> tuple[str, str]:
    """Returns a query without the word that it ends with, and the term of this word.

    The term is "" if the query ends otherwise, or in a script without spaces, where pairs of
    characters find longer words as they are.

    Example:
        >>> unfinished_word("rye brea"), unfinished_word("rye bread ")
        (('rye ', 'brea'), ('rye bread ', ''))
    """
    last = None
    for match in _word().finditer(query):
        last = match
    terms = () if last is None or last.end() < len(query) else _terms(last[0])
    if last is None or not terms or _unspaced_run().search(terms[-1][2]):
        return query, ""
    start, _, term = terms[-1]
    return query[: last.start() + start], term


def is_single_character(part: tuple[str, ...]) -> bool:
    """Returns whether a part of a query is one character of a script that is indexed in pairs."""
    return len(part) == 1 and not part[0].isascii() and _single().fullmatch(part[0]) is not None


def token(term: str) -> str:
    """Returns what the index has for a term of `words` or `query_parts`.

    Example:
        >>> token("libraries")
        'librari'
    """
    if len(term) <= _MAX_CACHED:
        return _stem(term)
    return term[:_MAX_TOKEN_BYTES]  # what is not ASCII is cut already


_stem = lru_cache(maxsize=1 << 16)(_core.stem)


def query_terms(text: str) -> list[str]:
    """Returns the terms of a query without phrases, in order.

    Example:
        >>> query_terms("Café au lait")
        ['cafe', 'au', 'lait']
    """
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    found = []
    for match in _word().finditer(text):
        terms = _terms(match[0])
        for position, (start, _, term) in enumerate(terms):
            # The last pair of a run includes its last character.
            repeated = position and start < terms[position - 1][1]
            if not (repeated and is_single_character((term,))):
                found.append(term)
    return found


@cache
def _function_terms() -> frozenset[str]:
    return frozenset(term for word in _FUNCTION_WORDS.split() for _, _, term in _terms(word))


@cache
def _marks() -> str:
    """Returns the combining marks as the inside of [...], because `re` has no class for them."""
    ranges: list[list[int]] = []
    for code in range(_LAST_MARK):
        if unicodedata.category(chr(code)) in ("Mn", "Mc"):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)


@cache
def _word() -> re.Pattern[str]:
    """Returns the pattern of a word."""
    return re.compile(rf"[^\W_]+(?:[{_marks()}{IGNORABLE}]+[^\W_]*)*")


@cache
def _unspaced_run() -> re.Pattern[str]:
    """Returns the pattern of a run of characters that are indexed in pairs."""
    return re.compile(f"(?![{_marks()}])[{UNSPACED}][{UNSPACED}{_marks()}]*")


@cache
def _character() -> re.Pattern[str]:
    """Returns the pattern of a character of decomposed text with its marks."""
    return re.compile(f"(?:{_SYLLABLE}|.)[{_marks()}]*")


@cache
def _single() -> re.Pattern[str]:
    """Returns the pattern of a term that is one character of those indexed in pairs."""
    vowels = "|".join(_VOWELS_AM)
    return re.compile(f"(?:{_SYLLABLE}|{vowels}|[{UNSPACED}{_marks()}])[{_marks()}]*")


@cache
def _part() -> re.Pattern[str]:
    """Returns the pattern of what joins other codes to one character."""
    return re.compile(f"[{_marks()}{_LEADING}{_VOWELS}{_TRAILING}]")


def _terms(word: str) -> tuple[tuple[int, int, str], ...]:
    """Returns start, end and term of the words in a run of letters; several if it has pairs."""
    if word.isascii():
        return ((0, len(word), word.lower()),)
    return _cached_terms(word) if len(word) <= _MAX_CACHED else tuple(_split(word))


@lru_cache(maxsize=1 << 16)
def _cached_terms(word: str) -> tuple[tuple[int, int, str], ...]:
    return tuple(_split(word))


def _split(word: str) -> Iterator[tuple[int, int, str]]:
    ignored = {match.start() for match in _IGNORABLE.finditer(word)}
    if not ignored:
        yield from _split_visible(word)
        return
    places = [place for place in range(len(word)) if place not in ignored]
    for first, last, term in _split_visible(_IGNORABLE.sub("", word)):
        end = places[last - 1] + 1
        # A variation selector belongs to the character before it, a direction of writing does not.
        while end in ignored and unicodedata.category(word[end]) == "Mn":
            end += 1
        yield places[first], end, term


def _split_visible(word: str) -> Iterator[tuple[int, int, str]]:
    end = 0
    for run in _unspaced_run().finditer(word):
        start = run.start()
        for term in _folded(word[end:start]):
            yield end, start, term
        end = run.end()
        characters = _characters(run[0])
        for position, (first, last, character) in enumerate(characters):
            term = character
            if position + 1 < len(characters):
                _, last, following = characters[position + 1]
                term += following
            yield start + first, start + last, _cut(term)
    for term in _folded(word[end:]):
        yield end, len(word), term


def _characters(run: str) -> list[tuple[int, int, str]]:
    """Returns start, end and spelling of each character of a run, with its marks."""
    if unicodedata.is_normalized("NFKC", run) and not _part().search(run):
        return [(place, place + 1, character) for place, character in enumerate(run)]
    places: list[int] = []
    parts: list[str] = []
    for place, character in enumerate(run):
        for part in unicodedata.normalize("NFKD", character).casefold():
            if unicodedata.combining(part) in _ACCENTS:
                continue
            if parts and (vowel := _VOWELS_AM.get(parts[-1] + part)):
                places[-1], parts[-1] = place, vowel
            else:
                places.append(place)
                parts.append(part)
    return [
        (
            places[match.start()],
            places[match.end() - 1] + 1,
            unicodedata.normalize("NFKC", match[0]),
        )
        for match in _character().finditer("".join(parts))
    ]


def _folded(word: str) -> list[str]:
    """Returns the terms of a word without pairs: one, seldom several, as for "½"."""
    if not word:
        return []
    if arabic.has_arabic(word):
        word = arabic.normalise(word)
    parts = unicodedata.normalize("NFKD", word).casefold()
    bare = "".join(c for c in parts if unicodedata.combining(c) not in _ACCENTS)
    found = _word().findall(unicodedata.normalize("NFKC", bare))
    return [_cut(arabic.stem(part)) for part in found]


def _cut(term: str) -> str:
    """Returns at most what the core keeps of a term, in whole characters."""
    if len(term) <= _MAX_TOKEN_BYTES // 4:
        return term
    return term.encode()[:_MAX_TOKEN_BYTES].decode(errors="ignore")
