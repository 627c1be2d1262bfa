"""`nestling check`: whether a collection is whole, and its segments made anew where not."""

from __future__ import annotations

from typing import Annotated

import typer

from nestling.cli.options import Folder, Json, Threads

__all__ = ["check"]


def check(
    folder: Folder,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Make segments that are missing or altered anew, from the texts."
        ),
    ] = False,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Read everything in a collection, and list what is wrong; exit code 1 where something is."""
    from nestling import collection
    from nestling._util.console import console, print_json
    from nestling.cli.opening import check_collection

    check_collection(folder)
    made: list[str] = []
    report = collection.check(folder)
    if repair and not report.ok:
        made = collection.repair(folder, threads=threads)
        report = collection.check(folder)
    if as_json:
        print_json(
            {
                "folder": str(folder),
                "ok": report.ok,
                "problems": report.problems,
                "documents": report.documents,
                "rows": report.rows,
                "segments": report.segments,
                "orphans": report.orphans,
                "repaired": made,
            }
        )
    else:
        for name in made:
            console().print(f"{folder}: made {name} anew", markup=False)
        console().print(f"{folder}: {report}", markup=False)
    if not report.ok:
        raise typer.Exit(1)
