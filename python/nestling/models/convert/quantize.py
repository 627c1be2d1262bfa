"""Int8 versions of float32 graphs: the products with weights in integers, all else as it was.

A product takes its activation as uint8 and its weights as int8, with a scale for each output
channel. The scale of an activation never depends on other texts of a batch:

* What a norm outputs is bounded, so it has one scale for good, from `calibrate`. Channels that go
  far are divided by a factor of their own first, and the weights that meet them multiplied by it
  (SmoothQuant, Xiao et al. 2023).
* Every other activation has a scale for each row, a token, from its largest magnitude. Clipping
  cannot happen there.

Products are exact on every CPU. Those without instructions for it (AVX2, AVX-512 without VNNI) add
two neighbouring products in 16 bits, and saturate: so weights are scaled such that two of them
never reach that far, which costs less than half a bit.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

from nestling.models.convert.calibrate import TokenIds, channel_peaks

__all__ = ["quantize_weights", "save_int8"]

Floats = NDArray[np.float32]

_RUNTIME: Final = "com.microsoft"  # the domain of ONNX Runtime's own operators
_SCOPE: Final = "int8_"  # before the names of all that is added
_NORMS: Final = {"LayerNormalization", "SimplifiedLayerNormalization", "RMSNormalization"}
# How much of the range of a channel moves to the weights: 0 none, 1 all of it.
_SMOOTHING: Final = 0.65
_ZERO: Final = 128  # the uint8 that stands for 0
_STEPS: Final = 127  # on either side of it
_LARGEST_WEIGHT: Final = 127
# What two neighbouring weights of one sign may add up to: 255 × 128 < 2¹⁵.
_LARGEST_PAIR: Final = 128
_LEAST: Final = 1e-9  # of a scale: a row of zeros has none of its own
_GELUS: Final = {"Gelu", "FastGelu", "BiasGelu"}
# GELU is nowhere below -0.17, so that most of the range is left to what is above 0.
_GELU_LEAST: Final = 0.17
_GELU_ZERO: Final = 64
_LARGEST_FILE: Final = 2**31 - 2**20  # bytes of one protobuf, with some margin


def save_int8(source: Path, target: Path, samples: Sequence[TokenIds]) -> None:
    """Writes the int8 version of a graph.

    Args:
        source: An ONNX file with float32 weights; its tables may be in int8 already.
        target: The ONNX file to write.
        samples: Token ids of texts to find the ranges of activations with (see `sample_rows`).
            Without any, every activation gets a scale for each row.

    Raises:
        ModelError: The runtime cannot run the graph.
    """
    # The runtime's copy of the weights is gone before they are read here.
    skeleton = onnx.load(str(source), load_external_data=False)
    found = _find_products(skeleton.graph)
    del skeleton
    bounded = [name for name, group in found.items() if group.bounded]
    peaks = channel_peaks(source, bounded, samples) if bounded else {}
    model = onnx.load(str(source))
    _Quantizer(model.graph, _find_products(model.graph), peaks).run()
    if all(entry.domain != _RUNTIME for entry in model.opset_import):
        model.opset_import.append(helper.make_opsetid(_RUNTIME, 1))
    if _size(model) > _LARGEST_FILE:
        onnx.save(model, str(target), save_as_external_data=True, location=f"{target.name}_data")
    else:
        onnx.save(model, str(target))


@dataclass(frozen=True, slots=True)
class _Group:
    """The products of one activation with weights.

    Attributes:
        nodes: The MatMuls.
        producer: The operator that outputs the activation; empty for an input of the graph.
        bounded: Whether that is a norm.
    """

    nodes: list[onnx.NodeProto]
    producer: str
    bounded: bool


def _find_products(graph: onnx.GraphProto) -> dict[str, _Group]:
    """Returns the products with constant matrices, by the name of the activation."""
    matrices = {
        tensor.name
        for tensor in graph.initializer
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 2
    }
    vectors = {tensor.name for tensor in graph.initializer if len(tensor.dims) == 1}
    producers = {name: node for node in graph.node for name in node.output}
    found: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in matrices:
            found[node.input[0]].append(node)
    groups = {}
    for name, nodes in found.items():
        node = producers.get(name)
        kind = node.op_type if node is not None else ""
        bounded = kind in _NORMS or _ends_rms_norm(node, producers, vectors)
        groups[name] = _Group(nodes, kind, bounded)
    return groups


def _ends_rms_norm(
    node: onnx.NodeProto | None, producers: Mapping[str, onnx.NodeProto], vectors: set[str]
) -> bool:
    """Whether a node is the last one of `GraphBuilder.rms_norm`."""
    if node is None or node.op_type != "Mul" or node.input[1] not in vectors:
        return False
    division = producers.get(node.input[0])
    if division is None or division.op_type != "Div":
        return False
    root = producers.get(division.input[1])
    return root is not None and root.op_type == "Sqrt"


@dataclass(frozen=True, slots=True)
class _Activation:
    """A quantized activation.

    Attributes:
        codes: The uint8 value.
        scale: What a step is worth, for all rows: the name of a scalar.
        zero: The name of the uint8 that stands for 0.
        row_scale: What a step is worth in each row, besides; None if `scale` is all.
        smoothing: (channels,) what the weights are to be multiplied by; None for nothing.
    """

    codes: str
    scale: str
    zero: str
    row_scale: str | None = None
    smoothing: NDArray[np.float64] | None = None


class _Quantizer:
    """Replaces the products of a graph."""

    def __init__(
        self, graph: onnx.GraphProto, groups: Mapping[str, _Group], peaks: Mapping[str, Floats]
    ) -> None:
        self._graph = graph
        self._groups = groups
        self._peaks = peaks
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        self._nodes: list[onnx.NodeProto] = []
        self._known: dict[tuple[Any, ...], str] = {}
        self._count = 0

    def run(self) -> None:
        """Rewrites the graph."""
        products = {id(node) for group in self._groups.values() for node in group.nodes}
        biases = self._biases()
        folded: set[str] = set()
        activations: dict[str, _Activation] = {}
        for node in self._graph.node:
            if id(node) not in products:
                if node.output[0] not in folded:
                    self._nodes.append(node)
                continue
            value = node.input[0]
            if value not in activations:
                activations[value] = self._quantize(value, self._groups[value])
            activation = activations[value]
            bias = biases.get(node.output[0]) if activation.row_scale is None else None
            if bias is not None:
                folded.add(bias.output[0])
            self._multiply(activation, node, bias)
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)
        used = {name for node in self._nodes for name in _inputs(node)}
        kept = [tensor for tensor in self._graph.initializer if tensor.name in used]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)

    def _biases(self) -> dict[str, onnx.NodeProto]:
        """Returns the nodes that add a vector to a value and alone use it, by that value."""
        uses = Counter(name for node in self._graph.node for name in _inputs(node))
        uses.update(entry.name for entry in self._graph.output)
        return {
            node.input[0]: node
            for node in self._graph.node
            if node.op_type == "Add"
            and uses[node.input[0]] == 1
            and (tensor := self._tensors.get(node.input[1])) is not None
            and len(tensor.dims) == 1
        }

    def _quantize(self, value: str, group: _Group) -> _Activation:
        if value in self._peaks:
            return self._quantize_bounded(value, group)
        return self._quantize_rows(value, group)

    def _quantize_bounded(self, value: str, group: _Group) -> _Activation:
        """Adds the codes of an activation with one scale for good."""
        peaks = np.maximum(self._peaks[value].astype(np.float64), _LEAST)
        weights = [np.abs(self._matrix(node)).max(axis=1) for node in group.nodes]
        heaviest = np.maximum(np.max(weights, axis=0), _LEAST)
        smoothing = peaks**_SMOOTHING / heaviest ** (1 - _SMOOTHING)
        smoothing /= np.exp(np.log(smoothing).mean())
        scale = self._constant((peaks / smoothing).max() / _STEPS)
        smoothed = self._op("Mul", value, self._constant(1 / smoothing))
        zero = self._scalar(_ZERO, np.uint8)
        codes = self._op("QuantizeLinear", smoothed, scale, zero)
        return _Activation(codes, scale, zero, smoothing=smoothing)

    def _quantize_rows(self, value: str, group: _Group) -> _Activation:
        """Adds the codes of an activation with a scale for each row."""
        least, zero, steps, size = _LEAST, _ZERO, _STEPS, value
        if group.producer in _GELUS:
            zero, steps = _GELU_ZERO, 255 - _GELU_ZERO
            least = _GELU_LEAST * steps / zero  # so that the least value has a code
        else:
            size = self._op("Abs", value)
        peak = self._op("ReduceMax", size, self._scalar([-1], np.int64), keepdims=1)
        peak = self._op("Max", peak, self._scalar(least))
        one, middle = self._scalar(1), self._scalar(zero, np.uint8)
        stretched = self._op("Mul", value, self._op("Div", self._scalar(steps), peak))
        codes = self._op("QuantizeLinear", stretched, one, middle)
        step = self._op("Mul", peak, self._scalar(1 / steps))
        return _Activation(codes, one, middle, row_scale=step)

    def _multiply(
        self, activation: _Activation, node: onnx.NodeProto, bias: onnx.NodeProto | None
    ) -> None:
        """Adds the product in place of `node`, and of the `bias` after it."""
        weights = self._matrix(node)
        if activation.smoothing is not None:
            weights = weights * activation.smoothing[:, np.newaxis]
        codes, scales = quantize_weights(weights)
        inputs = [activation.codes, self._constant(codes, np.int8), activation.scale]
        inputs += [self._constant(scales), activation.zero]
        if activation.row_scale is None:
            if bias is not None:
                inputs += ["", bias.input[1]]
            output = node.output[0] if bias is None else bias.output[0]
            self._op("MatMulIntegerToFloat", *inputs, output=output, domain=_RUNTIME)
            return
        product = self._op("MatMulIntegerToFloat", *inputs, domain=_RUNTIME)
        self._op("Mul", product, activation.row_scale, output=node.output[0])

    def _matrix(self, node: onnx.NodeProto) -> NDArray[np.float64]:
        return numpy_helper.to_array(self._tensors[node.input[1]]).astype(np.float64)

    def _scalar(self, value: ArrayLike, dtype: Any = np.float32) -> str:
        """Returns the name of a small constant that several nodes share."""
        key = (str(value), dtype)
        if key not in self._known:
            self._known[key] = self._constant(value, dtype)
        return self._known[key]

    def _constant(self, value: ArrayLike, dtype: Any = np.float32) -> str:
        name = self._name()
        array = np.asarray(value, dtype, order="C")
        self._graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def _op(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output or self._name()
        self._nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def _name(self) -> str:
        self._count += 1
        return f"{_SCOPE}{self._count}"


def quantize_weights(weights: NDArray[np.float64]) -> tuple[NDArray[np.int8], Floats]:
    """Rounds a matrix to int8, with one scale for each column.

    Two weights that meet in 16 bits, those of an even row and the next, add up to 128 at most where
    they have one sign.

    Args:
        weights: (inputs, outputs).

    Returns:
        (inputs, outputs) int8, and (outputs,) float32.

    Example:
        >>> codes, scales = quantize_weights(np.array([[1.0, 1.0], [0.5, -0.5]]))
        >>> codes.tolist(), (1 / scales).round().tolist()
        ([[85, 127], [42, -64]], [85.0, 127.0])
    """
    even = weights[: len(weights) // 2 * 2]
    pairs = np.abs(even[::2] + even[1::2])
    pairs[even[::2] * even[1::2] <= 0] = 0
    # One less than allowed, as both may be rounded up.
    scales = np.maximum(
        np.abs(weights).max(axis=0, initial=0) / _LARGEST_WEIGHT,
        pairs.max(axis=0, initial=0) / (_LARGEST_PAIR - 1),
    )
    scales = np.maximum(scales, _LEAST).astype(np.float32)
    codes = np.rint(weights / scales).astype(np.int8)
    return codes, scales


def _inputs(node: onnx.NodeProto) -> Iterator[str]:
    """Yields the names of the values that a node takes, those of its branches included."""
    yield from node.input
    for attribute in node.attribute:
        for inner in attribute.g.node:
            yield from _inputs(inner)


def _size(model: onnx.ModelProto) -> int:
    return sum(len(tensor.raw_data) for tensor in model.graph.initializer)
