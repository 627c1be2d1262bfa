"""What the commands for datasets share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nestling.cli.options import json_object

if TYPE_CHECKING:
    from nestling.cluster import BuildResult, Manifest

__all__ = [
    "DatasetPath",
    "Sources",
    "StorageOptions",
    "TaskMemory",
    "TaskThreads",
    "VectorField",
    "Version",
    "manifest_as_json",
    "manifest_line",
    "print_build",
    "storage_options_of",
]

DatasetPath = Annotated[
    str,
    typer.Argument(metavar="DATASET", help="A dataset: a folder, or a URL such as s3://bucket/a."),
]
Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE",
        help="Parquet files or JSONL files: paths, URLs, folders, or patterns in quotes.",
    ),
]
StorageOptions = Annotated[
    str | None,
    typer.Option(
        metavar="JSON",
        help="Options of the dataset's storage, as fsspec takes them.",
        show_default="none",
    ),
]
Version = Annotated[
    int | None,
    typer.Option(min=1, help="Version of the dataset.", show_default="the newest"),
]
VectorField = Annotated[
    str, typer.Option(help="Field of a record that holds its vectors, where it has some.")
]
TaskThreads = Annotated[int, typer.Option("--threads", "-t", min=1, help="Cores of each task.")]
TaskMemory = Annotated[
    int, typer.Option(min=0, help="Bytes of memory that Ray keeps free for each task.")
]


def storage_options_of(text: str | None) -> dict[str, Any] | None:
    """Returns the options of --storage-options.

    Raises:
        typer.BadParameter: It is not a JSON object.

    Example:
        >>> storage_options_of('{"anon": true}')
        {'anon': True}
    """
    return json_object(text, "--storage-options", form='{"anon": true}')


def manifest_as_json(manifest: Manifest) -> dict[str, Any]:
    """Returns the counts of a version as `--json` prints them."""
    return {
        "version": manifest.version,
        "kind": manifest.kind,
        "shards": len(manifest.shards),
        "documents": manifest.documents,
        "rows": manifest.rows,
        "bytes": manifest.size,
    }


def manifest_line(path: str, manifest: Manifest) -> str:
    """Returns the counts of a version in one line."""
    return (
        f"{path}: version {manifest.version}, {len(manifest.shards):,} shards, "
        f"{manifest.documents:,} documents, {manifest.rows:,} rows, {manifest.size:,} bytes"
    )


def print_build(path: str, result: BuildResult, *, as_json: bool) -> None:
    """Prints what a build did."""
    from nestling._util.console import console, notify, print_json

    names = ("resumed", "bad", "duplicates", "truncated")
    counts = {name: getattr(result, name) for name in names}
    if as_json:
        print_json({"dataset": path, **manifest_as_json(result.manifest), **counts})
        return
    if result.bad or result.duplicates:
        notify(
            f"{result.bad:,} bad records and {result.duplicates:,} duplicates were left out; "
            f"the files in {path}/rejected list them."
        )
    if result.truncated:
        notify(
            f"{result.truncated:,} passages are longer than the encoder reads; only their starts "
            "can be found."
        )
    console().print(manifest_line(path, result.manifest), markup=False)
