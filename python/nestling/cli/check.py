"""`nestling check`: finds damage in a collection, and rebuilds damaged segments."""

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
            "--repair", help="Rebuild segments that are missing or corrupted, from the texts."
        ),
    ] = False,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Read everything in a collection and list its problems; exit code 1 if there are any.

    Example: nestling check articles --repair
    """
    from nestling import collection
    from nestling._util.console import console, print_json
    from nestling.cli.paths import check_collection

    check_collection(folder)
    repaired: list[str] = []
    report = collection.check(folder)
    if repair and not report.ok:
        repaired = collection.repair(folder, threads=threads)
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
                "repaired": repaired,
            }
        )
    else:
        for name in repaired:
            console().print(f"{folder}: rebuilt {name}", markup=False)
        console().print(f"{folder}: {report}", markup=False)
    if not report.ok:
        raise typer.Exit(1)
