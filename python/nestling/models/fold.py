"""Folds a linear map into the graph of an encoder, so that it outputs mapped embeddings.

The map becomes the last step of the graph: pooling, where the graph leaves it to its reader, then
the layer norm, where the folder requires one, then one product. A map without an offset commutes
with normalisation, so the map may come before or after it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from nestling.errors import ModelError
from nestling.runtime.embedder import Embedder
from nestling.runtime.folder import ModelFolder, Precision
from nestling.runtime.session import Graph

__all__ = ["fold", "fold_folder"]

Floats = NDArray[np.float32]

_OUTPUT: Final = "sentence_embedding"
_MASK: Final = "attention_mask"
_SCOPE: Final = "nestling_adaptor"  # before the names of all that is added
_EPSILON: Final = 1e-5  # of the layer norm, as in `nestling.runtime.pooling`
# Per component. Where activations are quantized, rounding in the other direction changed minilm by
# 0.015; the graphs that nestling builds itself agree to 1e-7 there too.
_TOLERANCE: Final = {"float32": 1e-5, "int8": 0.05}
_TARGETS: Final = {"float32": "model.onnx", "int8": "model_int8.onnx"}
# Lists of modules that are now inside the graph, and of files of the source folder.
_LEFT_BEHIND: Final = {"modules.json", "manifest.json"}
_LARGEST: Final = 2**31 - 2**20  # bytes of one protobuf file, with some margin


def fold_folder(
    source: Path,
    target: Path,
    matrix: Floats,
    *,
    name: str,
    nesting: Sequence[int],
    texts: Sequence[str],
) -> float:
    """Writes a model folder whose embeddings are those of `source`, mapped.

    Every graph of the source that `Encoder` can read is folded, so int8 stays int8.

    Args:
        source: A model folder.
        target: An empty folder.
        matrix: (dim, dim) float32; an embedding is mapped by multiplying it with the transpose.
        name: The name of the new model.
        nesting: Prefix lengths to record.
        texts: Texts to check the result with.

    Returns:
        The largest difference of a component between the new unit vectors and the old ones, mapped
        by numpy.

    Raises:
        ModelError: The source cannot be read or folded, or the new graph outputs other vectors.
    """
    for path in sorted(source.glob("*.json")):
        if path.name not in _LEFT_BEHIND:
            shutil.copyfile(path, target / path.name)
    own = target / "nestling.json"
    settings = json.loads(own.read_text(encoding="utf-8")) if own.exists() else {}
    settings |= {"name": name, "nesting": sorted(nesting), "layer_norm": False}
    own.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    (target / "onnx").mkdir()
    worst = 0.0
    for precision in get_args(Precision):
        folder = ModelFolder.read(source, precision=precision)
        if folder.precision != precision:  # the folder lacks this one
            continue
        fold(folder, matrix, target / "onnx" / _TARGETS[precision])
        before = Embedder(folder)
        after = Embedder(ModelFolder.read(target, precision=precision))
        prompted = [folder.document_prompt + text for text in texts]
        mapped = before.embed(prompted) @ matrix.T
        mapped /= np.maximum(np.linalg.norm(mapped, axis=1, keepdims=True), 1e-12)
        difference = float(np.abs(after.embed(prompted) - mapped).max())
        allowed = _TOLERANCE[precision]
        if not difference <= allowed:
            raise ModelError(
                f"the folded graph ({precision}) is wrong: an embedding differs by "
                f"{difference:.2g} in a component from the mapped one, over {allowed:g}"
            )
        worst = max(worst, difference)
    return worst


def fold(folder: ModelFolder, matrix: Floats, target: Path) -> None:
    """Writes the graph of a folder with the map as its last step; the reader normalises.

    Args:
        folder: The model; its graph may pool, or output token embeddings.
        matrix: (dim, dim) float32; an embedding is mapped by multiplying it with the transpose.
        target: The ONNX file to write.

    Raises:
        ModelError: The graph cannot be read, or its embeddings have another length.
    """
    graph = Graph(folder)
    model = onnx.load(str(folder.graph))
    tail = _Tail(model)
    value = tail.take(graph.output)
    if graph.pooling is not None:
        value = tail.pool(value, graph.pooling)
    if folder.layer_norm:
        value = tail.layer_norm(value, len(matrix))
    tail.finish(value, matrix)
    if _is_large(model):
        onnx.save(model, str(target), save_as_external_data=True, location=f"{target.name}_data")
    else:
        onnx.save(model, str(target))


def _is_large(model: onnx.ModelProto) -> bool:
    return sum(len(tensor.raw_data) for tensor in model.graph.initializer) > _LARGEST


class _Tail:
    """Nodes added at the end of a graph, from operators unchanged since opset 11."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self._graph = model.graph
        self._taken = {name for node in self._graph.node for name in (*node.input, *node.output)}
        self._count = 0

    def take(self, output: str) -> str:
        """Returns the value to map, and frees the name of the new output.

        The producer of the output stays; the value is renamed where the new output needs its name.
        """
        # Known shapes are kept: the runtime chooses its fusions by them, and activations that are
        # quantized after another fusion may round in the other direction.
        shape = next(entry for entry in self._graph.output if entry.name == output)
        self._graph.value_info.append(shape)
        del self._graph.output[:]
        if output != _OUTPUT:
            return output
        raw = self._name()
        self._graph.value_info[-1].name = raw
        for node in self._graph.node:
            for names in (node.input, node.output):
                for position, name in enumerate(names):
                    if name == output:
                        names[position] = raw
        return raw

    def pool(self, tokens: str, pooling: str) -> str:
        """Pools (batch, tokens, dim) to (batch, dim), as `nestling.runtime.pooling` does."""
        if pooling == "cls":
            return self._op("Gather", tokens, self._constant(0, np.int64), axis=1)
        mask = self._op("Cast", self._mask(), to=TensorProto.FLOAT)
        row = self._reshape(mask, 0, 1, -1)
        count = self._op("MatMul", row, self._reshape(mask, 0, -1, 1))  # ones and zeros, squared
        if pooling == "mean":
            weights = self._op("Div", row, count)
        else:  # the last unmasked token: there the running count equals the total
            so_far = self._op("CumSum", row, self._constant(2, np.int64))
            last = self._op("Cast", self._op("Equal", so_far, count), to=TensorProto.FLOAT)
            weights = self._op("Mul", row, last)
        return self._reshape(self._op("MatMul", weights, tokens), 0, -1)

    def layer_norm(self, value: str, dim: int) -> str:
        """Brings (batch, dim) to mean 0 and variance 1."""
        mean = self._constant(np.full((dim, 1), 1 / dim))
        centred = self._op("Sub", value, self._op("MatMul", value, mean))
        variance = self._op("MatMul", self._op("Mul", centred, centred), mean)
        deviation = self._op("Sqrt", self._op("Add", variance, self._constant(_EPSILON)))
        return self._op("Div", centred, deviation)

    def finish(self, value: str, matrix: Floats) -> None:
        """Ends the graph with the map."""
        self._op("MatMul", value, self._constant(matrix.T), output=_OUTPUT)
        shape: list[str | int | None] = ["batch", len(matrix)]
        self._graph.output.append(helper.make_tensor_value_info(_OUTPUT, TensorProto.FLOAT, shape))

    def _mask(self) -> str:
        """Returns the attention mask, and makes it an input of the graph where it was not one."""
        inputs = {entry.name: entry for entry in self._graph.input}
        if _MASK not in inputs:
            mask = onnx.ValueInfoProto()
            mask.CopyFrom(inputs["input_ids"])
            mask.name = _MASK
            self._graph.input.append(mask)
        return _MASK

    def _reshape(self, value: str, *shape: int) -> str:
        return self._op("Reshape", value, self._constant(shape, np.int64))

    def _name(self) -> str:
        """Returns an unused name: an earlier map may have left some."""
        while True:
            self._count += 1
            if (name := f"{_SCOPE}_{self._count}") not in self._taken:
                return name

    def _constant(self, value: Any, dtype: Any = np.float32) -> str:
        name = self._name()
        array = np.asarray(value, dtype, order="C")
        self._graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def _op(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output or self._name()
        node = helper.make_node(kind, list(inputs), [name], **attributes)
        self._graph.node.append(node)
        return name
