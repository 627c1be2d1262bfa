"""What a model folder holds that can be converted: its transformer, weights and other files.

The names of files decide, and the small ones are read; nothing here needs onnx.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nestling.errors import ModelError
from nestling.runtime.config import read_json
from nestling.runtime.folder import read_listing

__all__ = [
    "CONVERSION_RECIPE",
    "INDEX",
    "ModelSource",
    "folder_name",
    "has_weights",
    "read_source",
    "refused",
    "shards",
    "weight_files",
]

# Increase it when a conversion writes other bytes for the same source.
CONVERSION_RECIPE: Final = 2

INDEX: Final = "model.safetensors.index.json"  # lists the files of a large checkpoint
_WHOLE: Final = "model.safetensors"
_PICKLES: Final = ("pytorch_model.bin", "pytorch_model.bin.index.json")
_KEPT: Final = (".json", ".jsonl", ".jinja", ".txt", ".md", ".model", ".safetensors", ".vocab")
_ADVICE: Final = (
    "`nestling convert MODEL --with torch --out FOLDER` exports what this cannot (extra `export`)"
)


def refused(reason: str) -> ModelError:
    """Returns the error for a model that cannot be converted without torch.

    Example:
        >>> raise refused("a 't5' is not converted without torch")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        nestling.errors.ModelError: a 't5' is not converted without torch. `nestling convert ...
    """
    return ModelError(f"{reason}. {_ADVICE}")


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model folder to convert.

    Attributes:
        folder: The model folder.
        transformer: The folder of its first module, which is often the same.
        kind: The type of that module, "Transformer" or "StaticEmbedding".
        config: Its config.json; empty for a static table without one.
        modules: The folders of the modules after it.
    """

    folder: Path
    transformer: Path
    kind: str
    config: Mapping[str, Any]
    modules: tuple[Path, ...]

    def files(self) -> list[Path]:
        """Returns the files that decide what a conversion writes, in order."""
        return sorted({*self.rest(), *weight_files(self.transformer)})

    def rest(self) -> Iterator[Path]:
        """Yields the files beside the weights of the transformer that a converted folder keeps."""
        # Other weights beside those of the transformer are the same ones in another form.
        for folder in {self.folder, self.transformer}:
            for path in folder.iterdir():
                weights = path.suffix == ".safetensors" or path.name.endswith(".index.json")
                if path.suffix in _KEPT and not weights and path.is_file():
                    yield path
        for folder in self.modules:
            for path in folder.rglob("*"):
                if path.suffix in _KEPT and path.is_file():
                    yield path


def has_weights(folder: Path) -> bool:
    """Whether a folder holds weights to convert, or those of a form that is refused by name.

    Example:
        >>> has_weights(Path("nowhere"))
        False
    """
    names = (_WHOLE, INDEX, *_PICKLES, "adapter_config.json")
    return any(
        next(folder.glob(pattern), None) for name in names for pattern in (name, f"0_*/{name}")
    )


def read_source(folder: Path) -> ModelSource:
    """Finds the transformer of a folder, and its weights.

    Raises:
        ModelError: There is none, its weights are in another format, or it is an adapter.

    Example:
        >>> read_source(Path("nowhere"))
        Traceback (most recent call last):
        nestling.errors.ModelError: nowhere has no model.safetensors
    """
    modules = _modules(folder)
    kind, place = modules[0] if modules else ("Transformer", "")
    if kind not in ("Transformer", "StaticEmbedding"):
        raise refused(f"{folder / 'modules.json'}: the first module is a {kind}")
    transformer = folder / place
    if (transformer / "adapter_config.json").is_file():
        raise refused(
            f"{transformer} holds an adapter (adapter_config.json), not a model: merge it into its "
            "base model and save that (peft: merge_and_unload())"
        )
    try:
        weight_files(transformer)
    except ModelError:
        if any((transformer / name).is_file() for name in _PICKLES):
            raise ModelError(
                f"{transformer} has its weights only in pytorch_model.bin, which is a pickle and "
                "could run any code, so it is never opened: save the model as safetensors "
                "(sentence-transformers: model.save_pretrained(folder)), or look for a revision "
                "of it that has them"
            ) from None
        raise
    config = transformer / "config.json"
    if kind != "StaticEmbedding" and not config.is_file():
        raise ModelError(f"{config}: missing, so the architecture of the model is unknown")
    values = read_json(config)
    if not modules and values.get("model_type") == "model2vec":
        kind = "StaticEmbedding"
    architecture = str((values.get("architectures") or [""])[0])
    if not modules and re.search(r"For(Sequence|Token)Classification$", architecture):
        raise refused(
            f"{folder} holds a classifier or re-ranker ({architecture}), not an encoder; if it is "
            "one all the same, add the modules.json of sentence-transformers"
        )
    tail = [folder / place for _, place in modules[1:] if Path(place).parts]
    if not modules:
        tail = sorted(folder.glob("[1-9]_*"))
    return ModelSource(folder, transformer, kind, values, tuple(tail))


def weight_files(folder: Path) -> list[Path]:
    """Returns the safetensors files of a checkpoint, in order.

    Raises:
        ModelError: There are none, or one of those in the index is missing.

    Example:
        >>> weight_files(Path("nowhere"))
        Traceback (most recent call last):
        nestling.errors.ModelError: nowhere has no model.safetensors
    """
    if (folder / INDEX).is_file():
        paths = [folder / name for name in sorted(set(shards(folder).values()))]
        for path in paths:
            if not path.is_file():
                raise ModelError(f"{path}: missing, though {INDEX} names it")
        return paths
    if (folder / _WHOLE).is_file():
        return [folder / _WHOLE]
    raise ModelError(f"{folder} has no {_WHOLE}")


def shards(folder: Path) -> dict[str, str]:
    """Returns the file of each tensor, by the index of a checkpoint in several files.

    Raises:
        ModelError: The index is malformed, or names a file in another folder.
    """
    path = folder / INDEX
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        plain = all(Path(name).name == name for name in files.values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"cannot read {path}: {error!r}") from error
    if not plain:
        raise ModelError(f"{path}: a file of the weights must be beside it")
    return dict(files)


def folder_name(folder: Path, source: str | None = None) -> str:
    """Returns what to call a model, by its hub id or else its folder; a valid name of a file."""
    name = folder.resolve().name if source is None else source.partition("@")[0].rpartition("/")[2]
    return re.sub(r"[^\w.-]+", "-", name).strip(".-") or "model"


def _modules(folder: Path) -> list[tuple[str, str]]:
    """Returns the type of each module, and its folder relative to the model folder."""
    modules = read_listing(folder)
    for kind, _ in modules:
        if not kind.startswith("sentence_transformers."):
            listing = folder / "modules.json"
            raise refused(f"{listing}: the module {kind} is code of the model, which is not run")
    return [(kind.rpartition(".")[2], place) for kind, place in modules]
