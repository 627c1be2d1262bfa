"""A cluster of Ray with several nodes on this machine, and a dataset for it."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nestling import Collection

ray = pytest.importorskip("ray")
pytest.importorskip("fsspec")
from ray.cluster_utils import Cluster as RayCluster  # noqa: E402

from nestling.cluster import BuildSettings, build  # noqa: E402
from nestling.cluster.actors import CACHE_VARIABLE  # noqa: E402

DIM = 16
BUILD = BuildSettings(passages=None, fields=("year",))
NODE = {"num_cpus": 2, "object_store_memory": 80 * 2**20}
# A dead node is noticed after 3 s instead of 15.
SYSTEM = {
    "health_check_initial_delay_ms": 2000,
    "health_check_period_ms": 1000,
    "health_check_failure_threshold": 3,
}
_WORDS = [
    "bread",
    "river",
    "stone",
    "cloud",
    "whale",
    "forest",
    "letter",
    "music",
    "winter",
    "garden",
    "bridge",
    "market",
]


@dataclass
class Nodes:
    """The nodes of a cluster of Ray; its head has no CPUs, so that no replica is there.

    Attributes:
        cluster: The cluster.
        folder: Where each node has its cache of shards.
        nodes: The others than the head.
    """

    cluster: RayCluster
    folder: Path
    nodes: list[Any] = field(default_factory=list)

    def add(self, cache: Path | None = None) -> Any:
        """Starts a node."""
        folder = cache or self.folder / f"cache-{len(self.nodes)}"
        node = self.cluster.add_node(env_vars={CACHE_VARIABLE: str(folder)}, **NODE)
        self.nodes.append(node)
        return node

    def raylet(self, node: Any) -> int:
        """Returns the process id of a node's raylet."""
        (info,) = node.all_processes["raylet"]
        pid: int = info.process.pid
        return pid


@contextmanager
def ray_nodes(count: int) -> Iterator[Nodes]:
    """Starts Ray with some nodes, and connects this process to it."""
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    with tempfile.TemporaryDirectory(prefix="nestling-ray-") as folder:
        head = {"num_cpus": 0, "include_dashboard": False, "_system_config": SYSTEM}
        cluster = RayCluster(
            initialize_head=True,
            head_node_args=head | {"object_store_memory": 80 * 2**20},
        )
        try:
            nodes = Nodes(cluster, Path(folder))
            for _ in range(count):
                nodes.add()
            ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
            yield nodes
        finally:
            ray.shutdown()
            cluster.shutdown()
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


_ENVIRONMENT = {"RAY_DEDUP_LOGS": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


def documents(count: int, start: int = 0) -> Iterator[dict[str, Any]]:
    """Documents with a few words each and a vector; the same for the same numbers."""
    for number in range(start, start + count):
        rng = np.random.default_rng(number)
        words = [_WORDS[i] for i in rng.integers(0, len(_WORDS), rng.integers(3, 9))]
        yield {
            "id": f"d{number:05}",
            "text": " ".join(words),
            "metadata": {"year": 2000 + number % 20},
            "vectors": rng.standard_normal(DIM).astype(np.float32).tolist(),
        }


def queries(count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Query vectors."""
    return np.random.default_rng(99).standard_normal((count, DIM)).astype(np.float32)


def write_source(path: Path, count: int, start: int = 0) -> Path:
    """Writes documents as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for document in documents(count, start):
            file.write(json.dumps(document) + "\n")
    return path


def make_dataset(folder: Path, count: int, shards: int) -> Path:
    """Builds a dataset of documents on Ray."""
    source = write_source(folder / "source.jsonl", count)
    build(
        str(source),
        folder / "dataset",
        shards=shards,
        settings=BUILD,
        progress=False,
    )
    return folder / "dataset"


def one_machine(folder: Path, count: int) -> Collection:
    """A collection of the same documents."""
    made = Collection(folder / "one", dim=DIM, passages=None, fields=["year"])
    made.add(documents(count), progress=False)
    return made
