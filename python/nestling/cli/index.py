"""`nestling index`: a corpus or vectors in, a folder to search out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from nestling.cli.options import (
    BatchSize,
    Force,
    FunnelText,
    IdField,
    Json,
    Model,
    Precision,
    TextField,
    Threads,
)

__all__ = ["index"]


def index(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="Folder of .txt and .md files; .jsonl, .csv, .tsv, .parquet; or .npy vectors.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="The folder to write; FILE.nest for bare .npy vectors."),
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
    batch_size: BatchSize = 64,
    threads: Threads = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Index a corpus, with its texts beside it, or a file of vectors."""
    from nestling.atomic import refuse_to_replace
    from nestling.cli.building import index_documents, index_vectors, open_encoder, read_vectors
    from nestling.cli.folder import is_index
    from nestling.cli.screen import console, print_json
    from nestling.corpus import Fields, read_documents
    from nestling.funnel import Funnel

    bare = source.suffix == ".npy"
    if out.suffix == ".nest" and not bare:
        raise typer.BadParameter(
            "a .nest file has no place for texts: name a folder", param_hint="--out"
        )
    if funnel is not None:
        Funnel.parse(funnel)  # before the encoding, which may take long
    refuse_to_replace(out, force=force, ours=is_index)
    started = time.perf_counter()
    if bare:
        corpus = index_vectors(
            read_vectors(source), out, funnel=funnel, metric=metric, threads=threads, tune=tune
        )
    else:
        documents = read_documents(source, fields=Fields(text=text_field, id=id_field))
        corpus = index_documents(
            documents,
            out,
            encoder=open_encoder(model, precision=precision, threads=threads),
            name=_lasting_name(model),
            funnel=funnel,
            metric=metric,
            batch_size=batch_size,
            threads=threads,
            tune=tune,
        )
    seconds = time.perf_counter() - started
    if as_json:
        print_json(
            {
                "out": str(out),
                "rows": corpus.rows,
                "model": corpus.encoder,
                "truncated": corpus.truncated,
                "seconds": round(seconds, 3),
            }
        )
        return
    by = "" if corpus.encoder is None else f" by {corpus.encoder}"
    console().print(f"{out}: {corpus.rows:,} rows{by} in {seconds:,.1f} s", markup=False)
    if corpus.truncated:
        console().print(
            f"{corpus.truncated:,} documents are longer than the encoder reads: "
            "they are found by their start only",
            markup=False,
        )


def _lasting_name(model: str) -> str:
    """Returns the name by which the model is found again from another folder."""
    from nestling.models import BUILT_IN

    path = Path(model).expanduser()
    return str(path.resolve()) if model not in BUILT_IN and path.is_dir() else model
