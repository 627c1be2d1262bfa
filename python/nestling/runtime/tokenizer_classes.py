"""The tokenizers that transformers builds from a folder, class by class.

Version 5 of transformers builds most of its classes from the vocabulary in tokenizer.json and the
options in tokenizer_config.json; the normaliser and the words of tokenizer.json do not count then.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, processors

from nestling.errors import ModelError
from nestling.runtime.text_settings import TextSettings

__all__ = ["load_tokenizer"]

Options = Mapping[str, Any]


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
        recipe = _RECIPES.get(settings.kind or "")
        if recipe is not None and isinstance(tokenizer.model, recipe.model):
            tokenizer = _rebuild(tokenizer, recipe, settings)
        else:
            _check_options(tokenizer, settings)
            _add_tokens(tokenizer, settings)
        tokenizer.encode_special_tokens = bool(settings.options.get("split_special_tokens", False))
    if settings.lowercase and not _lowercases(tokenizer.normalizer):
        others = [] if tokenizer.normalizer is None else [tokenizer.normalizer]
        tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *others])
    return tokenizer


@dataclass(frozen=True, slots=True)
class _Recipe:
    """How a class is built.

    Attributes:
        model: What splits a word into tokens.
        parts: Returns the normaliser and the splitter into words.
        around: The roles of the special tokens before and after a text; None for tokenizer.json's.
    """

    model: type
    parts: Callable[[tokenizers.Tokenizer, Options], tuple[Any, Any]]
    around: tuple[str | None, str | None] | None


def _bert(tokenizer: tokenizers.Tokenizer, options: Options) -> tuple[Any, Any]:
    normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=options.get("tokenize_chinese_chars", True),
        strip_accents=options.get("strip_accents"),
        lowercase=options.get("do_lower_case", True),
    )
    return normalizer, pre_tokenizers.BertPreTokenizer()


def _words(options: Options) -> Any:
    scheme = "always" if options.get("add_prefix_space", True) else "never"
    return pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace("▁", scheme)]
    )


def _precompiled(tokenizer: tokenizers.Tokenizer) -> Any:
    """Returns the table of SentencePiece, if tokenizer.json has one."""
    for part in _normalizers(tokenizer.normalizer):
        if part["type"] == "Precompiled":
            return normalizers.Precompiled(base64.b64decode(part["precompiled_charsmap"]))
    return None


def _unigram(tokenizer: tokenizers.Tokenizer, options: Options) -> tuple[Any, Any]:
    return _precompiled(tokenizer), _words(options)


def _t5(tokenizer: tokenizers.Tokenizer, options: Options) -> tuple[Any, Any]:
    return _precompiled(tokenizer), _words({})


def _albert(tokenizer: tokenizers.Tokenizer, options: Options) -> tuple[Any, Any]:
    parts: list[Any] = [normalizers.Replace(quotes, '"') for quotes in ("``", "''")]
    if not options.get("keep_accents", False):
        parts += [normalizers.NFKD(), normalizers.StripAccents()]
    if options.get("do_lower_case", True):
        parts.append(normalizers.Lowercase())
    if (table := _precompiled(tokenizer)) is not None:
        parts.append(table)
    return normalizers.Sequence(parts), _words(options)


def _deberta(tokenizer: tokenizers.Tokenizer, options: Options) -> tuple[Any, Any]:
    parts = [
        normalizers.Replace(tokenizers.Regex(r"\s{2,}|[\n\r\t]"), " "),
        normalizers.NFC(),
        normalizers.Strip(left=False, right=True),
    ]
    if options.get("do_lower_case", False):
        parts.insert(0, normalizers.Lowercase())
    punctuation = bool(options.get("split_by_punct", False))
    words: list[Any] = [pre_tokenizers.Punctuation("isolated")] * punctuation
    scheme = "always" if options.get("add_prefix_space", True) else "first"
    words.append(pre_tokenizers.Metaspace("▁", scheme))
    return normalizers.Sequence(parts), pre_tokenizers.Sequence(words)


def _bytes(tokenizer: tokenizers.Tokenizer, options: Options) -> tuple[Any, Any]:
    prefix = bool(options.get("add_prefix_space", False))
    return None, pre_tokenizers.ByteLevel(add_prefix_space=prefix)


_CLS_SEP: Final = ("cls_token", "sep_token")
_WORD_PIECES: Final = _Recipe(models.WordPiece, _bert, _CLS_SEP)
_PIECES: Final = _Recipe(models.Unigram, _unigram, ("bos_token", "eos_token"))
_RECIPES: Final[Mapping[str, _Recipe]] = {
    **dict.fromkeys(("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer"), _WORD_PIECES),
    **dict.fromkeys(("MPNetTokenizer", "MobileBertTokenizer"), _WORD_PIECES),
    "SqueezeBertTokenizer": _WORD_PIECES,
    "XLMRobertaTokenizer": _PIECES,
    "CamembertTokenizer": _PIECES,
    "T5Tokenizer": _Recipe(models.Unigram, _t5, (None, "eos_token")),
    "AlbertTokenizer": _Recipe(models.Unigram, _albert, _CLS_SEP),
    "DebertaV2Tokenizer": _Recipe(models.Unigram, _deberta, _CLS_SEP),
    "RobertaTokenizer": _Recipe(models.BPE, _bytes, _CLS_SEP),
    "GPT2Tokenizer": _Recipe(models.BPE, _bytes, None),
}
# Classes that take every part from tokenizer.json.
_GENERIC: Final = ("PreTrainedTokenizer", "TokenizersBackend")


def _rebuild(
    tokenizer: tokenizers.Tokenizer, recipe: _Recipe, settings: TextSettings
) -> tokenizers.Tokenizer:
    """Returns a tokenizer of the same vocabulary with the parts that transformers gives its class.

    Of the added tokens in tokenizer.json, none remains if tokenizer_config.json lists some.
    """
    rebuilt = tokenizers.Tokenizer(tokenizer.model)
    if recipe.model is models.WordPiece:
        rebuilt.model.unk_token = settings.named_tokens["unk_token"]
        rebuilt.model.max_input_chars_per_word = 100
        rebuilt.model.continuing_subword_prefix = "##"
    normalizer, words = recipe.parts(tokenizer, settings.options)
    if normalizer is not None:
        rebuilt.normalizer = normalizer
    rebuilt.pre_tokenizer = words
    if settings.added_tokens is None:
        added = tokenizer.get_added_tokens_decoder()
        rebuilt.add_tokens([added[index] for index in sorted(added)])
    _add_tokens(rebuilt, settings)
    if recipe.around is not None:
        rebuilt.post_processor = _post_processor(rebuilt, recipe.around, settings)
    elif tokenizer.post_processor is not None:
        rebuilt.post_processor = tokenizer.post_processor
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
    for name in (*settings.named_tokens.values(), *settings.extra_tokens):
        if name not in known:
            known.add(name)
            new.append(tokenizers.AddedToken(name, special=True))
    tokenizer.add_tokens(new)


def _post_processor(
    tokenizer: tokenizers.Tokenizer, around: tuple[str | None, str | None], settings: TextSettings
) -> Any:
    """Returns what adds the special tokens around a text."""
    first, last = (settings.named_tokens.get(role or "") for role in around)
    tokens = [token for token in (first, last) if token is not None]
    template = " ".join(token for token in (first, "$A", last) if token is not None)
    return processors.TemplateProcessing(
        single=template, special_tokens=[(token, tokenizer.token_to_id(token)) for token in tokens]
    )


def _check_options(tokenizer: tokenizers.Tokenizer, settings: TextSettings) -> None:
    """Raises ModelError for an option of a class that tokenizer.json contradicts."""
    if settings.kind in (None, *_GENERIC):
        return
    parts = _normalizers(tokenizer.normalizer)
    words = tokenizer.pre_tokenizer
    splitting = "" if words is None else words.__getstate__().decode()
    found = {
        "do_lower_case": any(
            part["type"] == "Lowercase" or part.get("lowercase", False) for part in parts
        ),
        "add_prefix_space": not re.search(r'"add_prefix_space":\s*false', splitting),
    }
    for option, does in found.items():
        wanted = settings.options.get(option)
        if wanted is not None and (wanted or option == "do_lower_case") and bool(wanted) != does:
            raise ModelError(
                f"tokenizer_config.json sets {option} of a {settings.kind} to {wanted}, and "
                "tokenizer.json does otherwise: which is right is not known; make them agree"
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
