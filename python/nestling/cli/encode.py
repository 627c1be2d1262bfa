"""`nestling encode`: texts in, a .npy file of embeddings out."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from nestling.cli.options import (
    BatchSize,
    Force,
    IdField,
    Json,
    Model,
    Precision,
    TextField,
    Threads,
)

__all__ = ["encode"]


def encode(
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="Folder, .jsonl, .csv, .tsv, .parquet, .txt or .md file; - reads a text a line.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .npy file to write.")],
    model: Model = "minilm",
    precision: Precision = "int8",
    dim: Annotated[
        int | None,
        typer.Option(min=1, help="Keep this many dimensions.", show_default="the model's"),
    ] = None,
    queries: Annotated[
        bool, typer.Option("--queries", help="The texts are questions, not passages.")
    ] = False,
    text_field: TextField = "text",
    id_field: IdField = None,
    batch_size: BatchSize = 64,
    threads: Threads = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Encode texts as vectors: a .npy file of float32, a row a text, in their order."""
    import numpy as np

    from nestling._util.atomic import new_file, refuse_to_replace
    from nestling._util.console import console, print_json, tell
    from nestling.cli.building import open_encoder
    from nestling.corpus import Fields, read_documents, read_lines
    from nestling.errors import CorpusError

    if out.suffix != ".npy":
        raise typer.BadParameter("must end in .npy", param_hint="--out")
    refuse_to_replace(out, force=force, ours=lambda path: path.is_file())
    if source == "-":
        texts = list(read_lines(sys.stdin.buffer, "stdin"))
        if not texts:
            raise CorpusError("stdin: no text in it; expected one a line")
    else:
        fields = Fields(text=text_field, id=id_field)
        texts = [document.passage for document in read_documents(source, fields=fields)]
    encoder = open_encoder(model, precision=precision, threads=threads)
    started = time.perf_counter()
    work = encoder.encode_queries if queries else encoder.encode
    vectors = work(texts, batch_size=batch_size, dim=dim)
    seconds = time.perf_counter() - started
    with new_file(out) as path, path.open("wb") as stream:
        np.save(stream, vectors)
    if encoder.truncated:
        tell(f"{encoder.truncated:,} texts are longer than {encoder.name} reads and were cut.")
    if as_json:
        print_json(
            {
                "out": str(out),
                "model": encoder.name,
                "rows": vectors.shape[0],
                "dim": vectors.shape[1],
                "truncated": encoder.truncated,
                "seconds": round(seconds, 3),
            }
        )
    else:
        console().print(
            f"{out}: {vectors.shape[0]:,} rows of {vectors.shape[1]} dimensions by {encoder.name}, "
            f"{len(texts) / seconds:,.0f} texts/s",
            markup=False,
        )
