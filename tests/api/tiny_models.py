"""Models small enough to make in a test: a vocabulary of words, a tokenizer, graphs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordLevel

from nestling.models.convert.static import build_static

DIM = 16
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS = [*SPECIAL, "cat", "dog", "sun", "moon", "read", "write", "مرحبا", "😀", "\ufffd"]
WORDS += ["query:", "passage:"]


def table() -> np.ndarray:
    """Rows of the tiny vocabulary, the words after the special tokens well apart."""
    return np.random.default_rng(7).standard_normal((len(WORDS), DIM)).astype(np.float32)


def save_tokenizer(folder: Path, *, special: bool) -> None:
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if special:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    # As many published tokenizers do, it asks for padding and truncation of its own.
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=5, pad_id=0, pad_token="[PAD]")
    tokenizer.save(str(folder / "tokenizer.json"))


def token_graph(
    *, inputs: tuple[str, ...] = ("input_ids", "attention_mask"), output: str = "last_hidden_state"
) -> onnx.ModelProto:
    """A graph that gives each token its row, plus what the further inputs add."""
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["rows"])]
    value = "rows"
    for name in inputs[2:]:
        nodes += [
            helper.make_node("Cast", [name], [f"{name}_f"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", [f"{name}_f", "last"], [f"{name}_u"]),
            helper.make_node("Add", [value, f"{name}_u"], [f"{name}_a"]),
        ]
        value = f"{name}_a"
    nodes.append(helper.make_node("Identity", [value], [output]))
    axes = ["batch", "sequence"]
    graph = helper.make_graph(
        nodes,
        "tokens",
        [helper.make_tensor_value_info(name, TensorProto.INT64, axes) for name in inputs],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [*axes, DIM])],
        [
            numpy_helper.from_array(table(), "table"),
            numpy_helper.from_array(np.array([2], np.int64), "last"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    return model


def modules_listing(*kinds: str) -> list[dict[str, Any]]:
    """The content of a modules.json: a transformer in the folder itself, then these modules."""
    paths = ["", *(f"{i}_{kind}" for i, kind in enumerate(kinds, 1))]
    return [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(zip(paths, ("Transformer", *kinds), strict=True))
    ]


def make_folder(
    root: Path,
    graph: onnx.ModelProto | None = None,
    *,
    place: str = "onnx/model.onnx",
    special: bool = True,
    name: str = "tiny",
    files: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a model folder: a graph, a tokenizer, and JSON files, content by path.

    A pooling config comes with the modules.json that lists it.
    """
    folder = root / name
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    onnx.save(graph or build_static(table()), str(folder / place))
    save_tokenizer(folder, special=special)
    files = dict(files or {})
    if "1_Pooling/config.json" in files:
        files = {"modules.json": modules_listing("Pooling")} | files
    for file, content in files.items():
        path = folder / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")
    return folder
