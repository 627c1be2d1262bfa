"""Where the words of a query occur in a passage, and the part of it that shows the most of them.

A word matches as it does in the index: both give the same token. So what is highlighted is what was
found. Spans refer to the original text and include its vowel marks and accents.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from nestling._util.value import Value
from nestling.collection.ingest.analysis import (
    Rewrite,
    is_single_character,
    query_parts,
    token,
    words,
)
from nestling.errors import ArgumentError

__all__ = ["SNIPPET_CHARACTERS", "Highlighter", "Snippet", "mark", "snippet"]

Span = tuple[int, int]
Tokens = tuple[str, ...]


SNIPPET_CHARACTERS: Final = 200


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Snippet(Value):
    """The part of a passage that shows the most words of a query.

    Attributes:
        text: The part.
        start: Its first character in the passage.
        end: Its end in the passage, exclusive.
        highlights: Start and end, in the part, of the words of the query.

    Example:
        >>> from nestling.collection import Snippet
        >>> Snippet("rye bread", 20, 29, ((4, 9),)).marked()
        'rye **bread**'
    """

    text: str
    start: int
    end: int
    highlights: tuple[Span, ...]

    def marked(self, before: str = "**", after: str = "**") -> str:
        """Returns the part with its highlights marked; it is not escaped.

        Args:
            before: Text to put before each highlight.
            after: Text to put after each highlight.

        Example:
            >>> Snippet("rye bread", 20, 29, ((4, 9),)).marked("[", "]")
            'rye [bread]'
        """
        return mark(self.text, self.highlights, before, after)


class Highlighter:
    """Finds the words and whole phrases of one query in passages.

    Args:
        query: A query, as for `query_parts`.
        rewrite: As for `query_parts`.
        tokens: Tokens to find as well.

    Example:
        >>> Highlighter("library").spans("Many libraries are old.")
        [(5, 14)]
    """

    def __init__(
        self, query: str, rewrite: Rewrite | None = None, tokens: Iterable[str] = ()
    ) -> None:
        singles, words, phrases = set(), set(tokens), set()
        for part in query_parts(query, rewrite):
            own = tuple(map(token, part))
            if len(own) > 1:
                phrases.add(_spaced(own))
            elif is_single_character(part):
                singles.add(own[0])
            else:
                words.add(own[0])
        self._words = frozenset(words)
        self._singles = tuple(singles)
        self._phrases = tuple(phrases)

    def spans(self, text: str) -> list[Span]:
        """Returns where a passage matches, in time linear in its length.

        Returns:
            [start, end) in characters, rising and disjoint.
        """
        found = words(text)
        tokens = [token(word.term) for word in found]
        spans = [
            (found[position].start, found[position].end)
            for position, each in enumerate(tokens)
            if each in self._words
        ]
        if self._singles:
            for position, each in enumerate(tokens):
                if each.startswith(self._singles):
                    start, end, _ = found[position]
                    # Of a pair, only the first character: the second begins the next word.
                    following = found[position + 1].start if position + 1 < len(found) else end
                    end = following if start < following < end else end
                    spans.append((start, end))
        if self._phrases:
            line = _spaced(tokens)
            starts = list(accumulate((len(each) + 1 for each in tokens), initial=0))
            for phrase in self._phrases:
                at = line.find(phrase)
                while at >= 0:
                    first, last = bisect_left(starts, at), bisect_left(starts, at + len(phrase) - 1)
                    spans.append((found[first].start, found[last - 1].end))
                    at = line.find(phrase, at + 1)
        return _joined(spans)


def _spaced(tokens: Iterable[str]) -> str:
    """Returns tokens with a space before and after each, so that they are found as whole ones."""
    return f" {' '.join(tokens)} "


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


def snippet(text: str, spans: Sequence[Span], width: int = SNIPPET_CHARACTERS) -> Snippet:
    """Returns the part of a text, of at most `width` characters, that shows the most spans.

    Parts are ranked by distinct words, then by spans, then by position. The part is centred on its
    spans, and begins and ends at white space where possible. Without spans, it is the beginning.

    Args:
        text: A passage.
        spans: Spans as `Highlighter.spans` returns them.
        width: The most characters.

    Raises:
        ArgumentError: `width` is below 1.

    Example:
        >>> snippet("the old library of books", [(8, 15)], width=12)
        Snippet(text='library of', start=8, end=18, highlights=((0, 7),))
    """
    if width < 1:
        raise ArgumentError(f"width must be 1 or more characters, not {width}")
    if len(text) <= width:
        return Snippet(text, 0, len(text), tuple(spans))
    first, last = _richest(text, spans, width)
    room = width - (last - first)
    start = max(0, min(first - room // 2, len(text) - width))
    end = min(len(text), start + width)
    start, end = _at_words(text, start, end, first, last)
    shown = (
        (max(a, start) - start, min(b, end) - start) for a, b in spans if a < end and b > start
    )
    return Snippet(text[start:end], start, end, tuple(shown))


def _richest(text: str, spans: Sequence[Span], width: int) -> Span:
    """Returns start and end of the best run of spans within `width`."""
    counts: dict[Tokens, int] = defaultdict(int)
    shown = [_tokens(text[first:last]) for first, last in spans]
    best = (0, 0)
    found = (0, 0)
    left = 0
    for right, (_, last) in enumerate(spans):
        counts[shown[right]] += 1
        while left < right and last - spans[left][0] > width:
            counts[shown[left]] -= 1
            if not counts[shown[left]]:
                del counts[shown[left]]
            left += 1
        here = (len(counts), right - left + 1)
        if here > best:
            best, found = here, (spans[left][0], min(last, spans[left][0] + width))
    return found


def _tokens(text: str) -> Tokens:
    return tuple([token(word.term) for word in words(text)])


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
