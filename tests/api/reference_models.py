"""Tiny random models of sentence-transformers, and how their embeddings compare with nestling's."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import AddedToken, Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece

from nestling.encoder import Encoder

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
    "жы unknown ßΩ letters",
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


def save_model(folder: Path, raw: Path, modules: Sequence[Any], **options: Any) -> Path:
    """Writes a model of sentence-transformers: a transformer, then these modules."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Transformer

    network = SentenceTransformer(modules=[Transformer(str(raw)), *modules], **options)
    network.save_pretrained(str(folder), create_model_card=False)
    return folder


def edit(path: Path, **changes: Any) -> None:
    """Changes keys of a JSON file; None removes one."""
    content = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    content |= changes
    kept = {key: value for key, value in content.items() if value is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")


def differences(
    folder: Path,
    *,
    dims: Sequence[int | None] = (None,),
    texts: Sequence[str] = TEXTS,
    batches: bool = True,
) -> float:
    """Returns the largest difference of a component between sentence-transformers and nestling.

    Args:
        folder: A model with a float32 graph.
        dims: Lengths of prefixes.
        texts: What to encode as documents and as queries, together and one at a time.
        batches: Whether sentence-transformers encodes them together too. Padding on the left shifts
            the positions of a BERT, so that its embeddings depend on the batch.
    """
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(folder), device="cpu")
    encoder = Encoder(folder, precision="float32", threads=1)
    roles: list[tuple[Callable[..., Any], Callable[..., Any]]] = [
        (reference.encode_document, encoder.encode),
        (reference.encode_query, encoder.encode_queries),
    ]
    worst = 0.0
    for expect, encode in roles:
        for dim in dims:
            wanted = [expect(text, normalize_embeddings=True, truncate_dim=dim) for text in texts]
            alone = [encode(text, dim=dim) for text in texts]
            got = encode(texts, dim=dim, batch_size=4)
            assert got.shape == np.shape(wanted)
            worst = max(worst, *(float(np.abs(x - np.array(wanted)).max()) for x in (got, alone)))
            if batches:
                together = expect(texts, normalize_embeddings=True, truncate_dim=dim)
                worst = max(worst, float(np.abs(got - together).max()))
    return worst
