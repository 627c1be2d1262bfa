"""`nestling cluster build`: files in, a dataset of shards out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import typer

from nestling.cli.cluster.common import (
    Sources,
    StorageOptions,
    TaskMemory,
    TaskThreads,
    VectorField,
    print_build,
    storage_options_of,
)
from nestling.cli.command import command
from nestling.cli.options import (
    FunnelText,
    IdField,
    Json,
    MetadataFields,
    NewFields,
    Overlap,
    PassageSize,
    TextField,
    TitleWeight,
    fields_of,
    names_of,
    passages_of,
)

__all__ = ["BuildOptions", "build"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """The options of `nestling cluster build`."""

    source: Sources
    out: Annotated[
        str, typer.Option("--out", "-o", help="The dataset to make: a folder, or a URL.")
    ]
    shards: Annotated[int, typer.Option("--shards", "-s", min=1, help="Shards to make.")] = 8
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="The encoder: built-in name, model folder, or hub id.",
            metavar="NAME",
            show_default="none: vectors come with the records",
        ),
    ] = None
    metric: Annotated[
        Literal["cosine", "ip"], typer.Option(help="How embeddings are compared.")
    ] = "cosine"
    funnel: FunnelText = None
    passages: PassageSize = None
    overlap: Overlap = None
    title_weight: TitleWeight = None
    fields: NewFields = None
    text_field: TextField = "text"
    id_field: IdField = None
    metadata_fields: MetadataFields = None
    vector_field: VectorField = "vectors"
    rotate: Annotated[
        bool, typer.Option("--rotate", help="Learn a rotation that all shards share.")
    ] = False
    centre: Annotated[
        bool, typer.Option("--centre", help="Learn a centre that all shards share.")
    ] = False
    cells: Annotated[int, typer.Option(min=0, help="Cells of each shard; 0 for none.")] = 0
    routing: Annotated[
        Literal["rows", "cells"],
        typer.Option(
            help="Fill shards in the order of the source, or put documents that are near one "
            "another into the same shard, so that searches can leave shards out."
        ),
    ] = "rows"
    threads: TaskThreads = 1
    memory: TaskMemory = 0
    storage_options: StorageOptions = None
    as_json: Json = False


@command
def build(options: BuildOptions) -> None:
    """Build a dataset of shards on Ray; the same command resumes what was interrupted.

    Ray is that of RAY_ADDRESS, or this machine's.

    Example: nestling cluster build 's3://texts/*.parquet' --out s3://corpora/news --model minilm
    """
    from nestling import cluster

    settings = cluster.BuildSettings(
        metric=options.metric,
        funnel=options.funnel,
        passages=passages_of(options.passages, options.overlap),
        title_weight=options.title_weight or 1,
        fields=names_of(options.fields),
        record=fields_of(options.text_field, options.id_field, options.metadata_fields),
        vectors=options.vector_field,
        rotate=options.rotate,
        centre=options.centre,
        cells=options.cells or None,
        routing=options.routing,
        threads=options.threads,
        memory=options.memory,
    )
    result = cluster.build(
        options.source,
        options.out,
        encoder=options.model,
        shards=options.shards,
        settings=settings,
        storage_options=storage_options_of(options.storage_options),
    )
    print_build(options.out, result, as_json=options.as_json)
