"""Clusters on a real cluster of Ray with three nodes: equal hits, and whatever can die dies."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from disks import small_file_system
from ray_world import (
    BUILD,
    Nodes,
    documents,
    make_dataset,
    one_machine,
    queries,
    ray_nodes,
    write_source,
)

from nestling import Collection, CoverageError
from nestling.cluster import append
from nestling.cluster.cluster import Cluster, ClusterSettings
from nestling.errors import ClosedError, ClusterError, FilterError, VectorError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

COUNT, SHARDS = 400, 3
SETTINGS = ClusterSettings(hang_seconds=3, timeout_ms=10_000)
RECOVERY = 60.0  # seconds; test_cluster_kills.py has the bar, for a machine that does nothing else


@dataclass
class World:
    nodes: Nodes
    folder: Path
    dataset: Path
    one: Collection


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("cluster")
    with ray_nodes(3) as nodes:
        dataset = make_dataset(folder, COUNT, SHARDS)
        with one_machine(folder, COUNT) as one:
            yield World(nodes, folder, dataset, one)


@pytest.fixture(scope="module")
def cluster(world: World) -> Iterator[Cluster]:
    with Cluster.open(world.dataset, settings=SETTINGS) as opened:
        yield opened


def wait_for(condition: Callable[[], bool], seconds: float) -> float:
    """Waits until a condition holds; returns how long that took."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, f"not within {seconds} s"
        time.sleep(0.1)
    return time.monotonic() - start


def all_ready(cluster: Cluster) -> bool:
    info = cluster.info()
    return info.ready == info.replicas


def same(found: Any, expected: Any) -> None:
    assert (found.ids, found.scores) == (expected.ids, expected.scores)
    assert found.hits == expected.hits


@pytest.fixture
def ready(cluster: Cluster) -> Cluster:
    wait_for(lambda: all_ready(cluster), RECOVERY)
    return cluster


def test_replicas_of_a_shard_are_on_different_nodes(ready: Cluster) -> None:
    for replicas in ready.replicas().values():
        assert len({replica.node for replica in replicas}) == 2
    assert (len(ready), ready.info().passages) == (COUNT, COUNT)
    assert f"{SHARDS} shards" in repr(ready)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"include": ()},
        {"include": ("text", "vector", "document"), "k": 25},
        {"where": {"year": {"$gte": 2010}}},
        {"mode": "lexical", "include": ("text", "highlight", "snippet")},
        {"mode": "lexical", "fuzzy": True},
        {"mode": "lexical", "prefix": True},
        {"mode": "hybrid", "where": {"year": 2003}},
        {"mode": "hybrid", "fusion": "rrf", "weight": 0.3},
    ],
    ids=str,
)
def test_hits_are_those_of_one_machine(
    ready: Cluster, world: World, options: dict[str, Any]
) -> None:
    vectors = queries(8)
    if options.get("mode", "dense") == "dense":
        for found, expected in zip(
            ready.search(vectors, **options), world.one.search(vectors, **options), strict=True
        ):
            same(found, expected)
            assert (found.coverage, found.late) == (1.0, ())
        return
    for text in ("bread river", "bread whale", "win"):
        given = options | ({"vectors": vectors[0]} if options["mode"] == "hybrid" else {})
        same(ready.search(text, **given), world.one.search(text, **given))


def test_what_is_wrong_with_a_query_is_raised(ready: Cluster) -> None:
    with pytest.raises(FilterError):
        ready.search(queries(1), where={"year": {"$near": 1}})
    with pytest.raises(VectorError):
        ready.search(np.ones(3))
    with pytest.raises(VectorError, match="no encoder"):
        ready.search("a text")


async def test_searches_are_awaited(ready: Cluster, world: World) -> None:
    found = await asyncio.gather(*(ready.asearch(vector, k=5) for vector in queries(6)))
    for one, vector in zip(found, queries(6), strict=True):
        same(one, world.one.search(vector, k=5))


class Load:
    """Clients that search all the time, and compare every hit."""

    def __init__(self, cluster: Cluster, accept: list[list[Any]], **options: Any) -> None:
        self._cluster = cluster
        self._accept = accept  # for each query, the answers that are right
        self._options = options
        self._stop = threading.Event()
        self.answers = 0
        self.partial = 0
        self.slowest = 0.0
        self.wrong: list[Any] = []
        self._pool = ThreadPoolExecutor(2)

    def __enter__(self) -> Load:
        self._running = [self._pool.submit(self._run, number) for number in range(2)]
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for each in self._running:
            each.result()
        self._pool.shutdown()
        assert self.answers
        assert not self.wrong

    def _run(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        vectors = queries(len(self._accept))
        while not self._stop.is_set():
            number = int(rng.integers(len(vectors)))
            time.sleep(0.01)
            start = time.monotonic()
            hits = self._cluster.search(vectors[number], **self._options)
            self.slowest = max(self.slowest, time.monotonic() - start)
            self.answers += 1
            if hits.coverage < 1:
                self.partial += 1
            elif not any(
                hits.ids == right.ids and hits.scores == right.scores
                for right in self._accept[number]
            ):
                self.wrong.append((number, hits.ids))


def right(*collections: Collection) -> list[list[Any]]:
    vectors = queries(8)
    return [[one.search(vector) for one in collections] for vector in vectors]


def test_an_actor_is_killed(ready: Cluster, world: World) -> None:
    victim = next(iter(ready.replicas().values()))[0]
    with Load(ready, right(world.one)) as load:
        time.sleep(0.5)
        os.kill(victim.process, signal.SIGKILL)
        wait_for(lambda: not all_ready(ready), 10)
        wait_for(lambda: all_ready(ready), RECOVERY)
    assert load.partial == 0


def test_a_raylet_is_killed(ready: Cluster, world: World) -> None:
    victim = world.nodes.nodes[0]
    with Load(ready, right(world.one)) as load:
        time.sleep(0.5)
        os.kill(world.nodes.raylet(victim), signal.SIGKILL)
        wait_for(lambda: not all_ready(ready), 30)
        wait_for(lambda: all_ready(ready), RECOVERY)
    world.nodes.cluster.remove_node(victim)
    world.nodes.nodes.remove(victim)
    assert load.partial == 0
    for replicas in ready.replicas().values():
        assert len({replica.node for replica in replicas}) == 2
    world.nodes.add()


def test_a_replica_hangs(ready: Cluster, world: World) -> None:
    victim = next(iter(ready.replicas().values()))[1]
    with Load(ready, right(world.one)) as load:
        time.sleep(0.5)
        os.kill(victim.process, signal.SIGSTOP)
        wait_for(lambda: not all_ready(ready), 20)
        wait_for(lambda: all_ready(ready), RECOVERY)
    assert load.partial == 0
    assert load.slowest < 5
    assert not Path(f"/proc/{victim.process}").exists()


def test_a_whole_shard_hangs(ready: Cluster, world: World) -> None:
    name, victims = next(iter(ready.replicas().items()))
    for victim in victims:
        os.kill(victim.process, signal.SIGSTOP)
    start = time.monotonic()
    hits = ready.search(queries(1)[0], deadline_ms=600)
    assert time.monotonic() - start < 1.0
    rows = {entry.name: entry.rows for entry in ready.manifest.shards}
    assert hits.late == (name,)
    assert hits.coverage == 1 - rows[name] / COUNT
    with pytest.raises(CoverageError, match=r"min_coverage is 0\.9") as raised:
        ready.search(queries(1)[0], deadline_ms=300, min_coverage=0.9)
    assert raised.value.late == (name,)
    wait_for(lambda: not all_ready(ready), 20)
    wait_for(lambda: all_ready(ready), RECOVERY)
    same(ready.search(queries(1)[0]), world.one.search(queries(1)[0]))


def test_a_corrupted_file_of_a_node_is_found_and_not_answered_from(
    ready: Cluster, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    name, (victim, _) = next(iter(ready.replicas().items()))
    files = [file for file in ready.manifest.shard(name).files if file.name.endswith(".nest")]
    damaged = 0
    for path in world.nodes.folder.rglob("*.nest"):
        if path.stat().st_size == files[0].bytes and path.name == Path(files[0].name).name:
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.unlink()  # which does not change what is mapped
            path.write_bytes(data)
            damaged += 1
    assert damaged
    with (
        caplog.at_level(logging.WARNING, "nestling.cluster"),
        Load(ready, right(world.one)) as load,
    ):
        os.kill(victim.process, signal.SIGKILL)
        wait_for(lambda: not all_ready(ready), 20)
        wait_for(lambda: all_ready(ready), RECOVERY)
    assert load.partial == 0
    assert "corrupted" in caplog.text


def test_a_full_disk_on_one_node(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with small_file_system(world.folder / "tiny", "16k") as tiny:
        full = world.nodes.add(tiny)
        try:
            with (
                caplog.at_level(logging.WARNING, "nestling.cluster"),
                Cluster.open(world.dataset, replicas=4, settings=SETTINGS) as cluster,
            ):
                replicas = [each for many in cluster.replicas().values() for each in many]
                serving = {replica.node for replica in replicas if replica.ready}
                assert full.node_id not in serving
                same(cluster.search(queries(1)[0]), world.one.search(queries(1)[0]))
            assert "room" in caplog.text or "No space" in caplog.text
        finally:
            world.nodes.cluster.remove_node(full)
            world.nodes.nodes.remove(full)


def test_a_shard_that_is_corrupted_in_the_storage_cannot_be_opened(world: World) -> None:
    copy = world.folder / "damaged"
    shutil.copytree(world.dataset, copy)
    path = next((copy / "shards").rglob("*.nest"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    settings = ClusterSettings(replicas=2, cache=str(world.folder / "empty"))
    with pytest.raises(ClusterError, match=r"corrupted|checksum"):
        Cluster.open(copy, settings=settings)


def test_versions_are_swapped_under_load(world: World) -> None:
    dataset = world.folder / "growing"
    shutil.copytree(world.dataset, dataset)
    more = write_source(world.folder / "more.jsonl", 100, start=COUNT)
    settings = ClusterSettings(hang_seconds=3, timeout_ms=3_000, watch_seconds=0.5)
    with Collection(world.folder / "grown", dim=16, passages=None, fields=["year"]) as grown:
        grown.add(documents(COUNT + 100), progress=False)
        with Cluster.open(dataset, settings=settings) as cluster:
            before = {name: {r.id for r in many} for name, many in cluster.replicas().items()}
            with Load(cluster, right(world.one, grown)) as load:
                append(dataset, str(more), settings=BUILD, progress=False)
                wait_for(lambda: cluster.version == 2, 90)
                time.sleep(4)  # the old version is closed meanwhile
            assert load.partial == 0
            assert len(cluster) == COUNT + 100
            after = {name: {r.id for r in many} for name, many in cluster.replicas().items()}
            assert before.items() <= after.items()
            same(cluster.search(queries(1)[0]), grown.search(queries(1)[0]))
            assert cluster.refresh() == 2


DRIVER = """
import sys, time, ray, logging
from nestling.cluster.cluster import Cluster
ray.init(address=sys.argv[1], log_to_driver=False, logging_level=logging.ERROR)
cluster = Cluster.open(sys.argv[2])
print(" ".join(str(r.process) for many in cluster.replicas().values() for r in many), flush=True)
time.sleep(600)
"""


def test_the_driver_is_killed(world: World) -> None:
    """Its replicas end with it, and the next driver opens the dataset as if nothing had been."""
    command = [sys.executable, "-c", DRIVER, world.nodes.cluster.address, str(world.dataset)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        processes = [int(word) for word in driver.stdout.readline().split()]
        driver.kill()
    assert len(processes) == 2 * SHARDS
    wait_for(lambda: not any(Path(f"/proc/{each}").exists() for each in processes), 60)
    with Cluster.open(world.dataset, settings=SETTINGS) as cluster:
        same(cluster.search(queries(1)[0]), world.one.search(queries(1)[0]))


def test_a_closed_cluster_says_so(world: World) -> None:
    cluster = Cluster.open(world.dataset, replicas=1, settings=SETTINGS)
    cluster.close()
    cluster.close()
    with pytest.raises(ClosedError, match="the cluster is closed"):
        cluster.search(queries(1)[0])
    assert "closed" in repr(cluster)
