"""A small builder of ONNX graphs that names constants and nodes by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Literal, TypeVar

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = ["GraphBuilder", "Rotation", "TableStore"]

OPSET: Final = 20  # the first with Gelu
IR_VERSION: Final = 9  # what ONNX Runtime 1.17 reads

TableStore = Literal["float32", "float16", "int8"]
_Made = TypeVar("_Made")
Rotation = tuple[str, str]  # cosines and sines, (sequence, head) each

# Added to the attention scores of hidden tokens: their softmax is exactly 0 in float32. Finite, as
# a row of nothing but hidden tokens (padding, in a window of padding) must not become NaN.
_HIDDEN: Final = -1e9
_RUNTIME: Final = "com.microsoft"  # the domain of ONNX Runtime's own operators
_EXTERNAL: Final = 1024  # bytes from which a constant goes to the data file
_ALIGNED: Final = 4096  # in the data file, so that the runtime can map constants into memory

_ACTIVATIONS: Final = {
    "gelu": ("Gelu", {}),
    "gelu_python": ("Gelu", {}),
    "gelu_new": ("Gelu", {"approximate": "tanh"}),
    "gelu_fast": ("Gelu", {"approximate": "tanh"}),
    "gelu_pytorch_tanh": ("Gelu", {"approximate": "tanh"}),
    "relu": ("Relu", {}),
    "tanh": ("Tanh", {}),
}
ACTIVATIONS: Final = (*_ACTIVATIONS, "silu", "swish", "quick_gelu")


class GraphBuilder:
    """Collects the nodes of an encoder, from `input_ids` and `attention_mask` to an embedding.

    Both inputs are (batch, sequence) int64. The output is (batch, dim) float32, called
    `sentence_embedding`, or (batch, sequence, dim) float32, called `token_embeddings`.

    Args:
        table: How `embed` stores a table: "float32", "float16", or "int8" with one scale per row.
        data: A new file for large constants, so that neither memory nor the 2 GB of a protobuf
            limit the size of a model. None: they are inside the model. As a context manager, the
            builder closes it.

    Attributes:
        fused: Whether to attend by `attend_fused` where that will do: with tables in int8, for
            graphs whose products will be in int8 too.

    Example:
        >>> graph = GraphBuilder()
        >>> graph.pool(graph.embed(np.eye(3, dtype=np.float32)))
        >>> [entry.name for entry in graph.model("static", 3).graph.output]
        ['sentence_embedding']
    """

    IDS: Final = "input_ids"
    MASK: Final = "attention_mask"
    POOLED: Final = "sentence_embedding"
    TOKENS: Final = "token_embeddings"

    def __init__(self, *, table: TableStore = "float32", data: Path | None = None) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._known: dict[Any, Any] = {}
        self._domains: dict[str, int] = {}
        self._table = table
        self.fused = table == "int8"
        self._output: onnx.ValueInfoProto | None = None
        self._data: IO[bytes] | None = None if data is None else data.open("wb")
        self._location = "" if data is None else data.name

    def __enter__(self) -> GraphBuilder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._data is not None:
            self._data.close()

    def constant(self, value: ArrayLike, dtype: Any = np.float32) -> str:
        """Adds a constant and returns its name; a scalar stays a scalar."""
        name = f"c{len(self._constants)}"
        array = np.asarray(value, dtype, order="C")
        if self._data is None or array.nbytes < _EXTERNAL:
            self._constants.append(numpy_helper.from_array(array, name))
        else:
            self._constants.append(self._write(array, name))
        return name

    def _write(self, array: NDArray[Any], name: str) -> onnx.TensorProto:
        """Appends a constant to the data file, and returns its entry."""
        assert self._data is not None
        start = -(-self._data.tell() // _ALIGNED) * _ALIGNED
        self._data.seek(start)
        self._data.write(array.data)
        tensor = TensorProto(
            name=name,
            dims=array.shape,
            data_type=helper.np_dtype_to_tensor_dtype(array.dtype),
            data_location=TensorProto.EXTERNAL,
        )
        where = {"location": self._location, "offset": start, "length": array.nbytes}
        for key, entry in where.items():
            tensor.external_data.add(key=key, value=str(entry))
        return tensor

    def axes(self, *axes: int) -> str:
        """Adds a list of axes, lengths or a shape (int64)."""
        return self._once(("axes", axes), lambda: self.constant(axes, np.int64))

    def scalar(self, value: float) -> str:
        """Adds a float32 scalar."""
        return self._once(("scalar", value), lambda: self.constant(value))

    def _once(self, key: Any, make: Callable[[], _Made]) -> _Made:
        """Returns what `make` returned the first time: nodes that every layer uses."""
        if key not in self._known:
            self._known[key] = make()
        made: _Made = self._known[key]
        return made

    def op(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Adds a node with one output and returns the output's name."""
        name = output or f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def split(self, value: str, parts: int) -> list[str]:
        """Cuts the last axis into equal parts."""
        names = [f"v{len(self._nodes)}_{part}" for part in range(parts)]
        self._nodes.append(helper.make_node("Split", [value], names, axis=-1, num_outputs=parts))
        return names

    def cast(self, value: str, to: int = TensorProto.FLOAT) -> str:
        """Converts `value` to another element type, float32 by default."""
        return self.op("Cast", value, to=to)

    def embed(
        self, table: NDArray[np.floating[Any]], ids: str = IDS, *, store: TableStore | None = None
    ) -> str:
        """Looks ids up in a (vocabulary, dim) table, stored as the builder stores tables.

        Returns (batch, sequence, dim) float32.
        """
        store = store or self._table
        if store != "int8":
            rows = self.op("Gather", self.constant(table, np.dtype(store)), ids)
            return rows if store == "float32" else self.cast(rows)
        scale = np.maximum(np.abs(table).max(axis=1, keepdims=True) / 127, np.float32(1e-12))
        codes = table / scale
        codes = self.constant(np.rint(codes, out=codes), np.int8)
        rows = self.cast(self.op("Gather", codes, ids))
        return self.op("Mul", rows, self.op("Gather", self.constant(scale), ids))

    def linear(
        self, value: str, weight: NDArray[np.float32], bias: NDArray[np.float32] | None = None
    ) -> str:
        """Multiplies by a weight of (outputs, inputs), as torch stores it, and adds the bias."""
        product = self.op("MatMul", value, self.constant(weight.T))
        return product if bias is None else self.op("Add", product, self.constant(bias))

    def layer_norm(
        self,
        value: str,
        weight: NDArray[np.float32],
        bias: NDArray[np.float32] | None = None,
        *,
        epsilon: float,
    ) -> str:
        """Brings the last axis to mean 0 and variance 1, then scales and shifts it."""
        shift = np.zeros_like(weight) if bias is None else bias
        return self.op(
            "LayerNormalization",
            *(value, self.constant(weight), self.constant(shift)),
            axis=-1,
            epsilon=epsilon,
        )

    def rms_norm(self, value: str, weight: NDArray[np.float32], *, epsilon: float) -> str:
        """Brings the root mean square of the last axis to 1, then scales it."""
        square = self.op("Pow", value, self.scalar(2))
        mean = self.op("ReduceMean", square, self.axes(-1), keepdims=1)
        root = self.op("Sqrt", self.op("Add", mean, self.scalar(epsilon)))
        return self.op("Mul", self.op("Div", value, root), self.constant(weight))

    def activation(self, value: str, name: str) -> str:
        """Applies one of `ACTIVATIONS`, by its name in transformers."""
        if name in _ACTIVATIONS:
            kind, attributes = _ACTIVATIONS[name]
            return self.op(kind, value, **attributes)
        slope = value if name != "quick_gelu" else self.op("Mul", value, self.scalar(1.702))
        return self.op("Mul", value, self.op("Sigmoid", slope))

    def length(self) -> str:
        """The length of the sequences, (1,) int64."""
        return self._once("length", lambda: self.op("Shape", self.IDS, start=1, end=2))

    def positions(self) -> str:
        """0, 1, …, (sequence,) int64."""

        def make() -> str:
            length = self.op("Squeeze", self.length())
            return self.op("Range", self.constant(0, np.int64), length, self.constant(1, np.int64))

        return self._once("positions", make)

    def positions_after(self, pad: int) -> str:
        """Positions as RoBERTa counts them, (batch, sequence) int64: from `pad` + 1.

        Padding has the position `pad`. Only ids count: a padding token inside a text takes no
        position.
        """
        padding = self.constant(pad, np.int64)
        shown = self.cast(self.op("Not", self.op("Equal", self.IDS, padding)), to=TensorProto.INT64)
        so_far = self.op("CumSum", shown, self.constant(1, np.int64))
        return self.op("Add", self.op("Mul", so_far, shown), padding)

    def distances(self) -> str:
        """How far a token (second axis) is behind another (first), (sequence, sequence) int64."""

        def make() -> str:
            rows, columns = (
                self.op("Unsqueeze", self.positions(), self.axes(axis)) for axis in (1, 0)
            )
            return self.op("Sub", columns, rows)

        return self._once("distances", make)

    def hidden(self, *, causal: bool = False, window: int | None = None) -> str:
        """What to add to attention scores, so that a token attends only to tokens that it may see.

        Args:
            causal: Whether a token sees only those before it, and itself.
            window: How far a token sees to either side; None for any distance.

        Returns:
            (batch, 1, 1 or sequence, sequence) float32.
        """
        return self._once(("hidden", causal, window), lambda: self._hidden(causal, window))

    def _hidden(self, causal: bool, window: int | None) -> str:
        shown = self._once(
            "shown",
            lambda: self.op(
                "Unsqueeze", self.cast(self.MASK, to=TensorProto.BOOL), self.axes(1, 2)
            ),
        )
        if causal or window is not None:
            distance = self.distances()
            if causal:
                ahead = self.op("Greater", distance, self.constant(0, np.int64))
                shown = self.op("And", shown, self.op("Not", ahead))
            if window is not None:
                far = self.op("Greater", self.op("Abs", distance), self.constant(window, np.int64))
                shown = self.op("And", shown, self.op("Not", far))
        return self.op("Where", shown, self.scalar(0), self.scalar(_HIDDEN))

    def rotation(self, frequencies: NDArray[np.float32], scale: float = 1.0) -> Rotation:
        """The cosines and sines of rotary positions (RoPE), for heads of 2 × `frequencies`.

        Args:
            frequencies: (head / 2,) radians per position.
            scale: What both are multiplied by.
        """

        def make() -> Rotation:
            at = self.op("Unsqueeze", self.cast(self.positions()), self.axes(1))
            angles = self.op("Mul", at, self.constant(np.tile(frequencies, 2)))
            cosine, sine = (self.op(kind, angles) for kind in ("Cos", "Sin"))
            if scale != 1:
                cosine, sine = (self.op("Mul", v, self.scalar(scale)) for v in (cosine, sine))
            return cosine, sine

        return self._once((frequencies.tobytes(), scale), make)

    def rotate(self, value: str, rotation: Rotation) -> str:
        """Turns (…, sequence, head) by the positions; halves of a head are its two coordinates."""
        cosine, sine = rotation
        first, second = self.split(value, 2)
        turned = self.op("Concat", self.op("Neg", second), first, axis=-1)
        return self.op("Add", self.op("Mul", value, cosine), self.op("Mul", turned, sine))

    def heads(self, value: str, heads: int, head: int) -> str:
        """Brings (batch, sequence, heads * head) to (batch, heads, sequence, head)."""
        split = self.op("Reshape", value, self.axes(0, 0, heads, head))
        return self.op("Transpose", split, perm=[0, 2, 1, 3])

    def attend_fused(self, query: str, key: str, value: str, *, heads: int) -> str:
        """Attends among all tokens of a text, by an operator of ONNX Runtime's own.

        It takes two thirds of the time of `attend` where no text of the batch is padded, as it then
        needs no table of scores.

        Args:
            query: (batch, sequence, width).
            key: The same shape.
            value: The same shape.
            heads: How many heads are side by side in the width.

        Returns:
            (batch, sequence, width).
        """

        def make() -> tuple[str, str]:
            mask = self.cast(self.MASK, to=TensorProto.INT32)
            least = self.op("ReduceMin", mask, keepdims=0)
            return mask, self.op("Equal", least, self.constant(1, np.int32))

        mask, whole = self._once("fused", make)
        self._domains[_RUNTIME] = 1

        def branch(*inputs: str) -> onnx.GraphProto:
            name = f"v{len(self._nodes)}_{len(inputs)}"
            node = helper.make_node(
                "MultiHeadAttention",
                [query, key, value, *inputs],
                [name],
                domain=_RUNTIME,
                num_heads=heads,
                mask_filter_value=_HIDDEN,
            )
            output = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            return helper.make_graph([node], name, [], [output])

        return self.op("If", whole, then_branch=branch(), else_branch=branch("", mask))

    def attend(
        self,
        query: str,
        key: str,
        value: str,
        *biases: str,
        scale: float,
        groups: tuple[int, int] | None = None,
    ) -> str:
        """Attends, with the products of queries and keys times `scale`, plus `biases`.

        Args:
            query: From `heads`.
            key: From `heads`.
            value: From `heads`.
            biases: From `hidden`, or (…, heads, sequence, sequence).
            scale: Usually the inverse of the square root of the length of a head.
            groups: The numbers of query heads, and of key and value heads, if these are fewer: they
                are shared by neighbouring query heads.

        Returns:
            Heads side by side again, (batch, sequence, heads * head).
        """
        shared = groups is not None and groups[0] != groups[1]

        def regroup(value: str, heads: int) -> str:
            """Makes one long sequence of the heads of a group, or heads of it again."""
            return self.op("Reshape", value, self.axes(0, heads, -1, 0)) if shared else value

        many, few = groups or (0, 0)
        query = regroup(self.op("Mul", query, self.scalar(scale)), few)
        key = self.op("Transpose", key, perm=[0, 1, 3, 2])
        score = regroup(self.op("MatMul", query, key), many)
        for bias in biases:
            score = self.op("Add", score, bias)
        share = regroup(self.op("Softmax", score, axis=-1), few)
        mixed = regroup(self.op("MatMul", share, value), many)
        mixed = self.op("Transpose", mixed, perm=[0, 2, 1, 3])
        return self.op("Reshape", mixed, self.axes(0, 0, -1))

    def pool(self, tokens: str) -> None:
        """Ends the graph with the mean over the unmasked tokens, at unit length.

        A text without tokens becomes the zero vector.
        """
        mask = self.cast(self.MASK)
        shown = self.op("Mul", tokens, self.op("Unsqueeze", mask, self.axes(2)))
        total = self.op("ReduceSum", shown, self.axes(1), keepdims=0)
        # The number of tokens cancels out in the norm, so the sum is normalised directly.
        norm = self.op("ReduceL2", total, self.axes(1), keepdims=1)
        self.op("Div", total, self.op("Max", norm, self.scalar(1e-12)), output=self.POOLED)

    def average(self, tokens: str) -> None:
        """Ends the graph with the mean over the unmasked tokens; zeros without any."""
        mask = self.cast(self.MASK)
        shown = self.op("Mul", tokens, self.op("Unsqueeze", mask, self.axes(2)))
        total = self.op("ReduceSum", shown, self.axes(1), keepdims=0)
        count = self.op("ReduceSum", mask, self.axes(1), keepdims=1)
        self.op("Div", total, self.op("Max", count, self.scalar(1)), output=self.POOLED)

    def model(
        self,
        name: str,
        dim: int | None = None,
        *,
        tokens: str | None = None,
    ) -> onnx.ModelProto:
        """Returns the model, checked if all of it is in memory.

        Args:
            name: Of the graph.
            dim: Dimensions of the output; None leaves them open.
            tokens: The token embeddings to output; None after `pool`.
        """
        shape: list[str | int | None] = ["batch", "sequence"]
        last = "dim" if dim is None else dim
        output, sizes = self.POOLED, [shape[0], last]
        if tokens is not None:
            self.op("Identity", tokens, output=self.TOKENS)
            output, sizes = self.TOKENS, [*shape, last]
        graph = helper.make_graph(
            self._nodes,
            name,
            [
                helper.make_tensor_value_info(i, TensorProto.INT64, shape)
                for i in (self.IDS, self.MASK)
            ],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, sizes)],
            self._constants,
        )
        domains = {"": OPSET} | self._domains
        opsets = [helper.make_opsetid(*pair) for pair in domains.items()]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="nestling")
        model.ir_version = IR_VERSION
        if self._data is None:
            onnx.checker.check_model(model)
        return model
