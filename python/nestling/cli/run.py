"""How a command line ends: its exit codes, its errors, and what it leaves behind."""

from __future__ import annotations

import contextlib
import inspect
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from typing import Final, NoReturn

import typer

from nestling.errors import NestlingError, TruncationWarning

__all__ = ["INTERRUPTED", "run_app"]

INTERRUPTED: Final = 130
"""The exit code after Ctrl-C: 128 + SIGINT, as a shell expects it."""


def run_app(app: typer.Typer, arguments: Sequence[str] | None, *, program: str) -> NoReturn:
    """Runs an application and exits.

    The exit code is 0 when it succeeded, 1 after a `NestlingError`, which is printed as one line on
    stderr, 2 for wrong usage, 130 after Ctrl-C and 143 after SIGTERM.

    Args:
        app: The application.
        arguments: What follows the program's name; None takes it from `sys.argv`.
        program: The program's name in help texts.

    Raises:
        SystemExit: Always, with the exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        # A character that the terminal cannot show, or a lone surrogate, must not be a crash.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _terminate)
    _unwrap_help(app)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)  # the commands print their own notice
        try:
            try:
                app(args=None if arguments is None else list(arguments), prog_name=program)
            finally:
                sys.stdout.flush()
        except NestlingError as error:
            _print_error(error)
            sys.exit(1)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except BrokenPipeError:
            # The reader has left (`| head`). The interpreter flushes stdout again when it exits.
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
    sys.exit(0)


def _unwrap_help(app: typer.Typer) -> None:
    """Joins the lines of each paragraph of the help texts, which Typer would print as they are.

    A terminal of 80 columns would break the longer ones once more.
    """
    for command in app.registered_commands:
        if text := inspect.getdoc(command.callback):
            command.help = "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))
    for group in app.registered_groups:
        if group.typer_instance is not None:
            _unwrap_help(group.typer_instance)


def _terminate(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)  # unwinds, so that no half-written output or worker is left behind


def _message_of(error: NestlingError) -> str:
    """Returns what an error says; an OSError's errno is left out, and its file is not."""
    reason = getattr(error, "strerror", None)
    if not reason:
        return str(error) or type(error).__name__
    file = getattr(error, "filename", None)
    return reason if file is None or str(file) in reason else f"{file}: {reason}"


def _print_error(error: NestlingError) -> None:
    from rich.console import Console
    from rich.text import Text

    line = " ".join(_message_of(error).splitlines())
    Console(stderr=True).print(Text.assemble(("error: ", "bold red"), line), soft_wrap=True)
