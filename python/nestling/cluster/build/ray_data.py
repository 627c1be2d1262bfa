"""A Ray `Dataset` as a source: written to Parquet files once, which tasks then read in slices."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nestling.cluster.packages import connected_ray
from nestling.cluster.storage import Storage
from nestling.errors import ArgumentError, CorpusError

__all__ = ["is_ray_dataset", "write_source"]


def is_ray_dataset(source: Any) -> bool:
    """Returns whether a source is a Ray `Dataset`."""
    return hasattr(source, "write_parquet")


def write_source(source: Any, storage: Storage, name: str | None) -> str:
    """Returns the folder of a Ray `Dataset`, which is written to Parquet files unless that is done.

    Args:
        source: The `Dataset`; its blocks are written in their order.
        storage: The folder of the dataset that is built.
        name: By which the files are found again; None for a name of their own.

    Raises:
        ArgumentError: The name is not that of a folder.
        CorpusError: The `Dataset` cannot be read, or has no rows.
        StorageError: The storage failed.
    """
    if name is not None and (not name or "/" in name or name.startswith(".")):
        raise ArgumentError(f"source_name must be the name of a folder, not {name!r}")
    folder = f"sources/{name or secrets.token_hex(8)}"
    done = f"{folder}/finished"
    if not storage.exists(done):
        for old in storage.list(folder):
            storage.remove(old)
        errors = connected_ray().exceptions
        system, root = storage.for_arrow()
        try:
            with _in_order(source):
                source.write_parquet(f"{root}/{folder}", filesystem=system)
        except errors.RayError as error:
            raise CorpusError(f"the Ray Dataset cannot be read: {error}") from error
        if not storage.list(folder):
            raise CorpusError("the Ray Dataset has no rows")
        storage.write(done, b"")
    return folder


@contextmanager
def _in_order(source: Any) -> Iterator[None]:
    """Has Ray keep the order of blocks, in which documents are stored and duplicates are found."""
    options = source.context.execution_options
    before, options.preserve_order = options.preserve_order, True
    try:
        yield
    finally:
        options.preserve_order = before
