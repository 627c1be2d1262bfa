"""Resolves the name of a model to its folder."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final, Literal

from nestling.errors import ArgumentError, ModelNotFoundError
from nestling.models.cards import BUILT_IN, QUERY_ENCODERS
from nestling.models.hub import hub_folder
from nestling.models.source import has_weights
from nestling.models.store import ensure_converted, ensure_model, ensure_query_encoder
from nestling.runtime.folder import Precision, has_graph

__all__ = ["SourceKind", "canonical_source", "locate", "locate_weights", "source_kind"]

SourceKind = Literal["built-in", "folder", "hub"]

_HUB_ID: Final = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


def locate(
    name_or_folder: str | os.PathLike[str],
    *,
    precision: Precision = "int8",
    nested: bool = True,
    revision: str | None = None,
) -> Path:
    """Returns the folder of a model: a built-in one, the folder itself, or a snapshot of a hub id.

    A folder or snapshot without a graph is converted, once (see `ensure_converted`).

    A built-in name has priority over a folder of that name; write `./minilm` for the folder.
    `nested` applies to built-in models only (see `ensure_model`), `revision` to hub ids (see
    `hub_folder`).

    Example:
        >>> from pathlib import Path
        >>> Path("mine").mkdir()
        >>> locate("mine")
        PosixPath('mine')

    Raises:
        ModelNotFoundError: The name is none of these.
        ModelError: It could not be fetched or converted (see `ensure_model`, `hub_folder`).
        ArgumentError: There is a `revision`, and the name is not a hub id.
    """
    if revision is not None and source_kind(canonical_source(name_or_folder)) != "hub":
        raise ArgumentError(
            f"revision={revision!r} is for a model of the hub, and {str(name_or_folder)!r} is not"
        )
    if isinstance(name_or_folder, str) and name_or_folder in BUILT_IN:
        return ensure_model(name_or_folder, precision, nested=nested)
    if isinstance(name_or_folder, str) and name_or_folder in QUERY_ENCODERS:
        return ensure_query_encoder(name_or_folder, precision)
    folder = Path(name_or_folder).expanduser()
    if folder.is_dir():
        return _runnable(folder, precision)
    if isinstance(name_or_folder, str) and _HUB_ID.fullmatch(name_or_folder):
        snapshot = hub_folder(name_or_folder, precision=precision, revision=revision)
        return _runnable(snapshot, precision, source=f"{name_or_folder}@{snapshot.name}")
    names = ", ".join((*BUILT_IN, *QUERY_ENCODERS))
    raise ModelNotFoundError(
        f"{str(name_or_folder)!r} is not a built-in model ({names}), an existing "
        "folder, or a hub id (owner/name)"
    )


def locate_weights(name_or_folder: str | os.PathLike[str]) -> tuple[Path, str | None]:
    """Returns a folder with the weights of a model, and the hub id and commit that it is of.

    Example:
        >>> from pathlib import Path
        >>> Path("weights").mkdir()
        >>> locate_weights("weights")
        (PosixPath('weights'), None)

    Raises:
        ModelNotFoundError: The name is neither an existing folder nor a hub id.
        ModelError: It could not be fetched (see `hub_folder`).
    """
    folder = Path(name_or_folder).expanduser()
    if folder.is_dir():
        return folder, None
    if isinstance(name_or_folder, str) and _HUB_ID.fullmatch(name_or_folder):
        snapshot = hub_folder(name_or_folder, weights=True)
        return snapshot, f"{name_or_folder}@{snapshot.name}"
    raise ModelNotFoundError(
        f"{str(name_or_folder)!r} is neither an existing folder nor a hub id (owner/name)"
    )


def _runnable(folder: Path, precision: Precision, *, source: str | None = None) -> Path:
    """Returns the folder itself if it holds a graph, or its converted form if it holds weights."""
    if has_graph(folder) or not has_weights(folder):
        return folder
    return ensure_converted(folder, precision, source=source)


def canonical_source(name_or_folder: str | os.PathLike[str]) -> str:
    """Returns the name of a model as it is valid in any working folder: paths become absolute.

    Example:
        >>> canonical_source("minilm"), canonical_source("owner/name")
        ('minilm', 'owner/name')
    """
    if isinstance(name_or_folder, str) and _is_built_in(name_or_folder):
        return name_or_folder
    folder = Path(name_or_folder).expanduser()
    return str(folder.resolve()) if folder.is_dir() else os.fspath(name_or_folder)


def source_kind(source: str) -> SourceKind:
    """Returns where a model comes from, given its canonical source.

    Example:
        >>> source_kind("minilm"), source_kind("/models/mine"), source_kind("owner/name")
        ('built-in', 'folder', 'hub')
    """
    if _is_built_in(source):
        return "built-in"
    return "folder" if Path(source).is_absolute() else "hub"


def _is_built_in(name: str) -> bool:
    return name in BUILT_IN or name in QUERY_ENCODERS
