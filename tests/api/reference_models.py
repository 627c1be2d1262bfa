"""Tiny random models of sentence-transformers, and how their embeddings compare with nestling's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import AddedToken, Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece

from nestling.encoder import Encoder
from nestling.models.convert import Conversion, convert_folder

DIM, MOST = 32, 24
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789éèüñÉÜ.,:;!?-'()[]<>/"
LETTERS += "ابتثجحخدذرزسشصضطظعغفقكلمنهويىةأإآءئؤَُِّْ中文字🙂🎉"
WORDS = [
    "hello",
    "Hello",
    "world",
    "World",
    "query",
    "search",
    "the",
    "café",
    "cafe",
    "مرحبا",
    "كتاب",
]

TEXTS = [
    "hello world",
    "The quick brown fox, and Hello World!",
    "",
    "مَرْحَبًا بِكَ فِي الكِتَابِ",
    "emoji 🙂🎉 and 中文字 mixed",
    "Café CAFÉ résumé Ünïcode",
    " two  spaces\tand a tab\nand a line ",
    "a",
    "[MASK] <s> [CLS] in the text",
    "one two three four five six seven eight nine ten eleven twelve thirteen " * 3,
    "ctrl\x00\x1fchars\u200b\ufeff",
]


def tokenizer(*, lowercase: bool = False) -> Tokenizer:
    """A WordPiece tokenizer of letters and a few words."""
    vocabulary = [*SPECIAL, *WORDS, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    ids = {word: i for i, word in enumerate(dict.fromkeys(vocabulary))}
    made = Tokenizer(WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    made.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    made.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    return made


def save_transformer(folder: Path, **tokens: Any) -> Path:
    """Writes a BERT of 2 layers and 32 dims as transformers does; `tokens` are its tokenizer's."""
    import torch
    import transformers

    made = tokenizer(lowercase=tokens.get("do_lower_case", False))
    torch.manual_seed(1)
    config = transformers.BertConfig(
        vocab_size=made.get_vocab_size(),
        hidden_size=DIM,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=40,
    )
    model = transformers.BertModel(config, add_pooling_layer=False)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(folder)
    settings = {"do_lower_case": False, "model_max_length": MOST} | tokens
    transformers.BertTokenizer(made.get_vocab(), **settings).save_pretrained(folder)
    return folder


def add_graph(folder: Path, graphs: dict[str, Path]) -> None:
    """Puts the float32 graph of a folder's transformer into it; converts it the first time."""
    if "model" not in graphs:
        target = folder.with_name("converted")
        target.mkdir()
        convert_folder(folder, target, Conversion(("float32",)))
        graphs["model"] = target / "onnx"
    shutil.copytree(graphs["model"], folder / "onnx")


def edit(path: Path, **changes: Any) -> None:
    """Changes keys of a JSON file; None removes one."""
    content = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    content |= changes
    kept = {key: value for key, value in content.items() if value is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")


def differences(folder: Path, *, dims: Sequence[int | None] = (None,), **model: Any) -> float:
    """Returns the largest difference of a component between sentence-transformers and nestling.

    Of documents and queries; in a batch, alone, and as prefixes.
    """
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(folder), device="cpu", **model)
    encoder = Encoder(folder, precision="float32", threads=1)
    roles: list[tuple[Callable[..., Any], Callable[..., Any]]] = [
        (reference.encode_document, encoder.encode),
        (reference.encode_query, encoder.encode_queries),
    ]
    worst = 0.0
    for expect, encode in roles:
        for dim in dims:
            # One at a time: padding on the left would shift positions in a batch.
            wanted = np.stack(
                [expect(text, normalize_embeddings=True, truncate_dim=dim) for text in TEXTS]
            )
            got = encode(TEXTS, dim=dim, batch_size=4)
            alone = np.stack([encode(text, dim=dim) for text in TEXTS])
            assert got.shape == wanted.shape, (got.shape, wanted.shape)
            worst = max(worst, *(float(np.abs(x - wanted).max()) for x in (got, alone)))
        together = expect(TEXTS, normalize_embeddings=True)
        worst = max(worst, float(np.abs(encode(TEXTS) - together).max()))
    return worst
