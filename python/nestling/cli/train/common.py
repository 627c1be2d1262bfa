"""What the training commands share."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer

__all__ = ["Out", "Restart", "Seed", "print_report", "read_texts"]

Out = Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")]
Restart = Annotated[
    bool, typer.Option("--restart", help="Drop existing checkpoints and start again.")
]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]


class _Report(Protocol):
    """The result of a training."""

    def as_dict(self) -> dict[str, Any]:
        """Returns everything as JSON values."""


def print_report(report: _Report, *, as_json: bool) -> None:
    """Prints a report, as JSON or as text."""
    from nestling._util.console import console, print_json

    if as_json:
        print_json(report.as_dict())
    else:
        console().print(str(report), markup=False)


def read_texts(sources: Sequence[str], text_field: str) -> list[str]:
    """Returns the texts of files and folders; those of - are the lines of stdin."""
    from nestling.corpus import Fields, read_documents, read_lines

    texts: list[str] = []
    for source in sources:
        if source == "-":
            texts += read_lines(sys.stdin.buffer, "stdin")
        else:
            documents = read_documents(source, fields=Fields(text=text_field))
            texts += (document.passage for document in documents)
    return texts
