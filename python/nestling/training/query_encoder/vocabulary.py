"""Which tokens, runs of letters and pairs of tokens have a row, and what single tokens embed to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from nestling.runtime.word_grams import WordGrams, grams_of

if TYPE_CHECKING:
    from nestling.encoder import Encoder
    from nestling.runtime.tokenizer import TextTokenizer

__all__ = ["Pairs", "Vocabulary", "encode_tokens", "frequent_grams", "tokenizer_of"]

_BATCH: Final = 64
_LEAST_TEXTS: Final = 2  # that have what has a row: what one text has is learnt with its tokens
_LAST_KEY: Final = np.iinfo(np.int64).max  # that of no pair
_LONGEST: Final = 48  # tokens of a text whose pairs count: of longer ones, each says too little

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]


def tokenizer_of(encoder: Encoder) -> TextTokenizer:
    """Returns the tokenizer of an encoder, without the special tokens around a text."""
    from nestling.runtime.tokenizer import TextTokenizer

    folder = encoder.embedder.folder
    return TextTokenizer(folder.tokenizer, replace(folder.text, special_tokens=False))


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokens that have a row, the runs of letters, and the pairs of neighbouring tokens.

    Attributes:
        tokens: (n,) int64, ids of the tokens of rows 1 to n.
        index: (vocabulary,) int32, the row of each token; 0 where it has none.
        pairs: (m, 2) int32, the ids of the pairs of the last m rows, rising.
        grams: The runs of letters of the rows between.
    """

    tokens: Ids
    index: NDArray[np.int32]
    pairs: NDArray[np.int32]
    grams: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        texts: Sequence[Ids],
        size: int,
        most: int,
        most_pairs: int = 0,
        grams: tuple[str, ...] = (),
    ) -> Vocabulary:
        """Chooses the most frequent tokens of texts, and fills up with the lowest ids.

        Args:
            texts: The token ids of each text.
            size: Ids that the tokenizer has.
            most: Most tokens.
            most_pairs: Most pairs; each is in two short texts or more.
            grams: The runs of letters (`frequent_grams`).

        Example:
            >>> texts = [np.array([3, 3, 5]), np.array([3, 5])]
            >>> vocabulary = Vocabulary.of(texts, size=6, most=4, most_pairs=4)
            >>> vocabulary.tokens, vocabulary.pairs
            (array([3, 5, 0, 1]), array([[3, 5]], dtype=int32))
        """
        counts = np.bincount(np.concatenate(texts), minlength=size)
        # A stable order: the lower id first where tokens are as frequent.
        tokens = np.argsort(-counts, kind="stable")[:most]
        index = np.zeros(len(counts), np.int32)
        index[tokens] = np.arange(1, len(tokens) + 1)
        return cls(tokens, index, _frequent_pairs(texts, most_pairs), grams)

    @property
    def rows(self) -> int:
        """How many rows there are, the one that is zero among them."""
        return 1 + len(self.tokens) + self.extra

    @property
    def extra(self) -> int:
        """How many of the rows, the last ones, are not those of tokens."""
        return len(self.grams) + len(self.pairs)

    @property
    def index_of_all(self) -> NDArray[np.int32]:
        """The row of each token, then of each run of letters, as `save_token_rows` takes them."""
        first = 1 + len(self.tokens)
        grams = np.arange(first, first + len(self.grams), dtype=np.int32)
        return np.concatenate((self.index, grams))

    def rows_of(self, ids: Sequence[Ids], texts: Sequence[str]) -> list[Ids]:
        """Returns the rows of each text: a token or a pair without one has row 0.

        Args:
            ids: The token ids of each text.
            texts: The texts.
        """
        grams = WordGrams(self.grams, 1 + len(self.tokens))
        pairs = Pairs(self.pairs, self.rows - len(self.pairs))
        return [
            np.concatenate(
                (self.index[row], np.array(grams.ids(text), np.int64), pairs.rows_of(row))
            )
            for row, text in zip(ids, texts, strict=True)
        ]


class Pairs:
    """Pairs of neighbouring tokens, and the rows that they have.

    Args:
        pairs: (n, 2) int32, the ids of each pair, rising.
        first: The row of the first pair; the others follow.

    Example:
        >>> pairs = Pairs(np.array([[3, 5], [5, 3]], np.int32), first=10)
        >>> pairs.rows_of(np.array([3, 5, 3, 3])), len(pairs)
        (array([10, 11,  0]), 2)
    """

    def __init__(self, pairs: NDArray[np.int32], first: int) -> None:
        self._count = len(pairs)
        keys = _keys(pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.int64))
        self._keys = np.append(keys, _LAST_KEY)
        self._rows = np.append(np.arange(first, first + len(pairs)), 0)

    def __len__(self) -> int:
        return self._count

    def rows_of(self, ids: Ids) -> Ids:
        """Returns the row of each two neighbours of (n,) ids, (n - 1,); 0 where they have none."""
        keys = _keys(ids[:-1], ids[1:])
        places = self._keys.searchsorted(keys)
        rows: Ids = self._rows[places]
        rows[self._keys[places] != keys] = 0
        return rows


def _keys(lefts: Ids, rights: Ids) -> Ids:
    keys: Ids = (lefts << 32) | rights
    return keys


def frequent_grams(texts: Sequence[str], most: int) -> tuple[str, ...]:
    """Returns the runs of letters that are in the most texts, two or more.

    Example:
        >>> frequent_grams(["it sings", "singing"], most=2)
        ('<sin', 'sing')
    """
    counts: Counter[str] = Counter()
    for text in texts if most else ():
        counts.update({gram for word in text.split() for gram in grams_of(word)})
    shared = sorted((-count, gram) for gram, count in counts.items() if count >= _LEAST_TEXTS)
    return tuple(gram for _, gram in shared[:most])


def _frequent_pairs(texts: Sequence[Ids], most: int) -> NDArray[np.int32]:
    """Returns the pairs of neighbours that are in the most short texts, two or more, rising."""
    together = [
        np.unique(np.stack([text[:-1], text[1:]], axis=1), axis=0)
        for text in texts
        if most and 1 < len(text) <= _LONGEST
    ]
    if not together:
        return np.empty((0, 2), np.int32)
    pairs, counts = np.unique(np.concatenate(together), axis=0, return_counts=True)
    # A stable order: the lower ids first where pairs are as frequent.
    chosen = np.argsort(-counts, kind="stable")[:most]
    chosen = np.sort(chosen[counts[chosen] >= _LEAST_TEXTS])
    return pairs[chosen].astype(np.int32)


def encode_tokens(encoder: Encoder, tokens: Sequence[int], *, progress: bool = False) -> Floats:
    """Returns the embeddings of queries that are a single token each, (n, dim) float32."""
    embedder = encoder.embedder
    prompt = encoder.query_prompt
    before, after = embedder.tokenizer.around(prompt)
    skip = embedder.prompt_length(prompt)
    size = 1 if embedder.one_by_one else _BATCH
    parts = []
    for start in range(0, len(tokens), size):
        rows = [
            np.concatenate([before, [token], after]).astype(np.int64)
            for token in tokens[start : start + size]
        ]
        parts.append(embedder.embed_tokens(rows, skip=skip))
    return np.concatenate(parts)
