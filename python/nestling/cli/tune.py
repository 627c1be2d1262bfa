"""`nestling tune`: the fastest funnel for a recall, measured on this machine and set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from nestling.cli.options import Json, Threads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["tune"]


def tune(
    index: Annotated[Path, typer.Argument(metavar="FOLDER", help="A collection, or a .nest file.")],
    recall: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the exact hits to find.")
    ] = 0.98,
    k: Annotated[int, typer.Option("-k", min=1, help="Hits of a search.")] = 10,
    queries: Annotated[
        Path | None,
        typer.Option(
            help="Questions like those to come: embedded, .npy; for a collection also .txt, one a "
            "line, or any corpus.",
            show_default="rows of the index",
        ),
    ] = None,
    budget: Annotated[float, typer.Option(min=0, help="Seconds to measure for, about.")] = 60.0,
    prefer: Annotated[
        Literal["throughput", "latency"],
        typer.Option(help="What must be fast: many questions at once, or one."),
    ] = "throughput",
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
    from nestling._util.console import console, print_json
    from nestling.cli.opening import open_collection, open_rows, usage_errors
    from nestling.tuning.plot import check

    if recall == 0 or budget == 0:
        raise typer.BadParameter("must be over 0", param_hint="--budget" if recall else "--recall")
    if plot is not None:
        check(plot)  # before the measurements, which take long
    bare = index.is_file()
    asking = None if queries is None else _read_queries(queries, bare=bare)
    options: dict[str, Any] = {
        "k": k,
        "queries": asking,
        "budget_seconds": budget,
        "prefer": prefer,
        "cells": cells,
        "verbose": False,
    }
    with usage_errors():
        if bare:
            rows = open_rows(index, threads=threads)
            report = rows.tune(recall, **options)
            rows.save(index)
        else:
            with open_collection(index, threads=threads) as collection:
                report = collection.tune(recall, **options)
    if plot is not None:
        report.plot(plot)
    if as_json:
        print_json(report.as_dict())
    else:
        console().print(f"{report}\n{index}: {report.line()}", markup=False)


def _read_queries(path: Path, *, bare: bool) -> NDArray[np.floating[Any]] | list[str]:
    """Returns the questions of a file: embedded, or texts."""
    from nestling.cli.building import read_vectors
    from nestling.corpus import read_documents, read_lines
    from nestling.errors import CorpusError

    if path.suffix == ".npy":
        return read_vectors(path)
    if bare:
        raise typer.BadParameter(
            "a .nest file names no encoder: embed the questions, with nestling encode --queries",
            param_hint="--queries",
        )
    if path.suffix != ".txt":
        return [document.passage for document in read_documents(path)]
    try:
        with path.open("rb") as stream:
            return list(filter(str.strip, read_lines(stream, str(path))))
    except OSError as error:
        raise CorpusError(f"{path}: cannot read: {error.strerror}") from error
