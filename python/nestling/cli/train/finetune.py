"""`nestling train finetune`: pairs in, an encoder whose prefixes are good embeddings out."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from nestling.cli.command import command
from nestling.cli.options import Force, Json, Model, Threads, numbers_of
from nestling.cli.train.common import Out, Restart, Seed, print_report

__all__ = ["FineTuneOptions", "finetune"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuneOptions:
    """The options of `nestling train finetune`."""

    pairs: Annotated[
        str,
        typer.Option(
            metavar="DATA",
            help="A .jsonl file of query, positive and optionally negative or negatives; scored "
            "pairs as for eval --pairs; or a folder in the layout of BEIR.",
        ),
    ]
    out: Out
    model: Model = "minilm"
    dims: Annotated[
        str | None,
        typer.Option(
            metavar="N,N…",
            help="Nesting lengths, the whole embedding among them.",
            show_default="the whole embedding and its halves",
        ),
    ] = None
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="X,X…", help="Weight of the loss of each of --dims.", show_default="1 each"
        ),
    ] = None
    epochs: Annotated[float, typer.Option(help="How often every pair is used.")] = 1.0
    steps: Annotated[
        int | None, typer.Option(help="Batches to train on.", show_default="by --epochs")
    ] = None
    max_minutes: Annotated[
        float | None,
        typer.Option(
            help="Minutes of training; fewer steps are planned if they would take longer."
        ),
    ] = None
    batch_size: Annotated[int, typer.Option(help="Pairs of a batch.")] = 64
    group_size: Annotated[
        int, typer.Option(help="Pairs of one group that are put into the same batch.")
    ] = 16
    mini_batch: Annotated[
        int | None,
        typer.Option(
            help="Texts whose activations are in memory at once.", show_default="a whole batch"
        ),
    ] = None
    lr: Annotated[float, typer.Option(help="The highest learning rate.")] = 5e-5
    max_length: Annotated[int, typer.Option(help="Tokens of a text that are read in training.")] = (
        128
    )
    blend: Annotated[
        float,
        typer.Option(help="Share of the trained weights; the rest are the model's original ones."),
    ] = 0.5
    seed: Seed = 0
    holdout: Annotated[
        int | None,
        typer.Option(help="Pairs to evaluate with.", show_default="a tenth, at most 1,000"),
    ] = None
    bf16: Annotated[
        bool,
        typer.Option("--bf16", help="Compute products in bfloat16: faster on newer CPUs and GPUs."),
    ] = False
    checkpoint_minutes: Annotated[
        float, typer.Option(min=0, help="Minutes between two checkpoints.")
    ] = 5.0
    threads: Threads = None
    force: Force = False
    restart: Restart = False
    as_json: Json = False


@command
def finetune(options: FineTuneOptions) -> None:
    """Train an encoder to put what matters into its first dimensions.

    If the command is interrupted, the same command resumes from its last checkpoint.

    Example: nestling train finetune --pairs pairs.jsonl --out my-minilm --dims 384,128,32
    """
    from nestling.cli.paths import usage_errors
    from nestling.training import FineTuneSettings
    from nestling.training import finetune as train

    dims = [] if options.dims is None else numbers_of(options.dims, int, "--dims")
    weights = [] if options.weights is None else numbers_of(options.weights, float, "--weights")
    with usage_errors():
        settings = FineTuneSettings(
            dims=dims,
            weights=weights,
            epochs=options.epochs,
            steps=options.steps,
            max_minutes=options.max_minutes,
            batch_size=options.batch_size,
            group_size=options.group_size,
            mini_batch=options.mini_batch,
            lr=options.lr,
            max_length=options.max_length,
            blend=options.blend,
            bf16=options.bf16,
            seed=options.seed,
            holdout=options.holdout,
        )
        report = train(
            options.model,
            options.pairs,
            options.out,
            settings,
            threads=options.threads,
            checkpoint_minutes=options.checkpoint_minutes,
            force=options.force,
            restart=options.restart,
            on_log=None if sys.stderr.isatty() else _notify_losses,
        )
    print_report(report, as_json=options.as_json)


def _notify_losses(entry: Mapping[str, Any]) -> None:
    """Prints the losses where no bar is shown."""
    from nestling._util.console import notify

    losses = ", ".join(f"{dims} {loss:.3f}" for dims, loss in entry["loss_by_dims"].items())
    notify(
        f"step {entry['step']:,} of {entry['steps']:,}, {entry['seconds'] / 60:.1f} min, "
        f"loss by dims: {losses}"
    )
