"""`nestling train`: the commands that train encoders."""

from __future__ import annotations

import typer

from nestling.cli.train.adaptor import adaptor
from nestling.cli.train.finetune import finetune
from nestling.cli.train.query_encoder import query_encoder

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train encoders whose prefixes are good embeddings, and small ones for queries.",
)
app.command()(adaptor)
app.command()(finetune)
app.command()(query_encoder)
