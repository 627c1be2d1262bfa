"""Datasets built on Ray: one task a shard, resumed where they were interrupted."""

from nestling.cluster.build.driver import BuildResult, append, build
from nestling.cluster.build.settings import BuildSettings

__all__ = ["BuildResult", "BuildSettings", "append", "build"]
