"""What a path holds: a collection, a .nest file, or something else; and how each is opened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from nestling._util.unset import UNSET, Unset
from nestling.errors import ArgumentError, FormatError, NestlingError, StorageError

if TYPE_CHECKING:
    from nestling.collection import Collection, Passages, TextEncoder
    from nestling.index import Index, Metric

__all__ = ["check_collection", "is_index", "open_collection", "open_rows", "usage_errors"]


def is_index(path: Path) -> bool:
    """Returns whether `path` looks like something that `nestling index` writes.

    Example:
        >>> is_index(Path("rows.nest")), is_index(Path("rows.npy"))
        (True, False)
    """
    from nestling.collection import is_collection

    if not path.is_dir():
        return path.suffix == ".nest"
    # Another program's collection.db does not have these beside it.
    is_ours = (path / "segments").is_dir() or (path / "writer.lock").is_file()
    return is_collection(path) and is_ours


def check_collection(path: Path) -> None:
    """Checks that a path holds a collection.

    Raises:
        StorageError: Nothing is there; the message says how to make one.
        FormatError: Something else is there.
    """
    from nestling.collection import is_collection

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
    """Reports an argument that is out of range, or does not fit a collection, as wrong usage.

    Raises:
        typer.BadParameter: In place of an `ArgumentError` or a plain ValueError.
    """
    try:
        yield
    except ArgumentError as error:
        raise typer.BadParameter(str(error)) from error
    except NestlingError:
        raise
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def open_collection(
    path: Path,
    encoder: str | TextEncoder | None = None,
    *,
    query_encoder: str | None = None,
    create: bool = False,
    read_only: bool = False,
    metric: Metric | None = None,
    funnel: str | None = None,
    passages: Passages | Unset | None = UNSET,
    title_weight: int | None = None,
    fields: Sequence[str] = (),
    threads: int | None = None,
) -> Collection:
    """Opens a collection; the arguments are those of `Collection`.

    Raises:
        StorageError: Nothing is there, and `create` is not set.
        FormatError: It is not a collection, or it is damaged.
        typer.BadParameter: It was made with other settings.
        EncoderMismatchError, ModelError: As for `Collection`.
    """
    from nestling.collection import Collection

    if not create:
        check_collection(path)
    with usage_errors():
        return Collection(
            path,
            encoder,
            query_encoder=query_encoder,
            create=create,
            read_only=read_only,
            metric=metric,
            funnel=funnel,
            passages=passages,
            title_weight=title_weight,
            fields=fields,
            threads=threads,
        )


def open_rows(path: Path, *, threads: int | None = None) -> Index:
    """Opens a .nest file.

    Raises:
        FormatError: It is not a .nest file, or it is damaged.
        StorageError: The system refused to read it.
    """
    from nestling.index import Index

    try:
        return Index.load(path, threads=threads)
    except FormatError as error:
        if path.suffix == ".nest":
            raise
        raise FormatError(
            f"{path}: neither a collection nor a .nest file; make one with: "
            f"nestling index {path} --out FOLDER"
        ) from error
