"""`nestling keys`: the API keys of a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from nestling.cli.options import Json
from nestling.errors import ArgumentError

__all__ = ["add", "app", "list_keys", "remove"]

app = typer.Typer(no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})

KeyFile = Annotated[Path, typer.Argument(metavar="FILE", help="The file of API keys.")]


@app.command()
def add(
    file: KeyFile,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Who the key is for; the server's log shows it.")
    ],
    role: Annotated[
        Literal["read", "write", "admin"],
        typer.Option(help="What it allows; each allows what those before it do."),
    ] = "read",
    collections: Annotated[
        str,
        typer.Option(
            help="Names or patterns of collections, separated by commas.", metavar="NAMES"
        ),
    ] = "*",
) -> None:
    """Make a new key, store its digest, and print the key, which cannot be seen again.

    Example: nestling keys add keys.json search-page --role read --collections "articles,team-*"
    """
    from nestling.server.keys import new_key, read_keys, write_keys

    keys = read_keys(file) if file.exists() else {}
    if name in keys:
        raise ArgumentError(f"{file} has a key {name!r} already: remove it first")
    patterns = tuple(part.strip() for part in collections.split(",") if part.strip())
    key, record = new_key(name, role, patterns or ("*",))
    write_keys(file, {**keys, name: record})
    print(key)


@app.command("list")
def list_keys(file: KeyFile, as_json: Json = False) -> None:
    """List the keys' names, roles and collections.

    Example: nestling keys list keys.json
    """
    from nestling._util.console import console, print_json, print_table, table
    from nestling.server.keys import read_keys

    keys = read_keys(file)
    if as_json:
        print_json(
            [
                {"name": name, "role": key.role, "collections": key.collections}
                for name, key in keys.items()
            ]
        )
        return
    rows = [(name, key.role, ", ".join(key.collections)) for name, key in keys.items()]
    print_table(table(("name", "role", "collections"), rows, align="lll"), console())


@app.command()
def remove(
    file: KeyFile, name: Annotated[str, typer.Argument(metavar="NAME", help="Who the key was for.")]
) -> None:
    """Remove a key; a server refuses it from its next start on.

    Example: nestling keys remove keys.json search-page
    """
    from nestling.server.keys import read_keys, write_keys

    keys = read_keys(file)
    if name not in keys:
        raise ArgumentError(f"{file} has no key {name!r}")
    write_keys(file, {other: key for other, key in keys.items() if other != name})
