"""Beyond one machine: shards of a dataset, built and served on Ray. Needs `nestling[ray]`."""

from __future__ import annotations

from nestling.cluster.packages import missing_cluster_package

try:
    from nestling.cluster.build import BuildResult, BuildSettings, append, build
    from nestling.cluster.cache import LocalShard, ShardCache
    from nestling.cluster.cluster import Cluster, ClusterInfo, ClusterSettings
    from nestling.cluster.dataset import Dataset
    from nestling.cluster.upkeep import DatasetReport, check, compact, delete, prune
except ImportError as error:
    raise missing_cluster_package(error) from error

from nestling.cluster.hits import ClusterHits
from nestling.cluster.manifest import FileEntry, Manifest, ShardEntry

__all__ = [
    "BuildResult",
    "BuildSettings",
    "Cluster",
    "ClusterHits",
    "ClusterInfo",
    "ClusterSettings",
    "Dataset",
    "DatasetReport",
    "FileEntry",
    "LocalShard",
    "Manifest",
    "ShardCache",
    "ShardEntry",
    "append",
    "build",
    "check",
    "compact",
    "delete",
    "prune",
]
