"""BERT encoders as ONNX graphs, built from their weights: no torch, no tracing.

The architecture is Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers";
tensors have the names that Hugging Face gives them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from nestling.models.convert.graph import GraphBuilder

__all__ = ["BertConfig", "build_bert"]

_MASKED = -10_000.0  # added to the attention score of padding; its softmax is exactly 0 in float32


@dataclass(frozen=True, slots=True)
class BertConfig:
    """The hyperparameters of a BERT encoder that its tensors do not contain."""

    heads: int
    epsilon: float
    layers: int


def build_bert(
    weights: Mapping[str, NDArray[np.float32]], config: BertConfig, *, embedding: str = "float32"
) -> onnx.ModelProto:
    """Builds a BERT encoder with mean pooling and normalisation inside the graph.

    Args:
        weights: The tensors, by their Hugging Face names without a prefix
            ("embeddings.word_embeddings.weight", "encoder.layer.0.attention.self.query.bias", …).
        config: Heads, layers and the epsilon of the layer norms.
        embedding: How the word table is stored: "float32", "float16" or "int8".
    """
    graph = GraphBuilder()
    words = weights["embeddings.word_embeddings.weight"]
    width = words.shape[1]
    head = width // config.heads

    def norm(value: str, name: str) -> str:
        gain, bias = (graph.constant(weights[f"{name}.LayerNorm.{k}"]) for k in ("weight", "bias"))
        return graph.op("LayerNormalization", value, gain, bias, axis=-1, epsilon=config.epsilon)

    def linear(value: str, name: str) -> str:
        product = graph.op("MatMul", value, graph.constant(weights[f"{name}.weight"].T))
        return graph.op("Add", product, graph.constant(weights[f"{name}.bias"]))

    # Every token is of type 0, so that row is folded into the positions.
    positions = weights["embeddings.position_embeddings.weight"]
    positions = positions + weights["embeddings.token_type_embeddings.weight"][0]
    length = graph.op("Shape", graph.IDS, start=1, end=2)
    positions_used = graph.op(
        "Slice", graph.constant(positions), graph.axes(0), length, graph.axes(0)
    )
    x = norm(graph.op("Add", graph.embed(words, store=embedding), positions_used), "embeddings")

    mask = graph.op("Unsqueeze", graph.cast(graph.MASK), graph.axes(1, 2))
    hidden = graph.op("Sub", graph.constant(1), mask)
    mask_bias = graph.op("Mul", hidden, graph.constant(_MASKED))
    split, merged = graph.axes(0, 0, config.heads, head), graph.axes(0, 0, width)
    scale = graph.constant(head**-0.5)

    def heads(value: str, order: list[int]) -> str:
        return graph.op("Transpose", graph.op("Reshape", value, split), perm=order)

    for i in range(config.layers):
        layer = f"encoder.layer.{i}"
        attention = f"{layer}.attention"
        query = graph.op("Mul", linear(x, f"{attention}.self.query"), scale)
        key = linear(x, f"{attention}.self.key")
        value = linear(x, f"{attention}.self.value")
        score = graph.op("MatMul", heads(query, [0, 2, 1, 3]), heads(key, [0, 2, 3, 1]))
        share = graph.op("Softmax", graph.op("Add", score, mask_bias), axis=-1)
        mixed = graph.op("MatMul", share, heads(value, [0, 2, 1, 3]))
        mixed = graph.op("Reshape", graph.op("Transpose", mixed, perm=[0, 2, 1, 3]), merged)
        x = norm(
            graph.op("Add", x, linear(mixed, f"{attention}.output.dense")), f"{attention}.output"
        )
        inner = graph.op("Gelu", linear(x, f"{layer}.intermediate.dense"))
        x = norm(graph.op("Add", x, linear(inner, f"{layer}.output.dense")), f"{layer}.output")
    graph.pool(x)
    return graph.model("bert", width)
