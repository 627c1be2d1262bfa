"""`nestling cluster info`: what a dataset holds."""

from __future__ import annotations

from nestling.cli.cluster.common import (
    DatasetPath,
    StorageOptions,
    Version,
    manifest_as_json,
    manifest_line,
    storage_options_of,
)
from nestling.cli.options import Json

__all__ = ["info"]


def info(
    path: DatasetPath,
    version: Version = None,
    storage_options: StorageOptions = None,
    as_json: Json = False,
) -> None:
    """Show the versions and the shards of a dataset.

    Example: nestling cluster info s3://corpora/news
    """
    from nestling import cluster
    from nestling._util.console import console, print_json

    options = storage_options_of(storage_options)
    dataset = cluster.Dataset.open(path, storage_options=options)
    versions = dataset.versions()
    manifest = dataset.manifest(version)
    encoder = None if manifest.encoder is None else manifest.encoder.name
    if as_json:
        print_json(
            {
                "dataset": path,
                "versions": versions,
                **manifest_as_json(manifest),
                "dim": manifest.dim,
                "metric": manifest.metric,
                "funnel": manifest.funnel,
                "encoder": encoder,
                "shards": [
                    {
                        "name": shard.name,
                        "first": shard.first,
                        "rows": shard.rows,
                        "documents": shard.documents,
                        "removed_rows": shard.last - shard.first + 1 - shard.rows,
                        "bytes": shard.size,
                    }
                    for shard in manifest.shards
                ],
            }
        )
        return
    screen = console()
    screen.print(manifest_line(path, manifest), markup=False)
    screen.print(
        f"dim {manifest.dim}, metric {manifest.metric}, funnel {manifest.funnel}, encoder "
        f"{encoder or 'none'}, versions {versions[0]} to {versions[-1]}",
        markup=False,
    )
    for shard in manifest.shards:
        screen.print(
            f"  {shard.name}: rows {shard.first:,} to {shard.last:,}, {shard.rows:,} of them "
            f"living, {shard.size:,} bytes",
            markup=False,
        )
