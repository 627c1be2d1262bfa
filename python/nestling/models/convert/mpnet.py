"""MPNet as an ONNX graph: a BERT whose attention also depends on the distance of two tokens.

The architecture is Song et al. 2020, "MPNet: Masked and Permuted Pre-training for Language
Understanding"; distances have buckets as in T5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nestling.models.convert.config import Config
from nestling.models.convert.graph import GraphBuilder
from nestling.models.convert.weights import Weights

__all__ = ["MpnetConfig", "add_mpnet", "read_mpnet"]

_PADDING: Final = 1  # whatever the config.json says
_BUCKETS: Final = 32
_FARTHEST: Final = 128  # tokens; those beyond share the last bucket


@dataclass(frozen=True, slots=True)
class MpnetConfig:
    """The hyperparameters of an MPNet that its tensors do not contain.

    Attributes:
        heads: Attention heads of a layer.
        epsilon: Of the layer norms.
        layers: How many.
        activation: Between the two products of a layer, by its name in transformers.
    """

    heads: int
    epsilon: float
    layers: int
    activation: str


def read_mpnet(config: Config) -> MpnetConfig:
    """Reads the config.json of an MPNet."""
    config.expect("relative_attention_num_buckets", _BUCKETS)
    return MpnetConfig(
        heads=config.integer("num_attention_heads", default=12),
        epsilon=config.number("layer_norm_eps", default=1e-12),
        layers=config.integer("num_hidden_layers", default=12),
        activation=config.activation("hidden_act", default="gelu"),
    )


def add_mpnet(graph: GraphBuilder, weights: Weights, config: MpnetConfig) -> str:
    """Adds an MPNet to a graph, and returns its token embeddings."""

    def norm(value: str, name: str) -> str:
        gain, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        return graph.layer_norm(value, gain, bias, epsilon=config.epsilon)

    def linear(value: str, name: str) -> str:
        return graph.linear(value, weights[f"{name}.weight"], weights[f"{name}.bias"])

    words = weights["embeddings.word_embeddings.weight"]
    positions = weights["embeddings.position_embeddings.weight"]
    head = words.shape[1] // config.heads
    at = graph.op("Gather", graph.constant(positions), graph.positions_after(_PADDING))
    x = norm(graph.op("Add", graph.embed(words), at), "embeddings.LayerNorm")
    del words

    # (2 n - 1, heads), by distance, from -(n - 1) on
    most = len(positions)
    by_distance = weights["encoder.relative_attention_bias.weight"][_buckets(most)]
    index = graph.op("Add", graph.distances(), graph.constant(most - 1, np.int64))
    bias = graph.op("Gather", graph.constant(by_distance), index)
    bias = graph.op("Add", graph.op("Transpose", bias, perm=[2, 0, 1]), graph.hidden())

    for i in range(config.layers):
        layer = f"encoder.layer.{i}"
        attention = f"{layer}.attention"
        query, key, value = (
            graph.heads(linear(x, f"{attention}.attn.{kind}"), config.heads, head) for kind in "qkv"
        )
        mixed = linear(
            graph.attend(query, key, value, bias, scale=head**-0.5), f"{attention}.attn.o"
        )
        x = norm(graph.op("Add", x, mixed), f"{attention}.LayerNorm")
        inner = graph.activation(linear(x, f"{layer}.intermediate.dense"), config.activation)
        x = norm(
            graph.op("Add", x, linear(inner, f"{layer}.output.dense")), f"{layer}.output.LayerNorm"
        )
    return x


def _buckets(most: int) -> NDArray[np.int64]:
    """Returns the buckets of the distances from -(most - 1) to most - 1, of a key from its query.

    Half of the buckets are for either direction; of these, half are single distances, and the rest
    grow with the logarithm.
    """
    distances = np.arange(1 - most, most)
    half, single = _BUCKETS // 2, _BUCKETS // 4
    steps = np.abs(distances)
    growth = np.log(np.maximum(steps, 1).astype(np.float32) / single)
    growth = growth / math.log(_FARTHEST / single) * (half - single)
    large = np.minimum(single + growth.astype(np.int64), half - 1)
    buckets: NDArray[np.int64] = np.where(steps < single, steps, large) + half * (distances > 0)
    return buckets
