"""Builds on a real cluster of Ray with several nodes, of which tasks, nodes and drivers are killed.

A build that was interrupted and run again must end with the same files as one that was not.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fsspec")
pytest.importorskip("ray")

from cluster_files import documents, write_jsonl
from ray.cluster_utils import Cluster

from nestling import cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

DRIVER = Path(__file__).with_name("build_driver.py")
SHARDS = 4
STEPS = (
    "get templates/",
    "read source.jsonl",
    "put collection.db",
    "put .nest",
    "put .words",
    "put digests/",
    "put rejected/",
    "write builds/",
    "read digests/",
    "write tombstones/",
)
BY_CELLS = ("put /rows/", "write /rows/", "read /rows/")  # steps of builds that are routed by cells


@dataclass
class World:
    nodes: Any
    source: Path
    routing: str
    whole: dict[str, bytes]

    def driver(self, out: Path, *steps: str) -> subprocess.Popen[str]:
        command = [
            sys.executable,
            DRIVER,
            self.nodes.address,
            self.source,
            out,
            str(SHARDS),
            self.routing,
            *steps,
        ]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finish(self, driver: subprocess.Popen[str]) -> str:
        printed, errors = driver.communicate(timeout=600)
        assert driver.returncode == 0, errors[-3000:]
        return printed


def contents(folder: Path) -> dict[str, bytes]:
    """Returns the files of a dataset by name, in which builds of other paths have another id."""
    found = {}
    manifest = cluster.Dataset.open(folder).manifest()
    (build,) = manifest.builds
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.startswith(("builds/", "manifests/")):
            # The rejected records name the source, which some tests read by another file system.
            content = path.read_bytes().replace(b'"killing://', b'"file://')
            found[name.replace(build, "BUILD")] = content
    found["manifest"] = repr(
        [
            (shard.first, shard.last, shard.rows, shard.tokens, [f.checksum for f in shard.files])
            for shard in manifest.shards
        ]
    ).encode()
    return found


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    nodes = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    try:
        for _ in range(2):
            nodes.add_node(num_cpus=1)
        nodes.wait_for_nodes()
        yield nodes
    finally:
        nodes.shutdown()


@pytest.fixture(scope="module", params=["rows", "cells"])
def world(
    nodes: Any, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> World:
    folder = tmp_path_factory.mktemp("builds")
    records: list[Any] = documents(400)
    records[7] = "not JSON"
    records[399] = {**records[399], "id": "d0"}
    source = write_jsonl(folder / "source.jsonl", records)
    world = World(nodes, source, request.param, {})
    world.finish(world.driver(folder / "whole"))
    world.whole = contents(folder / "whole")
    return world


def test_a_task_may_be_killed_at_each_of_its_steps(world: World, tmp_path: Path) -> None:
    steps = STEPS + (BY_CELLS if world.routing == "cells" else ())
    printed = world.finish(world.driver(tmp_path / "out", str(tmp_path / "once"), *steps))
    told = [line for line in printed.splitlines() if line.startswith(("killed", "survived"))]
    assert told == [f"killed {step}" for step in steps]
    for number, step in enumerate(steps):
        assert contents(tmp_path / "out" / str(number)) == world.whole, step


@pytest.mark.parametrize(
    "count", [3, pytest.param(50, marks=[pytest.mark.long, pytest.mark.timeout(7200)])]
)
def test_a_driver_may_be_killed_at_any_moment(world: World, tmp_path: Path, count: int) -> None:
    chance = random.Random(count)
    interrupted = resumed = 0
    for number in range(count):
        out = tmp_path / str(number)
        driver = world.driver(out)
        files = chance.randrange(len(world.whole) + SHARDS)  # with the markers
        while driver.poll() is None and sum(path.is_file() for path in out.rglob("*")) < files:
            time.sleep(0.002)
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
        interrupted += not (out / "manifests").exists()
        resumed += any(out.glob("builds/*/shards/*.json"))
        world.finish(world.driver(out))
        assert contents(out) == world.whole
    assert interrupted
    print(f"{interrupted} of {count} were interrupted, {resumed} had finished shards")


def test_a_node_may_be_killed(world: World, tmp_path: Path) -> None:
    driver = world.driver(tmp_path / "out")
    time.sleep(3)
    node = world.nodes.list_all_nodes()[-1]
    for process in node.all_processes["raylet"]:
        os.kill(process.process.pid, signal.SIGKILL)
    world.finish(driver)
    world.nodes.remove_node(node, allow_graceful=False)
    world.nodes.add_node(num_cpus=1)
    assert contents(tmp_path / "out") == world.whole
