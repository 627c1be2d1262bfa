"""`nestling tune`: measures funnels on this machine, and sets the fastest for a recall."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from nestling.cli.command import command
from nestling.cli.options import Json, Threads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["TuneOptions", "tune"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneOptions:
    """The arguments and options of `nestling tune`."""

    index: Annotated[Path, typer.Argument(metavar="FOLDER", help="A collection, or a .nest file.")]
    recall: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the exact hits to find.")
    ] = 0.98
    k: Annotated[int, typer.Option("-k", min=1, help="Hits per search.")] = 10
    queries: Annotated[
        Path | None,
        typer.Option(
            help="Typical questions: embedded, as .npy; for a collection also a .txt file with one "
            "per line, or any corpus.",
            show_default="rows of the index",
        ),
    ] = None
    budget: Annotated[float, typer.Option(min=0, help="Approximate seconds of measurements.")] = (
        60.0
    )
    prefer: Annotated[
        Literal["throughput", "latency"],
        typer.Option(help="What to optimise: many questions at once, or one at a time."),
    ] = "throughput"
    cells: Annotated[
        bool | None,
        typer.Option("--cells/--no-cells", help="Try cells.", show_default="from 50,000 rows"),
    ] = None
    plot: Annotated[
        Path | None, typer.Option(help="Plot recall against speed: .png, .svg or .pdf.")
    ] = None
    threads: Threads = None
    as_json: Json = False


@command
def tune(options: TuneOptions) -> None:
    """Measure which funnel is the fastest that reaches a recall, and set it.

    Example: nestling tune articles --recall 0.98 --queries questions.txt
    """
    from nestling._util.console import console, print_json
    from nestling.cli.paths import open_collection, open_rows, usage_errors
    from nestling.tuning.plot import check
    from nestling.tuning.report import show

    index = options.index
    if options.recall == 0 or options.budget == 0:
        raise typer.BadParameter(
            "must be above 0", param_hint="--budget" if options.recall else "--recall"
        )
    if options.plot is not None:
        check(options.plot)  # before the measurements, which take long
    bare = index.is_file()
    queries = None if options.queries is None else _read_queries(options.queries, bare=bare)
    settings: dict[str, Any] = {
        "k": options.k,
        "queries": queries,
        "budget_seconds": options.budget,
        "prefer": options.prefer,
        "cells": options.cells,
        "verbose": False,
    }
    with usage_errors():
        if bare:
            rows = open_rows(index, threads=options.threads)
            report = rows.tune(options.recall, **settings)
            rows.save(index)
        else:
            with open_collection(index, threads=options.threads) as collection:
                report = collection.tune(options.recall, **settings)
    if options.plot is not None:
        report.plot(options.plot)
    if options.as_json:
        print_json(report.as_dict())
    else:
        screen = console()
        show(report, screen)
        screen.print(f"{index}: {report.line()}", markup=False)


def _read_queries(path: Path, *, bare: bool) -> NDArray[np.floating[Any]] | list[str]:
    """Returns the questions of a file: embedded, or texts."""
    from nestling.cli.vectors import read_vectors
    from nestling.corpus import read_documents, read_lines
    from nestling.errors import CorpusError

    if path.suffix == ".npy":
        return read_vectors(path)
    if bare:
        raise typer.BadParameter(
            "a .nest file names no encoder: embed the questions with nestling encode --queries",
            param_hint="--queries",
        )
    if path.suffix != ".txt":
        return [document.passage for document in read_documents(path)]
    try:
        with path.open("rb") as stream:
            return list(filter(str.strip, read_lines(stream, str(path))))
    except OSError as error:
        raise CorpusError(f"{path}: cannot read: {error.strerror}") from error
