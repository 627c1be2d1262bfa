"""`nestling tune`: the fastest funnel for a recall, measured on this machine and set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from nestling.cli.options import Json, Threads

__all__ = ["tune"]


def tune(
    index: Annotated[
        Path, typer.Argument(metavar="INDEX", help="An index folder, or a .nest file.")
    ],
    recall: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the exact hits to find.")
    ] = 0.98,
    k: Annotated[int, typer.Option("-k", min=1, help="Hits of a search.")] = 10,
    queries: Annotated[
        Path | None,
        typer.Option(help="Embedded questions, .npy.", show_default="rows of the index"),
    ] = None,
    budget: Annotated[float, typer.Option(min=0, help="Seconds to measure for, about.")] = 60.0,
    prefer: Annotated[
        Literal["batch", "lone"],
        typer.Option(help="What must be fast: many questions at once, or one."),
    ] = "batch",
    cells: Annotated[
        bool | None,
        typer.Option("--cells/--no-cells", help="Try cells.", show_default="from 50,000 rows"),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw recall against speed: .png, .svg or .pdf.")
    ] = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Measure which funnel is the fastest that finds enough, and set it."""
    from nestling.cli.building import read_vectors
    from nestling.cli.folder import VECTORS_FILE, open_index
    from nestling.cli.screen import console, print_json
    from nestling.tuning.plot import check

    if recall == 0 or budget == 0:
        raise typer.BadParameter("must be over 0", param_hint="--budget" if recall else "--recall")
    if plot is not None:
        check(plot)  # before the measurements, which take long
    opened = open_index(index, threads=threads)
    report = opened.index.tune(
        recall,
        k=k,
        queries=None if queries is None else read_vectors(queries),
        budget_seconds=budget,
        prefer=prefer,
        cells=cells,
        verbose=False,
    )
    opened.index.save(index / VECTORS_FILE if index.is_dir() else index)
    if plot is not None:
        report.plot(plot)
    if as_json:
        print_json(report.as_dict())
    else:
        console().print(f"{report}\n{index}: {report.line()}", markup=False)
