"""Texts to token ids."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nestling.errors import ModelError
from nestling.runtime.folder import ModelFolder

# The encoder has its own threads. Those of tokenizers would use every core whatever `threads` says,
# and would print a warning at a later fork. A value set by the user is kept.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import tokenizers

__all__ = ["TextTokenizer"]

# Characters of a text that are tokenized at first, for each token that the model reads. Where these
# are not enough to fill the model (one huge word, say), twice as many are tried, and so on.
_CHARACTERS_PER_TOKEN: Final = 16


class TextTokenizer:
    """The tokenizer of a model folder. Threads may share it.

    Args:
        folder: The model folder.
        max_length: Tokens to keep of a text, special ones included; None for all.

    Attributes:
        pad_id: The id that pads the shorter rows of a batch.

    Raises:
        ModelError: The tokenizer cannot be read.
    """

    def __init__(self, folder: ModelFolder, *, max_length: int | None) -> None:
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(folder.tokenizer))
        except Exception as error:  # the library raises plain Exception
            raise ModelError(f"cannot read {folder.tokenizer}: {error}") from error
        self._special = folder.special_tokens
        self._max_length = max_length
        self.pad_id = self._find_pad_id(folder.pad_token)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        if max_length is not None:
            added = self._tokenizer.num_special_tokens_to_add(False) if self._special else 0
            if max_length <= added:
                raise ModelError(
                    f"max_length={max_length} leaves no room for a text: the model adds "
                    f"{added} tokens"
                )
            self._tokenizer.enable_truncation(max_length)

    def encode(self, texts: Sequence[str]) -> tuple[list[NDArray[np.int64]], int]:
        """Returns each text's token ids, and how many texts were truncated.

        Unpaired surrogates, which UTF-8 cannot represent, are read as U+FFFD. A text much longer
        than the model reads is cut at a space before it is tokenized.
        """
        if self._max_length is None:
            return [_ids(e) for e in self._encode([_clean(t) for t in texts])], 0
        ids: list[NDArray[np.int64]] = [np.empty(0, np.int64)] * len(texts)
        truncated = 0
        waiting = list(range(len(texts)))
        reach = self._max_length * _CHARACTERS_PER_TOKEN
        while waiting:
            parts = [_clean(_head(texts[i], reach)) for i in waiting]
            unfinished = []
            for i, encoding in zip(waiting, self._encode(parts), strict=True):
                if encoding.overflowing:
                    truncated += 1
                elif len(texts[i]) > reach:
                    unfinished.append(i)
                    continue
                ids[i] = _ids(encoding)
            waiting, reach = unfinished, reach * 2
        return ids, truncated

    def _encode(self, texts: list[str]) -> list[Any]:
        return self._tokenizer.encode_batch_fast(texts, add_special_tokens=self._special)

    def _find_pad_id(self, token: str | None) -> int:
        padding = self._tokenizer.padding
        if padding is not None:
            return int(padding["pad_id"])
        found = None if token is None else self._tokenizer.token_to_id(token)
        return 0 if found is None else found


def _ids(encoding: Any) -> NDArray[np.int64]:
    return np.array(encoding.ids, np.int64)


def _head(text: str, reach: int) -> str:
    """Returns at most the first `reach` characters, cut before a space where possible."""
    if len(text) <= reach:
        return text
    space = text.rfind(" ", reach // 2, reach)
    return text[: reach if space < 0 else space]


def _clean(text: str) -> str:
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
