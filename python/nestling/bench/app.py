"""The command: its options, and how it ends."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from nestling._util.console import console, print_json
from nestling.bench.collection import collection
from nestling.bench.options import (
    Batch,
    Choice,
    Model,
    Queries,
    Rounds,
    Seed,
    Texts,
    Threads,
    Vectors,
)
from nestling.bench.peers import peers
from nestling.bench.report import show
from nestling.bench.run import run
from nestling.bench.text import text
from nestling.cli.options import FunnelText, Json
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
    vectors: Vectors = None,
    queries: Queries = None,
    texts: Texts = None,
    model: Model = "wordllama",
    funnel: FunnelText = None,
    threads: Threads = 1,
    batch: Batch = _QUERIES,
    rounds: Rounds = 5,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Measure this machine, and what share of it a search reaches."""
    if context.invoked_subcommand is not None:
        _refuse_options(context)
        return
    choice = Choice(rows, dim, vectors, queries, texts, model, batch, seed)
    report = run(choice.load(_ROWS, _DIM), funnel=funnel, threads=threads, rounds=rounds)
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
app.command(name="collection", context_settings={"help_option_names": ["-h", "--help"]})(collection)
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
