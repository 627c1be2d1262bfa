"""Tokenizers of folders whose tokenizer_config.json and tokenizer.json differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from reference_models import tokenizer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from nestling.errors import ModelError
from nestling.runtime.text_settings import TextSettings, read_text_settings
from nestling.runtime.tokenizer import TextTokenizer

BERT = "BertTokenizer"


def tokens(folder: Path, text: str, *, listed: bool = True) -> list[str]:
    """The tokens of a text, by the files of a folder."""
    settings, _ = read_text_settings(folder, listed=listed)
    read = TextTokenizer(folder / "tokenizer.json", settings)
    ids = read.encode([text])[0][0].tolist()
    return [str(read._tokenizer.id_to_token(index)) for index in ids]


def write(folder: Path, made: Tokenizer, **config: Any) -> Path:
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("config", "text", "expected"),
    [
        ({"tokenizer_class": BERT}, "Hello", ["hello"]),
        ({"tokenizer_class": "BertTokenizerFast", "do_lower_case": False}, "Hello", ["Hello"]),
        ({"tokenizer_class": BERT}, "Café", ["cafe"]),
        ({"tokenizer_class": BERT, "strip_accents": False}, "Café", ["café"]),
        ({"tokenizer_class": BERT, "do_lower_case": False, "strip_accents": True}, "é", ["e"]),
        ({"tokenizer_class": BERT}, "中文", ["中", "文"]),
        ({"tokenizer_class": BERT, "tokenize_chinese_chars": False}, "中文", ["中", "##文"]),
        ({"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": True}, "Hi", ["H", "##i"]),
        ({}, "Hi", ["H", "##i"]),
        (
            {"tokenizer_class": BERT, "split_special_tokens": True},
            "[SEP]",
            ["[", "s", "##e", "##p", "]"],
        ),
    ],
)
def test_the_class_decides_and_its_options(
    tmp_path: Path, config: dict[str, Any], text: str, expected: list[str]
) -> None:
    folder = write(tmp_path, tokenizer(), **config)
    assert tokens(folder, text) == ["[CLS]", *expected, "[SEP]"]


def test_the_type_of_the_model_names_a_class_where_no_file_does(tmp_path: Path) -> None:
    folder = write(tmp_path, tokenizer())
    (folder / "config.json").write_text('{"model_type": "bert"}')
    assert tokens(folder, "Hello")[1] == "hello"
    (folder / "config.json").write_text('{"model_type": "bert", "tokenizer_class": "Other"}')
    assert tokens(folder, "Hello")[1] == "Hello"
    (folder / "config.json").write_text('{"model_type": "modernbert"}')
    assert tokens(write(folder, tokenizer(), tokenizer_class=BERT), "Hello")[1] == "Hello"


@pytest.mark.parametrize("name", ["bert", "roberta", "xlm-roberta", "albert"])
def test_a_module_may_lowercase_whatever_the_tokenizer_does(tmp_path: Path, name: str) -> None:
    made = tokenizer()
    made.normalizer = normalizers.Sequence([normalizers.NFC()])
    folder = write(tmp_path, made, tokenizer_class="TokenizersBackend")
    (folder / f"sentence_{name}_config.json").write_text('{"do_lower_case": true}')
    assert tokens(folder, "Hello WORLD") == ["[CLS]", "hello", "world", "[SEP]"]


def test_tokens_are_added_as_the_config_says(tmp_path: Path) -> None:
    entry = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False}
    added = {"200": entry | {"content": "quick-fox", "special": False}}
    folder = write(tmp_path, tokenizer(), tokenizer_class="Other", added_tokens_decoder=added)
    assert "quick-fox" in tokens(folder, "a quick-fox")
    folder = write(tmp_path, tokenizer(), tokenizer_class="Other", extra_special_tokens=["<Q>"])
    assert "<Q>" in tokens(folder, "a <Q> b")


def unigram() -> Tokenizer:
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁a", "b", "a", "A", "▁A"]
    made = Tokenizer(models.Unigram([(piece, -float(i)) for i, piece in enumerate(pieces)], 3))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    return made


def test_words_of_xlm_roberta_are_split_at_spaces(tmp_path: Path) -> None:
    folder = write(tmp_path, unigram(), tokenizer_class="XLMRobertaTokenizer")
    assert tokens(folder, " a  ab ") == ["<s>", "▁a", "▁a", "b", "</s>"]
    folder = write(
        tmp_path, unigram(), tokenizer_class="XLMRobertaTokenizer", add_prefix_space=False
    )
    assert tokens(folder, "ab") == ["<s>", "a", "b", "</s>"]


@pytest.mark.parametrize("prefix", [None, False, True])
@pytest.mark.parametrize("in_file", [False, True])
def test_roberta_puts_a_space_first_if_the_config_says_so(
    tmp_path: Path, in_file: bool, prefix: bool | None
) -> None:
    made = Tokenizer(models.BPE({"<s>": 0, "</s>": 1, "<pad>": 2, "a": 3, "Ġ": 4}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=in_file)
    config = {} if prefix is None else {"add_prefix_space": prefix}
    folder = write(tmp_path, made, tokenizer_class="RobertaTokenizer", **config)
    assert tokens(folder, "a") == ["<s>", *(["Ġ"] if prefix else []), "a", "</s>"]


@pytest.mark.parametrize(
    ("made", "config", "message"),
    [
        (tokenizer(), {"do_lower_case": True}, "sets do_lower_case of a FunnelTokenizer to True"),
        (tokenizer(lowercase=True), {"do_lower_case": False}, "do_lower_case .* to False"),
        (tokenizer(), {"truncation_side": "up"}, "truncation_side should be"),
        (tokenizer(), {"added_tokens_decoder": {"x": {}}}, "cannot read added_tokens_decoder"),
    ],
)
def test_what_contradicts_the_tokenizer_is_refused(
    tmp_path: Path, made: Tokenizer, config: dict[str, Any], message: str
) -> None:
    folder = write(tmp_path, made, tokenizer_class="FunnelTokenizer", **config)
    with pytest.raises(ModelError, match=message):
        tokens(folder, "Hello")


def test_a_static_table_takes_its_tokenizer_as_it_is(tmp_path: Path) -> None:
    made = tokenizer()
    made.enable_truncation(3, direction="left")
    folder = write(tmp_path, made, tokenizer_class=BERT, model_max_length=1)
    read = TextTokenizer(folder / "tokenizer.json", TextSettings(special_tokens=False, static=True))
    assert read.max_length == 3
    ids = read.encode(["Hello a b c"])[0][0]
    assert [read._tokenizer.id_to_token(i) for i in ids.tolist()] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("prompt", "length"),
    [("", 0), ("a b", 3), ("a [SEP]", 3), ("[SEP]", 2), ("a b c d e f g", 4)],
)
def test_prompts_are_counted_with_the_tokens_before_them(
    tmp_path: Path, prompt: str, length: int
) -> None:
    folder = write(tmp_path, tokenizer(), tokenizer_class=BERT, model_max_length=5)
    settings, _ = read_text_settings(folder, listed=True)
    assert TextTokenizer(folder / "tokenizer.json", settings).prompt_length(prompt) == length
