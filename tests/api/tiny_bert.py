"""A BERT encoder with random weights, small enough to train in a test, and pairs to train it on."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, pre_tokenizers, processors
from tokenizers.models import WordLevel

DIM = 32
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TOPICS, WORDS = 20, 10


def make_bert(root: Path, **config: Any) -> Path:
    """Writes a model folder of sentence-transformers: 2 layers, 32 dimensions, 200 words."""
    import torch
    import transformers
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules

    words = [*SPECIAL, *(f"w{i}" for i in range(TOPICS * WORDS))]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    raw = root / "raw"
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=24,
    ).save_pretrained(raw)
    torch.manual_seed(0)
    sizes = {
        "vocab_size": len(words),
        "hidden_size": DIM,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 32,
    }
    settings = transformers.BertConfig(**sizes | config)
    transformers.BertModel(settings, add_pooling_layer=False).save_pretrained(raw)
    network = SentenceTransformer(
        modules=[
            modules.Transformer(str(raw)),
            modules.Pooling(DIM, pooling_mode="mean"),
            modules.Normalize(),
        ]
    )
    folder = root / "tiny-bert"
    network.save_pretrained(str(folder), create_model_card=False)
    return folder


def write_pairs(path: Path, count: int = 300, *, negatives: int = 0) -> Path:
    """Writes questions of three words that their answers of eight have; topics share words."""
    draw = random.Random(1)

    def answer(topic: int) -> list[str]:
        return [f"w{topic * WORDS + draw.randrange(WORDS)}" for _ in range(8)]

    lines = []
    for number in range(count):
        words = answer(number % TOPICS)
        record = {"query": " ".join(draw.sample(words, 3)), "positive": " ".join(words)}
        record |= {"group": number % TOPICS}
        if negatives:
            record["negatives"] = [" ".join(answer(number % TOPICS)) for _ in range(negatives)]
        lines.append(json.dumps(record))
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def write_scored(path: Path, count: int = 120) -> Path:
    """Writes pairs of texts whose score is the number of words that they share."""
    draw = random.Random(2)
    lines = []
    for _ in range(count):
        first = [f"w{draw.randrange(TOPICS * WORDS)}" for _ in range(6)]
        shared = draw.randrange(7)
        second = first[:shared] + [f"w{draw.randrange(200)}" for _ in range(6 - shared)]
        record = {"text1": " ".join(first), "text2": " ".join(second), "score": shared}
        lines.append(json.dumps(record))
    path.write_text("\n".join(lines), encoding="utf-8")
    return path
