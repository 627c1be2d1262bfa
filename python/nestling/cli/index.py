"""`nestling index`: a corpus in, a collection out; or vectors in, a .nest file out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from nestling.cli.options import (
    Force,
    FunnelText,
    IdField,
    Json,
    MetadataFields,
    Model,
    NewFields,
    Overlap,
    PassageSize,
    Precision,
    TextField,
    Threads,
    names_of,
    passages_of,
)

__all__ = ["index"]


def index(
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="Folder of .txt and .md files; .jsonl, .csv, .tsv, .parquet; what `export` "
            "wrote; - for JSONL, or a text a line; or .npy vectors.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="The folder to make; FILE.nest for bare .npy vectors."),
    ],
    model: Model = "minilm",
    precision: Precision = "int8",
    funnel: FunnelText = None,
    metric: Annotated[
        Literal["cosine", "ip"], typer.Option(help="How rows are scored.")
    ] = "cosine",
    tune: Annotated[
        float | None,
        typer.Option(min=0.01, max=1, help="Tune to this recall, as `nestling tune` does."),
    ] = None,
    text_field: TextField = "text",
    id_field: IdField = None,
    metadata_fields: MetadataFields = None,
    fields: NewFields = None,
    passages: PassageSize = None,
    overlap: Overlap = None,
    threads: Threads = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Make a collection of a corpus, whole or not at all; or a .nest file of vectors.

    `nestling add` makes one too, bit by bit, and goes on where it was broken off.
    """
    from nestling._util.atomic import new_folder, refuse_to_replace
    from nestling._util.console import console, print_json
    from nestling.cli.adding import Corpus, add_corpus, added_as_json, collection_encoder
    from nestling.cli.building import index_vectors, read_vectors
    from nestling.cli.opening import is_index, open_collection
    from nestling.corpus import Fields
    from nestling.index.funnel import Funnel

    bare = Path(source).suffix == ".npy"
    if bare != (out.suffix == ".nest"):
        raise typer.BadParameter(
            "vectors have no texts for a collection: name a .nest file"
            if bare
            else "a .nest file has no place for texts: name a folder",
            param_hint="--out",
        )
    split = passages_of(passages, overlap)
    if funnel is not None:
        Funnel.parse(funnel)  # before the encoding, which may take long
    refuse_to_replace(out, force=force, ours=is_index)
    started = time.perf_counter()
    if bare:
        rows = read_vectors(Path(source))
        index_vectors(rows, out, funnel=funnel, metric=metric, threads=threads, tune=tune)
        seconds = time.perf_counter() - started
        if as_json:
            print_json({"out": str(out), "rows": len(rows), "seconds": round(seconds, 3)})
        else:
            console().print(f"{out}: {len(rows):,} rows in {seconds:,.1f} s", markup=False)
        return
    corpus = Corpus(
        source, Fields(text=text_field, id=id_field, metadata=names_of(metadata_fields))
    )
    corpus.check()
    encoder = collection_encoder(model, precision=precision, threads=threads)
    with (
        new_folder(out) as folder,
        open_collection(
            folder,
            encoder,
            create=True,
            metric=metric,
            funnel=funnel,
            passages=split,
            fields=names_of(fields),
            threads=threads,
        ) as collection,
    ):
        done = add_corpus(collection, corpus)
        if tune is None:
            collection.compact()
        else:
            collection.tune(tune, verbose=False)
        documents = len(collection)
    seconds = time.perf_counter() - started
    if as_json:
        print_json(
            {
                "out": str(out),
                "documents": documents,
                **added_as_json(done),
                "model": encoder.name,
                "seconds": round(seconds, 3),
            }
        )
        return
    console().print(
        f"{out}: {documents:,} documents, {done.passages:,} passages by {encoder.name} in "
        f"{seconds:,.1f} s",
        markup=False,
    )
