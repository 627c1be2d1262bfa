"""Model folders with safetensors weights, as they are published, with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tiny_networks import random_tensors
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

__all__ = ["bert_shapes", "make_silma", "make_static", "write_json"]

ARABIC = [chr(code) for code in range(0x621, 0x64B)]
LATIN = [chr(code) for code in range(33, 127)]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY = [*SPECIAL, *ARABIC, *LATIN, *(f"##{letter}" for letter in (*ARABIC, *LATIN)), "🙂"]
DIM = 64
NESTING = (4, 8, 16, 64)


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def bert_shapes(dim: int = DIM, layers: int = 2, inner: int = 96) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of a BERT's tensors, the pooler of its checkpoint included."""
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(VOCABULARY), dim),
        "embeddings.position_embeddings.weight": (40, dim),
        "embeddings.token_type_embeddings.weight": (2, dim),
    }

    def norm(name: str) -> None:
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (dim,)

    def linear(name: str, outputs: int, inputs: int) -> None:
        shapes[f"{name}.weight"] = (outputs, inputs)
        shapes[f"{name}.bias"] = (outputs,)

    norm("embeddings.LayerNorm")
    for i in range(layers):
        layer = f"encoder.layer.{i}"
        for name in ("query", "key", "value"):
            linear(f"{layer}.attention.self.{name}", dim, dim)
        linear(f"{layer}.attention.output.dense", dim, dim)
        norm(f"{layer}.attention.output.LayerNorm")
        linear(f"{layer}.intermediate.dense", inner, dim)
        linear(f"{layer}.output.dense", dim, inner)
        norm(f"{layer}.output.LayerNorm")
    linear("pooler.dense", dim, dim)
    return shapes


def save_word_pieces(path: Path) -> None:
    """Writes a tokenizer.json of letters, with the normaliser of AraBERT's: case is kept."""
    tokenizer = Tokenizer(
        models.WordPiece({word: i for i, word in enumerate(VOCABULARY)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path))


def make_silma(folder: Path, *, place: str = "", listed: bool = True) -> Path:
    """Writes the layout of silma-embeddding-matryoshka-v0.1: a BERT on AraBERT's tokenizer.

    Args:
        folder: The folder.
        place: Where the transformer's own files are in it, such as "0_Transformer".
        listed: Whether there is a modules.json.
    """
    own = folder / place
    shapes = bert_shapes()
    write_json(
        own / "config.json",
        {
            "architectures": ["BertModel"],
            "model_type": "bert",
            "hidden_size": DIM,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 96,
            "max_position_embeddings": 40,
            "vocab_size": len(VOCABULARY),
            "layer_norm_eps": 1e-12,
            "pad_token_id": 0,
        },
    )
    save_file(random_tensors(shapes, around=1.0), own / "model.safetensors")
    save_word_pieces(own / "tokenizer.json")
    write_json(
        own / "tokenizer_config.json",
        {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": False,
            "strip_accents": False,
            "pad_token": "[PAD]",
            "model_max_length": 512,
            "never_split": ["[بريد]", "[مستخدم]", "[رابط]"],
        },
    )
    write_json(own / "sentence_bert_config.json", {"max_seq_length": 40, "do_lower_case": False})
    if listed:
        prefix = "sentence_transformers.models."
        write_json(
            folder / "modules.json",
            [
                {"idx": 0, "name": "0", "path": place, "type": f"{prefix}Transformer"},
                {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{prefix}Pooling"},
            ],
        )
        write_json(
            folder / "1_Pooling" / "config.json",
            {"word_embedding_dimension": DIM, "pooling_mode_mean_tokens": True},
        )
    (folder / "README.md").write_text(
        '# A model\n\nLoss: MatryoshkaLoss\n\n```json\n{"matryoshka_dims": [64, 16, 8, 4]}\n```\n',
        encoding="utf-8",
    )
    return folder


def make_static(
    folder: Path, tensors: dict[str, np.ndarray], *, place: str = "0_StaticEmbedding"
) -> Path:
    """Writes a StaticEmbedding of sentence-transformers, without a config.json."""
    save_word_pieces(folder / place / "tokenizer.json")
    save_file(tensors, folder / place / "model.safetensors")
    kind = "sentence_transformers.sentence_transformer.modules.static_embedding.StaticEmbedding"
    write_json(folder / "modules.json", [{"idx": 0, "name": "0", "path": place, "type": kind}])
    return folder
