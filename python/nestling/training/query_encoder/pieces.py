"""Texts cut into what people type: titles and sentences, spans of a few words, a few words kept.

A query encoder learns from the embeddings of texts as short as questions. Cut from the documents
themselves, they have exactly the words that matter there, and nobody has to write a question.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["cut"]

_SENTENCE: Final = re.compile(r"(?<=[.!?؟])\s+|(?<=[。！？])\s*|\s*\n\s*")
_MOST_WORDS: Final = 24  # of a sentence: longer ones are not like questions
_SPANS: Final = (2, 10)  # words, at least and at most
_DROPPED: Final = (0.3, 0.7)  # share of the words that a piece of kept words lacks
_SHARES: Final = (0.4, 0.3, 0.3)  # of sentences, spans and kept words


def cut(
    texts: Sequence[str], most: int, rng: np.random.Generator
) -> tuple[list[str], NDArray[np.int64]]:
    """Returns different pieces of texts, at most `most`, and the text that each was cut from.

    Every text gives about the same number of pieces. Lines and sentences come whole, if they are
    short; spans and kept words are drawn.

    Example:
        >>> pieces, texts = cut(["Bread rises. Yeast makes gas."], 2, np.random.default_rng(0))
        >>> len(pieces), texts.tolist()
        (2, [0, 0])
    """
    found: dict[str, int] = {}
    each = max(1, -(-most // max(len(texts), 1)))
    for position in rng.permutation(len(texts)).tolist():
        if len(found) >= most:
            break
        for piece in _pieces(texts[position], each, rng):
            found.setdefault(piece, position)
    chosen = list(found)[:most]
    return chosen, np.array([found[piece] for piece in chosen], np.int64)


def _pieces(text: str, count: int, rng: np.random.Generator) -> list[str]:
    """Returns about `count` pieces of one text."""
    sentences = [words for part in _SENTENCE.split(text) if (words := part.split())]
    if not sentences:
        return []
    pieces = [words for words in sentences if len(words) <= _MOST_WORDS]
    whole = max(1, round(count * _SHARES[0]))
    if len(pieces) > whole:
        pieces = [pieces[i] for i in rng.permutation(len(pieces))[:whole].tolist()]
    left = count - len(pieces)
    spans = round(left * _SHARES[1] / (_SHARES[1] + _SHARES[2]))
    # Long sentences have more to cut from.
    lengths = np.array([len(words) for words in sentences], np.float64)
    drawn = rng.choice(len(sentences), size=left, p=lengths / lengths.sum()).tolist()
    for number, position in enumerate(drawn):
        words = sentences[position]
        size = int(rng.integers(_SPANS[0], _SPANS[1] + 1))
        if number >= spans:
            size = round(size / (1 - float(rng.uniform(*_DROPPED))))
        start = int(rng.integers(max(len(words) - size, 0) + 1))
        span = words[start : start + size]
        if number >= spans:
            kept = rng.random(len(span)) >= float(rng.uniform(*_DROPPED))
            span = [word for word, keep in zip(span, kept.tolist(), strict=True) if keep]
        pieces.append(span)
    return [" ".join(words) for words in pieces if words]
