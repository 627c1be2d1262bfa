"""What a path names: a collection, a .nest file, or neither, which is said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from nestling.errors import FormatError, NestlingError, StorageError

if TYPE_CHECKING:
    from nestling.collection import Collection, Passages, TextEncoder
    from nestling.index import Index, Metric

__all__ = [
    "check_collection",
    "is_former",
    "is_index",
    "open_collection",
    "open_rows",
    "usage_errors",
]

# Of the folders that `nestling index` made before there were collections.
_FORMER: Final = ("corpus.json", "vectors.nest")


def is_former(path: Path) -> bool:
    """Returns whether a folder is of the format before collections."""
    return all((path / name).is_file() for name in _FORMER)


def is_index(path: Path) -> bool:
    """Returns whether `path` looks like what `nestling index` writes, or used to write."""
    from nestling.collection import is_collection

    if not path.is_dir():
        return path.suffix == ".nest"
    # Another program's collection.db has no such neighbours.
    ours = (path / "segments").is_dir() or (path / "writer.lock").is_file()
    return is_former(path) or (is_collection(path) and ours)


def check_collection(path: Path) -> None:
    """Raises an error that says what to do unless there is a collection.

    Raises:
        StorageError: Nothing is there.
        FormatError: Something else is there.
    """
    from nestling.collection import is_collection

    if is_former(path):
        raise FormatError(
            f"{path}: an index folder of an earlier nestling, which this one does not read; make "
            f"it anew with: nestling index CORPUS --out {path} --force"
        )
    if not path.exists():
        raise StorageError(
            f"{path}: no such collection; make one with: nestling index CORPUS --out {path}"
        )
    if not is_collection(path):
        raise FormatError(
            f"{path}: not a collection (collection.db is missing); "
            f"make one with: nestling index {path} --out FOLDER"
        )


@contextmanager
def usage_errors() -> Iterator[None]:
    """Tells of an argument that does not fit, say other than a collection was made with, plainly.

    Raises:
        typer.BadParameter: In place of a bare ValueError.
    """
    try:
        yield
    except NestlingError:
        raise
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def open_collection(
    path: Path,
    encoder: str | TextEncoder | None = None,
    *,
    create: bool = False,
    read_only: bool = False,
    metric: Metric | None = None,
    funnel: str | None = None,
    passages: Passages | str | None = "default",
    fields: Sequence[str] = (),
    threads: int | None = None,
) -> Collection:
    """Opens a collection; the arguments are those of `Collection`.

    Raises:
        StorageError: Nothing is there, and `create` is not set.
        FormatError: What is there is no collection, or not whole.
        typer.BadParameter: It was made with other settings.
        EncoderMismatchError, ModelError: As for `Collection`.
    """
    from nestling.collection import Collection

    if is_former(path) or not create:
        check_collection(path)
    with usage_errors():
        return Collection(
            path,
            encoder,
            create,
            read_only,
            metric=metric,
            funnel=funnel,
            passages=passages,
            fields=fields,
            threads=threads,
        )


def open_rows(path: Path, *, threads: int | None = None) -> Index:
    """Opens a .nest file.

    Raises:
        FormatError: It is none, or not whole.
        StorageError: The system refused.
    """
    from nestling.index import Index

    return Index.load(path, threads=threads)
