"""`nestling train`: the commands that train encoders."""

from __future__ import annotations

import typer

from nestling.cli.train.adaptor import adaptor
from nestling.cli.train.finetune import finetune

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train encoders whose prefixes are good embeddings.",
)
app.command()(adaptor)
app.command()(finetune)
