"""BERT encoders as ONNX graphs, built from their weights: no torch, no tracing.

The architecture is Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers";
tensors have the names that Hugging Face gives them. RoBERTa, XLM-RoBERTa and CamemBERT count
positions from the padding id, DistilBERT names its tensors in its own way, and ELECTRA may have
embeddings that are narrower than its layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray

from nestling.models.convert.config import Config
from nestling.models.convert.graph import GraphBuilder, TableStore
from nestling.models.convert.weights import Weights

__all__ = [
    "BertConfig",
    "add_bert",
    "build_bert",
    "distilbert_names",
    "read_bert",
    "read_distilbert",
    "read_roberta",
]

Arrays = Mapping[str, NDArray[np.float32]]

_DISTILBERT_NAMES: Final = {
    "transformer.layer": "encoder.layer",
    "attention.q_lin": "attention.self.query",
    "attention.k_lin": "attention.self.key",
    "attention.v_lin": "attention.self.value",
    "attention.out_lin": "attention.output.dense",
    "sa_layer_norm": "attention.output.LayerNorm",
    "ffn.lin1": "intermediate.dense",
    "ffn.lin2": "output.dense",
    "output_layer_norm": "output.LayerNorm",
}


@dataclass(frozen=True, slots=True)
class BertConfig:
    """The hyperparameters of a BERT encoder that its tensors do not contain.

    Attributes:
        heads: Attention heads of a layer.
        epsilon: Of the layer norms.
        layers: How many.
        activation: Between the two products of a layer, by its name in transformers.
        positions_after: The padding id, where positions are counted from the one after it, as in
            RoBERTa; None where they begin at 0.
    """

    heads: int
    epsilon: float
    layers: int
    activation: str = "gelu"
    positions_after: int | None = None


def read_bert(config: Config) -> BertConfig:
    """Reads the config.json of a BERT."""
    config.expect("position_embedding_type", "absolute")
    config.expect("is_decoder", False)
    config.expect("add_cross_attention", False)
    return BertConfig(
        heads=config.integer("num_attention_heads", default=12),
        epsilon=config.number("layer_norm_eps", default=1e-12),
        layers=config.integer("num_hidden_layers", default=12),
        activation=config.activation("hidden_act", default="gelu"),
    )


def read_roberta(config: Config) -> BertConfig:
    """Reads the config.json of a RoBERTa, XLM-RoBERTa or CamemBERT."""
    return replace(read_bert(config), positions_after=config.integer("pad_token_id", default=1))


def read_distilbert(config: Config) -> BertConfig:
    """Reads the config.json of a DistilBERT."""
    return BertConfig(
        heads=config.integer("n_heads", "num_attention_heads", default=12),
        epsilon=1e-12,
        layers=config.integer("n_layers", "num_hidden_layers", default=6),
        activation=config.activation("activation", default="gelu"),
    )


def distilbert_names(weights: Weights) -> Weights:
    """Returns the tensors of a DistilBERT by the names of a BERT."""

    def rename(name: str) -> str:
        for old, new in _DISTILBERT_NAMES.items():
            name = name.replace(old, new)
        return name

    return weights.renamed(rename)


def build_bert(
    weights: Arrays, config: BertConfig, *, embedding: TableStore = "float32"
) -> onnx.ModelProto:
    """Builds a BERT encoder with mean pooling and normalisation inside the graph.

    Args:
        weights: The tensors, by their Hugging Face names without a prefix
            ("embeddings.word_embeddings.weight", "encoder.layer.0.attention.self.query.bias", …).
        config: The hyperparameters.
        embedding: How the word table is stored: "float32", "float16" or "int8".
    """
    graph = GraphBuilder(table=embedding)
    graph.pool(add_bert(graph, weights, config))
    return graph.model("bert", weights["embeddings.word_embeddings.weight"].shape[1])


def add_bert(graph: GraphBuilder, weights: Arrays, config: BertConfig) -> str:
    """Adds a BERT encoder to a graph, and returns its token embeddings (see `build_bert`)."""
    words = weights["embeddings.word_embeddings.weight"]

    def norm(value: str, name: str) -> str:
        gain, bias = (weights[f"{name}.LayerNorm.{kind}"] for kind in ("weight", "bias"))
        return graph.layer_norm(value, gain, bias, epsilon=config.epsilon)

    def linear(value: str, name: str) -> str:
        return graph.linear(value, weights[f"{name}.weight"], weights[f"{name}.bias"])

    positions = weights["embeddings.position_embeddings.weight"]
    if "embeddings.token_type_embeddings.weight" in weights:
        # Every token is of type 0, so that row is folded into the positions.
        positions = positions + weights["embeddings.token_type_embeddings.weight"][0]
    if config.positions_after is None:
        first = graph.axes(0)
        at = graph.op("Slice", graph.constant(positions), first, graph.length(), first)
    else:
        at = graph.op(
            "Gather", graph.constant(positions), graph.positions_after(config.positions_after)
        )
    x = norm(graph.op("Add", graph.embed(words), at), "embeddings")
    width = words.shape[1]
    del words, positions
    if "embeddings_project.weight" in weights:  # narrower than the layers (ELECTRA)
        x = linear(x, "embeddings_project")
        width = len(weights["embeddings_project.weight"])

    head = width // config.heads
    split, merged = graph.axes(0, 0, config.heads, head), graph.axes(0, 0, width)
    scale = graph.scalar(head**-0.5)

    def heads(value: str, order: list[int]) -> str:
        return graph.op("Transpose", graph.op("Reshape", value, split), perm=order)

    def attend(query: str, key: str, value: str) -> str:
        query = graph.op("Mul", query, scale)
        score = graph.op("MatMul", heads(query, [0, 2, 1, 3]), heads(key, [0, 2, 3, 1]))
        share = graph.op("Softmax", graph.op("Add", score, graph.hidden()), axis=-1)
        mixed = graph.op("MatMul", share, heads(value, [0, 2, 1, 3]))
        return graph.op("Reshape", graph.op("Transpose", mixed, perm=[0, 2, 1, 3]), merged)

    for i in range(config.layers):
        layer = f"encoder.layer.{i}"
        attention = f"{layer}.attention"
        query, key, value = (
            linear(x, f"{attention}.self.{name}") for name in ("query", "key", "value")
        )
        if graph.fused:
            mixed = graph.attend_fused(query, key, value, heads=config.heads)
        else:
            mixed = attend(query, key, value)
        x = norm(
            graph.op("Add", x, linear(mixed, f"{attention}.output.dense")), f"{attention}.output"
        )
        inner = graph.activation(linear(x, f"{layer}.intermediate.dense"), config.activation)
        x = norm(graph.op("Add", x, linear(inner, f"{layer}.output.dense")), f"{layer}.output")
    return x
