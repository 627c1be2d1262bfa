"""Clients search while actors and nodes of Ray are killed at random: nothing wrong, nothing late.

`NESTLING_KILLS` and `NESTLING_KILL_SECONDS` say how many kills there are (100), and how long it
takes at least (300); `NESTLING_KILL_SEED` chooses other moments and victims. A kill is of any
process whose loss leaves every shard one replica: two bear the loss of one, not of both at once.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray_world import Nodes, make_dataset, one_machine, queries, ray_nodes

from nestling import Collection
from nestling.cluster import Cluster, ClusterSettings

KILLS = int(os.environ.get("NESTLING_KILLS", "100"))
SECONDS = float(os.environ.get("NESTLING_KILL_SECONDS", "300"))
SEED = int(os.environ.get("NESTLING_KILL_SEED", "0"))

CLIENTS, COUNT, SHARDS, NODES = 8, 1_000, 4, 3
QUERIES, K = 32, 10
DEADLINE = 5.0
SLACK = 0.5  # seconds after the deadline, for what is not waiting
RECOVERY = 15.0  # seconds after a kill
RAYLETS = 0.15  # share of the kills that are of a whole node
TEXTS = ("bread river", "whale music winter", "garden", "bridge letter")

pytestmark = [pytest.mark.long, pytest.mark.timeout(max(900, int(6 * SECONDS)))]


@dataclass
class Report:
    """What the clients saw."""

    answers: int = 0
    partial: list[float] = field(default_factory=list)
    wrong: list[Any] = field(default_factory=list)
    slowest: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Truth:
    """What one machine answers, of all rows and of some of the shards."""

    def __init__(self, one: Collection, cluster: Cluster) -> None:
        self.vectors = queries(QUERIES)
        ranked = one.search(self.vectors, k=COUNT, include=())
        self._rankings = [list(zip(hits.ids, hits.scores, strict=True)) for hits in ranked]
        self._words = {text: one.search(text, k=K, mode="lexical") for text in TEXTS}
        self._both = {
            text: one.search(text, k=K, mode="hybrid", vectors=self.vectors[0]) for text in TEXTS
        }
        self._shards: list[
            str
        ] = []  # of each document, which are stored in the order of the source
        for entry in cluster.manifest.shards:
            self._shards += [entry.name] * entry.rows
        self._rows = {entry.name: entry.rows for entry in cluster.manifest.shards}

    def shard_of(self, id: str) -> str:
        return self._shards[int(id[1:])]

    def wrong(self, number: int, kind: str, hits: Any) -> str | None:
        """Returns what is wrong with an answer; None if nothing is."""
        late = set(hits.late)
        coverage = 1 - sum(self._rows[name] for name in late) / COUNT
        if abs(hits.coverage - coverage) > 1e-9:
            return f"coverage {hits.coverage}, but {late} were late"
        if kind == "dense":
            ranking = self._rankings[number]
            right = [pair for pair in ranking if self.shard_of(pair[0]) not in late][:K]
            if list(zip(hits.ids, hits.scores, strict=True)) != right:
                return f"hits {hits.ids}, not {right}, without {late}"
            return None
        if any(self.shard_of(id) in late for id in hits.ids):
            return f"a hit of a shard that was late: {late}"
        text = TEXTS[number % len(TEXTS)]
        if not late and hits.hits != (self._words if kind == "lexical" else self._both)[text].hits:
            return f"{kind} hits {hits.ids}"
        return None


def client(
    seed: int, cluster: Cluster, truth: Truth, report: Report, stop: threading.Event
) -> None:
    rng = random.Random(seed)
    while not stop.is_set():
        number = rng.randrange(QUERIES)
        kind = rng.choice(["dense", "dense", "dense", "lexical", "hybrid"])
        text = TEXTS[number % len(TEXTS)]
        start = time.monotonic()
        options = {"k": K, "deadline_ms": DEADLINE * 1000}
        if kind == "dense":
            hits = cluster.search(truth.vectors[number], **options)
        elif kind == "lexical":
            hits = cluster.search(text, mode="lexical", **options)
        else:
            hits = cluster.search(text, mode="hybrid", vectors=truth.vectors[0], **options)
        ended = time.monotonic()
        problem = truth.wrong(number, kind, hits)
        with report.lock:
            report.answers += 1
            report.slowest = max(report.slowest, ended - start)
            if hits.coverage < 1:
                report.partial.append(ended)
            if problem is not None:
                report.wrong.append(problem)


class Killer:
    """Kills processes at random moments."""

    def __init__(self, nodes: Nodes, cluster: Cluster) -> None:
        self._nodes = nodes
        self._cluster = cluster
        self._rng = random.Random(SEED)
        self._repairs = ThreadPoolExecutor(1)  # of nodes
        self.kills: list[float] = []
        self.raylets = 0
        self.recoveries: list[float] = []
        self._down: dict[
            tuple[str, int], tuple[float, int | None]
        ] = {}  # since when, which process

    def run(self) -> None:
        start = time.monotonic()
        due = start
        while len(self.kills) < KILLS or time.monotonic() < start + SECONDS:
            self._watch()
            if len(self.kills) < KILLS and time.monotonic() >= due and self._kill():
                due += self._rng.uniform(0.2, 1.8) * SECONDS / KILLS
                due = max(due, time.monotonic())
            time.sleep(0.05)
        ends = time.monotonic() + RECOVERY
        while self._down and time.monotonic() < ends:
            self._watch()
            time.sleep(0.05)
        self._repairs.shutdown()

    def _watch(self) -> None:
        now = time.monotonic()
        replicas = self._cluster.replicas()
        for (name, place), (since, process) in list(self._down.items()):
            replica = replicas[name][place]
            if replica.ready and replica.process != process:
                del self._down[name, place]
                self.recoveries.append(now - since)

    def _kill(self) -> bool:
        ready = {
            name: [
                (place, each)
                for place, each in enumerate(many)
                if each.ready and (name, place) not in self._down
            ]
            for name, many in self._cluster.replicas().items()
        }
        if self._rng.random() < RAYLETS and len(self._nodes.nodes) >= NODES:
            node = self._rng.choice(self._nodes.nodes)
            lost = {
                (name, place): each.process
                for name, many in ready.items()
                for place, each in many
                if each.node == node.node_id
            }
            if all(any((name, p) not in lost for p, _ in many) for name, many in ready.items()):
                self._nodes.nodes.remove(node)
                os.kill(self._nodes.raylet(node), signal.SIGKILL)
                self.raylets += 1
                self._repairs.submit(self._replace, node)
                self._note(lost)
                return True
        choices = [each for many in ready.values() if len(many) > 1 for _, each in many]
        if not choices:
            return False
        replica = self._rng.choice(choices)
        try:
            os.kill(replica.process, signal.SIGKILL)
        except ProcessLookupError:  # it is being restarted already
            return False
        # Shards that share the actor lose it, too.
        self._note(
            {
                (shard, number): each.process
                for shard, many in ready.items()
                for number, each in many
                if each.id == replica.id
            }
        )
        return True

    def _note(self, lost: dict[tuple[str, int], int | None]) -> None:
        now = time.monotonic()
        self.kills.append(now)
        self._down.update({slot: (now, process) for slot, process in lost.items()})

    def _replace(self, node: Any) -> None:
        self._nodes.cluster.remove_node(node)
        self._nodes.add()

    @property
    def still_down(self) -> set[tuple[str, int]]:
        return set(self._down)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Nodes, Path, Collection]]:
    folder = tmp_path_factory.mktemp("kills")
    with ray_nodes(NODES) as nodes:
        dataset = make_dataset(folder, COUNT, SHARDS)
        with one_machine(folder, COUNT) as one:
            yield nodes, dataset, one


def test_kills_at_random(
    world: tuple[Nodes, Path, Collection], capsys: pytest.CaptureFixture[str]
) -> None:
    nodes, dataset, one = world
    settings = ClusterSettings(replicas=2, hang_seconds=5)
    with Cluster.open(dataset, settings=settings) as cluster:
        truth, report, stop = Truth(one, cluster), Report(), threading.Event()
        killer = Killer(nodes, cluster)
        with ThreadPoolExecutor(CLIENTS) as pool:
            running = [
                pool.submit(client, seed, cluster, truth, report, stop) for seed in range(CLIENTS)
            ]
            try:
                killer.run()
            finally:
                stop.set()
            for each in running:
                each.result(timeout=DEADLINE + 30)
        requests = cluster.info().requests
    late = [
        moment - max((kill for kill in killer.kills if kill <= moment), default=0.0)
        for moment in report.partial
    ]
    full = 1 - len(report.partial) / report.answers
    recoveries = killer.recoveries or [0.0]
    with capsys.disabled():
        print(
            f"\n{len(killer.kills)} kills, of them {killer.raylets} of nodes; "
            f"{report.answers:,} answers, {full:.5f} at full coverage, slowest "
            f"{report.slowest:.2f} s, {len(report.wrong)} wrong; replicas were back after "
            f"{np.median(recoveries):.1f} s (median), {max(recoveries):.1f} s (most); {requests}"
        )
        for moment, number in sorted(Counter(map(int, report.partial)).items()):
            kills = [round(kill - moment, 1) for kill in killer.kills if -9 < kill - moment < 1]
            print(f"{number} partial answers within a second, with kills at {kills} s")
    assert not report.wrong, report.wrong[:3]
    assert report.slowest <= DEADLINE + SLACK
    assert not killer.still_down
    assert max(late, default=0.0) <= RECOVERY
    assert full >= 0.999
