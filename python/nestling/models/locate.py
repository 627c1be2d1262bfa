"""Finds the folder that a model's name means."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from nestling.errors import ModelNotFoundError
from nestling.models.cards import BUILT_IN
from nestling.models.fetch import hub_snapshot
from nestling.models.store import stored
from nestling.runtime.folder import Precision

__all__ = ["locate"]

_HUB_ID: Final = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


def locate(
    name_or_folder: str | os.PathLike[str], *, precision: Precision = "int8", nested: bool = True
) -> Path:
    """Returns a model's folder: a built-in name's, the folder itself, or a hub id's snapshot.

    A built-in name wins over a folder of that name; write `./minilm` for the folder. `nested` is
    for the built-in names only (see `stored`).

    Raises:
        ModelNotFoundError: It is none of the three.
        ModelError: It could not be fetched or converted (see `stored`).
    """
    if isinstance(name_or_folder, str) and name_or_folder in BUILT_IN:
        return stored(name_or_folder, precision, nested=nested)
    folder = Path(name_or_folder).expanduser()
    if folder.is_dir():
        return folder
    if isinstance(name_or_folder, str) and _HUB_ID.fullmatch(name_or_folder):
        return hub_snapshot(name_or_folder)
    raise ModelNotFoundError(
        f"{str(name_or_folder)!r} is not a built-in model ({', '.join(BUILT_IN)}), nor a folder, "
        "nor a hub id (owner/name)"
    )
