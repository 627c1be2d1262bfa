"""ModernBERT as an ONNX graph: pre-norm layers, rotary positions, windows in most layers.

The architecture is Warner et al. 2024, "Smarter, Better, Faster, Longer".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nestling.models.convert.config import Config
from nestling.models.convert.graph import GraphBuilder
from nestling.models.convert.rope import Rope, read_layer_ropes
from nestling.models.convert.weights import Weights

__all__ = ["ModernBertConfig", "add_modernbert", "read_modernbert"]


@dataclass(frozen=True, slots=True)
class ModernBertConfig:
    """The hyperparameters of a ModernBERT that its tensors do not contain.

    Attributes:
        heads: Attention heads of a layer.
        head: Length of a head.
        epsilon: Of the norms.
        activation: Of the gate, by its name in transformers.
        layers: The type of each layer, "full_attention" or "sliding_attention".
        ropes: The rotary positions of each type.
        window: How far a token sees to either side in the second type.
    """

    heads: int
    head: int
    epsilon: float
    activation: str
    layers: tuple[str, ...]
    ropes: Mapping[str, Rope]
    window: int


def read_modernbert(config: Config) -> ModernBertConfig:
    """Reads the config.json of a ModernBERT."""
    every = config.integer("global_attn_every_n_layers", default=3)
    layers = config.get("layer_types") or [
        "sliding_attention" if i % every else "full_attention"
        for i in range(config.integer("num_hidden_layers", default=22))
    ]
    if not {*layers} <= {"full_attention", "sliding_attention"}:
        config.refuse("layer_types", ("full_attention", "sliding_attention"))
    heads = config.integer("num_attention_heads", default=12)
    head = config.integer("hidden_size", default=768) // heads
    return ModernBertConfig(
        heads=heads,
        head=head,
        epsilon=config.number("norm_eps", default=1e-5),
        activation=config.activation("hidden_activation", default="gelu"),
        layers=tuple(layers),
        ropes=read_layer_ropes(
            config,
            head,
            old_names={
                "full_attention": "global_rope_theta",
                "sliding_attention": "local_rope_theta",
            },
            thetas={"full_attention": 160_000.0, "sliding_attention": 10_000.0},
            scaled=("full_attention", "sliding_attention"),
        ),
        window=config.integer("local_attention", default=128) // 2,
    )


def add_modernbert(graph: GraphBuilder, weights: Weights, config: ModernBertConfig) -> str:
    """Adds a ModernBERT to a graph, and returns its token embeddings."""

    def norm(value: str, name: str) -> str:
        gain, bias = weights[f"{name}.weight"], weights.optional(f"{name}.bias")
        return graph.layer_norm(value, gain, bias, epsilon=config.epsilon)

    def linear(value: str, name: str) -> str:
        return graph.linear(value, weights[f"{name}.weight"], weights.optional(f"{name}.bias"))

    x = norm(graph.embed(weights["embeddings.tok_embeddings.weight"]), "embeddings.norm")
    for i, kind in enumerate(config.layers):
        layer = f"layers.{i}"
        rotation = config.ropes[kind].add(graph)
        y = norm(x, f"{layer}.attn_norm") if i else x  # the embeddings are normalised already
        query, key, value = (
            graph.heads(part, config.heads, config.head)
            for part in graph.split(linear(y, f"{layer}.attn.Wqkv"), 3)
        )
        query, key = graph.rotate(query, rotation), graph.rotate(key, rotation)
        hidden = graph.hidden(window=config.window if kind == "sliding_attention" else None)
        mixed = graph.attend(query, key, value, hidden, scale=config.head**-0.5)
        x = graph.op("Add", x, linear(mixed, f"{layer}.attn.Wo"))
        inner, gate = graph.split(linear(norm(x, f"{layer}.mlp_norm"), f"{layer}.mlp.Wi"), 2)
        inner = graph.op("Mul", graph.activation(inner, config.activation), gate)
        x = graph.op("Add", x, linear(inner, f"{layer}.mlp.Wo"))
    return norm(x, "final_norm")
