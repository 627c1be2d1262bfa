"""`nestling export`: writes the documents of a collection to a file that other programs read."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from nestling.cli.options import Folder, Force, Json, WhereText, where_of

__all__ = ["export"]


def export(
    folder: Folder,
    out: Annotated[
        Path, typer.Argument(metavar="FILE", help="The .jsonl or .parquet file to write.")
    ],
    where: WhereText = None,
    vectors: Annotated[
        bool, typer.Option("--vectors/--no-vectors", help="Include the embeddings.")
    ] = True,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write documents, metadata and embeddings to a file, as of one commit; `add` reads it back.

    Example: nestling export articles articles.parquet
    """
    from nestling._util.atomic import refuse_to_replace
    from nestling._util.console import console, print_json
    from nestling.cli.paths import open_collection
    from nestling.collection.upkeep.transfer import FORMATS

    if out.suffix.lower() not in FORMATS:
        raise typer.BadParameter(f"must end in {' or '.join(FORMATS)}", param_hint="FILE")
    condition = where_of(where)
    refuse_to_replace(out, force=force, is_our_output=lambda path: path.is_file())
    started = time.perf_counter()
    with open_collection(folder, read_only=True) as collection:
        documents = collection.export(out, where=condition, vectors=vectors)
    seconds = time.perf_counter() - started
    if as_json:
        print_json({"out": str(out), "documents": documents, "seconds": round(seconds, 3)})
    else:
        console().print(f"{out}: {documents:,} documents in {seconds:,.1f} s", markup=False)
