"""`nestling cluster delete`: removes documents from a dataset."""

from __future__ import annotations

from typing import Annotated

import typer

from nestling.cli.cluster.common import (
    DatasetPath,
    StorageOptions,
    manifest_as_json,
    manifest_line,
    storage_options_of,
)
from nestling.cli.options import Json

__all__ = ["delete"]


def delete(
    path: DatasetPath,
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="Ids of documents to remove.")],
    storage_options: StorageOptions = None,
    as_json: Json = False,
) -> None:
    """Remove documents by id, as a new version of the dataset.

    Example: nestling cluster delete s3://corpora/news a-17 a-18
    """
    from nestling import cluster
    from nestling._util.console import console, print_json

    options = storage_options_of(storage_options)
    before = cluster.Dataset.open(path, storage_options=options).manifest()
    after = cluster.delete(path, ids, storage_options=options)
    removed = before.documents - after.documents
    if as_json:
        print_json({"dataset": path, **manifest_as_json(after), "removed": removed})
    else:
        console().print(f"{manifest_line(path, after)}; {removed:,} removed", markup=False)
