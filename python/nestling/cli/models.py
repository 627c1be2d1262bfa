"""`nestling models`: which models there are, and which of the hub's can be loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from nestling.cli.options import Json

if TYPE_CHECKING:
    from rich.console import Console

    from nestling.models.catalogue import HubModel, ModelEntry

__all__ = ["app", "models", "search"]

app = typer.Typer(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def models(context: typer.Context, as_json: Json = False) -> None:
    """List models that `--model` takes: built in, in the cache, and well known.

    Example: nestling models
    """
    if context.invoked_subcommand is not None:
        return
    from nestling._util.console import console, print_json
    from nestling.models.catalogue import list_models

    entries = list_models()
    if as_json:
        print_json([entry.as_dict() for entry in entries])
    else:
        _show(entries, console())


@app.command()
def search(
    query: Annotated[
        str, typer.Argument(metavar="QUERY", help="What the ids of the models contain.")
    ],
    limit: Annotated[int, typer.Option(min=1, max=200, help="The most models to list.")] = 20,
    every_library: Annotated[
        bool,
        typer.Option(
            "--every-library", help="List models of other libraries than sentence-transformers too."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Search the hub for models, and say of each whether it can be loaded, and why not.

    Example: nestling models search matryoshka
    """
    from nestling._util.console import console, notify, print_json
    from nestling.models.catalogue import search_hub

    found = search_hub(query, limit=limit, every_library=every_library)
    if as_json:
        print_json([model.as_dict() for model in found])
    elif found:
        _show_hub(found, console())
    else:
        notify(f"The hub has no such model: {query}")


def _show(entries: Sequence[ModelEntry], screen: Console) -> None:
    from nestling._util.console import print_records

    rows = [
        (
            entry.name,
            f"queries for {entry.teacher}" if entry.teacher else "built in" * entry.built_in,
            _bytes(entry.disk),
            entry.languages,
            "" if entry.dim is None else str(entry.dim),
            _nesting(entry.nesting),
            "" if entry.parameters is None else f"{entry.parameters:g} M",
            entry.licence,
        )
        for entry in entries
    ]
    columns = ("model", "", "cached", "languages", "dims", "nesting", "parameters", "licence")
    print_records(columns, rows, screen, align="llrlrlrl")


def _show_hub(found: Sequence[HubModel], screen: Console) -> None:
    from nestling._util.console import print_records

    rows = [
        (
            model.name,
            "yes" if model.loads else "no",
            model.how,
            ("yes" if model.nested else "") if not model.nesting else _nesting(model.nesting),
            " ".join(model.languages[:3]) + (" …" if len(model.languages) > 3 else ""),
            f"{model.downloads:,}",
            model.licence,
        )
        for model in found
    ]
    columns = ("model", "loads", "how, or why not", "nested", "languages", "downloads", "licence")
    print_records(columns, rows, screen, align="lllllrl")


def _nesting(dims: Sequence[int]) -> str:
    return "/".join(map(str, reversed(dims)))


def _bytes(count: int) -> str:
    return f"{count / 1e6:,.0f} MB" if count else ""
