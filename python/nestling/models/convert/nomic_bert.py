"""NomicBERT and the GTE models ("new") as ONNX graphs: BERT with rotary positions and gates.

Both publish two forms: the code that came with the first models packs several products into one
and has its own names; transformers has others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from nestling.models.convert.config import Config
from nestling.models.convert.graph import GraphBuilder
from nestling.models.convert.rope import Rope, read_rope
from nestling.models.convert.weights import Weights

__all__ = [
    "NomicBertConfig",
    "add_nomic_bert",
    "gte_names",
    "nomic_names",
    "read_gte",
    "read_nomic_bert",
]

_NOMIC_NAMES: Final = {
    r"^encoder\.layers\.": "layers.",
    r"^emb_ln\.": "embeddings.LayerNorm.",
    r"\.attn\.Wqkv\.": ".self_attn.qkv_proj.",
    r"\.attn\.out_proj\.": ".self_attn.o_proj.",
    r"\.mlp\.fc11\.": ".mlp.up_proj.",
    r"\.mlp\.fc12\.": ".mlp.gate_proj.",
    r"\.mlp\.fc2\.": ".mlp.down_proj.",
    r"\.norm1\.": ".post_attention_layernorm.",
    r"\.norm2\.": ".post_mlp_layernorm.",
}
_GTE_NAMES: Final = {
    r"^encoder\.layer\.": "layers.",
    r"\.attention\.": ".self_attn.",
    r"\.attn_ln\.": ".post_attention_layernorm.",
    r"\.mlp_ln\.": ".post_mlp_layernorm.",
}
_SWIGLU: Final = "swiglu"


@dataclass(frozen=True, slots=True)
class NomicBertConfig:
    """The hyperparameters of such a model that its tensors do not contain.

    Attributes:
        heads: Attention heads of a layer.
        head: Length of a head.
        epsilon: Of the layer norms.
        layers: How many.
        activation: Of the gate, by its name in transformers.
        rope: The rotary positions.
    """

    heads: int
    head: int
    epsilon: float
    layers: int
    activation: str
    rope: Rope


def read_nomic_bert(config: Config) -> NomicBertConfig:
    """Reads the config.json of a NomicBERT, in either form."""
    for name in ("prenorm", "use_rms_norm", "rotary_emb_interleaved", "causal", "parallel_block"):
        config.expect(name, False)
    config.expect("rotary_emb_fraction", 1.0)
    for name in ("rotary_scaling_factor", "rotary_emb_scale_base"):
        config.expect(name)
    for name in ("moe_every_n_layers", "num_experts"):
        config.expect(name, 0)
    config.expect("activation_function", _SWIGLU)
    heads = config.integer("n_head", "num_attention_heads", default=12)
    width = config.integer("n_embd", "hidden_size", default=768)
    head = config.integer("head_dim", default=width // heads)
    return NomicBertConfig(
        heads=heads,
        head=head,
        epsilon=config.number("layer_norm_epsilon", "layer_norm_eps", default=1e-12),
        layers=config.integer("n_layer", "num_hidden_layers", default=12),
        activation=config.activation("hidden_act", default="silu"),
        rope=read_rope(config, head, theta=1000.0),
    )


def read_gte(config: Config) -> NomicBertConfig:
    """Reads the config.json of a GTE model ("new", or "gte" in transformers)."""
    config.expect("position_embedding_type", "rope")
    config.expect("layer_norm_type", "layer_norm")
    config.expect("logn_attention_scale", False)
    heads = config.integer("num_attention_heads", default=12)
    head = config.integer("head_dim", default=config.integer("hidden_size", default=768) // heads)
    return NomicBertConfig(
        heads=heads,
        head=head,
        epsilon=config.number("layer_norm_eps", default=1e-12),
        layers=config.integer("num_hidden_layers", default=12),
        activation=config.activation("hidden_act", default="gelu"),
        rope=read_rope(config, head, theta=160_000.0 if config.model_type == "gte" else 10_000.0),
    )


def nomic_names(weights: Weights) -> Weights:
    """Returns the tensors of a NomicBERT by their names in transformers."""
    return weights.renamed(lambda name: _rename(name, _NOMIC_NAMES))


def gte_names(weights: Weights) -> Weights:
    """Returns the tensors of a GTE model by their names in transformers."""
    return weights.renamed(lambda name: _rename(name, _GTE_NAMES))


def _rename(name: str, patterns: dict[str, str]) -> str:
    for pattern, new in patterns.items():
        name = re.sub(pattern, new, name)
    return name


def add_nomic_bert(graph: GraphBuilder, weights: Weights, config: NomicBertConfig) -> str:
    """Adds such a model to a graph, and returns its token embeddings.

    Products of one input may be packed into one, and have an offset where the checkpoint has one.
    """

    def norm(value: str, name: str) -> str:
        gain, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        return graph.layer_norm(value, gain, bias, epsilon=config.epsilon)

    def linear(value: str, name: str) -> str:
        return graph.linear(value, weights[f"{name}.weight"], weights.optional(f"{name}.bias"))

    def several(value: str, packed: str, *names: str) -> list[str]:
        if f"{packed}.weight" in weights:
            return graph.split(linear(value, packed), len(names))
        return [linear(value, name) for name in names]

    rotation = config.rope.add(graph)
    x = graph.embed(weights["embeddings.word_embeddings.weight"])
    types = weights.optional("embeddings.token_type_embeddings.weight")
    if types is not None and len(types):
        x = graph.op("Add", x, graph.constant(types[0]))  # every token is of type 0
    x = norm(x, "embeddings.LayerNorm")
    for i in range(config.layers):
        layer = f"layers.{i}"
        attention, mlp = f"{layer}.self_attn", f"{layer}.mlp"
        query, key, value = (
            graph.heads(part, config.heads, config.head)
            for part in several(
                x, f"{attention}.qkv_proj", *(f"{attention}.{kind}_proj" for kind in "qkv")
            )
        )
        query, key = graph.rotate(query, rotation), graph.rotate(key, rotation)
        mixed = graph.attend(query, key, value, graph.hidden(), scale=config.head**-0.5)
        mixed = linear(mixed, f"{attention}.o_proj")
        x = norm(graph.op("Add", x, mixed), f"{layer}.post_attention_layernorm")
        inner, gate = several(x, f"{mlp}.up_gate_proj", f"{mlp}.up_proj", f"{mlp}.gate_proj")
        inner = graph.op("Mul", graph.activation(gate, config.activation), inner)
        inner = linear(inner, f"{mlp}.down_proj")
        x = norm(graph.op("Add", x, inner), f"{layer}.post_mlp_layernorm")
    return x
