"""What the commands that train share: options, and how settings that are out of range end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

import typer

from nestling.errors import NestlingError

__all__ = ["Out", "Restart", "Seed", "numbers", "settings_in_range", "show"]

Out = Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")]
Restart = Annotated[bool, typer.Option("--restart", help="Begin anew where there are checkpoints.")]
Seed = Annotated[int, typer.Option(help="Of all that is random.")]

_Number = TypeVar("_Number", int, float)


class _Report(Protocol):
    """What a training returns."""

    def as_dict(self) -> dict[str, Any]:
        """Returns everything as plain values."""


def numbers(text: str, kind: Callable[[str], _Number], option: str) -> list[_Number]:
    """Returns the numbers of an option, between commas.

    Raises:
        typer.BadParameter: They are none.
    """
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"{text!r}: expected numbers and commas", param_hint=option
        ) from None


@contextmanager
def settings_in_range() -> Iterator[None]:
    """Ends the command as for wrong usage where a setting is out of its range."""
    try:
        yield
    except NestlingError:
        raise
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def show(report: _Report, *, as_json: bool) -> None:
    """Prints a report, as JSON or to be read."""
    from nestling._util.console import console, print_json

    if as_json:
        print_json(report.as_dict())
    else:
        console().print(str(report), markup=False)
