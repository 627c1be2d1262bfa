"""The text model of Gemma 3, and EmbeddingGemma, as ONNX graphs.

Every product is normalised before and after it, most layers see a window only, and embeddings are
scaled. EmbeddingGemma lets a token see those after it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nestling.models.convert.config import Config
from nestling.models.convert.graph import GraphBuilder
from nestling.models.convert.rope import Rope, read_layer_ropes
from nestling.models.convert.weights import Weights

__all__ = ["Gemma3Config", "add_gemma3", "read_gemma3"]


@dataclass(frozen=True, slots=True)
class Gemma3Config:
    """The hyperparameters of a Gemma 3 that its tensors do not contain.

    Attributes:
        heads: Query heads of a layer.
        groups: Key and value heads of a layer.
        head: Length of a head.
        epsilon: Of the norms.
        activation: Of the gate, by its name in transformers.
        scale: Of the products of queries and keys.
        layers: The type of each layer, "full_attention" or "sliding_attention".
        ropes: The rotary positions of each type.
        window: How far a token sees in the second type.
        causal: Whether a token sees only those before it, and itself.
    """

    heads: int
    groups: int
    head: int
    epsilon: float
    activation: str
    scale: float
    layers: tuple[str, ...]
    ropes: Mapping[str, Rope]
    window: int
    causal: bool


def read_gemma3(config: Config) -> Gemma3Config:
    """Reads the config.json of a Gemma 3 text model."""
    config.expect("attn_logit_softcapping")
    config.expect("is_causal", True)
    pattern = config.integer("sliding_window_pattern", "_sliding_window_pattern", default=6)
    layers = config.get("layer_types") or [
        "sliding_attention" if (i + 1) % pattern else "full_attention"
        for i in range(config.integer("num_hidden_layers", default=26))
    ]
    if not {*layers} <= {"full_attention", "sliding_attention"}:
        config.refuse("layer_types", ("full_attention", "sliding_attention"))
    causal = not config.flag("use_bidirectional_attention")
    size = config.integer("sliding_window", default=4096)
    head = config.integer("head_dim", default=256)
    return Gemma3Config(
        heads=config.integer("num_attention_heads", default=8),
        groups=config.integer("num_key_value_heads", default=4),
        head=head,
        epsilon=config.number("rms_norm_eps", default=1e-6),
        activation=config.activation("hidden_activation", default="gelu_pytorch_tanh"),
        scale=config.number("query_pre_attn_scalar", default=256.0) ** -0.5,
        layers=tuple(layers),
        ropes=read_layer_ropes(
            config,
            head,
            old_names={"full_attention": "rope_theta", "sliding_attention": "rope_local_base_freq"},
            thetas={"full_attention": 1e6, "sliding_attention": 1e4},
            scaled=("full_attention",),
        ),
        # A causal window includes the token itself; the other one has half of it on either side.
        window=size - 1 if causal else size // 2,
        causal=causal,
    )


def add_gemma3(graph: GraphBuilder, weights: Weights, config: Gemma3Config) -> str:
    """Adds a Gemma 3 to a graph, and returns its token embeddings."""

    def norm(value: str, name: str) -> str:
        return graph.rms_norm(value, 1 + weights[f"{name}.weight"], epsilon=config.epsilon)

    def linear(value: str, name: str) -> str:
        return graph.linear(value, weights[f"{name}.weight"], weights.optional(f"{name}.bias"))

    def heads(value: str, name: str, count: int) -> str:
        return graph.heads(linear(value, f"{name}_proj"), count, config.head)

    groups = (config.heads, config.groups)
    table = weights["embed_tokens.weight"]
    x = graph.op("Mul", graph.embed(table), graph.scalar(table.shape[1] ** 0.5))
    del table
    for i, kind in enumerate(config.layers):
        layer = f"layers.{i}"
        attention = f"{layer}.self_attn"
        rotation = config.ropes[kind].add(graph)
        y = norm(x, f"{layer}.input_layernorm")
        query = norm(heads(y, f"{attention}.q", config.heads), f"{attention}.q_norm")
        key = norm(heads(y, f"{attention}.k", config.groups), f"{attention}.k_norm")
        value = heads(y, f"{attention}.v", config.groups)
        hidden = graph.hidden(
            causal=config.causal, window=config.window if kind == "sliding_attention" else None
        )
        query, key = graph.rotate(query, rotation), graph.rotate(key, rotation)
        mixed = graph.attend(query, key, value, hidden, scale=config.scale, groups=groups)
        mixed = norm(linear(mixed, f"{attention}.o_proj"), f"{layer}.post_attention_layernorm")
        x = graph.op("Add", x, mixed)
        y = norm(x, f"{layer}.pre_feedforward_layernorm")
        gate = graph.activation(linear(y, f"{layer}.mlp.gate_proj"), config.activation)
        inner = graph.op("Mul", gate, linear(y, f"{layer}.mlp.up_proj"))
        inner = norm(linear(inner, f"{layer}.mlp.down_proj"), f"{layer}.post_feedforward_layernorm")
        x = graph.op("Add", x, inner)
    return norm(x, "norm")
