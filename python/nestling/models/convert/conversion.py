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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
import onnx
from numpy.typing import NDArray

from nestling._util.checksum import sha256_of
from nestling._util.progress import ProgressBar
from nestling.errors import ModelError
from nestling.models.convert.families import Family, family_of
from nestling.models.convert.graph import GraphBuilder, TableStore
from nestling.models.convert.quantize import save_int8
from nestling.models.convert.weights import Weights
from nestling.models.source import CONVERSION_RECIPE, ModelSource, folder_name, read_source
from nestling.runtime.embedder import Embedder
from nestling.runtime.folder import ModelFolder, Precision

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


@dataclass(frozen=True, slots=True)
class Conversion:
    """What to make of a model folder.

    Attributes:
        precisions: The graphs to write: "int8", "float32" or both.
        name: What to call the model, unless its own nestling.json does.
        exporter: "weights" builds the graph from the tensors alone; "torch" traces the network
            with torch (extra `export`).
    """

    precisions: tuple[Precision, ...] = ("int8",)
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
    family, settings = family_of(model.config)
    title = f"converting {conversion.name or folder_name(source)} to ONNX"
    checkpoint = Weights.open(model.transformer)
    whole = "float32" in conversion.precisions
    _copy_rest(model, target)
    _write_settings(model, target, conversion)
    graphs = target / "onnx"
    graphs.mkdir()
    builds = len(set(conversion.precisions))
    scratch = graphs / ("tables_int8.onnx" if whole else _GRAPHS["float32"])
    with ProgressBar(title, total=builds * len(checkpoint)) as bar:

        def build(path: Path, table: TableStore) -> None:
            _build(checkpoint.reporting(bar.advance), family, settings, path, table)

        if whole:
            build(graphs / _GRAPHS["float32"], "float32")
        if "int8" in conversion.precisions:
            build(scratch, "int8")
            save_int8(onnx.load(str(scratch)), graphs / _GRAPHS["int8"])
    _check(target)
    for path in (scratch, _data_of(scratch)):
        path.unlink(missing_ok=True)


def _build(
    checkpoint: Weights,
    family: Family,
    settings: Any,
    path: Path,
    table: TableStore,
) -> None:
    """Writes the float32 graph of a checkpoint, with its large constants in a file beside it."""
    weights = family.weights(checkpoint)
    with GraphBuilder(table=table, data=_data_of(path)) as graph:
        tokens = family.add(graph, weights, settings)
        family.check_unused(weights)
        model = graph.model(path.stem, tokens=tokens)
    onnx.save(model, str(path))
    onnx.checker.check_model(str(path))


def _copy_rest(model: ModelSource, target: Path) -> None:
    for path in model.rest():
        copy = target / path.relative_to(model.folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def _write_settings(model: ModelSource, target: Path, conversion: Conversion) -> None:
    """Records what the model is called, and the digest of all that it was made from."""
    own = target / "nestling.json"
    settings = json.loads(own.read_text(encoding="utf-8")) if own.is_file() else {}
    settings.setdefault("name", conversion.name or folder_name(model.folder))
    digest = hashlib.sha256(json.dumps([CONVERSION_RECIPE, conversion.exporter]).encode())
    for path in model.files():
        if path.suffix == ".md":  # describes the model
            continue
        digest.update(path.relative_to(model.folder).as_posix().encode())
        digest.update(bytes.fromhex(sha256_of(path)))
    settings["source_digest"] = digest.hexdigest()
    own.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _data_of(graph: Path) -> Path:
    return graph.with_name(graph.name + _DATA)


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
        if not embedder.one_by_one:
            difference = float(np.abs(embedder.embed_tokens(rows) - single).max())
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
