"""`nestling cluster search`: questions in, the best documents of all shards out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nestling.cli.cluster.common import DatasetPath, StorageOptions, Version, storage_options_of
from nestling.cli.command import command
from nestling.cli.options import where_of
from nestling.cli.search import (
    QueryOptions,
    check_query,
    keywords_of,
    queries_of,
    search_documents,
)

if TYPE_CHECKING:
    from nestling.cluster import ClusterHits

__all__ = ["ClusterSearchOptions", "search"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSearchOptions(QueryOptions):
    """The arguments and options of `nestling cluster search`."""

    path: DatasetPath
    replicas: Annotated[int, typer.Option(min=1, help="Actors for each shard.")] = 1
    version: Version = None
    deadline_ms: Annotated[
        float | None,
        typer.Option(
            help="After so many milliseconds, show what was found so far.", show_default="30,000"
        ),
    ] = None
    min_coverage: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Fail if less than this share of the rows was searched in time."
        ),
    ] = None
    shard_probes: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Of a dataset that was built with --routing cells: search only the shards of the "
            "so many nearest centroids.",
            show_default="all shards",
        ),
    ] = None
    storage_options: StorageOptions = None


@command
def search(options: ClusterSearchOptions) -> None:
    """Find the documents that answer a question, in the shards of a dataset.

    Starts the replicas of the shards on the cluster that RAY_ADDRESS names, or on this machine,
    and ends them again. What serves for longer is nestling serve --ray.

    Example: nestling cluster search s3://corpora/wikipedia "how do whales sing?" -k 3
    """
    from nestling._util.console import print_json
    from nestling.cli.results import documents_as_json, show_documents
    from nestling.cluster import Cluster

    check_query(options)
    where = where_of(options.where)
    keywords: dict[str, Any] = {
        **keywords_of(options),
        "deadline_ms": options.deadline_ms,
        "min_coverage": options.min_coverage,
        "shard_probes": options.shard_probes,
    }
    with Cluster.open(
        options.path,
        options.replicas,
        version=options.version,
        query_encoder=options.query_encoder,
        storage_options=storage_options_of(options.storage_options),
    ) as cluster:
        if cluster.manifest.kind == "index":
            keywords["include"] = ()
        for number, (name, query) in enumerate(queries_of(options)):
            hits = search_documents(
                cluster.search, query, options.k, where, options.funnel, **keywords
            )
            if options.as_json:
                reached = {"coverage": hits.coverage, "late": hits.late, "shards": hits.shards}
                print_json(documents_as_json(name, options.mode, hits) | reached)
            else:
                show_documents(name, hits, first=number == 0)
                _show_coverage(hits)


def _show_coverage(hits: ClusterHits) -> None:
    from nestling._util.console import notify

    late = f"; without an answer: {', '.join(hits.late)}" if hits.late else ""
    shards = "1 shard was" if hits.shards == 1 else f"{hits.shards:,} shards were"
    notify(f"{hits.coverage:.1%} of the passages of {shards} searched{late}.")
