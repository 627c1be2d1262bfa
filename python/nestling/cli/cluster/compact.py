"""`nestling cluster compact`: merges small shards, and drops removed documents."""

from __future__ import annotations

from typing import Annotated

import typer

from nestling.cli.cluster.common import (
    DatasetPath,
    StorageOptions,
    TaskThreads,
    manifest_as_json,
    manifest_line,
    storage_options_of,
)
from nestling.cli.options import Json

__all__ = ["compact"]


def compact(
    path: DatasetPath,
    shard_rows: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="The most rows of a shard after a merge.",
            show_default="those of the largest shard",
        ),
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Versions to keep: older ones are removed, with the files that only they need.",
            show_default="all",
        ),
    ] = None,
    threads: TaskThreads = 1,
    storage_options: StorageOptions = None,
    as_json: Json = False,
) -> None:
    """Merge small neighbouring shards on Ray, and drop removed documents, as a new version.

    Example: nestling cluster compact s3://corpora/news --keep 2
    """
    from nestling import cluster
    from nestling._util.console import console, print_json

    options = storage_options_of(storage_options)
    manifest = cluster.compact(
        path, shard_rows=shard_rows, threads=threads, storage_options=options
    )
    pruned = 0 if keep is None else cluster.prune(path, keep=keep, storage_options=options)
    if as_json:
        print_json({"dataset": path, **manifest_as_json(manifest), "removed_files": pruned})
    else:
        files = "" if keep is None else f"; {pruned:,} files removed"
        console().print(f"{manifest_line(path, manifest)}{files}", markup=False)
