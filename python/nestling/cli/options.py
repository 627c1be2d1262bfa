"""The options that several commands share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from nestling.collection.ingest.passages import Passages

__all__ = [
    "BatchSize",
    "Folder",
    "Force",
    "FunnelText",
    "IdField",
    "Json",
    "MetadataFields",
    "Model",
    "NewFields",
    "Overlap",
    "PassageSize",
    "Precision",
    "TextField",
    "Threads",
    "VectorFile",
    "WhereText",
    "names_of",
    "passages_of",
    "where_of",
]

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="A collection.")]

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
WhereText = Annotated[
    str | None,
    typer.Option(
        "--where",
        metavar="JSON",
        help='Only documents whose metadata match, e.g. \'{"year": {"$gte": 2020}}\'.',
    ),
]
NewFields = Annotated[
    str | None,
    typer.Option(
        "--fields",
        metavar="NAME,NAME…",
        help="Metadata that filters ask often: an index each.",
        show_default="none",
    ),
]
MetadataFields = Annotated[
    str | None,
    typer.Option(
        "--metadata-fields",
        metavar="NAME,NAME…",
        help="Fields of a record that become metadata, beside its `metadata`; '*' for all.",
        show_default="none",
    ),
]
PassageSize = Annotated[
    int | None,
    typer.Option(
        "--passages",
        min=0,
        help="Characters of a passage; 0 keeps documents whole.",
        show_default="1000",
    ),
]
Overlap = Annotated[
    int | None,
    typer.Option(
        min=0, help="Characters that a passage repeats of the one before.", show_default="150"
    ),
]


def where_of(text: str | None) -> dict[str, Any] | None:
    """Returns the filter that --where gives.

    Raises:
        typer.BadParameter: It is no JSON object.
    """
    if text is None:
        return None
    form = """expected an object such as '{"year": {"$gte": 2020}}'"""
    try:
        where = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"not JSON: {error}; {form}", param_hint="--where") from error
    if not isinstance(where, dict):
        raise typer.BadParameter(f"not a JSON object; {form}", param_hint="--where")
    return where


def names_of(text: str | None) -> tuple[str, ...]:
    """Returns the names in a list with commas."""
    return tuple(name for part in (text or "").split(",") if (name := part.strip()))


def passages_of(size: int | None, overlap: int | None) -> Passages | str | None:
    """Returns what --passages and --overlap ask of a collection; "default" where nothing.

    Raises:
        typer.BadParameter: They do not fit together.
    """
    from nestling.collection.ingest.passages import Passages

    if size is None and overlap is None:
        return "default"
    if size == 0:
        return None
    usual = Passages()
    size = usual.size if size is None else size
    try:
        return Passages(size, min(usual.overlap, size // 2) if overlap is None else overlap)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--overlap") from error
