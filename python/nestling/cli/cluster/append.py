"""`nestling cluster append`: files in, new shards of a dataset out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from nestling.cli.cluster.common import (
    DatasetPath,
    Sources,
    StorageOptions,
    TaskMemory,
    TaskThreads,
    VectorField,
    print_build,
    storage_options_of,
)
from nestling.cli.command import command
from nestling.cli.options import IdField, Json, MetadataFields, TextField, fields_of

__all__ = ["AppendOptions", "append"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendOptions:
    """The options of `nestling cluster append`."""

    path: DatasetPath
    source: Sources
    shards: Annotated[int, typer.Option("--shards", "-s", min=1, help="New shards.")] = 1
    text_field: TextField = "text"
    id_field: IdField = None
    metadata_fields: MetadataFields = None
    vector_field: VectorField = "vectors"
    threads: TaskThreads = 1
    memory: TaskMemory = 0
    storage_options: StorageOptions = None
    as_json: Json = False


@command
def append(options: AppendOptions) -> None:
    """Add new shards to a dataset on Ray; documents whose ids it has are left out.

    Example: nestling cluster append s3://corpora/news today.jsonl
    """
    from nestling import cluster

    settings = cluster.BuildSettings(
        record=fields_of(options.text_field, options.id_field, options.metadata_fields),
        vectors=options.vector_field,
        threads=options.threads,
        memory=options.memory,
    )
    result = cluster.append(
        options.path,
        options.source,
        shards=options.shards,
        settings=settings,
        storage_options=storage_options_of(options.storage_options),
    )
    print_build(options.path, result, as_json=options.as_json)
