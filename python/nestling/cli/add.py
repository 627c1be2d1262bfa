"""`nestling add`: a corpus into a collection, which is made where there is none."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from nestling.cli.options import (
    IdField,
    Json,
    MetadataFields,
    NewFields,
    Overlap,
    PassageSize,
    TextField,
    Threads,
    names_of,
    passages_of,
)

__all__ = ["add"]


def add(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The collection.")],
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="Folder of .txt and .md files; .jsonl, .csv, .tsv, .parquet; what `export` "
            "wrote; - for JSONL, or a text a line.",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            help="Built-in name, model folder, or hub id.",
            show_default="the collection's; minilm for a new one",
        ),
    ] = None,
    precision: Annotated[
        Literal["int8", "float32"] | None,
        typer.Option(help="Of the model's weights, for a new collection.", show_default="int8"),
    ] = None,
    create: Annotated[
        bool, typer.Option("--create/--no-create", help="Make the collection if absent.")
    ] = True,
    on_conflict: Annotated[
        Literal["replace", "skip", "error"],
        typer.Option(help="What to do where an id is there with other contents."),
    ] = "replace",
    text_field: TextField = "text",
    id_field: IdField = None,
    metadata_fields: MetadataFields = None,
    fields: NewFields = None,
    passages: PassageSize = None,
    overlap: Overlap = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Add documents to a collection; what is there already, unchanged, is not encoded again.

    What was committed stays when it is broken off, and the same command goes on from there.
    """
    from nestling._util.console import console, print_json
    from nestling.cli.adding import Corpus, add_corpus, added_as_json, collection_encoder
    from nestling.cli.opening import check_collection, is_former, open_collection
    from nestling.collection import TextEncoder, is_collection
    from nestling.corpus import Fields, read_documents

    split = passages_of(passages, overlap)
    encoder: str | TextEncoder | None = model
    if is_collection(folder):
        if precision is not None:
            raise typer.BadParameter("a collection keeps its own", param_hint="--precision")
    else:
        if is_former(folder) or not create:
            check_collection(folder)
        if source != "-":
            read_documents(source)  # says that it is not there before a collection is
        encoder = collection_encoder(model or "minilm", precision=precision, threads=threads)
    corpus = Corpus(
        source, Fields(text=text_field, id=id_field, metadata=names_of(metadata_fields))
    )
    started = time.perf_counter()
    with open_collection(
        folder,
        encoder,
        create=create,
        passages=split,
        fields=names_of(fields),
        threads=threads,
    ) as collection:
        done = add_corpus(collection, corpus, on_conflict=on_conflict)
        documents = len(collection)
    seconds = time.perf_counter() - started
    if as_json:
        print_json(
            {
                "folder": str(folder),
                "documents": documents,
                **added_as_json(done),
                "seconds": round(seconds, 3),
            }
        )
        return
    counts = [
        f"{count:,} {what}"
        for what in ("added", "replaced", "updated", "unchanged", "skipped")
        if (count := getattr(done, what))
    ]
    console().print(
        f"{folder}: {', '.join(counts)}, in {seconds:,.1f} s; {documents:,} documents now",
        markup=False,
    )
