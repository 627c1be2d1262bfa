"""`python -m nestling.bench cluster`: shards on Ray, measured and simulated."""

from nestling.bench.cluster.command import ClusterOptions, cluster
from nestling.bench.cluster.simulation import Load, Outcome, Scenario, simulate

__all__ = ["ClusterOptions", "Load", "Outcome", "Scenario", "cluster", "simulate"]
