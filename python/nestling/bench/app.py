"""The application: `python -m nestling.bench` and its commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, NoReturn

import typer

from nestling._util.console import console, print_json
from nestling.bench.cluster import cluster
from nestling.bench.collection import collection
from nestling.bench.lexical import lexical
from nestling.bench.options import Rounds, RowOptions, Threads
from nestling.bench.peers import peers
from nestling.bench.report import show
from nestling.bench.run import run
from nestling.bench.server import server
from nestling.bench.text import text
from nestling.cli.command import command
from nestling.cli.options import FunnelText, Json
from nestling.cli.run import run_app

__all__ = ["BenchOptions", "app", "bench", "main"]

_ROWS: Final = 1_000_000
_DIM: Final = 256
_HELP: Final = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions(RowOptions):
    """The options of `python -m nestling.bench`."""

    rows: Annotated[
        int | None,
        typer.Option(
            min=100, help="Rows to index.", show_default="1,000,000, or all that are given"
        ),
    ] = None
    dim: Annotated[
        int | None,
        typer.Option(min=1, help="Dimensions of generated rows.", show_default=str(_DIM)),
    ] = None
    funnel: FunnelText = None
    threads: Threads = 1
    rounds: Rounds = 5
    as_json: Json = False


@app.callback(invoke_without_command=True, context_settings=_HELP)
@command
def bench(context: typer.Context, options: BenchOptions) -> None:
    """Measure this machine, and what share of its limits a search reaches.

    Example: python -m nestling.bench --rows 100000 --dim 384
    """
    if context.invoked_subcommand is not None:
        _refuse_options(context)
        return
    rows = options.load(default_rows=_ROWS, default_dim=_DIM)
    report = run(rows, funnel=options.funnel, threads=options.threads, rounds=options.rounds)
    if options.as_json:
        print_json(report.as_dict())
    else:
        show(report, console())


def _refuse_options(context: typer.Context) -> None:
    """Refuses options before a command, which would not see them."""
    for name in context.params:
        source = context.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":
            raise typer.BadParameter(
                "give its options after it", param_hint=context.invoked_subcommand
            )


_COMMANDS: Final = {
    "text": text,
    "cluster": cluster,
    "collection": collection,
    "lexical": lexical,
    "peers": peers,
    "server": server,
}
for _name, _command in _COMMANDS.items():
    app.command(name=_name, context_settings=_HELP)(_command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the benchmark and exits; the exit codes are those of `nestling.cli.run.run_app`.

    Args:
        arguments: What follows the program's name; None takes it from `sys.argv`.

    Raises:
        SystemExit: Always, with the exit code.

    Example:
        >>> main(["--rows", "2000", "--rounds", "1", "--json"])  # doctest: +SKIP
    """
    run_app(app, arguments, program="python -m nestling.bench")
