"""Texts to token ids."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nestling.errors import ModelError
from nestling.runtime.text_settings import TextSettings

# The encoder has its own threads. Those of tokenizers would use every core whatever `threads` says,
# and would print a warning at a later fork. A value set by the user is kept.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, processors

__all__ = ["TextTokenizer", "load_tokenizer"]

# Characters of a text that are tokenized at first, for each token that the model reads. Where these
# are not enough to fill the model (one huge word, say), twice as many are tried, and so on.
_CHARACTERS_PER_TOKEN: Final = 16
_AROUND: Final = ("cls_token", "sep_token")  # a text
_MODELS: Final = {
    "bert": models.WordPiece,
    "unigram": models.Unigram,
    "byte-level": models.BPE,
}
# Classes that take every part from tokenizer.json.
_GENERIC: Final = ("PreTrainedTokenizer", "TokenizersBackend")


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

    @property
    def has_types(self) -> bool:
        """Whether a text's tokens have other types than 0."""
        return any(self._encode(["nestling"])[0].type_ids)

    def probe(self) -> NDArray[np.int64]:
        """Returns the ids of a text with at least one token."""
        ids = _ids(self._encode(["nestling"])[0])
        return ids if len(ids) else np.zeros(1, np.int64)

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
        if self.max_length is None:
            return [_ids(e) for e in self._encode([_clean(t) for t in texts])], 0
        ids: list[NDArray[np.int64]] = [np.empty(0, np.int64)] * len(texts)
        truncated = 0
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
                ids[i] = _ids(encoding)
            waiting, reach = unfinished, reach * 2
        return ids, truncated

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
        token = (settings.named_tokens or {}).get("pad_token")
        found = None if token is None else self._tokenizer.token_to_id(token)
        return 0 if found is None else found

    def _find_special_ids(self, settings: TextSettings) -> set[int]:
        names = [*(settings.named_tokens or {}).values(), *settings.extra_tokens]
        found = {self._tokenizer.token_to_id(name) for name in names}
        added = self._tokenizer.get_added_tokens_decoder()
        return {index for index in found if index is not None} | {
            index for index, token in added.items() if token.special
        }


def load_tokenizer(path: Path, settings: TextSettings) -> tokenizers.Tokenizer:
    """Returns the tokenizer that transformers would build from a folder.

    Raises:
        ModelError: tokenizer.json cannot be read, or contradicts the settings in a way that cannot
            be honoured.
    """
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        raise ModelError(f"cannot read {path}: {error}") from error
    if not settings.static:
        family = settings.family
        if family is not None and isinstance(tokenizer.model, _MODELS[family]):
            tokenizer = _rebuilt(tokenizer, settings)
        else:
            _check_options(tokenizer, settings)
            _add_tokens(tokenizer, settings)
        options = settings.options or {}
        tokenizer.encode_special_tokens = bool(options.get("split_special_tokens", False))
    if settings.lowercase and not _lowercases(tokenizer.normalizer):
        others = [] if tokenizer.normalizer is None else [tokenizer.normalizer]
        tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *others])
    return tokenizer


def _rebuilt(tokenizer: tokenizers.Tokenizer, settings: TextSettings) -> tokenizers.Tokenizer:
    """Returns a tokenizer of the same vocabulary with the parts that transformers gives its class.

    Of the added tokens, those remain that no setting names.
    """
    options = settings.options or {}
    rebuilt = tokenizers.Tokenizer(tokenizer.model)
    if settings.family == "bert":
        rebuilt.model.unk_token = (settings.named_tokens or {})["unk_token"]
        rebuilt.normalizer = normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=options.get("tokenize_chinese_chars", True),
            strip_accents=options.get("strip_accents"),
            lowercase=options.get("do_lower_case", True),
        )
        rebuilt.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    elif settings.family == "unigram":
        for part in _normalizers(tokenizer.normalizer):
            if part["type"] == "Precompiled":
                table = base64.b64decode(part["precompiled_charsmap"])
                rebuilt.normalizer = normalizers.Precompiled(table)
        scheme = "always" if options.get("add_prefix_space", True) else "never"
        rebuilt.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace("▁", scheme)]
        )
    else:
        rebuilt.pre_tokenizer = pre_tokenizers.ByteLevel(
            add_prefix_space=bool(options.get("add_prefix_space", False))
        )
        rebuilt.post_processor = tokenizer.post_processor
    if settings.added_tokens is None:
        added = tokenizer.get_added_tokens_decoder()
        rebuilt.add_tokens([added[index] for index in sorted(added)])
    _add_tokens(rebuilt, settings)
    if settings.kind != "GPT2Tokenizer":
        rebuilt.post_processor = _post_processor(rebuilt, settings)
    if (truncation := tokenizer.truncation) is not None:
        rebuilt.enable_truncation(**truncation)
    if (padding := tokenizer.padding) is not None:
        rebuilt.enable_padding(**padding)
    return rebuilt


def _add_tokens(tokenizer: tokenizers.Tokenizer, settings: TextSettings) -> None:
    """Adds the tokens that tokenizer_config.json names, as they match there."""
    present = tokenizer.get_added_tokens_decoder()
    new = []
    for index, entry in sorted((settings.added_tokens or {}).items()):
        token = tokenizers.AddedToken(**entry)
        if index not in present or repr(present[index]) != repr(token):
            new.append(token)
    known = {token.content for token in (*present.values(), *new)}
    for name in (*(settings.named_tokens or {}).values(), *settings.extra_tokens):
        if name not in known:
            known.add(name)
            new.append(tokenizers.AddedToken(name, special=True))
    tokenizer.add_tokens(new)


def _post_processor(tokenizer: tokenizers.Tokenizer, settings: TextSettings) -> Any:
    """Returns what adds the special tokens around a text of a rebuilt class."""
    named = settings.named_tokens or {}
    roles = ("bos_token", "eos_token") if settings.family == "unigram" else _AROUND
    first, last = (named[role] for role in roles)
    pairs = [(name, tokenizer.token_to_id(name)) for name in (first, last)]
    return processors.TemplateProcessing(single=f"{first} $A {last}", special_tokens=pairs)


def _check_options(tokenizer: tokenizers.Tokenizer, settings: TextSettings) -> None:
    """Raises ModelError for an option of a class that tokenizer.json contradicts."""
    options = settings.options or {}
    if settings.kind in (None, *_GENERIC) or "do_lower_case" not in options:
        return
    parts = _normalizers(tokenizer.normalizer)
    found = any(part["type"] == "Lowercase" or part.get("lowercase", False) for part in parts)
    if bool(options["do_lower_case"]) != found:
        raise ModelError(
            f"tokenizer_config.json sets do_lower_case of a {settings.kind} to "
            f"{options['do_lower_case']}, and tokenizer.json does otherwise: which is right is not "
            "known; make them agree"
        )


def _normalizers(normalizer: Any) -> list[dict[str, Any]]:
    """Returns the normalisers that run one after another, each as in tokenizer.json."""
    if normalizer is None:
        return []
    state = json.loads(normalizer.__getstate__())
    parts: list[dict[str, Any]] = state.get("normalizers", [state])
    return parts


def _lowercases(normalizer: Any) -> bool:
    return any(part["type"] == "Lowercase" for part in _normalizers(normalizer))


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
