"""Paths that stay valid when the working folder changes."""

from __future__ import annotations

import os
from pathlib import Path

from nestling.errors import StorageError

__all__ = ["absolute"]


def absolute(path: str | os.PathLike[str]) -> Path:
    """Returns a path as an absolute one; links in it stay.

    Raises:
        StorageError: It is relative, and the working folder was removed.

    Example:
        >>> absolute("notes").is_absolute(), absolute("/srv/../notes")
        (True, PosixPath('/notes'))
    """
    try:
        return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would replace links
    except FileNotFoundError as error:
        raise StorageError(
            error.errno, "the working folder was removed; give an absolute path", os.fspath(path)
        ) from error
