"""A small builder of ONNX graphs that names constants and nodes by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = ["GraphBuilder"]

OPSET: Final = 20  # the first with Gelu
IR_VERSION: Final = 9  # what ONNX Runtime 1.17 reads


class GraphBuilder:
    """Collects the nodes of an encoder, from `input_ids` and `attention_mask` to an embedding.

    Both inputs are (batch, sequence) int64, the output is (batch, dim) float32.
    """

    IDS: Final = "input_ids"
    MASK: Final = "attention_mask"
    OUTPUT: Final = "sentence_embedding"

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def constant(self, value: ArrayLike, dtype: Any = np.float32) -> str:
        """Adds a constant and returns its name; a scalar stays a scalar."""
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value, dtype, order="C"), name))
        return name

    def axes(self, *axes: int) -> str:
        """Adds a list of axes, lengths or a shape (int64)."""
        return self.constant(axes, np.int64)

    def op(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Adds a node with one output and returns the output's name."""
        name = output or f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def cast(self, value: str, to: int = TensorProto.FLOAT) -> str:
        """Converts `value` to another element type, float32 by default."""
        return self.op("Cast", value, to=to)

    def embed(self, table: NDArray[np.floating[Any]], *, store: str) -> str:
        """Looks `input_ids` up in a (vocabulary, dim) table.

        Returns (batch, sequence, dim) float32. `store` is "float32", "float16", or "int8" with one
        scale per row.
        """
        if store != "int8":
            rows = self.op("Gather", self.constant(table, np.dtype(store)), self.IDS)
            return rows if store == "float32" else self.cast(rows)
        scale = np.maximum(np.abs(table).max(axis=1, keepdims=True) / 127, np.float32(1e-12))
        codes = table / scale
        codes = self.constant(np.rint(codes, out=codes), np.int8)
        rows = self.cast(self.op("Gather", codes, self.IDS))
        return self.op("Mul", rows, self.op("Gather", self.constant(scale), self.IDS))

    def pool(self, tokens: str) -> None:
        """Ends the graph with the mean over the unmasked tokens, at unit length.

        A text without tokens becomes the zero vector.
        """
        mask = self.cast(self.MASK)
        shown = self.op("Mul", tokens, self.op("Unsqueeze", mask, self.axes(2)))
        total = self.op("ReduceSum", shown, self.axes(1), keepdims=0)
        # The number of tokens cancels out in the norm, so the sum is normalised directly.
        norm = self.op("ReduceL2", total, self.axes(1), keepdims=1)
        self.op("Div", total, self.op("Max", norm, self.constant(1e-12)), output=self.OUTPUT)

    def model(
        self, name: str, dim: int, domains: Sequence[tuple[str, int]] = ()
    ) -> onnx.ModelProto:
        """Returns the checked model."""
        shape = ["batch", "sequence"]
        graph = helper.make_graph(
            self._nodes,
            name,
            [
                helper.make_tensor_value_info(i, TensorProto.INT64, shape)
                for i in (self.IDS, self.MASK)
            ],
            [helper.make_tensor_value_info(self.OUTPUT, TensorProto.FLOAT, ["batch", dim])],
            self._constants,
        )
        opsets = [helper.make_opsetid(*pair) for pair in (("", OPSET), *domains)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="nestling")
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model)
        return model
