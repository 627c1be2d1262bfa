"""Synonyms of a user's file, by which the words of a query are expanded or replaced.

The lines of a file are those of Solr's and Elasticsearch's synonym files: `car, automobile` for
words that mean the same, and `ipod, i-pod => music player` for words in whose place others are
searched for. Nothing is indexed, so a file may change from one search to the next.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nestling.collection.ingest.analysis import query_terms, token
from nestling.corpus.lines import read_lines
from nestling.errors import ArgumentError, CorpusError

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Synonyms"]

_ARROW: Final = "=>"

Part = tuple[str, ...]


@dataclass(slots=True)
class _Rule:
    """What a word, or words in a row, are searched for by."""

    kept: bool = False
    parts: dict[Part, None] = field(default_factory=dict)


class Synonyms:
    """Synonyms for lexical and hybrid searches.

    Args:
        lines: One rule a line. `a, b, c`: wherever one of them is in a query, the others are
            searched for as well. `a, b => c, d`: wherever `a` or `b` is, `c` and `d` are searched
            for in its place; `a => a, b` keeps it. Several words between two commas are a phrase.
            Blank lines, and what follows a `#`, are not read.

    Words match as they do in the index, whatever their case, accents and English or Arabic endings.
    Of several rules that fit, that of the most words counts. Text between double quotes in a query
    stays as it is. Each synonym scores by its own rarity, so a document with both scores for both.

    Example:
        >>> synonyms = Synonyms(["car, automobile", "nyc => New York City"])
        >>> with nestling.Collection("notes", dim=2) as notes:
        ...     _ = notes.add("Automobiles of New York City", vectors=[1, 0])
        ...     hits = notes.search(
        ...         "nyc cars", mode="lexical", include=["highlight"], synonyms=synonyms
        ...     )
        >>> hits[0].marked()
        '**Automobiles** of **New York City**'

    Raises:
        ArgumentError: A line is not a rule; the message gives its number.
    """

    __slots__ = ("_longest", "_rules")

    def __init__(self, lines: Iterable[str]) -> None:
        if isinstance(lines, str):
            raise ArgumentError("give a list of lines, or Synonyms.read(path) for a file")
        self._rules: dict[Part, _Rule] = {}
        for number, line in enumerate(lines, 1):
            self._add(line.partition("#")[0].strip(), f"line {number}")
        self._longest = max(map(len, self._rules), default=0)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        r"""Reads the lines of a file in UTF-8.

        Raises:
            CorpusError: The file cannot be read, or a line is not a rule; the message gives both.

        Example:
            >>> _ = Path("synonyms.txt").write_text("car, automobile\n")
            >>> len(Synonyms.read("synonyms.txt"))
            2
        """
        try:
            with Path(path).open("rb") as stream:
                return cls(read_lines(stream, str(path)))
        except OSError as error:
            raise CorpusError(f"{path}: cannot read: {error.strerror or error}") from error
        except ArgumentError as error:
            raise CorpusError(f"{path}, {error}") from error

    def __len__(self) -> int:
        """The number of words and phrases that have synonyms."""
        return len(self._rules)

    def __eq__(self, other: object) -> bool:
        return self._rules == other._rules if isinstance(other, Synonyms) else NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset(self._rules))

    def __repr__(self) -> str:
        return f"Synonyms(of {len(self)} words and phrases)"

    def rewrite(self, terms: Sequence[str]) -> Iterator[Part]:
        """Yields the parts of a query in place of its terms, for `query_parts`.

        Args:
            terms: The terms in a row, as `query_terms` gives them.

        Example:
            >>> list(Synonyms(["car, motor car"]).rewrite(["red", "cars"]))
            [('red',), ('cars',), ('motor', 'car')]
        """
        tokens = tuple(map(token, terms))
        start = 0
        while start < len(terms):
            end, rule = self._match(tokens, start)
            if rule is None or rule.kept:
                yield from ((term,) for term in terms[start:end])
            if rule is not None:
                yield from rule.parts
            start = end

    def _match(self, tokens: Part, start: int) -> tuple[int, _Rule | None]:
        """Returns the end of the longest run from `start` with a rule, and the rule."""
        for end in range(min(start + self._longest, len(tokens)), start, -1):
            rule = self._rules.get(tokens[start:end])
            if rule is not None:
                return end, rule
        return start + 1, None

    def _add(self, line: str, where: str) -> None:
        if not line:
            return
        left, arrow, right = line.partition(_ARROW)
        if _ARROW in right:
            raise ArgumentError(f"{where}: more than one {_ARROW} in {line!r}")
        names = _members(left, where)
        targets = _members(right, where) if arrow else names
        if not arrow and len(names) == 1:
            raise ArgumentError(
                f"{where}: {line!r} has one member; expected 'a, b' or 'a {_ARROW} b'"
            )
        for name in names:
            rule = self._rules.setdefault(tuple(map(token, name)), _Rule())
            rule.kept |= not arrow
            rule.parts.update((target, None) for target in targets if arrow or target != name)


def _members(text: str, where: str) -> list[Part]:
    members = [tuple(query_terms(member)) for member in text.split(",")]
    if not all(members):
        raise ArgumentError(f"{where}: nothing to search for in a member of {text.strip()!r}")
    return members
