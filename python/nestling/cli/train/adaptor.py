"""`nestling train adaptor`: texts in, the same encoder with nested prefixes out."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nestling.cli.command import command
from nestling.cli.options import Force, Json, Model, Precision, TextField, Threads, numbers_of
from nestling.cli.train.common import Out, Restart, Seed, print_report, read_texts

if TYPE_CHECKING:
    from nestling.training.adaptor.fit import Evaluation

__all__ = ["AdaptorOptions", "adaptor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptorOptions:
    """The options of `nestling train adaptor`."""

    texts: Annotated[
        list[str],
        typer.Option(
            metavar="FILE",
            help="Texts like those that will be searched: a folder; a .jsonl, .csv, .tsv, "
            ".parquet, .txt or .md file; or - for one text per line of stdin. May be repeated.",
        ),
    ]
    out: Out
    model: Model = "minilm"
    pairs: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA",
            help="Questions with answers: a .jsonl file of query, positive and optionally "
            "negatives, or a folder in the layout of BEIR.",
        ),
    ] = None
    dims: Annotated[
        str | None,
        typer.Option(
            metavar="N,N…",
            help="Prefix lengths.",
            show_default="384,256,128,64,48,32,16, as far as the embedding goes",
        ),
    ] = None
    precision: Precision = "int8"
    plain: Annotated[
        bool, typer.Option("--plain", help="Start from the model without its built-in adaptor.")
    ] = False
    steps: Annotated[
        int | None, typer.Option(min=1, help="Most steps.", show_default="300; 1500 with --pairs")
    ] = None
    text_weight: Annotated[
        float,
        typer.Option(min=0, help="Weight of the texts beside the pairs, whose weight is 1."),
    ] = 1.0
    seed: Seed = 0
    text_field: TextField = "text"
    threads: Threads = None
    force: Force = False
    restart: Restart = False
    as_json: Json = False


@command
def adaptor(options: AdaptorOptions) -> None:
    """Rotate an encoder's embeddings so that their first dimensions carry what matters.

    The encoder's weights stay as they are, and whole embeddings score as before. If the command is
    interrupted, the same command resumes from its last checkpoint.

    Example: nestling train adaptor --texts corpus.jsonl --out my-minilm
    """
    from nestling.cli.encoders import notify_truncated, open_encoder
    from nestling.cli.paths import usage_errors
    from nestling.training import AdaptorSettings, train_adaptor

    dims = [] if options.dims is None else numbers_of(options.dims, int, "--dims")
    with usage_errors():
        settings = AdaptorSettings(
            dims=dims, steps=options.steps, text_weight=options.text_weight, seed=options.seed
        )
    encoder = open_encoder(
        options.model,
        precision=options.precision,
        threads=options.threads,
        nested=not options.plain,
    )
    report = train_adaptor(
        encoder,
        read_texts(options.texts, options.text_field),
        options.out,
        settings,
        pairs=options.pairs,
        force=options.force,
        restart=options.restart,
        on_evaluation=None if sys.stderr.isatty() else _notify_losses,
    )
    notify_truncated(encoder)
    print_report(report, as_json=options.as_json)


def _notify_losses(evaluation: Evaluation) -> None:
    """Prints the losses where no bar is shown."""
    from nestling._util.console import notify

    losses = ", ".join(f"{dims} {loss:.3f}" for dims, loss in evaluation.by_dims.items())
    notify(f"step {evaluation.step:,}, held-out loss by dims: {losses}")
