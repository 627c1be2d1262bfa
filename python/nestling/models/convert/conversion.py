"""Converts a model folder with safetensors weights to one with ONNX graphs.

Only the transformer becomes a graph, from ids to token embeddings. Everything else that decides an
embedding (the list of modules, their own weights, the tokenizer, prompts) is copied as it is. The
weights are read one tensor at a time and large constants go straight to a file, so a conversion
needs little memory; code that comes with a model is never run, and pickles are never opened.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
import onnx
from numpy.typing import NDArray

from nestling._util.checksum import sha256_of
from nestling._util.progress import ProgressBar
from nestling._util.value import Value
from nestling.errors import ModelError
from nestling.models.convert.calibrate import sample_rows
from nestling.models.convert.families import family_of
from nestling.models.convert.graph import GraphBuilder, TableStore
from nestling.models.convert.quantize import save_int8
from nestling.models.convert.static import add_static, read_model2vec
from nestling.models.convert.weights import Weights
from nestling.models.source import CONVERSION_RECIPE, ModelSource, folder_name, read_source
from nestling.runtime.config import read_json
from nestling.runtime.embedder import Embedder
from nestling.runtime.folder import ModelFolder, Precision, external_data

__all__ = ["Conversion", "convert_folder"]

Exporter = Literal["weights", "torch"]

_GRAPHS: Final = {"float32": "model.onnx", "int8": "model_int8.onnx"}
_DATA: Final = "_data"  # after the name of a graph: the file of its large constants
_CHECKED: Final = (
    "Bread is made of flour.",
    "الخبز يصنع من الدقيق والماء والملح والخميرة.",
    "🙂 Größe: 3,5 × 10⁻³",
    "a " * 100,
)
_BATCH_TOLERANCE: Final = 1e-5  # per component of unit vectors; float noise is about 1e-6
_LEAST_COSINE: Final = 0.8  # of int8 with float32 embeddings; 0.99 is typical


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Conversion(Value):
    """What to make of a model folder.

    Attributes:
        precisions: The graphs to write: "int8", "float32" or both.
        name: What to call the model, unless its own nestling.json does.
        exporter: "weights" builds the graph from the tensors alone; "torch" traces the network
            with torch (extra `export`).

    Example:
        >>> Conversion(precisions=("int8", "float32")).exporter
        'weights'
    """

    precisions: tuple[Precision, ...] = ("int8",)  # each once
    name: str | None = None
    exporter: Exporter = "weights"


def convert_folder(source: Path, target: Path, conversion: Conversion) -> None:
    """Fills `target` with a folder that `Encoder` reads, made from a folder with safetensors.

    Args:
        source: A model folder in the layout of sentence-transformers, or of transformers.
        target: An empty folder.
        conversion: What to make of it.

    Raises:
        ModelError: The model cannot be converted, or the runtime does not run the result as it
            should; the message says what to do.
        StorageError: The system refused to write.
    """
    model = read_source(source)
    title = f"converting {conversion.name or folder_name(source)} to ONNX"
    graphs = target / "onnx"
    graphs.mkdir()
    _copy_rest(model, target)
    _write_settings(model, target, conversion)
    checkpoint = Weights.open(model.transformer)
    with ProgressBar(title, total=len(conversion.precisions) * len(checkpoint)) as bar:
        checkpoint = checkpoint.reporting(bar.advance)
        if model.kind == "StaticEmbedding":
            scratch = _convert_static(model, checkpoint, target, conversion)
        else:
            scratch = _convert_transformer(model, checkpoint, graphs, conversion)
    _check(target)
    for path in scratch:
        path.unlink()


def _convert_transformer(
    model: ModelSource, checkpoint: Weights, graphs: Path, conversion: Conversion
) -> list[Path]:
    """Writes the graphs; returns files that only the check needs."""
    if conversion.exporter == "torch":
        return _export(model, graphs, conversion)
    family, settings = family_of(model.config)

    def build(name: str, table: TableStore) -> Path:
        path = graphs / name
        weights = family.weights(checkpoint)
        with GraphBuilder(table=table, data=_data_of(path)) as graph:
            tokens = family.add(graph, weights, settings)
            family.check_unused(weights)
            proto = graph.model(path.stem, tokens=tokens)
        onnx.save(proto, str(path))
        onnx.checker.check_model(str(path))
        return path

    if "float32" in conversion.precisions:
        build(_GRAPHS["float32"], "float32")
    if "int8" not in conversion.precisions:
        return []
    # Where only int8 is wanted, the graph that it is made from is what it is compared with.
    both = len(conversion.precisions) == 2
    whole = build("tables_int8.onnx" if both else _GRAPHS["float32"], "int8")
    save_int8(whole, graphs / _GRAPHS["int8"], sample_rows(graphs.parent))
    return [whole, _data_of(whole)]


def _export(model: ModelSource, graphs: Path, conversion: Conversion) -> list[Path]:
    """Writes the graphs with torch; returns files that only the check needs."""
    from nestling.models.convert.torch_export import export_with_torch

    whole = graphs / _GRAPHS["float32"]
    export_with_torch(model, whole)
    if "int8" not in conversion.precisions:
        return []
    save_int8(whole, graphs / _GRAPHS["int8"], sample_rows(graphs.parent))
    return [] if "float32" in conversion.precisions else [whole, *external_data(whole)]


def _convert_static(
    model: ModelSource, checkpoint: Weights, target: Path, conversion: Conversion
) -> list[Path]:
    """Writes the graphs of a static table, in float16 for int8, since rows are only summed."""
    place = target / model.transformer.relative_to(model.folder)
    unknown = None
    # A folder with modules.json is one of sentence-transformers, where unknown tokens count and
    # texts of any length are read, also if model2vec wrote it.
    listed = (model.folder / "modules.json").is_file()
    if not listed and model.config.get("model_type") == "model2vec":
        tokens = read_model2vec(place / "tokenizer.json", model.config)
        unknown = tokens.unknown
        if tokens.max_characters is not None:
            own = target / "nestling.json"
            _write_json(own, read_json(own) | {"max_characters": tokens.max_characters})
    for precision in conversion.precisions:
        graph = GraphBuilder()
        add_static(graph, checkpoint, unknown=unknown, half=precision == "int8")
        onnx.save(graph.model("static"), str(target / "onnx" / _GRAPHS[precision]))
    return []


def _copy_rest(model: ModelSource, target: Path) -> None:
    for path in model.rest():
        copy = target / path.relative_to(model.folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def _write_settings(model: ModelSource, target: Path, conversion: Conversion) -> None:
    """Records what the model is called, and the digest of all that it was made from."""
    own = target / "nestling.json"
    settings = read_json(own)
    settings.setdefault("name", conversion.name or folder_name(model.folder))
    digest = hashlib.sha256(json.dumps([CONVERSION_RECIPE, conversion.exporter]).encode())
    for path in model.files():
        if path.suffix == ".md":  # describes the model
            continue
        digest.update(path.relative_to(model.folder).as_posix().encode())
        digest.update(bytes.fromhex(sha256_of(path)))
    settings["source_digest"] = digest.hexdigest()
    _write_json(own, settings)


def _data_of(graph: Path) -> Path:
    return graph.with_name(graph.name + _DATA)


def _write_json(path: Path, settings: Mapping[str, Any]) -> None:
    text = json.dumps(settings, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def _check(target: Path) -> None:
    """Runs the converted model: it must load, be finite, and not depend on the batch.

    Raises:
        ModelError: It does not.
    """
    found: dict[Precision, NDArray[np.float32]] = {}
    for precision in get_args(Precision):
        folder = ModelFolder.read(target, precision=precision)
        if folder.precision != precision:  # it has only the other one
            continue
        embedder = Embedder(folder)
        rows, _ = embedder.tokenize(_CHECKED)
        rows = [row for row in rows if len(row)]
        found[precision] = single = np.concatenate([embedder.embed_tokens([row]) for row in rows])
        if not np.isfinite(single).all():
            raise ModelError(f"the converted model ({precision}) gives embeddings with NaN")
        if embedder.one_by_one:
            continue
        if embedder.padding:
            together = embedder.embed_tokens(rows)
        else:
            pairs = [embedder.embed_tokens([row[::-1], row]) for row in rows]
            together = np.stack([pair[1] for pair in pairs])
        difference = float(np.abs(together - single).max())
        if not difference <= _BATCH_TOLERANCE:
            raise ModelError(
                f"the converted model ({precision}) is wrong: an embedding differs by "
                f"{difference:.2g} in a component between a batch and alone"
            )
    if len(found) == 2:
        cosine = float(np.einsum("ij,ij->i", found["int8"], found["float32"]).min())
        if not cosine >= _LEAST_COSINE:
            raise ModelError(
                f"int8 is too coarse for this model: an embedding has a cosine of {cosine:.2f} "
                'with that of float32. Use precision="float32"'
            )
