"""The application: its commands, its version, and how it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated, NoReturn

import typer

from nestling.cli.add import add
from nestling.cli.backup import backup
from nestling.cli.check import check
from nestling.cli.compact import compact
from nestling.cli.delete import delete
from nestling.cli.demo import demo
from nestling.cli.encode import encode
from nestling.cli.eval import evaluate
from nestling.cli.export import export
from nestling.cli.index import index
from nestling.cli.info import info
from nestling.cli.search import search
from nestling.cli.train import app as train
from nestling.cli.tune import tune
from nestling.errors import NestlingError, TruncationWarning

__all__ = ["app", "main"]

INTERRUPTED = 130

app = typer.Typer(
    name="nestling",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_COMMANDS: tuple[Callable[..., None], ...] = (
    *(demo, index, add, search, delete, tune, info),
    *(check, compact, backup, export, encode),
)
for command in _COMMANDS:
    app.command()(command)
app.command("eval")(evaluate)
app.add_typer(train, name="train")


def _show_version(wanted: bool) -> None:
    if wanted:
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
    """Runs the command line and exits.

    Args:
        arguments: What follows the program's name; None takes it from `sys.argv`.

    Raises:
        SystemExit: Always, with the exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        # A character that the terminal's encoding lacks, or half a surrogate pair, is no crash.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    warnings.simplefilter("ignore", TruncationWarning)  # the commands tell of it themselves
    signal.signal(signal.SIGTERM, _terminate)
    try:
        try:
            app(args=None if arguments is None else list(arguments), prog_name="nestling")
        finally:
            sys.stdout.flush()
    except NestlingError as error:
        _complain(error)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader has left (`| head`). The interpreter flushes stdout once more when it ends.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(0)


def _terminate(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)  # unwinds, so that no half-made output is left behind


def _complain(error: NestlingError) -> None:
    from rich.console import Console
    from rich.text import Text

    # An OSError that was made with an errno writes it before its message.
    message = getattr(error, "strerror", None) or str(error) or type(error).__name__
    Console(stderr=True).print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)
