"""JSON files of a model folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nestling.errors import ModelError

__all__ = ["read_json"]


def read_json(path: Path) -> dict[str, Any]:
    """Returns the object in a JSON file; an empty one when the file is absent.

    Raises:
        ModelError: The file cannot be read, or holds something else.

    Example:
        >>> read_json(Path("absent.json"))
        {}
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read {path}: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} should hold a JSON object, not {type(content).__name__}")
    return content
