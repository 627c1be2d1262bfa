"""`nestling cluster`: the commands for datasets of shards, built and searched on Ray."""

from __future__ import annotations

import typer

from nestling.cli.cluster.append import append
from nestling.cli.cluster.build import build
from nestling.cli.cluster.check import check
from nestling.cli.cluster.compact import compact
from nestling.cli.cluster.delete import delete
from nestling.cli.cluster.info import info
from nestling.cli.cluster.search import search

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Build, keep and search datasets of shards, beyond one machine. Needs the extra ray.",
)
for _command in (build, append, search, delete, compact, check, info):
    app.command()(_command)
