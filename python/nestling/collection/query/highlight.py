"""Where the words of a query occur in a passage, and the part of it that shows the most of them.

A word matches as it does in the index: FTS5 itself stems it (in an empty database in memory, for
the few words that share a first letter with a word of the query). So what is highlighted is what
was found, without a second stemmer that would have to agree. Spans refer to the original text and
include its vowel marks and accents.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from nestling.collection.ingest.analysis import (
    TOKENIZER,
    is_single_character,
    query_parts,
    words,
)
from nestling.errors import ArgumentError

__all__ = ["Snippet", "highlight", "mark", "snippet"]

Span = tuple[int, int]
_Key = tuple[str, ...]


class Snippet(NamedTuple):
    """A part of a text.

    Attributes:
        start: Its first character in the text.
        end: Its end, exclusive.
        spans: The highlights in it, counted from its start.
    """

    start: int
    end: int
    spans: list[Span]


def highlight(text: str, query: str) -> list[Span]:
    """Returns the spans of `text` that match words or whole phrases of `query`.

    Args:
        text: A passage.
        query: A query, as for `match_expression`.

    Returns:
        [start, end) in characters, rising and disjoint.

    Example:
        >>> highlight("Many libraries are old.", "library")
        [(5, 14)]
    """
    parts = query_parts(query)
    found = words(text)
    terms = [word.term.lower() for word in found]
    initials = {term[0] for part in parts for term in part}
    query_terms = {term for part in parts for term in part}
    keys = _stems(query_terms | {term for term in terms if term[0] in initials})
    phrases: dict[_Key, list[list[_Key]]] = defaultdict(list)
    singles = {part[0] for part in parts if is_single_character(part)}
    for part in parts:
        phrases[keys[part[0]]].append([keys[term] for term in part])
    text_keys = [keys.get(term, ()) for term in terms]
    spans: list[Span] = []
    for position, key in enumerate(text_keys):
        if not key:
            continue
        start = found[position].start
        spans += [
            (start, found[position + len(phrase) - 1].end)
            for phrase in phrases.get(key, ())
            if text_keys[position : position + len(phrase)] == phrase
        ]
        if terms[position][0] in singles:
            spans.append((start, start + 1))
    return _joined(spans)


def mark(text: str, spans: Iterable[Span], before: str = "<b>", after: str = "</b>") -> str:
    """Returns `text` with `before` and `after` around each span.

    The text is not escaped: for HTML, escape its parts first.

    Example:
        >>> mark("Many libraries", [(5, 14)], "[", "]")
        'Many [libraries]'
    """
    parts = []
    end = 0
    for first, last in spans:
        parts += [text[end:first], before, text[first:last], after]
        end = last
    return "".join([*parts, text[end:]])


def snippet(text: str, spans: Sequence[Span], width: int = 200) -> Snippet:
    """Returns the part of a text, of at most `width` characters, that shows the most spans.

    Parts are ranked by distinct spellings, then by spans, then by position. The part is centred on
    its spans, and begins and ends at white space where possible.

    Args:
        text: A passage.
        spans: Spans as `highlight` returns them.
        width: The most characters.

    Raises:
        ArgumentError: `width` is below 1.

    Example:
        >>> snippet("the old library of books", [(8, 15)], width=12)
        Snippet(start=8, end=18, spans=[(0, 7)])
    """
    if width < 1:
        raise ArgumentError(f"width must be 1 or more characters, not {width}")
    if len(text) <= width:
        return Snippet(0, len(text), list(spans))
    first, last = _richest(text, spans, width)
    room = width - (last - first)
    start = max(0, min(first - room // 2, len(text) - width))
    end = min(len(text), start + width)
    start, end = _at_words(text, start, end, first, last)
    shown = [
        (max(a, start) - start, min(b, end) - start) for a, b in spans if a < end and b > start
    ]
    return Snippet(start, end, shown)


def _richest(text: str, spans: Sequence[Span], width: int) -> Span:
    """Returns start and end of the best run of spans within `width`."""
    counts: dict[str, int] = defaultdict(int)
    best = (0, 0)
    found = (0, 0)
    left = 0
    for right, (first, last) in enumerate(spans):
        counts[text[first:last].lower()] += 1
        while left < right and last - spans[left][0] > width:
            spelling = text[slice(*spans[left])].lower()
            counts[spelling] -= 1
            if not counts[spelling]:
                del counts[spelling]
            left += 1
        here = (len(counts), right - left + 1)
        if here > best:
            best, found = here, (spans[left][0], min(last, spans[left][0] + width))
    return found


def _at_words(text: str, start: int, end: int, first: int, last: int) -> Span:
    """Moves the ends of a part inwards to white space, but not past `first` and `last`."""
    if start and not text[start - 1].isspace():
        head = text[start:first]
        gaps = [offset for offset, character in enumerate(head) if character.isspace()]
        start = start + gaps[0] + 1 if gaps else start
    if end < len(text) and not (text[end].isspace() or text[end - 1].isspace()):
        tail = text[last:end].rsplit(None, 1)
        if len(tail) == 2 or text[last:end][:1].isspace():
            end = end - len(tail[-1]) if tail else last
    part = text[start:end]
    start, end = start + len(part) - len(part.lstrip()), start + len(part.rstrip())
    return (start, end) if start < end else (first, max(last, first))


def _joined(spans: list[Span]) -> list[Span]:
    """Returns the spans in order, with overlapping ones joined."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start < found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def _stems(terms: Iterable[str]) -> dict[str, _Key]:
    """Returns the tokens of each term, as FTS5 makes them."""
    listed = sorted(terms)
    found: dict[str, list[str]] = {term: [] for term in listed}
    if not listed:
        return {}
    database = sqlite3.connect(":memory:")
    try:
        database.execute(f'CREATE VIRTUAL TABLE t USING fts5(x, tokenize="{TOKENIZER}")')
        database.execute("CREATE VIRTUAL TABLE v USING fts5vocab(t, instance)")
        database.executemany("INSERT INTO t(rowid, x) VALUES (?, ?)", enumerate(listed))
        for token, row in database.execute("SELECT term, doc FROM v ORDER BY doc, offset"):
            found[listed[row]].append(token)
    finally:
        database.close()
    return {term: tuple(tokens) for term, tokens in found.items()}
