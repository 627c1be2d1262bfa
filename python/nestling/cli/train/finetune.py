"""`nestling train finetune`: pairs in, an encoder whose prefixes are good embeddings out."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from nestling.cli.options import Force, Json, Model, Threads
from nestling.cli.train.common import Out, Restart, Seed, numbers, settings_in_range, show

__all__ = ["finetune"]


def finetune(
    pairs: Annotated[
        str,
        typer.Option(
            metavar="DATA",
            help="A .jsonl file of query, positive and perhaps negative or negatives; scored pairs "
            "as for eval --pairs; or a folder in the layout of BEIR.",
        ),
    ],
    out: Out,
    model: Model = "minilm",
    dims: Annotated[
        str | None,
        typer.Option(
            metavar="N,N…",
            help="Nesting lengths, the whole embedding among them.",
            show_default="that and its halves",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="X,X…", help="Of the loss of each.", show_default="1 each"),
    ] = None,
    epochs: Annotated[float, typer.Option(help="Times that every pair is seen.")] = 1.0,
    steps: Annotated[
        int | None, typer.Option(help="Batches to learn from.", show_default="by --epochs")
    ] = None,
    max_minutes: Annotated[
        float | None,
        typer.Option(help="Minutes of training; fewer steps are planned where they would not fit."),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Pairs of a batch.")] = 64,
    group_size: Annotated[
        int, typer.Option(help="Pairs of one group that stand together in a batch.")
    ] = 16,
    mini_batch: Annotated[
        int | None,
        typer.Option(help="Texts in memory at once.", show_default="those of a batch"),
    ] = None,
    lr: Annotated[float, typer.Option(help="The highest learning rate.")] = 5e-5,
    max_length: Annotated[
        int, typer.Option(help="Tokens of a text that are read in training.")
    ] = 128,
    blend: Annotated[
        float, typer.Option(help="Share of the learnt weights; the rest are the model's own.")
    ] = 0.5,
    seed: Seed = 0,
    holdout: Annotated[
        int | None,
        typer.Option(help="Pairs to measure with.", show_default="a tenth, at most 1,000"),
    ] = None,
    bf16: Annotated[
        bool, typer.Option("--bf16", help="Products in bfloat16: faster on newer CPUs and GPUs.")
    ] = False,
    checkpoint_minutes: Annotated[
        float, typer.Option(min=0, help="Between two checkpoints.")
    ] = 5.0,
    threads: Threads = None,
    force: Force = False,
    restart: Restart = False,
    as_json: Json = False,
) -> None:
    """Teach an encoder to put what matters into its first dimensions.

    A run that was killed goes on from its last checkpoint when the same command is given again.
    """
    from nestling.training import finetune as work

    lengths = None if dims is None else numbers(dims, int, "--dims")
    shares = None if weights is None else numbers(weights, float, "--weights")
    with settings_in_range():
        report = work(
            model,
            pairs,
            out,
            dims=lengths,
            weights=shares,
            epochs=epochs,
            steps=steps,
            max_minutes=max_minutes,
            batch_size=batch_size,
            group_size=group_size,
            mini_batch=mini_batch,
            lr=lr,
            max_length=max_length,
            blend=blend,
            bf16=bf16,
            seed=seed,
            holdout=holdout,
            threads=threads,
            checkpoint_minutes=checkpoint_minutes,
            force=force,
            restart=restart,
            on_log=None if sys.stderr.isatty() else _tell,
        )
    show(report, as_json=as_json)


def _tell(entry: Mapping[str, Any]) -> None:
    """Tells of the losses where no bar is shown."""
    from nestling._util.console import notify

    losses = ", ".join(f"{dims} {loss:.3f}" for dims, loss in entry["loss_by_dims"].items())
    notify(
        f"step {entry['step']:,} of {entry['steps']:,}, {entry['seconds'] / 60:.1f} min, "
        f"loss by dims: {losses}"
    )
