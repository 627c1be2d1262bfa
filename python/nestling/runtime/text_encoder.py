"""What the package needs of an encoder: the one protocol that collections and evaluations take."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

__all__ = ["TextEncoder", "class_path", "encoder_name", "nesting_dims", "settings_digest"]

# Attributes that say which model an object runs, and how, by the names that encoders and the
# embeddings of other libraries give them. Keys, time limits, batch sizes and devices are not among
# them: vectors do not depend on those.
_MODEL_NAMES: Final = (
    *("name", "model", "model_name", "model_id", "model_path", "model_name_or_path", "model_file"),
    *("name_or_path", "repo_id", "source", "revision", "model_revision", "model_version"),
    *("deployment", "deployment_id", "deployment_name", "azure_deployment", "engine"),
    *("precision", "quantization", "nested", "adapter", "adapter_name"),
)
_MODEL_SETTINGS: Final = (
    *("dim", "dimension", "dimensions", "output_dimensionality", "truncate_dim", "size"),
    *("task", "task_type", "input_type", "pooling", "pooling_mode", "normalize"),
    *("normalize_embeddings", "prompt", "prompts", "prefix", "document_prompt", "query_prompt"),
    *("instruction", "embed_instruction", "query_instruction", "text_instruction"),
)
_DEPTH: Final = 3  # of objects that run another one: a cache over a wrapper over a model


@runtime_checkable
class TextEncoder(Protocol):
    """What turns texts into embeddings: `nestling.Encoder`, or any object with these members.

    Optional attributes are used where they exist: `name` (str) in tables and errors, `nesting`
    (the prefix lengths that it was trained for) in evaluations and default funnels. A collection
    remembers the import path of the class, `name`, `dim` and `fingerprint` (str), and refuses an
    encoder that differs in one of them. An object without a `fingerprint` has the digest of the
    attributes that name its model (`model`, `model_name`, `revision`, …). An object that stands for
    one of another class has that one's import path as its `class_path` (str).

    Example:
        >>> class Lengths:
        ...     dim = 2
        ...     def encode(self, texts):
        ...         return np.array([[len(text), 1] for text in texts], np.float32)
        ...     encode_queries = encode
        >>> isinstance(Lengths(), TextEncoder)
        True
    """

    @property
    def dim(self) -> int:
        """Dimensions of an embedding."""

    def encode(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """Returns the embeddings of documents, (n, dim) float32."""

    def encode_queries(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """Returns the embeddings of queries, (n, dim) float32."""


def encoder_name(encoder: TextEncoder) -> str:
    """Returns an encoder's `name`, or that of its class if it has none.

    Example:
        >>> class Lengths:
        ...     dim = 2
        >>> encoder_name(Lengths())
        'Lengths'
    """
    name = getattr(encoder, "name", None)
    return name if isinstance(name, str) else type(encoder).__qualname__


def nesting_dims(encoder: object) -> tuple[int, ...]:
    """Returns the prefix lengths that an encoder says it was trained for; () where it does not.

    Example:
        >>> class Nested:
        ...     dim, nesting = 256, [64, 128, 256]
        >>> nesting_dims(Nested()), nesting_dims(None)
        ((64, 128, 256), ())
    """
    nesting = getattr(encoder, "nesting", None)
    if isinstance(nesting, (str, bytes)) or not isinstance(nesting, Iterable):
        return ()
    return tuple(dim for dim in nesting if isinstance(dim, int) and dim > 0)


def class_path(cls: type) -> str:
    """Returns the import path of a class, the same whether its file is run or imported.

    A class of the program that runs is in `__main__`; its path names the program's module instead.
    In a notebook there is none, and it stays `__main__`.

    Example:
        >>> class_path(Path)
        'pathlib.Path'
    """
    module = cls.__module__
    if module == "__main__":
        main = sys.modules["__main__"]
        spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
        if spec is not None:
            module = spec.name.removesuffix(".__main__")
        elif isinstance(file, str):
            module = Path(file).stem
    return f"{module}.{cls.__qualname__}"


def settings_digest(encoder: object, *, without: Collection[str] = ()) -> str | None:
    """Returns 16 hexadecimal digits of the attributes that name what an object runs, or None.

    It is the same in every process. An attribute that is None counts as absent, so a class may get
    new ones. Objects that the object holds, such as the embeddings behind a cache, count if they
    are encoders, by their class and by their own attributes.

    Args:
        encoder: The object.
        without: Attributes that do not count.

    Example:
        >>> class Remote:
        ...     model, timeout = "large", 10
        >>> settings_digest(Remote()) == settings_digest(Remote())
        True
        >>> settings_digest(object()) is None
        True
    """
    found = _settings(encoder, _DEPTH)
    for name in without:
        found.pop(name, None)
    if not found:
        return None
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:16]


def _settings(owner: object, depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in (*_MODEL_NAMES, *_MODEL_SETTINGS):
        value: object = None
        with suppress(Exception):  # a property that needs what is not there yet
            value = getattr(owner, name, None)
        if (kept := _plain(value, depth)) is not None:
            found[name] = kept
    for name, value in _held(owner).items():
        if name not in found and depth and _encodes(value):
            found[name] = {"class": class_path(type(value)), **_settings(value, depth - 1)}
    return found


def _held(owner: object) -> dict[str, Any]:
    """Returns the attributes of an instance."""
    attributes = getattr(owner, "__dict__", None)
    return dict(attributes) if isinstance(attributes, dict) else {}


def _plain(value: object, depth: int) -> Any:
    """Returns a setting as a JSON value; None if it is not a setting."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, type):
        return class_path(value)
    if depth == 0 or inspect.isroutine(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _plain(value[key], depth - 1) for key in value} or None
    if isinstance(value, (list, tuple)):
        return [_plain(item, depth - 1) for item in value] or None
    return _settings(value, depth - 1) or None


def _encodes(value: object) -> bool:
    """Returns whether an object turns texts into embeddings, by the names that libraries use."""
    names = ("encode", "embed_documents", "get_text_embedding", "embed")
    return not isinstance(value, (str, bytes, type)) and any(
        callable(getattr(value, name, None)) for name in names
    )
