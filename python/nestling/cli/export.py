"""`nestling export`: writes the documents of a collection to a file that other programs read."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from nestling.cli.command import command
from nestling.cli.options import Folder, Force, Json, WhereText, where_of

__all__ = ["ExportOptions", "export"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """The arguments and options of `nestling export`."""

    folder: Folder
    out: Annotated[
        Path, typer.Argument(metavar="FILE", help="The .jsonl or .parquet file to write.")
    ]
    where: WhereText = None
    vectors: Annotated[
        bool, typer.Option("--vectors/--no-vectors", help="Include the embeddings.")
    ] = True
    atlas: Annotated[
        bool,
        typer.Option(
            "--atlas",
            help="Write a map for Embedding Atlas instead: a .parquet with x, y and neighbours.",
        ),
    ] = False
    neighbours: Annotated[int, typer.Option(min=0, help="Nearest passages of each, in a map.")] = 10
    force: Force = False
    as_json: Json = False


@command
def export(options: ExportOptions) -> None:
    """Write documents, metadata and embeddings to a file, as of one commit; `add` reads it back.

    Example: nestling export articles articles.parquet
    """
    from nestling._util.atomic import refuse_to_replace
    from nestling._util.console import console, print_json
    from nestling.cli.paths import open_collection
    from nestling.collection.upkeep.transfer import FORMATS

    formats = (".parquet",) if options.atlas else FORMATS
    if options.out.suffix.lower() not in formats:
        raise typer.BadParameter(f"must end in {' or '.join(formats)}", param_hint="FILE")
    condition = where_of(options.where)
    refuse_to_replace(options.out, force=options.force, is_our_output=lambda path: path.is_file())
    started = time.perf_counter()
    with open_collection(options.folder, read_only=True) as collection:
        if options.atlas:
            written = collection.export_atlas(
                options.out, where=condition, neighbours=options.neighbours
            )
        else:
            written = collection.export(options.out, where=condition, vectors=options.vectors)
    seconds = time.perf_counter() - started
    what = "passages" if options.atlas else "documents"
    if options.as_json:
        print_json({"out": str(options.out), what: written, "seconds": round(seconds, 3)})
    else:
        console().print(f"{options.out}: {written:,} {what} in {seconds:,.1f} s", markup=False)
