"""Llama and what derives from it as ONNX graphs: Mistral, Qwen2, Qwen3, EuroBERT.

Layers normalise their input (RMS), attend in groups of heads with rotary positions, and end in a
gated product. A token sees those before it, except in EuroBERT, where it sees all.
"""

from __future__ import annotations

from dataclasses import dataclass

from nestling.models.convert.config import Config
from nestling.models.convert.graph import GraphBuilder
from nestling.models.convert.rope import Rope, read_rope
from nestling.models.convert.weights import Weights

__all__ = [
    "DecoderConfig",
    "add_decoder",
    "read_eurobert",
    "read_llama",
    "read_mistral",
    "read_qwen",
]


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """The hyperparameters of a decoder that its tensors do not contain.

    Attributes:
        heads: Query heads of a layer.
        groups: Key and value heads of a layer.
        head: Length of a head.
        epsilon: Of the norms.
        activation: Of the gate, by its name in transformers.
        rope: The rotary positions.
        windows: For each layer, how far a token sees; None for any distance.
        causal: Whether a token sees only those before it, and itself.
    """

    heads: int
    groups: int
    head: int
    epsilon: float
    activation: str
    rope: Rope
    windows: tuple[int | None, ...]
    causal: bool = True


def read_llama(config: Config) -> DecoderConfig:
    """Reads the config.json of a Llama."""
    return _read(config, theta=10_000.0)


def read_mistral(config: Config) -> DecoderConfig:
    """Reads the config.json of a Mistral."""
    window = config.values.get("sliding_window", 4096)  # null: any distance
    return _read(config, theta=10_000.0, window=window)


def read_qwen(config: Config) -> DecoderConfig:
    """Reads the config.json of a Qwen2 or Qwen3."""
    window = None
    if config.flag("use_sliding_window"):
        window = config.integer("sliding_window", default=4096)
    full = config.integer("max_window_layers", default=28)
    head = 128 if config.model_type == "qwen3" else None
    return _read(config, theta=10_000.0, window=window, full=full, head=head)


def read_eurobert(config: Config) -> DecoderConfig:
    """Reads the config.json of a EuroBERT."""
    return _read(config, theta=10_000.0, epsilon=1e-5, causal=False)


def _read(
    config: Config,
    *,
    theta: float,
    epsilon: float = 1e-6,
    window: int | None = None,
    full: int = 0,
    head: int | None = None,
    causal: bool = True,
) -> DecoderConfig:
    """Reads a config.json; layers from `full` on have the window unless it lists their types."""
    heads = config.integer("num_attention_heads")
    head = config.integer("head_dim", default=head or config.integer("hidden_size") // heads)
    layers = config.integer("num_hidden_layers")
    if not config.flag("is_causal", default=True):  # as transformers reads it: every token sees all
        causal = False
        if window is not None:
            config.refuse("is_causal", (True,))
    config.expect("use_bidirectional_attention", False)
    kinds = config.get("layer_types") or [
        "sliding_attention" if window is not None and i >= full else "full_attention"
        for i in range(layers)
    ]
    if len(kinds) != layers or not {*kinds} <= {"full_attention", "sliding_attention"}:
        config.refuse("layer_types", ("full_attention", "sliding_attention"))
    if window is None and "sliding_attention" in kinds:
        config.refuse("layer_types", ("full_attention",))
    # A window of n tokens reaches back n - 1, as it includes the token itself.
    reach = None if window is None else window - 1
    return DecoderConfig(
        heads=heads,
        groups=config.integer("num_key_value_heads", default=heads),
        head=head,
        epsilon=config.number("rms_norm_eps", default=epsilon),
        activation=config.activation("hidden_act", default="silu"),
        rope=read_rope(config, head, theta=theta),
        windows=tuple(reach if kind == "sliding_attention" else None for kind in kinds),
        causal=causal,
    )


def add_decoder(graph: GraphBuilder, weights: Weights, config: DecoderConfig) -> str:
    """Adds a decoder to a graph, and returns its token embeddings.

    Queries and keys are normalised where the checkpoint has weights for that (Qwen3), and products
    have an offset where it has one (Qwen2).
    """

    def norm(value: str, name: str) -> str:
        return graph.rms_norm(value, weights[f"{name}.weight"], epsilon=config.epsilon)

    def linear(value: str, name: str) -> str:
        return graph.linear(value, weights[f"{name}.weight"], weights.optional(f"{name}.bias"))

    def heads(value: str, name: str, count: int) -> str:
        split = graph.heads(linear(value, f"{name}_proj"), count, config.head)
        return norm(split, f"{name}_norm") if f"{name}_norm.weight" in weights else split

    rotation = config.rope.add(graph)
    groups = (config.heads, config.groups)
    x = graph.embed(weights["embed_tokens.weight"])
    for i, window in enumerate(config.windows):
        layer = f"layers.{i}"
        attention = f"{layer}.self_attn"
        y = norm(x, f"{layer}.input_layernorm")
        query = graph.rotate(heads(y, f"{attention}.q", config.heads), rotation)
        key = graph.rotate(heads(y, f"{attention}.k", config.groups), rotation)
        value = heads(y, f"{attention}.v", config.groups)
        hidden = graph.hidden(causal=config.causal, window=window)
        mixed = graph.attend(query, key, value, hidden, scale=config.head**-0.5, groups=groups)
        x = graph.op("Add", x, linear(mixed, f"{attention}.o_proj"))
        y = norm(x, f"{layer}.post_attention_layernorm")
        gate = graph.activation(linear(y, f"{layer}.mlp.gate_proj"), config.activation)
        inner = graph.op("Mul", gate, linear(y, f"{layer}.mlp.up_proj"))
        x = graph.op("Add", x, linear(inner, f"{layer}.mlp.down_proj"))
    return norm(x, "norm")
