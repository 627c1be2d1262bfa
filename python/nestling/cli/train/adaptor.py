"""`nestling train adaptor`: texts in, the encoder with nested prefixes out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nestling.cli.options import Force, Json, Model, Precision, TextField, Threads
from nestling.cli.train.common import Out, Restart, Seed, numbers, settings_in_range, show

if TYPE_CHECKING:
    from nestling.training.adaptor.fit import Look

__all__ = ["adaptor"]


def adaptor(
    texts: Annotated[
        list[str],
        typer.Option(
            metavar="FILE",
            help="Folder, .jsonl, .csv, .tsv, .parquet, .txt or .md file of texts like those that "
            "will be searched; - reads a text a line; may be repeated.",
        ),
    ],
    out: Out,
    model: Model = "minilm",
    pairs: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA",
            help="A .jsonl file of query, positive and perhaps negatives, or a folder in the "
            "layout of BEIR.",
        ),
    ] = None,
    dims: Annotated[
        str | None,
        typer.Option(
            metavar="N,N…",
            help="Prefix lengths.",
            show_default="384,256,128,64,48,32,16, as far as the embedding goes",
        ),
    ] = None,
    precision: Precision = "int8",
    plain: Annotated[
        bool, typer.Option("--plain", help="Begin from the model without its own adaptor.")
    ] = False,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Most steps.", show_default="300; 1500 with --pairs")
    ] = None,
    text_weight: Annotated[
        float, typer.Option(min=0, help="Of the texts beside the pairs, whose weight is 1.")
    ] = 1.0,
    seed: Seed = 0,
    text_field: TextField = "text",
    threads: Threads = None,
    force: Force = False,
    restart: Restart = False,
    as_json: Json = False,
) -> None:
    """Rotate an encoder's embeddings so that what matters comes in their first dimensions.

    The encoder stays as it is, and whole embeddings score as before. A run that was killed goes on
    from its last checkpoint when the same command is given again.
    """
    from nestling._util.console import notify
    from nestling.cli.encoders import open_encoder
    from nestling.training import train_adaptor

    settings: dict[str, Any] = {"text_weight": text_weight}
    if steps is not None:
        settings["steps"] = steps
    lengths = None if dims is None else numbers(dims, int, "--dims")
    encoder = open_encoder(model, precision=precision, threads=threads, nested=not plain)
    with settings_in_range():
        report = train_adaptor(
            encoder,
            _texts(texts, text_field),
            pairs,
            out=out,
            dims=lengths,
            seed=seed,
            force=force,
            restart=restart,
            on_look=None if sys.stderr.isatty() else _tell,
            **settings,
        )
    if encoder.truncated:
        notify(f"{encoder.truncated:,} texts are longer than {encoder.name} reads and were cut.")
    show(report, as_json=as_json)


def _texts(sources: list[str], text_field: str) -> list[str]:
    from nestling.corpus import Fields, read_documents, read_lines

    found: list[str] = []
    for source in sources:
        if source == "-":
            found += read_lines(sys.stdin.buffer, "stdin")
        else:
            documents = read_documents(source, fields=Fields(text=text_field))
            found += (document.passage for document in documents)
    return found


def _tell(look: Look) -> None:
    """Tells of the losses where no bar is shown."""
    from nestling._util.console import notify

    losses = ", ".join(f"{dims} {loss:.3f}" for dims, loss in look.by_dims.items())
    notify(f"step {look.step:,}, loss on what is held out by dims: {losses}")
