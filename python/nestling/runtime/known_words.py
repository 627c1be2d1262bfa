"""The token ids of words that were met before: a question is mostly such words.

Some tokenizers read each word between spaces by itself. Then the ids of a text are those of its
words in a row, and a table of words takes a tenth of the time that the tokenizer takes.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable
from typing import Any, Final

__all__ = ["KnownWords", "reads_words"]

_MOST: Final = 32_768  # words in the table; when there are more, it begins again
_LONGEST: Final = 64  # characters of a word in the table
# Letters, digits, and marks that no normalizer turns into a space or takes away.
_PLAIN: Final = re.compile(rf"[\w!-~؟،؛]{{1,{_LONGEST}}}").fullmatch
# Normalizers that change a word in the same way wherever it stands.
_NORMALIZERS: Final = {"BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt"}
_SPACES: Final = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}


class KnownWords:
    """Words and their token ids, learnt from a tokenizer. Threads may share it.

    Args:
        tokenizer: Of the tokenizers library; `reads_words` is true of it.

    Example:
        >>> from tokenizers import Tokenizer, models, pre_tokenizers
        >>> tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "sing": 1, "##s": 2, "it": 3}))
        >>> tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        >>> words = KnownWords(tokenizer)
        >>> words.ids("it sings"), words.ids("it  sings"), len(words)
        ([3, 1, 2], None, 2)
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._added = set(tokenizer.get_added_tokens_decoder())
        self._known: dict[str, list[int] | None] = {}

    def __len__(self) -> int:
        return len(self._known)

    def ids(self, text: str) -> list[int] | None:
        """Returns the ids of a text, without special tokens; None where the tokenizer must read it.

        It must where the text has other spaces than one between two words, a word that is not made
        of letters, digits and common marks, one that has an added token in it, or one with more
        tokens than the tokenizer keeps.
        """
        known = self._known
        words = text.split(" ")
        ids: list[int] = []
        try:
            for word in words:
                found = known[word]
                if found is None:
                    return None
                ids += found
        except KeyError:
            return self.ids(text) if self._learn(words) else None
        return ids

    def learn(self, texts: Iterable[str]) -> None:
        """Learns the words of several texts at once, in less time than one text after the other."""
        self._learn([word for text in texts for word in text.split(" ")])

    def _learn(self, words: list[str]) -> bool:
        """Learns those words that are not known; returns whether all of them can be."""
        known = self._known
        new = [word for word in dict.fromkeys(words) if word not in known]
        plain = list(filter(_is_plain, new))
        if len(known) + len(plain) > _MOST:
            known.clear()
            plain = list(filter(_is_plain, dict.fromkeys(words)))
        encodings = self._tokenizer.encode_batch_fast(plain, add_special_tokens=False)
        for word, encoding in zip(plain, encodings, strict=True):
            ids = encoding.ids
            read_otherwise = encoding.overflowing or self._added.intersection(ids)
            known[word] = None if read_otherwise else ids
        return all(word in known for word in words)


def reads_words(tokenizer: Any) -> bool:
    """Returns whether a tokenizer is known to read each word between spaces by itself.

    Args:
        tokenizer: Of the tokenizers library.

    Example:
        >>> from tokenizers import Tokenizer, models, pre_tokenizers
        >>> tokenizer = Tokenizer(models.BPE())
        >>> tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
        >>> reads_words(tokenizer)
        False
    """
    normalizer, splitter = _parts(tokenizer.normalizer), _parts(tokenizer.pre_tokenizer)
    tokens = tokenizer.get_added_tokens_decoder().values()
    return (
        len(splitter) == 1
        and _splits_at_spaces(splitter[0])
        and all(part["type"] in _NORMALIZERS or part == _SPACES for part in normalizer)
        and not any(" " in token.content for token in tokens)
    )


def _splits_at_spaces(part: dict[str, Any]) -> bool:
    kind = part["type"]
    if kind == "Metaspace":
        return part.get("prepend_scheme") == "always" and part.get("split") is True
    return kind in ("BertPreTokenizer", "Whitespace")


def _parts(component: Any) -> list[dict[str, Any]]:
    """Returns the settings of a normalizer or pre-tokenizer, or of each one in a sequence."""
    if component is None:
        return []
    settings = json.loads(component.__getstate__())
    if settings["type"] == "Sequence":
        parts: list[dict[str, Any]] = settings.get("normalizers") or settings["pretokenizers"]
        return parts
    return [settings]


def _is_plain(word: str) -> bool:
    return _PLAIN(word) is not None and unicodedata.is_normalized("NFKC", word)
