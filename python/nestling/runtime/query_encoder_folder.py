"""The folder of a query encoder: rows of tokens beside its teacher's tokenizer and settings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Final

from nestling.runtime.folder import ModelFolder, Teacher, read_listing

__all__ = ["write_query_encoder_settings"]

# What `nestling.runtime.text_settings` reads beside tokenizer.json.
_TOKENIZER_FILES: Final = (
    *("config.json", "tokenizer_config.json", "special_tokens_map.json"),
    "sentence_*_config.json",
)


def write_query_encoder_settings(
    target: Path,
    name: str,
    folder: ModelFolder,
    path: Path,
    teacher: Teacher,
    refine_below: float | None,
) -> None:
    """Writes what the folder of a query encoder has beside its rows.

    Args:
        target: The folder to write into.
        name: What the query encoder is called.
        folder: The teacher's folder, as read.
        path: Where that is.
        teacher: How the teacher is opened, and its fingerprint.
        refine_below: The margin below which a search should use the teacher; None if unknown.

    Example:
        >>> folder = ModelFolder.read(Path("minilm"))  # doctest: +SKIP
        >>> teacher = Teacher("minilm", folder.fingerprint())  # doctest: +SKIP
        >>> write_query_encoder_settings(
        ...     Path("fast"), "fast", folder, Path("minilm"), teacher, 0.1
        ... )  # doctest: +SKIP
    """
    shutil.copyfile(folder.tokenizer, target / "tokenizer.json")
    listing = read_listing(path)
    place = path / listing[0][1] if listing else path
    for pattern in _TOKENIZER_FILES:
        for found in place.glob(pattern):
            shutil.copyfile(found, target / found.name)
    settings = {
        "name": name,
        "nesting": list(folder.nesting),
        "special_tokens": False,
        "max_characters": folder.text.max_characters,
        "teacher": {"name": teacher.name, "fingerprint": teacher.fingerprint},
        "refine_below": refine_below,
    }
    (target / "nestling.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
