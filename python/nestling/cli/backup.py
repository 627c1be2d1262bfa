"""`nestling backup`: a copy of a collection, as of one commit, while it is in use."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from nestling.cli.options import Folder, Json

__all__ = ["backup"]


def backup(
    folder: Folder,
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="The folder to make.")],
    as_json: Json = False,
) -> None:
    """Copy a collection to a new folder, as of one commit, while it is in use.

    Example: nestling backup articles articles-copy
    """
    from nestling._util.console import console, print_json
    from nestling._util.counted import counted
    from nestling.cli.paths import open_collection

    started = time.perf_counter()
    with open_collection(folder, read_only=True) as collection:
        collection.backup(target)
    with open_collection(target, read_only=True) as copy:  # verifies every checksum
        info = copy.info()
    seconds = time.perf_counter() - started
    if as_json:
        print_json(
            {
                "folder": str(folder),
                "target": str(target),
                "documents": info.documents,
                "disk": info.disk,
                "seconds": round(seconds, 3),
            }
        )
        return
    console().print(
        f"{target}: {counted(info.documents, 'document')}, {info.disk:,} bytes, "
        f"in {seconds:,.1f} s",
        markup=False,
    )
