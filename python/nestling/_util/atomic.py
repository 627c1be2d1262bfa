"""Outputs that appear whole or not at all: written beside their place, then renamed into it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nestling.errors import StorageError

__all__ = ["new_file", "new_folder", "refuse_to_replace"]


def refuse_to_replace(target: Path, *, force: bool, is_our_output: Callable[[Path], bool]) -> None:
    """Raises `StorageError` where writing `target` would cost the user something.

    Args:
        target: Where the output is to appear.
        force: Whether the user has agreed to replace what is there.
        is_our_output: Whether something that exists is such an output, and may be replaced.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not is_our_output(target):
        raise StorageError(f"{target}: exists and is something else; choose another place")
    if not force:
        raise StorageError(f"{target}: exists; choose another place, or replace it with --force")


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """Yields the path to write to; it becomes `target` when the block ends without an error.

    Raises:
        StorageError: The system refused to write.
    """
    target = Path(os.path.abspath(target))  # noqa: PTH100 - resolve() would replace a link's target
    staged = _beside(target, "tmp")
    try:
        with _storage_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            yield staged
            staged.replace(target)
    finally:
        staged.unlink(missing_ok=True)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yields a new folder to fill; it becomes `target` when the block ends without an error.

    Raises:
        StorageError: The system refused to write.
    """
    target = Path(os.path.abspath(target))  # noqa: PTH100 - as above
    staged, replaced = _beside(target, "tmp"), _beside(target, "old")
    try:
        with _storage_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            staged.mkdir()
            yield staged
            if target.exists():
                target.replace(replaced)  # a folder cannot be renamed over a full one
            staged.replace(target)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        if target.exists():
            shutil.rmtree(replaced, ignore_errors=True)


def _beside(target: Path, suffix: str) -> Path:
    return target.with_name(f".{target.name}.{os.getpid()}.{suffix}")


@contextmanager
def _storage_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"{target}: cannot write: {error.strerror or error}") from error
