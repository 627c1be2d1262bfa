"""Folders are tokenized as transformers does it, class by class and option by option."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers", minversion="5")

import transformers
from reference_models import LETTERS, TEXTS, tokenizer
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from nestling.runtime.text_settings import read_text_settings
from nestling.runtime.tokenizer import TextTokenizer

MORE = ["  leading", "trailing  ", "<mask> in", "x <mask>  y", "tab\tnew\n\nline", "a\u00a0b"]
MORE += ["</s> hi <pad>", "<s>a", "ＡＢＣ ﬁ ½ Å", "it's 1234 o'clock...", "``quoted''"]
_letters = random.Random(0)
CORPUS = [*TEXTS, *("".join(_letters.choices(LETTERS + "   ", k=60)) for _ in range(60))]
ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

Make = Callable[..., Tokenizer]


def unigram(special: list[str], unknown: str, words: Any, normalizer: Any = None) -> Tokenizer:
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = words
    if normalizer is not None:
        made.normalizer = normalizer
    made.train_from_iterator(
        CORPUS,
        trainers.UnigramTrainer(
            vocab_size=150, special_tokens=special, unk_token=unknown, show_progress=False
        ),
    )
    return made


def byte_pairs(special: list[str], words: Any, normalizer: Any, around: Any) -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = words
    if normalizer is not None:
        made.normalizer = normalizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        ),
    )
    if around is not None:
        made.post_processor = around
    return made


def spaces() -> Any:
    return pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])


SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
SPLIT += r"|\s*[\r\n]+|\s+(?!\S)|\s+"


def qwen() -> Tokenizer:
    words = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    end = processors.TemplateProcessing(
        single="$A <|endoftext|>", special_tokens=[("<|endoftext|>", 0)]
    )
    return byte_pairs(["<|endoftext|>", "<|im_start|>"], words, normalizers.NFC(), end)


def roberta(prefix: bool) -> Tokenizer:
    around = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return byte_pairs(ROBERTA, pre_tokenizers.ByteLevel(add_prefix_space=prefix), None, around)


WORD_PIECES = [{}, {"do_lower_case": False}, {"strip_accents": True}]
WORD_PIECES += [{"tokenize_chinese_chars": False, "do_lower_case": False}]
PIECES: list[dict[str, Any]] = [{}, {"add_prefix_space": False}, {"do_lower_case": True}]
PIECES += [{"do_lower_case": False, "keep_accents": True}, {"split_by_punct": True}]
FOLDING = normalizers.Sequence([normalizers.Lowercase(), normalizers.NFKC()])
ALBERT = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]

CASES: list[tuple[str, str, Tokenizer, dict[str, Any]]] = [
    *(
        (name, model, tokenizer(lowercase=lowercase), options)
        for name, model in (
            *(("BertTokenizer", "bert"), ("DistilBertTokenizerFast", "distilbert")),
            *(("MPNetTokenizer", "mpnet"), ("ElectraTokenizer", "electra")),
        )
        for lowercase in (False, True)
        for options in WORD_PIECES
    ),
    *(
        (name, model, unigram(special, unknown, words, folding), options)
        for name, model, special, unknown in (
            ("XLMRobertaTokenizer", "xlm-roberta", ROBERTA, "<unk>"),
            ("CamembertTokenizer", "camembert", ROBERTA, "<unk>"),
            ("T5Tokenizer", "t5", ["<pad>", "</s>", "<unk>"], "<unk>"),
            ("AlbertTokenizer", "albert", ALBERT, "<unk>"),
            ("DebertaV2Tokenizer", "deberta-v2", BERT, "[UNK]"),
        )
        for words in (spaces(), pre_tokenizers.Metaspace())
        for folding in (None, FOLDING)
        for options in PIECES
    ),
    *(
        ("RobertaTokenizer", "roberta", roberta(prefix), options)
        for prefix in (False, True)
        for options in ({}, {"add_prefix_space": False}, {"add_prefix_space": True})
    ),
    *(
        ("Qwen2Tokenizer", "qwen3", qwen(), options)
        for options in ({}, {"add_bos_token": False}, {"add_eos_token": True})
    ),
    ("RobertaTokenizer", "modernbert", roberta(True), {}),  # whose class does not count
    ("PreTrainedTokenizerFast", "bert", tokenizer(), {"do_lower_case": True}),
]


@pytest.mark.parametrize(
    ("name", "model", "made", "options"),
    CASES,
    ids=[f"{name}-{model}-{i}" for i, (name, model, *_) in enumerate(CASES)],
)
def test_tokens_are_those_of_transformers(
    tmp_path: Path, name: str, model: str, made: Tokenizer, options: dict[str, Any]
) -> None:
    made.save(str(tmp_path / "tokenizer.json"))
    config = {"tokenizer_class": name, "model_max_length": 64} | options
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model}))
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path)
    settings, _ = read_text_settings(tmp_path, listed=True)
    read = TextTokenizer(tmp_path / "tokenizer.json", settings)
    texts = TEXTS + MORE
    expected = reference(texts, truncation="longest_first")["input_ids"]
    assert [ids.tolist() for ids in read.encode(texts)[0]] == expected
