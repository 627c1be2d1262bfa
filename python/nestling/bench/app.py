"""The command: its options, and how it ends."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from nestling.bench.peers import peers
from nestling.bench.report import show
from nestling.bench.rows import Rows, encoded_rows, generated_rows, stored_rows
from nestling.bench.run import run
from nestling.bench.text import text
from nestling.cli.options import FunnelText, Json
from nestling.cli.screen import console, print_json
from nestling.errors import NestlingError

__all__ = ["app", "bench", "main"]

_ROWS, _DIM, _QUERIES = 1_000_000, 256, 1000

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
def bench(
    context: typer.Context,
    rows: Annotated[
        int | None,
        typer.Option(min=100, help="Rows.", show_default="1,000,000, or all that are given"),
    ] = None,
    dim: Annotated[
        int | None,
        typer.Option(min=1, help="Dimensions of generated rows.", show_default=str(_DIM)),
    ] = None,
    vectors: Annotated[
        Path | None, typer.Option(help="Measure the rows of this .npy file.", metavar="FILE")
    ] = None,
    queries: Annotated[
        Path | None,
        typer.Option(
            help="Ask with the rows of this .npy file.",
            metavar="FILE",
            show_default="some rows held out",
        ),
    ] = None,
    texts: Annotated[
        Path | None,
        typer.Option(help="Measure these texts: a .txt file's lines, or a corpus.", metavar="FILE"),
    ] = None,
    model: Annotated[str, typer.Option(help="What encodes --texts.")] = "wordllama",
    funnel: FunnelText = None,
    threads: Annotated[int, typer.Option("--threads", "-t", min=1, help="Threads.")] = 1,
    batch: Annotated[int, typer.Option(min=2, help="Queries of a batch.")] = _QUERIES,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds that count.")] = 5,
    seed: Annotated[int, typer.Option(help="Of what is generated or held out.")] = 0,
    as_json: Json = False,
) -> None:
    """Measure this machine, and what share of it a search reaches."""
    if context.invoked_subcommand is not None:
        _refuse_options(context)
        return
    if vectors is not None and texts is not None:
        raise typer.BadParameter("cannot go with --vectors", param_hint="--texts")
    if queries is not None and vectors is None:
        raise typer.BadParameter("needs --vectors", param_hint="--queries")
    if dim is not None and (vectors is not None or texts is not None):
        raise typer.BadParameter("is for generated rows only", param_hint="--dim")
    chosen: Rows
    if vectors is not None:
        chosen = stored_rows(vectors, queries, limit=rows, asked=batch, seed=seed)
    elif texts is not None:
        chosen = encoded_rows(texts, model, limit=rows, asked=batch, seed=seed)
    else:
        chosen = generated_rows(rows or _ROWS, dim or _DIM, queries=batch, seed=seed)
    report = run(chosen, funnel=funnel, threads=threads, rounds=rounds)
    if as_json:
        print_json(report.as_dict())
    else:
        show(report, console())


def _refuse_options(context: typer.Context) -> None:
    """Refuses what stands before a subcommand, which would not see it."""
    for name in context.params:
        source = context.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":
            raise typer.BadParameter(
                "give its options after it", param_hint=context.invoked_subcommand
            )


app.command(name="text", context_settings={"help_option_names": ["-h", "--help"]})(text)
app.command(name="peers", context_settings={"help_option_names": ["-h", "--help"]})(peers)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the benchmark and exits: 0 done, 1 a `NestlingError`, 2 wrong usage.

    Args:
        arguments: What follows the program's name; None takes it from `sys.argv`.

    Raises:
        SystemExit: Always, with the exit code.
    """
    try:
        app(
            args=None if arguments is None else list(arguments),
            prog_name="python -m nestling.bench",
        )
    except NestlingError as error:
        console(stderr=True).print(f"error: {error}", markup=False)
        sys.exit(1)
    sys.exit(0)
