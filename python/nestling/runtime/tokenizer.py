"""Texts to token ids."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from nestling.errors import ModelError
from nestling.runtime.text_settings import TextSettings

# The encoder has its own threads. Those of tokenizers would use every core whatever `threads` says,
# and would print a warning at a later fork. A value set by the user is kept.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from nestling.runtime.known_words import KnownWords, reads_words
from nestling.runtime.tokenizer_classes import load_tokenizer

__all__ = ["TextTokenizer"]

# Characters of a text that are tokenized at first, for each token that the model reads. Where these
# are not enough to fill the model (one huge word, say), twice as many are tried, and so on.
_CHARACTERS_PER_TOKEN: Final = 16
_SHORT: Final = 1024  # characters of a text whose words may be known: a question, not a document


class TextTokenizer:
    """The tokenizer of a model folder. Threads may share it.

    Args:
        path: tokenizer.json.
        settings: What else decides the tokens of a text.
        max_length: Tokens to keep of a text, special ones included; None for as many as the
            settings allow.

    Attributes:
        max_length: Tokens of a text that are kept; None when there is no limit.
        pad_id: The id that pads the shorter rows of a batch.

    Raises:
        ModelError: The tokenizer cannot be read, or `max_length` is more than the settings allow or
            leaves no room.
    """

    def __init__(
        self, path: Path, settings: TextSettings, *, max_length: int | None = None
    ) -> None:
        self._tokenizer = load_tokenizer(path, settings)
        self._special = settings.special_tokens
        self.pad_id = self._find_pad_id(settings)
        self._special_ids = self._find_special_ids(settings)
        self._prompt_lengths: dict[str, int] = {}
        truncation = self._tokenizer.truncation or {}
        known = truncation.get("max_length") if settings.static else settings.max_length
        if max_length is not None and known is not None and max_length > known:
            raise ModelError(
                f"max_length={max_length} is more than the {known} tokens that the model reads"
            )
        self.max_length = known if max_length is None else max_length
        self._max_characters = settings.max_characters
        self._left = (settings.truncation_side or truncation.get("direction")) == "left"
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        if self.max_length is not None:
            added = self._tokenizer.num_special_tokens_to_add(False) if self._special else 0
            if self.max_length <= added:
                raise ModelError(
                    f"max_length={self.max_length} leaves no room for a text: the model adds "
                    f"{added} tokens"
                )
            side = "left" if self._left else "right"
            self._tokenizer.enable_truncation(self.max_length, direction=side)
        # Models that add special tokens are transformers, beside which a tokenizer takes no time.
        known = not self._special and reads_words(self._tokenizer)
        self._words = KnownWords(self._tokenizer) if known else None

    @property
    def has_types(self) -> bool:
        """Whether a text's tokens have other types than 0."""
        return any(self._encode(["nestling"])[0].type_ids)

    @property
    def vocabulary_size(self) -> int:
        """How many tokens there are; their ids are below it, in most tokenizers."""
        return int(self._tokenizer.get_vocab_size())

    def decode(self, ids: NDArray[np.int64]) -> str:
        """Returns the text of token ids, without special tokens."""
        return str(self._tokenizer.decode(ids.tolist()))

    def probe(self) -> NDArray[np.int64]:
        """Returns the ids of a text with at least one token."""
        ids = _ids(self._encode(["nestling"])[0])
        return ids if len(ids) else np.zeros(1, np.int64)

    def around(self, prompt: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns the ids before and after a text's own: prompt and special tokens.

        They are exact where no token spans the end of the prompt.
        """
        ids = self.encode([prompt])[0][0]
        end = len(ids)
        while end and int(ids[end - 1]) in self._special_ids:
            end -= 1
        if not prompt and self._special:  # all of them are special: the first is before the text
            end = min(len(ids), 1) if len(ids) > 1 else 0
        return ids[:end], ids[end:]

    def prompt_length(self, prompt: str) -> int:
        """Returns the tokens of a prompt, as sentence-transformers counts them to leave them out.

        Special tokens before the prompt count, and one special token at its end does not.
        """
        if not prompt:
            return 0
        if prompt not in self._prompt_lengths:
            ids = self.encode([prompt])[0][0]
            length = len(ids)
            if length and int(ids[-1]) in self._special_ids:
                length -= 1
            self._prompt_lengths[prompt] = length
        return self._prompt_lengths[prompt]

    def encode(self, texts: Sequence[str]) -> tuple[list[NDArray[np.int64]], int]:
        """Returns each text's token ids, and how many texts were truncated.

        Unpaired surrogates, which UTF-8 cannot represent, are read as U+FFFD. A text much longer
        than the model reads is cut at a space before it is tokenized.
        """
        if self._words is not None and len(texts) > 1:
            self._words.learn(text for text in texts if len(text) <= _SHORT)
        found = [self._known_ids(text) for text in texts]
        waiting = [place for place, ids in enumerate(found) if ids is None]
        truncated = 0
        if waiting:
            read, truncated = self._read([texts[place] for place in waiting])
            for place, ids in zip(waiting, read, strict=True):
                found[place] = ids
        return cast("list[NDArray[np.int64]]", found), truncated

    def _read(self, texts: list[str]) -> tuple[list[NDArray[np.int64]], int]:
        """Does what `encode` does, for texts that are not read by their words."""
        if self.max_length is None:
            return [_ids(e) for e in self._encode([_clean(t) for t in texts])], 0
        ids: list[NDArray[np.int64]] = [np.empty(0, np.int64)] * len(texts)
        truncated = 0
        whole = [len(text) for text in texts]
        texts = [text[: self._max_characters] for text in texts]
        waiting = list(range(len(texts)))
        reach = self.max_length * _CHARACTERS_PER_TOKEN
        while waiting:
            parts = [_clean(self._part(texts[i], reach)) for i in waiting]
            unfinished = []
            for i, encoding in zip(waiting, self._encode(parts), strict=True):
                if encoding.overflowing:
                    truncated += 1
                elif len(texts[i]) > reach:
                    unfinished.append(i)
                    continue
                elif len(texts[i]) < whole[i]:
                    truncated += 1
                ids[i] = _ids(encoding)
            waiting, reach = unfinished, reach * 2
        return ids, truncated

    def _known_ids(self, text: str) -> NDArray[np.int64] | None:
        """Returns the ids of a short text by its words; None where the tokenizer must read it."""
        most = _SHORT if self._max_characters is None else min(_SHORT, self._max_characters)
        if self._words is None or len(text) > most:
            return None
        ids = self._words.ids(text)
        if ids is None or (self.max_length is not None and len(ids) > self.max_length):
            return None
        return np.array(ids, np.int64)

    def _encode(self, texts: list[str]) -> list[Any]:
        return self._tokenizer.encode_batch_fast(texts, add_special_tokens=self._special)

    def _part(self, text: str, reach: int) -> str:
        """Returns at most `reach` characters of a text, cut at a space where possible."""
        if len(text) <= reach:
            return text
        if self._left:
            start = len(text) - reach
            space = text.find(" ", start, start + reach // 2)
            return text[max(space, start) :]
        space = text.rfind(" ", reach // 2, reach)
        return text[: reach if space < 0 else space]

    def _find_pad_id(self, settings: TextSettings) -> int:
        padding = self._tokenizer.padding
        if padding is not None:
            return int(padding["pad_id"])
        token = settings.named_tokens.get("pad_token")
        found = None if token is None else self._tokenizer.token_to_id(token)
        return 0 if found is None else found

    def _find_special_ids(self, settings: TextSettings) -> set[int]:
        names = [*settings.named_tokens.values(), *settings.extra_tokens]
        found = {self._tokenizer.token_to_id(name) for name in names}
        added = self._tokenizer.get_added_tokens_decoder()
        return {index for index in found if index is not None} | {
            index for index, token in added.items() if token.special
        }


def _ids(encoding: Any) -> NDArray[np.int64]:
    return np.array(encoding.ids, np.int64)


def _clean(text: str) -> str:
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
