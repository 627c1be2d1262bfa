"""`nestling train query-encoder`: texts in, a small encoder of queries for a large one out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nestling.cli.command import command
from nestling.cli.options import Force, Json, Precision, TextField, Threads, numbers_of
from nestling.cli.train.common import Out, Restart, Seed, print_report, read_texts

if TYPE_CHECKING:
    from nestling.training import QueryEncoderReport, QueryEncoderSettings

__all__ = ["QueryEncoderOptions", "query_encoder"]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryEncoderOptions:
    """The options of `nestling train query-encoder`."""

    out: Out
    collection: Annotated[
        Path | None,
        typer.Option(
            "--collection",
            "-c",
            metavar="FOLDER",
            help="Learn from the passages of a collection, for its encoder.",
        ),
    ] = None
    texts: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Learn from texts like those that will be searched: a folder; a .jsonl, .csv, "
            ".tsv, .parquet, .txt or .md file; or - for one text per line of stdin. May be "
            "repeated.",
        ),
    ] = None
    queries: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE", help="Queries to learn from too, such as those of a log; likewise."
        ),
    ] = None
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="The encoder of the documents: built-in name, model folder, or hub id.",
            metavar="NAME",
            show_default="the collection's, else minilm",
        ),
    ] = None
    precision: Precision = "int8"
    dims: Annotated[
        str | None,
        typer.Option(
            metavar="N,N…",
            help="Prefix lengths at which it should agree, beside the whole embedding.",
            show_default="48,128",
        ),
    ] = None
    pieces: Annotated[int, typer.Option(min=1, help="Most pieces that the texts are cut into.")] = (
        30_000
    )
    pairs: Annotated[
        int, typer.Option(min=0, help="Most pairs of neighbouring tokens that have a row.")
    ] = 40_000
    grams: Annotated[
        int, typer.Option(min=0, help="Most runs of four letters inside words that have a row.")
    ] = 40_000
    epochs: Annotated[int, typer.Option(min=1, help="How often every piece is used.")] = 12
    seed: Seed = 0
    text_field: TextField = "text"
    threads: Threads = None
    force: Force = False
    restart: Restart = False
    as_json: Json = False


@command
def query_encoder(options: QueryEncoderOptions) -> None:
    """Train a small encoder that encodes queries in microseconds, in place of a large one.

    Documents keep their embeddings. If the command is interrupted, the same command resumes with
    what was encoded.

    Example: nestling train query-encoder --collection articles --out fast
    """
    from nestling.cli.paths import usage_errors
    from nestling.training import QueryEncoderSettings

    if (options.collection is None) == (not options.texts):
        raise typer.BadParameter("give either a collection or texts", param_hint="--collection")
    if options.collection is not None and options.model is not None:
        raise typer.BadParameter("a collection keeps its own encoder", param_hint="--model")
    dims = [] if options.dims is None else numbers_of(options.dims, int, "--dims")
    with usage_errors():
        settings = QueryEncoderSettings(
            dims=dims,
            pieces=options.pieces,
            pairs=options.pairs,
            grams=options.grams,
            epochs=options.epochs,
            seed=options.seed,
        )
        report = _train(options, settings)
    print_report(report, as_json=options.as_json)


def _train(options: QueryEncoderOptions, settings: QueryEncoderSettings) -> QueryEncoderReport:
    from nestling.cli.encoders import notify_truncated, open_encoder
    from nestling.cli.paths import open_collection
    from nestling.training import train_query_encoder

    queries = read_texts(options.queries or [], options.text_field)
    if options.collection is not None:
        with open_collection(
            options.collection, read_only=True, threads=options.threads
        ) as collection:
            return collection.train_query_encoder(
                options.out,
                settings,
                queries=queries,
                force=options.force,
                restart=options.restart,
            )
    encoder = open_encoder(
        options.model or "minilm", precision=options.precision, threads=options.threads
    )
    report = train_query_encoder(
        encoder,
        read_texts(options.texts or [], options.text_field),
        options.out,
        settings,
        queries=queries,
        force=options.force,
        restart=options.restart,
    )
    notify_truncated(encoder)
    return report
