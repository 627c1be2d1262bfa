"""`nestling encode`: texts in, a .npy file of embeddings out."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from nestling.cli.command import command
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

__all__ = ["EncodeOptions", "encode"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeOptions:
    """The arguments and options of `nestling encode`."""

    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="A folder; a .jsonl, .csv, .tsv, .parquet, .txt or .md file; or - for one text "
            "per line of stdin.",
        ),
    ]
    out: Annotated[Path, typer.Option("--out", "-o", help="The .npy file to write.")]
    model: Model = "minilm"
    precision: Precision = "int8"
    dim: Annotated[
        int | None,
        typer.Option(
            min=1, help="Keep only the first so many dimensions.", show_default="the model's"
        ),
    ] = None
    queries: Annotated[
        bool, typer.Option("--queries", help="Encode the texts as questions, not as passages.")
    ] = False
    text_field: TextField = "text"
    id_field: IdField = None
    batch_size: BatchSize = 64
    threads: Threads = None
    force: Force = False
    as_json: Json = False


@command
def encode(options: EncodeOptions) -> None:
    """Encode texts: write a .npy file of float32 with one row per text, in their order.

    Example: nestling encode corpus.jsonl --out corpus.npy
    """
    import numpy as np

    from nestling._util.atomic import new_file, refuse_to_replace
    from nestling._util.console import console, print_json
    from nestling._util.counted import counted
    from nestling.cli.encoders import notify_truncated, open_encoder

    out = options.out
    if out.suffix != ".npy":
        raise typer.BadParameter("must end in .npy", param_hint="--out")
    refuse_to_replace(out, force=options.force, is_our_output=lambda path: path.is_file())
    texts = _read_texts(options)
    encoder = open_encoder(options.model, precision=options.precision, threads=options.threads)
    started = time.perf_counter()
    method = encoder.encode_queries if options.queries else encoder.encode
    vectors = method(texts, batch_size=options.batch_size, dim=options.dim)
    seconds = time.perf_counter() - started
    with new_file(out) as path, path.open("wb") as stream:
        np.save(stream, vectors)
    notify_truncated(encoder)
    if options.as_json:
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
            f"{out}: {counted(len(vectors), 'row')} of {vectors.shape[1]} dimensions by "
            f"{encoder.name}, {len(texts) / seconds:,.0f} texts/s",
            markup=False,
        )


def _read_texts(options: EncodeOptions) -> list[str]:
    from nestling.corpus import Fields, read_documents, read_lines
    from nestling.errors import CorpusError

    if options.source == "-":
        texts = list(read_lines(sys.stdin.buffer, "stdin"))
        if not texts:
            raise CorpusError("stdin: no text; expected one per line")
        return texts
    fields = Fields(text=options.text_field, id=options.id_field)
    return [document.passage for document in read_documents(options.source, fields=fields)]
