"""How the texts of a model folder are tokenized, as transformers and sentence-transformers do it.

transformers builds the tokenizers of many classes from their vocabulary and tokenizer_config.json.
Where that file and tokenizer.json differ, as in `do_lower_case`, the former counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from nestling._util.value import Value
from nestling.errors import ModelError
from nestling.runtime.config import read_json

__all__ = ["TextSettings", "read_text_settings"]

Side = Literal["left", "right"]


_SENTENCE_CONFIGS: Final = tuple(
    f"sentence_{name}_config.json"
    for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
_TEXT: Final = {"method": "forward", "method_output_name": "last_hidden_state"}
# Settings of sentence-transformers that change the tokens, in models of other kinds.
_UNSUPPORTED: Final = (
    "query_length",
    "document_length",
    "query_expansion",
    "tokenizer_name_or_path",
)
_HARMLESS: Final = {  # arguments of a model that do not change its embeddings beyond rounding
    *("add_pooling_layer", "attn_implementation", "backend", "device_map", "dtype", "export"),
    *("file_name", "low_cpu_mem_usage", "provider", "revision", "subfolder", "token", "use_cache"),
    *("torch_dtype", "trust_remote_code", "use_memory_efficient_attention", "use_safetensors"),
    "unpad_inputs",
}
_NO_LIMIT: Final = 1_000_000  # tokenizers without a limit have an astronomical number there
# Types of models whose positions are counted from the padding id, and others with a table of them.
_ROBERTA_LIKE: Final = {
    *("roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod", "camembert"),
    *("mpnet", "longformer", "data2vec-text", "ibert", "luke", "mluke"),
}
_TABLES: Final = {
    *("bert", "distilbert", "electra", "albert", "convbert", "mobilebert", "squeezebert"),
    *("ernie", "nezha", "layoutlm", "megatron-bert", "big_bird", "clip", "gpt2", "opt"),
}
_ROLES: Final = (
    *("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"),
)
_OPTIONS: Final = (  # of tokenizers in transformers
    *("do_lower_case", "strip_accents", "tokenize_chinese_chars", "add_prefix_space"),
    *("keep_accents", "split_by_punct", "split_special_tokens"),
)
# The class where no file names it, by the type of the model.
_CLASSES: Final = {
    **dict.fromkeys(
        (
            *("bert", "distilbert", "electra", "nomic_bert", "convbert", "mobilebert"),
            *("squeezebert", "ernie", "nezha"),
        ),
        "BertTokenizer",
    ),
    **dict.fromkeys(("xlm-roberta", "xmod", "gte"), "XLMRobertaTokenizer"),
    **dict.fromkeys(("roberta", "longformer", "ibert", "data2vec-text"), "RobertaTokenizer"),
    **dict.fromkeys(("t5", "mt5"), "T5Tokenizer"),
    "mpnet": "MPNetTokenizer",
    "camembert": "CamembertTokenizer",
    "albert": "AlbertTokenizer",
    "deberta-v2": "DebertaV2Tokenizer",
}
# Types of models for which transformers ignores the class that the folder names.
_AS_IN_THE_FILE: Final = {"modernbert", "modernbert-decoder", "camembertv2-base"}
# Classes in Python, which do something else than the tokenizer.json beside them.
_IN_PYTHON: Final = {
    *("BertJapaneseTokenizer", "BertweetTokenizer", "PhobertTokenizer", "CanineTokenizer"),
    *("ByT5Tokenizer", "CTRLTokenizer", "FlaubertTokenizer", "XLMTokenizer"),
}
_BERT_TOKENS: Final = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
_ROBERTA_TOKENS: Final = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "cls_token": "<s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}
_NAMED_TOKENS: Final[Mapping[str, Mapping[str, str]]] = {
    "MPNetTokenizer": _ROBERTA_TOKENS | {"unk_token": "[UNK]"},
    "AlbertTokenizer": _BERT_TOKENS | {"unk_token": "<unk>", "pad_token": "<pad>"},
    "T5Tokenizer": {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"},
    **dict.fromkeys(
        (
            *("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer"),
            *("SqueezeBertTokenizer", "DebertaV2Tokenizer"),
        ),
        _BERT_TOKENS,
    ),
    "GPT2Tokenizer": dict.fromkeys(("unk_token", "bos_token", "eos_token"), "<|endoftext|>"),
    **dict.fromkeys(
        ("XLMRobertaTokenizer", "CamembertTokenizer", "RobertaTokenizer"), _ROBERTA_TOKENS
    ),
}


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TextSettings(Value):
    """What decides the tokens of a text, beside tokenizer.json.

    Attributes:
        max_length: Tokens that are read, special ones included; None where unknown.
        max_characters: Characters that are read, whatever their tokens are (model2vec); None for
            all.
        special_tokens: Whether texts get the tokenizer's special tokens.
        truncation_side: Where long texts are cut; None for tokenizer.json's side.
        lowercase: Whether texts are lowercased whatever the tokenizer does.
        kind: The class of the tokenizer in transformers; None where unknown.
        options: The settings of the class that tokenizer_config.json names.
        named_tokens: Special tokens by role, such as "cls_token".
        extra_tokens: Further special tokens.
        added_tokens: Added tokens and how they match, by id; None for those of tokenizer.json.
        static: Whether tokenizer.json is all that counts, its truncation included.
    """

    max_length: int | None = None
    max_characters: int | None = None
    special_tokens: bool = True
    truncation_side: Side | None = None
    lowercase: bool = False
    kind: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    named_tokens: Mapping[str, str] = field(default_factory=dict)
    extra_tokens: tuple[str, ...] = ()
    added_tokens: Mapping[int, Mapping[str, Any]] | None = None
    static: bool = False


def read_text_settings(
    folder: Path, *, listed: bool, special_tokens: bool = True
) -> tuple[TextSettings, int | None]:
    """Reads the settings of a transformer, and the id that its positions are counted from.

    Args:
        folder: Where its files are.
        listed: Whether a modules.json lists it.
        special_tokens: Whether texts get the tokenizer's special tokens.

    Returns:
        The settings; and the padding id after which positions are counted, as RoBERTa does, or None
        if they begin at 0.

    Raises:
        ModelError: A file is malformed, or has a setting that cannot be honoured; the message names
            it.
    """
    config = read_json(folder / "config.json")
    place, sentence = _read_sentence_config(folder)
    _refuse(sentence, place)
    tokens = read_json(folder / "tokenizer_config.json")
    if "added_tokens_decoder" not in tokens:
        tokens = tokens | read_json(folder / "special_tokens_map.json")
    tokens |= {**_object(sentence, "tokenizer_args"), **_object(sentence, "processor_kwargs")}
    if not listed and (tokens.get("chat_template") or (folder / "chat_template.jinja").is_file()):
        raise ModelError(
            f"{folder} has a chat template and no modules.json: sentence-transformers puts each "
            "text into a conversation then, which is not supported; add a modules.json, as "
            "SentenceTransformer(…).save_pretrained(…) writes it"
        )
    kind = _tokenizer_class(tokens, config)
    if kind in _IN_PYTHON:
        raise ModelError(
            f"{folder / 'tokenizer_config.json'} names the tokenizer {kind}, which runs in Python "
            "and not from tokenizer.json: it is not supported"
        )
    side = tokens.get("truncation_side")
    if side not in (None, "left", "right"):
        raise ModelError(f"truncation_side should be 'left' or 'right', not {side!r}")
    named = dict(_NAMED_TOKENS.get(kind or "", {}))
    named |= {role: token for role in _ROLES if (token := _content(tokens.get(role)))}
    padding = _position_padding(config)
    settings = TextSettings(
        max_length=_max_length(sentence, tokens, config, padding),
        special_tokens=special_tokens,
        truncation_side=side,
        lowercase=bool(sentence.get("do_lower_case", False)),
        kind=kind,
        options={key: tokens[key] for key in _OPTIONS if key in tokens},
        named_tokens=named,
        extra_tokens=_extra_tokens(tokens),
        added_tokens=_added_tokens(tokens),
    )
    return settings, padding


def _read_sentence_config(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Returns the first of the files in which sentence-transformers keeps a transformer's settings.

    They are named after the architecture in old folders.
    """
    for name in _SENTENCE_CONFIGS:
        if content := read_json(folder / name):
            return folder / name, content
    return folder / _SENTENCE_CONFIGS[0], {}


def _refuse(sentence: Mapping[str, Any], place: Path) -> None:
    """Raises ModelError for what sentence-transformers would honour and this package cannot."""
    for key in _UNSUPPORTED:
        if sentence.get(key) is not None:
            raise ModelError(f"{place} sets {key} to {sentence[key]!r}, which is not supported")
    if (task := sentence.get("transformer_task", "feature-extraction")) != "feature-extraction":
        raise ModelError(f"{place} is for the task {task!r}, not for feature extraction")
    modalities = sentence.get("modality_config", {"text": _TEXT})
    text = modalities.get("text") if isinstance(modalities, dict) else None
    if "message" in modalities or not isinstance(text, dict) or _TEXT.items() - text.items():
        raise ModelError(
            f"{place} sets modality_config to {modalities!r}: texts that are put into a "
            "conversation, or that another method than forward encodes, are not supported"
        )
    if (output := sentence.get("module_output_name", "token_embeddings")) != "token_embeddings":
        raise ModelError(f"{place} outputs {output!r} instead of token embeddings: not supported")
    processing = _object(sentence, "processing_kwargs")
    for key in ("text", "common"):
        if processing.get(key):
            raise ModelError(
                f"{place} sets processing_kwargs for {key} to {processing[key]!r}, which is not "
                "supported"
            )
    for key in ("model_args", "model_kwargs", "config_args", "config_kwargs"):
        if others := _object(sentence, key).keys() - _HARMLESS:
            raise ModelError(f"{place} sets {', '.join(sorted(others))} in {key}: not supported")


def _object(settings: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = settings.get(key) or {}
    if not isinstance(value, dict):
        raise ModelError(f"{key} should be an object, not {value!r}")
    return value


def _tokenizer_class(tokens: Mapping[str, Any], config: Mapping[str, Any]) -> str | None:
    """Returns the class that transformers chooses, without "Fast"."""
    model = str(config.get("model_type"))
    if model in _AS_IN_THE_FILE:
        return None
    named = tokens.get("tokenizer_class") or config.get("tokenizer_class") or _CLASSES.get(model)
    return str(named).removesuffix("Fast") if named else None


def _position_padding(config: Mapping[str, Any]) -> int | None:
    if config.get("model_type") not in _ROBERTA_LIKE:
        return None
    padding = config.get("pad_token_id", 1)
    return padding if isinstance(padding, int) else None


def _max_length(
    sentence: Mapping[str, Any],
    tokens: Mapping[str, Any],
    config: Mapping[str, Any],
    padding: int | None,
) -> int | None:
    limits = []
    most = tokens.get("model_max_length")
    named = most if "model_max_length" in _processor(sentence) else sentence.get("max_seq_length")
    if isinstance(named, int):
        limits.append(named)
    elif isinstance(most, (int, float)) and most < _NO_LIMIT:
        limits.append(int(most))
    positions = config.get("max_position_embeddings")
    if isinstance(positions, int) and positions > 0:
        # Where positions are rows of a table, later ones do not exist. RoBERTa's begin after the
        # padding id. Otherwise they only limit a length that no other setting names.
        table = config.get("position_embedding_type", "absolute") == "absolute"
        if padding is not None:
            limits.append(positions - padding - 1)
        elif not isinstance(named, int) or (table and config.get("model_type") in _TABLES):
            limits.append(positions)
    return min(limits, default=None)


def _processor(sentence: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**_object(sentence, "tokenizer_args"), **_object(sentence, "processor_kwargs")}


def _extra_tokens(tokens: Mapping[str, Any]) -> tuple[str, ...]:
    extra = tokens.get("extra_special_tokens") or tokens.get("additional_special_tokens") or []
    listed = list(extra.values()) if isinstance(extra, dict) else extra
    return tuple(token for entry in listed if (token := _content(entry)))


def _added_tokens(tokens: Mapping[str, Any]) -> Mapping[int, Mapping[str, Any]] | None:
    entries = tokens.get("added_tokens_decoder")
    if entries is None:
        return None
    try:
        return {int(index): dict(entry) for index, entry in entries.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise ModelError(f"tokenizer_config.json: cannot read added_tokens_decoder: {error}") from (
            error
        )


def _content(entry: object) -> str | None:
    """Returns a token that a file gives as a string or as an object."""
    if isinstance(entry, dict):
        entry = entry.get("content")
    return entry if isinstance(entry, str) else None
