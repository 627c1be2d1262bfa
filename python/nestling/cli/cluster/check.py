"""`nestling cluster check`: compares every file of a dataset with its checksum."""

from __future__ import annotations

from dataclasses import asdict

import typer

from nestling.cli.cluster.common import DatasetPath, StorageOptions, Version, storage_options_of
from nestling.cli.options import Json

__all__ = ["check"]


def check(
    path: DatasetPath,
    version: Version = None,
    storage_options: StorageOptions = None,
    as_json: Json = False,
) -> None:
    """Read every file of a dataset on Ray and list its problems; exit code 1 if there are any.

    Example: nestling cluster check s3://corpora/news
    """
    from nestling import cluster
    from nestling._util.console import console, print_json

    report = cluster.check(
        path,
        version=version,
        storage_options=storage_options_of(storage_options),
    )
    if as_json:
        print_json({"dataset": path, "ok": report.ok, **asdict(report)})
    else:
        console().print(f"{path}: {report}", markup=False)
    if not report.ok:
        raise typer.Exit(1)
