"""The words of texts and queries, as SQLite's FTS5 indexes them.

A word is a run of letters, numbers and their marks. `index_text` gives FTS5 each word in one
spelling: compatibility forms, case and accents folded, Arabic normalised and lightly stemmed. In
scripts without spaces (Chinese, Japanese), a run becomes overlapping pairs of characters, as in
Lucene's CJK analyser. FTS5's own `porter` then stems English. Queries are analysed in the same way,
so that they give the same tokens.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Final, NamedTuple

from nestling.collection.ingest import arabic

__all__ = [
    "TOKENIZER",
    "Word",
    "index_text",
    "is_single_character",
    "match_expression",
    "query_parts",
    "words",
]

TOKENIZER: Final = "porter unicode61 remove_diacritics 2 categories 'L* N* M*'"

_BIGRAM_RUN: Final = re.compile("[\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9f"
                            "\U00020000-\U0003134f]+")  # fmt: skip
# Inside a word but not part of it: soft hyphen, joiners, variation selectors.
_INVISIBLE: Final = "\u00ad\u034f\u200d\ufe00-\ufe0f\U000e0100-\U000e01ef"
_INVISIBLE_RUN: Final = re.compile(f"[{_INVISIBLE}]+")
_LAST_MARK: Final = 0x1E950  # beyond it only variation selectors are combining marks
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


class Word(NamedTuple):
    """A word of a text.

    Attributes:
        start: Its first character in the text.
        end: Its end, exclusive.
        term: The spelling that FTS5 indexes.
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
        start = match.start()
        for first, last, term in _terms(match[0]):
            found.append(Word(start + first, start + last, term))
    return found


def index_text(text: str) -> str:
    """Returns the text to store in FTS5: the words in their indexed spelling, between spaces.

    Time is linear in the text; ASCII is left to FTS5.

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


def query_parts(query: str) -> list[tuple[str, ...]]:
    """Returns the parts of a query: words, as tuples of one term, and phrases, of several.

    Text between double quotes is a phrase. Function words outside phrases are left out, unless
    nothing else would remain. No part is repeated.

    Example:
        >>> query_parts('who wrote "war and peace"')
        [('wrote',), ('war', 'and', 'peace')]
    """
    pieces = re.split('["“”„«»]', query)
    parts: dict[tuple[str, ...], None] = {}
    for position, piece in enumerate(pieces):
        terms = list(_query_terms(piece))
        # A quote that is never closed does not begin a phrase.
        if position % 2 and position < len(pieces) - 1:
            if terms:
                parts[tuple(terms)] = None
        else:
            parts.update(((term,), None) for term in terms)
    common = _function_terms()
    distinctive = [part for part in parts if len(part) > 1 or part[0] not in common]
    return distinctive or list(parts)


def match_expression(query: str) -> str | None:
    """Returns the FTS5 MATCH expression of rows with any word or phrase of a query.

    Any text gives a valid expression: words are quoted, so that FTS5 sees no operators in them.

    Returns:
        The expression, for a column of `index_text` under `TOKENIZER`; None if there is no word.

    Example:
        >>> match_expression("rust OR c++ (2024)")
        '"rust" OR "c" OR "2024"'
    """
    return " OR ".join(map(_quoted, query_parts(query))) or None


def is_single_character(part: tuple[str, ...]) -> bool:
    """Returns whether a part of a query is one character of a script that is indexed in pairs."""
    return len(part) == 1 and len(part[0]) == 1 and _BIGRAM_RUN.match(part[0]) is not None


def _quoted(part: tuple[str, ...]) -> str:
    text = " ".join(part).replace('"', '""')
    # Matches every pair that begins with it, and it at the end of a run: all its occurrences.
    return f'"{text}" *' if is_single_character(part) else f'"{text}"'


def _query_terms(text: str) -> Iterator[str]:
    for match in _word().finditer(text):
        terms = _terms(match[0])
        for position, (_, _, term) in enumerate(terms):
            # The last pair of a run includes its last character.
            repeated = position and terms[position - 1][2][1:] == term
            if not (repeated and is_single_character((term,))):
                yield term.lower()


@cache
def _function_terms() -> frozenset[str]:
    return frozenset(
        term.lower() for word in _FUNCTION_WORDS.split() for _, _, term in _terms(word)
    )


@cache
def _word() -> re.Pattern[str]:
    """Returns the pattern of a word; marks are listed because `re` has no class for them."""
    ranges: list[list[int]] = []
    for code in range(_LAST_MARK):
        if unicodedata.category(chr(code)) in ("Mn", "Mc"):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    marks = _INVISIBLE + "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)
    return re.compile(rf"[^\W_]+(?:[{marks}]+[^\W_]*)*")


@lru_cache(maxsize=1 << 16)
def _terms(word: str) -> tuple[tuple[int, int, str], ...]:
    """Returns start, end and term of the words in a run of letters; several if it has pairs."""
    if word.isascii():
        return ((0, len(word), word),)
    found: list[tuple[int, int, str]] = []
    end = 0
    for run in _BIGRAM_RUN.finditer(word):
        _add(found, end, run.start(), _folded(word[end : run.start()]))
        _add_pairs(found, run.start(), run[0])
        end = run.end()
    _add(found, end, len(word), _folded(word[end:]))
    return tuple(found)


def _add(found: list[tuple[int, int, str]], start: int, end: int, term: str) -> None:
    if term:
        found.append((start, end, term))


def _add_pairs(found: list[tuple[int, int, str]], start: int, run: str) -> None:
    folded = _folded(run)
    same = len(folded) == len(run)  # else half-width voicing marks were composed
    for offset in range(len(folded)):
        first = start + offset if same else start
        last = min(first + 2, start + len(run)) if same else start + len(run)
        found.append((first, last, folded[offset : offset + 2]))


def _folded(word: str) -> str:
    word = _INVISIBLE_RUN.sub("", word)
    if arabic.has_arabic(word):
        return arabic.stem(arabic.normalise(word))
    parts = unicodedata.normalize("NFKD", word).casefold()
    bare = "".join(c for c in parts if unicodedata.combining(c) not in _ACCENTS)
    return unicodedata.normalize("NFKC", bare)
