"""Static token tables as ONNX graphs: a text is the mean of the rows of its tokens.

They are published by sentence-transformers (StaticEmbedding) and by model2vec, whose tables may be
compressed: rows that many tokens share, and a weight of each token.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import tokenizers
from numpy.typing import NDArray

from nestling.errors import ModelError
from nestling.models.convert.graph import GraphBuilder, TableStore
from nestling.models.convert.weights import Weights

__all__ = ["Model2VecTokens", "add_static", "build_static", "read_model2vec"]

_TABLE: Final = "embedding.weight"
_MODEL2VEC_TABLE: Final = "embeddings"
_MODEL2VEC_LENGTH: Final = 512  # tokens, where its config.json names no limit


def build_static(
    table: NDArray[np.floating[Any]], *, store: TableStore = "float32"
) -> onnx.ModelProto:
    """Builds the graph of a (vocabulary, dim) table, stored as "float32", "float16" or "int8"."""
    graph = GraphBuilder(table=store)
    graph.pool(graph.embed(table))
    return graph.model("static", table.shape[1])


def add_static(
    graph: GraphBuilder, weights: Weights, *, unknown: int | None = None, half: bool = False
) -> None:
    """Adds a table with its mean, not at unit length, and ends the graph.

    Args:
        graph: An empty graph.
        weights: The tensors of a StaticEmbedding or of model2vec.
        unknown: The token that does not count, or None. Its row becomes zero, which gives the
            direction of the mean over the others.
        half: Whether to store the table in float16 whatever its type.

    Raises:
        ModelError: The tensors are not those of a table.
    """
    name = _TABLE if _TABLE in weights else _MODEL2VEC_TABLE
    if name not in weights:
        raise ModelError(f"the checkpoint should hold a tensor {_TABLE!r} or {_MODEL2VEC_TABLE!r}")
    table = weights.numbers(name)
    if "mapping" in weights:
        table = table[weights.numbers("mapping").astype(np.int64)]
    if "weights" in weights:
        table = table.astype(np.float32) * weights["weights"][:, np.newaxis]
    if surplus := weights.unused():
        raise ModelError(f"the checkpoint of a table holds other tensors too: {surplus}")
    if unknown is not None:
        table = table.copy()
        table[unknown] = 0
    store: TableStore = "float16" if half or table.dtype == np.float16 else "float32"
    graph.average(graph.embed(table, store=store))


@dataclass(frozen=True, slots=True)
class Model2VecTokens:
    """How model2vec uses its tokenizer.

    Attributes:
        unknown: The token that does not count, or None.
        max_characters: Characters of a text that it reads, or None for all.
    """

    unknown: int | None
    max_characters: int | None


def read_model2vec(tokenizer: Path, config: Mapping[str, Any]) -> Model2VecTokens:
    """Makes a tokenizer.json cut long texts as model2vec does, and returns what is not in it.

    Args:
        tokenizer: The file, which is changed.
        config: The config.json of model2vec; its `max_length` is in tokens, or null for all. A text
            has first so many times the median length of a token, in characters.
    """
    length = config.get("max_length", _MODEL2VEC_LENGTH)
    loaded = tokenizers.Tokenizer.from_file(str(tokenizer))
    loaded.no_padding()
    characters = None
    if length is None:
        loaded.no_truncation()
    else:
        loaded.enable_truncation(int(length))
        characters = int(length) * int(np.median([len(token) for token in loaded.get_vocab()]))
    loaded.save(str(tokenizer))
    model = json.loads(loaded.to_str())["model"]
    if model.get("unk_token") is not None:
        unknown: int | None = loaded.token_to_id(model["unk_token"])
    else:
        unknown = model.get("unk_id")
    return Model2VecTokens(unknown, characters)
