"""Appends a linear map to an encoder, so that it outputs mapped embeddings.

Where the folder's modules follow the graph, the map becomes one more of them: a dense layer. Where
the graph pools, it becomes the last step of the graph: the layer norm, where the folder requires
one, then one product. A map without an offset commutes with normalisation, so the map may come
before or after it.
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
from safetensors.numpy import save_file

from nestling.errors import ModelError
from nestling.runtime.config import read_json
from nestling.runtime.embedder import Embedder
from nestling.runtime.folder import ModelFolder, Precision, external_data
from nestling.runtime.modules import Dense, LayerNorm, Pooling
from nestling.runtime.overrides import Overrides

__all__ = ["fold_folder"]

Floats = NDArray[np.float32]

_NONE: Final = Overrides()
_OUTPUT: Final = "sentence_embedding"
_WEIGHTS: Final = "model.safetensors"
_SCOPE: Final = "nestling_adaptor"  # before the names of all that is added
_EPSILON: Final = 1e-5  # of the layer norm, as in `nestling.runtime.modules`
# Per component. Where activations are quantized, rounding in the other direction changed minilm by
# 0.015; the graphs that nestling builds itself agree to 1e-7 there too.
_TOLERANCE: Final = {"float32": 1e-5, "int8": 0.05}
_TARGETS: Final = {"float32": "model.onnx", "int8": "model_int8.onnx"}
# A list of the files of the source folder.
_LEFT_BEHIND: Final = {"manifest.json"}
_LARGEST: Final = 2**31 - 2**20  # bytes of one protobuf file, with some margin


def fold_folder(
    source: Path,
    target: Path,
    matrix: Floats,
    *,
    name: str,
    nesting: Sequence[int],
    texts: Sequence[str],
    overrides: Overrides = _NONE,
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
        overrides: Settings that stand in for those of the source; the target has them.

    Returns:
        The largest difference of a component between the new unit vectors and the old ones, mapped
        by numpy.

    Raises:
        ModelError: The source cannot be read or folded, or the new graph outputs other vectors.
    """
    sources = [
        overrides.apply(ModelFolder.read(source, precision=precision))
        for precision in get_args(Precision)
    ]
    models = {
        folder.precision: Embedder(folder) for folder in {f.graph: f for f in sources}.values()
    }
    _copy_settings(source, target, sources[0])
    own = target / "nestling.json"
    settings = read_json(own) | {"name": name, "nesting": sorted(nesting), "layer_norm": False}
    settings.pop("source_digest", None)
    _write_json(own, settings)
    _write_prompts(target / "config_sentence_transformers.json", overrides)
    (target / "onnx").mkdir()
    appended = False
    for precision, model in models.items():
        graph = target / "onnx" / _TARGETS[precision]
        if not model.graph.modules:
            _fold_graph(model, _widened(matrix, model), graph)
            continue
        _copy_graph(model.folder.graph, graph)
        if not appended:
            _append_modules(model, _widened(matrix, model), target)
            appended = True
    if not appended:
        (target / "modules.json").unlink(missing_ok=True)  # all of them are inside the graph
    return max(_check(model, target, matrix, texts) for model in models.values())


def _check(model: Embedder, target: Path, matrix: Floats, texts: Sequence[str]) -> float:
    """Returns the largest difference of a component between mapped embeddings and new ones."""
    precision = model.folder.precision
    after = Embedder(ModelFolder.read(target, precision=precision))
    prompt = model.folder.document_prompt
    mapped = model.embed(texts, prompt) @ matrix.T
    mapped /= np.maximum(np.linalg.norm(mapped, axis=1, keepdims=True), 1e-12)
    difference = float(np.abs(after.embed(texts, prompt) - mapped).max())
    allowed = _TOLERANCE[precision]
    if not difference <= allowed:
        raise ModelError(
            f"the folded graph ({precision}) is wrong: an embedding differs by "
            f"{difference:.2g} in a component from the mapped one, over {allowed:g}"
        )
    return difference


def _widened(matrix: Floats, model: Embedder) -> Floats:
    """Returns the map for whole embeddings, of whose dimensions the model may keep the first."""
    return np.pad(matrix, ((0, 0), (0, model.width - matrix.shape[1])))


def _fold_graph(model: Embedder, matrix: Floats, target: Path) -> None:
    """Writes the graph of a model with the map as its last step; the reader normalises."""
    content = onnx.load(str(model.folder.graph))
    tail = _Tail(content)
    value = tail.take(model.graph.output)
    if model.folder.layer_norm:
        value = tail.layer_norm(value, model.width)
    tail.finish(value, matrix)
    if _is_large(content):
        data = f"{target.name}_data"
        onnx.save(content, str(target), save_as_external_data=True, location=data)
    else:
        onnx.save(content, str(target))


def _copy_settings(source: Path, target: Path, folder: ModelFolder) -> None:
    """Copies the settings of a model folder, and the weights of its modules."""
    weights = [
        module.weights for module in folder.modules if isinstance(module, (Dense, LayerNorm))
    ]
    for path in (*sorted(source.rglob("*.json")), *weights):
        if path.name not in _LEFT_BEHIND:
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def _write_prompts(path: Path, overrides: Overrides) -> None:
    """Records the prompts that the files of the source do not say, by the names read first."""
    given = {"query": overrides.query_prompt, "document": overrides.document_prompt}
    given = {name: prompt for name, prompt in given.items() if prompt is not None}
    if given:
        settings = read_json(path)
        _write_json(path, settings | {"prompts": {**(settings.get("prompts") or {}), **given}})


def _copy_graph(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    for path in external_data(source):
        copy = target.parent / path.relative_to(source.parent)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def _append_modules(model: Embedder, matrix: Floats, target: Path) -> None:
    """Adds the map to modules.json, after the layer norm where the folder requires one."""
    path = target / "modules.json"
    if path.is_file():
        listing = json.loads(path.read_text(encoding="utf-8"))
    else:
        listing = [_entry(0, "Transformer", ""), _entry(1, "Pooling", "1_Pooling")]
        pooling = target / "1_Pooling" / "config.json"
        if not pooling.is_file():
            modes = [m.modes for m in model.graph.modules if isinstance(m, Pooling)]
            _write_json(pooling, {"embedding_dimension": model.width, "pooling_mode": modes[0][0]})
    if model.folder.layer_norm:
        place = f"{len(listing)}_LayerNorm"
        listing.append(_entry(len(listing), "LayerNorm", place))
        _write_json(target / place / "config.json", {"dimension": model.width})
        ones = np.ones(model.width, np.float32)
        save_file({"norm.weight": ones, "norm.bias": 0 * ones}, target / place / _WEIGHTS)
    place = f"{len(listing)}_Dense"
    listing.append(_entry(len(listing), "Dense", place))
    config = {
        "in_features": matrix.shape[1],
        "out_features": len(matrix),
        "bias": False,
        "activation_function": "torch.nn.modules.linear.Identity",
    }
    _write_json(target / place / "config.json", config)
    save_file({"linear.weight": np.ascontiguousarray(matrix)}, target / place / _WEIGHTS)
    _write_json(path, listing)


def _entry(index: int, kind: str, place: str) -> dict[str, Any]:
    name = f"sentence_transformers.models.{kind}"
    return {"idx": index, "name": str(index), "path": place, "type": name}


def _write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


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
