"""A cluster of two nodes, from a file to hits, and one kill: the short test, for CI."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from ray_world import make_dataset, one_machine, queries, ray_nodes

from nestling.cluster import Cluster, ClusterSettings

# However slow the machine is, only the replica that is killed is missed.
PATIENT = ClusterSettings(replicas=2, timeout_ms=300_000, hang_seconds=300)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_from_a_file_to_hits_that_a_kill_does_not_change(tmp_path: Path) -> None:
    with ray_nodes(2):
        dataset = make_dataset(tmp_path, 120, 4)
        with one_machine(tmp_path, 120) as one, Cluster.open(dataset, settings=PATIENT) as cluster:
            expected = one.search(queries(4))
            words = one.search("bread whale", mode="lexical")
            assert [hits.hits for hits in cluster.search(queries(4))] == [
                hits.hits for hits in expected
            ]
            assert cluster.search("bread whale", mode="lexical").hits == words.hits
            assert cluster.info().replicas == 4  # two shards share an actor
            victim = next(iter(cluster.replicas().values()))[0]
            os.kill(victim.process, signal.SIGKILL)
            ends = time.monotonic() + 3
            while time.monotonic() < ends:
                hits = cluster.search(queries(1)[0])
                assert (hits.coverage, hits.hits) == (1.0, expected[0].hits)
