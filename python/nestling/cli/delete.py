"""`nestling delete`: removes documents from a collection, by id or by filter."""

from __future__ import annotations

from typing import Annotated

import typer

from nestling.cli.options import Folder, Json, WhereText, where_of

__all__ = ["delete"]


def delete(
    folder: Folder,
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID", help="Ids of documents to remove.")
    ] = None,
    where: WhereText = None,
    as_json: Json = False,
) -> None:
    """Remove documents by id, by filter, or, given both, those of the ids that match the filter.

    Example: nestling delete articles --where '{"year": {"$lt": 2000}}'
    """
    from nestling._util.console import console, print_json
    from nestling._util.counted import counted
    from nestling.cli.paths import open_collection

    condition = where_of(where)
    if not ids and condition is None:
        raise typer.BadParameter(
            "give ids, or --where JSON; --where '{}' for every document", param_hint="ID"
        )
    with open_collection(folder) as collection:
        removed = collection.delete(ids or None, where=condition)
        documents = len(collection)
    if as_json:
        print_json({"folder": str(folder), "removed": removed, "documents": documents})
    else:
        console().print(
            f"{folder}: {removed:,} removed; {counted(documents, 'document')} now", markup=False
        )
