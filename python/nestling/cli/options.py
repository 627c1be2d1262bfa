"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = [
    "BatchSize",
    "Force",
    "FunnelText",
    "IdField",
    "Json",
    "Model",
    "Precision",
    "TextField",
    "Threads",
    "VectorFile",
]

Model = Annotated[
    str,
    typer.Option("--model", "-m", help="Built-in name, model folder, or hub id.", metavar="NAME"),
]
Precision = Annotated[
    Literal["int8", "float32"], typer.Option(help="Of the model's weights, where it has both.")
]
Threads = Annotated[
    int | None, typer.Option("--threads", "-t", min=1, help="Threads.", show_default="all cores")
]
BatchSize = Annotated[int, typer.Option(min=1, help="Texts the encoder takes at once.")]
FunnelText = Annotated[
    str | None,
    typer.Option(
        "--funnel",
        help="Stages as dims@bits:keep, e.g. '64@4:1000 > 384@16'.",
        show_default="chosen for the dimension",
    ),
]
TextField = Annotated[str, typer.Option(help="Field of a record that holds its text.")]
IdField = Annotated[
    str | None,
    typer.Option(help="Field of a record that holds its id.", show_default="id or _id, if there"),
]
VectorFile = Annotated[
    Path | None,
    typer.Option("--vector", help="Ask with the rows of a .npy file in place of texts."),
]
Force = Annotated[bool, typer.Option("--force", "-f", help="Replace what is there.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else there.")]
