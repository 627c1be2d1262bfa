"""Long texts as passages of whole sentences, some of which two neighbours share.

A sentence ends at . ! ? … or their like in Arabic, Chinese and Japanese, at a blank line, before an
item of a list and after a heading; not at a decimal point, an abbreviation or an initial, nor where
small letters go on. The rules are few and need no model.

Two libraries were tried. pysbd takes 5 seconds a megabyte (this: 0.05) and ends Arabic sentences at
commas. semantic-text-splitter is fast on prose, but quadratic on text without punctuation (400,000
characters of one word: 1.6 s), and ends sentences after "Dr." (Unicode's UAX 29).
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from dataclasses import dataclass
from typing import Final

__all__ = ["Passages"]

_CLOSERS: Final = "\"'”’»›)\\]}」』】）〉》"
_BREAK: Final = re.compile(
    rf"""
      (?P<mark>[.!?…؟۔।](?<![.!?…؟۔।].)[.!?…؟۔।]*(?:[^\S\n][.!?…؟۔।]+)*)[{_CLOSERS}]*(?P<gap>\s+)
    | [。！？｡](?<![。！？｡].)[。！？｡]*[{_CLOSERS}]*\s*
    | \n(?=[^\S\n]*(?:[-*+•◦▪–—]|\#{{1,6}}|[0-9٠-٩]{{1,3}}[.)])[^\S\n])
    | \n[^\S\n]*\n\s*
    | ^\#{{1,6}}[^\S\n][^\n]*\n
    """,
    re.VERBOSE | re.MULTILINE,
)
_LONGEST_WORD: Final = 20  # before a full stop, that can be an abbreviation
_TITLES: Final = (
    "mr mrs ms mx dr prof st sr jr rev hon gen col capt lt sgt maj gov sen rep pres messrs mme mlle"
)
_SHORT: Final = (
    "fig figs eq eqs sec ch vol ed eds pp cf ca al approx vs viz resp incl tel ext dept univ inc"
    " ltd co corp bros est jan feb apr jun jul aug sep sept oct nov dec bzw"
)
_ABBREVIATIONS: Final = frozenset(f"{_TITLES} {_SHORT}".split())
_BEFORE_NUMBERS: Final = frozenset(("no", "nos", "nr", "p", "art", "para", "op"))
_CLAUSES: Final = (", ", "; ", ": ", " – ", " — ", "،", "؛", "、", "，", "；", "：")
_MOST_MARKS: Final = 64  # that a hard cut steps back over to keep a character whole
_JOINER: Final = "\u200d"

Span = tuple[int, int]


@dataclass(frozen=True)
class Passages:
    """How long texts are split.

    Attributes:
        size: The most characters of a passage.
        overlap: The most characters, of whole sentences, that a passage repeats of the one before;
            at most half of `size`.

    Raises:
        ValueError: A number is out of range.

    Example:
        >>> text = "One sentence. Another one. The third."
        >>> [text[start:end] for start, end in Passages(size=28, overlap=14).spans(text)]
        ['One sentence. Another one.', 'Another one. The third.']
    """

    size: int = 1000
    overlap: int = 150

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size must be 1 or more characters, not {self.size}")
        if not 0 <= self.overlap <= self.size // 2:
            raise ValueError(
                f"overlap must be 0 to half of size, {self.size // 2}, not {self.overlap}"
            )

    def spans(self, text: str) -> list[Span]:
        """Returns where the passages of a text are, in time linear in its length.

        Args:
            text: Any text. One of at most `size` characters is one passage, whole.

        Returns:
            [start, end) in characters, both rising; together they hold every character that is not
            white space, and none begins or ends with that, save a short text kept whole. Empty for
            a text of white space alone.
        """
        if not text or text.isspace():
            return []
        if len(text) <= self.size:
            return [(0, len(text))]
        return self._packed(_pieces(text, self.size))

    def _packed(self, pieces: list[Span]) -> list[Span]:
        """Joins neighbours for as long as they fit."""
        starts = [start for start, _ in pieces]
        found = []
        first = last = 0
        while True:
            while last + 1 < len(pieces) and pieces[last + 1][1] - starts[first] <= self.size:
                last += 1
            found.append((starts[first], pieces[last][1]))
            if last + 1 == len(pieces):
                return found
            # What is repeated must leave room for something new.
            least = max(pieces[last][1] - self.overlap, pieces[last + 1][1] - self.size)
            last += 1
            first = bisect_left(starts, least, first + 1, last)


def _pieces(text: str, size: int) -> list[Span]:
    """Returns the sentences, those longer than `size` in parts, without white space about them."""
    found: list[Span] = []
    for start, end in _sentences(text):
        whole = text[start:end]
        first = start + len(whole) - len(whole.lstrip())
        last = first + len(whole.strip())
        while last - first > size:
            cut = _cut(text, first, first + size)
            found.append((first, first + len(text[first:cut].rstrip())))
            rest = text[cut : cut + size + 1]
            blank = len(rest) - len(rest.lstrip())
            while blank == len(rest) and cut + blank < last:  # white space longer than a passage
                cut += blank
                rest = text[cut : cut + size + 1]
                blank = len(rest) - len(rest.lstrip())
            first = cut + blank
        if first < last:
            found.append((first, last))
    return found


def _sentences(text: str) -> list[Span]:
    found = []
    start = 0
    for match in _BREAK.finditer(text):
        if match["mark"] is None or _ends(text, match):
            found.append((start, match.end()))
            start = match.end()
    found.append((start, len(text)))
    return found


def _ends(text: str, match: re.Match[str]) -> bool:
    """Tells whether a mark with white space behind it ends a sentence."""
    if match["gap"].count("\n") > 1:
        return True
    after = text[match.end() : match.end() + 1]
    if after.islower():
        return False
    if match["mark"] != ".":
        return True
    before = text[max(0, match.start() - _LONGEST_WORD) : match.start()]
    word = before.split()[-1] if before and not before[-1].isspace() else ""
    word = word.lstrip("\"'“‘«‹([{")
    if len(word) == 1 and word.isalpha():
        return word == "I"
    if "." in word and all(len(part) == 1 and part.isalpha() for part in word.split(".")):
        return False
    if word.isdecimal():
        return not _opens_line(text, match.start() - len(word))
    small = word.lower()
    return small not in _ABBREVIATIONS and not (small in _BEFORE_NUMBERS and after.isdecimal())


def _opens_line(text: str, place: int) -> bool:
    """Tells whether only blanks stand between the start of a line and `place`: a list's number."""
    line = text[max(0, place - _LONGEST_WORD) : place].rstrip(" \t")
    return line.endswith("\n") or (not line and place <= _LONGEST_WORD)


def _cut(text: str, start: int, end: int) -> int:
    """Returns where to cut a sentence that goes on beyond `end`, in (start, end]."""
    half = (start + end) // 2
    clause = max(text.rfind(mark, half, end) + len(mark) * (mark in text[half:end])
                 for mark in _CLAUSES)  # fmt: skip
    if clause > half:
        return clause
    if text[end].isspace():
        return end
    parts = text[start:end].rsplit(None, 1)
    if text[end - 1].isspace() or len(parts) == 2:
        return end - (0 if text[end - 1].isspace() else len(parts[1]))
    for cut in range(end, max(start, end - _MOST_MARKS), -1):
        if not _joined(text, cut):
            return cut
    return end


def _joined(text: str, cut: int) -> bool:
    """Tells whether the characters about `cut` are seen as one."""
    following = text[cut]
    return (
        unicodedata.category(following).startswith("M")
        or _JOINER in (following, text[cut - 1])
        or "\U0001f3fb" <= following <= "\U0001f3ff"  # skin tones
        or ("\ud800" <= text[cut - 1] <= "\udbff" and "\udc00" <= following <= "\udfff")
    )
