"""`nestling train finetune`: pairs in, an encoder whose prefixes are good embeddings out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from nestling.cli.options import Force, Json, Model, Threads
from nestling.errors import NestlingError

__all__ = ["finetune"]

_Number = TypeVar("_Number", int, float)


def finetune(
    pairs: Annotated[
        str,
        typer.Option(
            metavar="DATA",
            help="A .jsonl file of query, positive and perhaps negative or negatives; scored pairs "
            "as for eval --pairs; or a folder in the layout of BEIR.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")],
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
    seed: Annotated[int, typer.Option(help="Of all that is random.")] = 0,
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
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew where there are checkpoints.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Teach an encoder to put what matters into its first dimensions.

    A run that was killed goes on from its last checkpoint when the same command is given again.
    """
    from nestling.cli.screen import console, print_json
    from nestling.training import finetune as work

    lengths = None if dims is None else _numbers(dims, int, "--dims")
    shares = None if weights is None else _numbers(weights, float, "--weights")
    try:
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
    except NestlingError:
        raise
    except ValueError as error:  # a setting out of its range
        raise typer.BadParameter(str(error)) from None
    if as_json:
        print_json(report.as_dict())
    else:
        console().print(str(report), markup=False)


def _numbers(text: str, kind: Callable[[str], _Number], option: str) -> list[_Number]:
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"{text!r}: expected numbers and commas", param_hint=option
        ) from None


def _tell(entry: Mapping[str, Any]) -> None:
    """Tells of the losses where no bar is shown."""
    from nestling.cli.screen import tell

    losses = ", ".join(f"{dims} {loss:.3f}" for dims, loss in entry["loss_by_dims"].items())
    tell(
        f"step {entry['step']:,} of {entry['steps']:,}, {entry['seconds'] / 60:.1f} min, "
        f"loss by dims: {losses}"
    )
