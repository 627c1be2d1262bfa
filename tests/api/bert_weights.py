"""The tensors of a BERT with random values, by the names that Hugging Face gives them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Weights = dict[str, np.ndarray]


def random_bert(
    draw: Callable[..., np.ndarray],
    *,
    vocabulary: int,
    positions: int,
    types: int,
    layers: int,
    width: int,
    inner: int,
) -> Weights:
    """Returns weights from `draw(*shape)`, without a table of token types where there are none."""
    weights = {
        "embeddings.word_embeddings.weight": draw(vocabulary, width),
        "embeddings.position_embeddings.weight": draw(positions, width),
    }
    if types:
        weights["embeddings.token_type_embeddings.weight"] = draw(types, width)
    norms = ["embeddings"]
    for i in range(layers):
        layer = f"encoder.layer.{i}"
        norms += [f"{layer}.attention.output", f"{layer}.output"]
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            weights[f"{layer}.attention.{name}.weight"] = draw(width, width)
            weights[f"{layer}.attention.{name}.bias"] = draw(width)
        weights[f"{layer}.intermediate.dense.weight"] = draw(inner, width)
        weights[f"{layer}.intermediate.dense.bias"] = draw(inner)
        weights[f"{layer}.output.dense.weight"] = draw(width, inner)
        weights[f"{layer}.output.dense.bias"] = draw(width)
    for name in norms:
        weights[f"{name}.LayerNorm.weight"] = 1 + draw(width)
        weights[f"{name}.LayerNorm.bias"] = draw(width)
    return weights
