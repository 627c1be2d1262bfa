"""Static token tables as ONNX graphs: a text is the mean of the rows of its tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from nestling.models.convert.graph import GraphBuilder, TableStore

__all__ = ["build_static"]


def build_static(
    table: NDArray[np.floating[Any]], *, store: TableStore = "float32"
) -> onnx.ModelProto:
    """Builds the graph of a (vocabulary, dim) table, stored as "float32", "float16" or "int8"."""
    graph = GraphBuilder(table=store)
    graph.pool(graph.embed(table))
    return graph.model("static", table.shape[1])
