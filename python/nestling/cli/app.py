"""The application: its commands and its version."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, NoReturn

import typer

from nestling.cli.add import add
from nestling.cli.backup import backup
from nestling.cli.check import check
from nestling.cli.cluster import app as cluster
from nestling.cli.compact import compact
from nestling.cli.convert import convert
from nestling.cli.delete import delete
from nestling.cli.demo import demo
from nestling.cli.encode import encode
from nestling.cli.eval import evaluate
from nestling.cli.export import export
from nestling.cli.index import index
from nestling.cli.info import info
from nestling.cli.keys import app as keys
from nestling.cli.models import app as models
from nestling.cli.run import run_app
from nestling.cli.search import search
from nestling.cli.serve import serve
from nestling.cli.train import app as train
from nestling.cli.tune import tune

__all__ = ["app", "main"]

app = typer.Typer(
    name="nestling",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_COMMANDS: tuple[Callable[..., None], ...] = (
    *(demo, index, add, search, delete, tune, info),
    *(check, compact, backup, export, encode, convert, serve),
)
for _command in _COMMANDS:
    app.command()(_command)
app.command("eval")(evaluate)
app.add_typer(cluster, name="cluster")
app.add_typer(keys, name="keys", help="Make, list and remove the API keys of a server.")
app.add_typer(models, name="models")
app.add_typer(train, name="train")


def _show_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        print(f"nestling {version('nestling')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    """The Matryoshka search engine for CPUs: short prefixes find, longer ones re-rank."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line and exits; the exit codes are those of `nestling.cli.run.run_app`.

    Args:
        arguments: What follows the program's name; None takes it from `sys.argv`.

    Raises:
        SystemExit: Always, with the exit code.

    Example:
        >>> main(["info", "--json"])  # doctest: +SKIP
    """
    run_app(app, arguments, program="nestling")
