"""A cluster's side of the driver, with replicas in this process: deadlines, coverage, versions."""

from __future__ import annotations

import asyncio
import itertools
import pickle
import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("fsspec")

import cluster_world
from cluster_world import cluster_of

from fake_clock import FakeClock
from nestling import Index
from nestling.cluster import Cluster, ClusterSettings, Dataset
from nestling.cluster.actors import (
    Directory,
    ReplicaAddress,
    ReplicaSettings,
    ShardGroup,
    groups_of,
)
from nestling.cluster.manifest import FileEntry, Manifest, ShardEntry
from nestling.cluster.shard import INDEX_FILE, Shard, answers
from nestling.cluster.storage import Storage
from nestling.errors import ArgumentError, ClosedError, CoverageError, FunnelError, OverloadError

DIM, ROWS, SHARDS = 8, 30, 3
VECTORS = np.random.default_rng(5).standard_normal((SHARDS, ROWS, DIM)).astype(np.float32)


class Sent:
    """A reference to an answer."""

    def __init__(self, answer: Future[bytes]) -> None:
        self._answer = answer

    def future(self) -> Future[bytes]:
        return self._answer


class Actor:
    """An actor of some shards, in threads; `actor.call.remote(…)` is a call of it."""

    pool = ThreadPoolExecutor(32)
    answering: ClassVar[set[Future[bytes]]] = set()  # that will come soon: their actors do not hang

    def __init__(self, *shards: Shard) -> None:
        self.shards = {shard.entry.name: shard for shard in shards}
        self.error: Exception | None = None
        self.hangs: threading.Event | None = None
        self.calls = 0

    @property
    def call(self) -> Actor:
        return self

    def remote(self, payload: bytes) -> Sent:
        answer: Future[bytes] = Future()
        if self.hangs is None:
            self.answering.add(answer)
        self.pool.submit(self._resolve, answer, payload)
        return Sent(answer)

    def _resolve(self, answer: Future[bytes], payload: bytes) -> None:
        self.calls += 1
        if self.hangs is not None:
            self.hangs.wait(200)
        answer.set_result(self._answer(payload))  # and whoever waits for it knows
        self.answering.discard(answer)

    def _answer(self, payload: bytes) -> bytes:
        if self.error is not None:
            return pickle.dumps((None, self.error))
        try:
            requests = pickle.loads(payload)
            return pickle.dumps((answers(self.shards, requests), None))
        except Exception as error:
            return pickle.dumps((None, error))


class Supervised:
    """A supervisor whose directory a test writes: actors by the names of their shards."""

    def __init__(self, manifest: Manifest, actors: dict[str, list[Actor]]) -> None:
        self.generation = 0
        self.closed = False
        self.set(manifest, actors)

    def set(self, manifest: Manifest, actors: dict[str, list[Actor]], *, unready: Any = ()) -> None:
        self.generation += 1
        self._directory = Directory(
            self.generation,
            manifest,
            tuple(
                ShardGroup(
                    tuple(names.split()),
                    tuple(
                        ReplicaAddress(str(id(each)), each, each not in unready, "node")
                        for each in many
                    ),
                )
                for names, many in actors.items()
            ),
        )

    def directory(self) -> Directory:
        return self._directory

    def load(self, version: int | None = None) -> Directory:
        return self._directory

    def close(self) -> None:
        self.closed = True


class PatientClock:
    """A clock that stands still while an actor answers: none is late on a slow machine."""

    def __init__(self) -> None:
        self.time = FakeClock()

    def now(self) -> float:
        return self.time.now

    def get(self, events: queue.SimpleQueue[Any], seconds: float | None) -> Any:
        while True:
            expected = bool(Actor.answering)
            with suppress(queue.Empty):
                return events.get(timeout=0.01 if expected else 0)
            if not expected:
                assert seconds is not None, "the call waits for what never happens"
                self.time.advance(max(seconds, 1e-6))
                return None


class World:
    def __init__(self, path: Path) -> None:
        folders = []
        for number, rows in enumerate(VECTORS):
            folder = path / f"s{number}"
            folder.mkdir()
            part = Index(DIM, funnel="4@8:200 > 8@16")
            part.add(rows)
            part.save(folder / INDEX_FILE)
            folders.append(folder)
        self.whole = Index(DIM, funnel="4@8:200 > 8@16")
        self.whole.add(VECTORS.reshape(-1, DIM))
        self.inside: cluster_world.Cluster = cluster_of(
            folders, kind="index", like=self.whole, gap=0
        )
        self.manifest = self.inside.version.manifest
        self.actors = {name: [Actor(shard), Actor(shard)] for name, shard in self.shards.items()}
        self.supervisor = Supervised(self.manifest, self.actors)
        self.dataset = Dataset(Storage(path))

    @property
    def shards(self) -> dict[str, Shard]:
        return self.inside.shards

    def open(self, **settings: Any) -> Cluster:
        return Cluster(self.dataset, self.supervisor, ClusterSettings(**settings))

    def expected(self, query: Any, k: int = 5, without: tuple[int, ...] = ()) -> list[int]:
        """The rows of the dataset that one index finds."""
        kept = [row for row in range(SHARDS * ROWS) if row // ROWS not in without]
        hits = self.whole.search(query[None], k, where=np.array(kept))
        return (hits.ids[0] + self.manifest.shards[0].first).tolist()  # type: ignore[no-any-return]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.inside.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> PatientClock:
    clock = PatientClock()
    monkeypatch.setattr("nestling.cluster.fanout._SystemClock", lambda: clock)
    monkeypatch.setattr("nestling.cluster.cluster.time", clock.time)
    monkeypatch.setattr("nestling.cluster.source.time", clock.time)
    return clock


QUERY = np.linspace(-1, 1, DIM, dtype=np.float32)


def rows_of(hits: Any) -> list[int]:
    return [int(id) for id in hits.ids]


def test_hits_are_those_of_one_index(world: World) -> None:
    with world.open() as cluster:
        hits = cluster.search(QUERY, 5, include=())
        assert rows_of(hits) == world.expected(QUERY)
        assert (hits.coverage, hits.late, hits.shards) == (1.0, (), SHARDS)
        assert (len(cluster), cluster.version, cluster.dim) == (SHARDS * ROWS, 1, DIM)
        assert cluster.info().replicas == cluster.info().ready == 2 * SHARDS


def test_one_replica_of_each_shard_is_enough(world: World) -> None:
    for number, many in enumerate(world.actors.values()):
        many[number % 2].error = ConnectionError("the node is gone")
    with world.open() as cluster:
        for _ in range(10):
            hits = cluster.search(QUERY, 5, include=(), min_coverage=1.0)
            assert rows_of(hits) == world.expected(QUERY)
        assert cluster.info().requests.failures > 0


def test_a_shard_without_replicas_is_reported(world: World, clock: PatientClock) -> None:
    for actor in world.actors["s1"]:
        actor.error = ConnectionError("the node is gone")
    with world.open() as cluster:
        hits = cluster.search(QUERY, 5, include=())
        assert (hits.coverage, hits.late) == (2 / 3, ("s1",))
        assert rows_of(hits) == world.expected(QUERY, without=(1,))
        start = clock.now()
        with pytest.raises(CoverageError, match="s1") as raised:
            cluster.search(QUERY, 5, include=(), min_coverage=0.7, deadline_ms=200)
        assert clock.now() - start == pytest.approx(0.2, abs=1e-5)
        assert (raised.value.coverage, raised.value.late) == (2 / 3, ("s1",))
        assert cluster.search(QUERY, 5, include=(), min_coverage=0.6).late == ("s1",)


def test_a_shard_that_hangs_ends_with_the_deadline(world: World, clock: PatientClock) -> None:
    release = threading.Event()
    for actor in world.actors["s2"]:
        actor.hangs = release
    with world.open() as cluster:
        hits = cluster.search(QUERY, 5, include=(), deadline_ms=150)
        assert clock.now() == pytest.approx(0.15, abs=1e-5)
        assert (hits.coverage, hits.late) == (2 / 3, ("s2",))
        assert rows_of(hits) == world.expected(QUERY, without=(2,))
        release.set()


def test_replicas_that_are_not_ready_are_not_called(world: World, clock: PatientClock) -> None:
    unready = [many[0] for many in world.actors.values()]
    world.supervisor.set(world.manifest, world.actors, unready=unready)
    with world.open() as cluster:
        for _ in range(6):
            assert cluster.search(QUERY, 5, include=()).coverage == 1
        assert not any(actor.calls for actor in unready)
        world.supervisor.set(world.manifest, world.actors)  # they are ready now
        clock.time.advance(2.1)  # for as long as they may be avoided
        for _ in range(12):
            cluster.search(QUERY, 5, include=())
        assert all(actor.calls for actor in unready)


def test_an_actor_is_replaced(world: World) -> None:
    with world.open() as cluster:
        fresh = [Actor(world.shards["s0"]) for _ in range(2)]
        for old in world.actors["s0"]:
            old.error = ConnectionError("gone for good")
        world.supervisor.set(world.manifest, world.actors | {"s0": fresh})
        assert cluster.search(QUERY, 5, include=()).coverage == 1
        assert any(actor.calls for actor in fresh)


def test_shards_that_share_an_actor_are_one_call(world: World) -> None:
    first, *others = world.shards.values()
    alone, both = ([Actor(*shards), Actor(*shards)] for shards in ([first], others))
    world.supervisor.set(world.manifest, {"s0": alone, "s1 s2": both})
    with world.open(hedge_share=0) as cluster:
        for number in range(6):
            hits = cluster.search(QUERY + number, 5, include=())
            assert rows_of(hits) == world.expected(QUERY + number)
            assert (hits.coverage, hits.shards) == (1.0, SHARDS)
        assert sum(actor.calls for actor in both) == sum(actor.calls for actor in alone) == 6
        assert cluster.info().replicas == 4
        assert cluster.replicas()["s1"] == cluster.replicas()["s2"] != cluster.replicas()["s0"]
        for actor in both:
            actor.error = ConnectionError("the node is gone")
        hits = cluster.search(QUERY, 5, include=())
        assert (hits.coverage, hits.late) == (1 / 3, ("s1", "s2"))
        assert rows_of(hits) == world.expected(QUERY, without=(1, 2))


def test_a_new_version_is_served_by_the_next_search(world: World) -> None:
    first, second, _ = world.manifest.shards
    smaller = replace(world.manifest, version=2, shards=(first, second))
    with world.open() as cluster:
        assert rows_of(cluster.search(QUERY, 5, include=())) == world.expected(QUERY)
        actors = {name: world.actors[name] for name in ("s0", "s1")}
        world.supervisor.set(smaller, actors)
        assert cluster.refresh() == 2
        hits = cluster.search(QUERY, 5, include=())
        assert rows_of(hits) == world.expected(QUERY, without=(2,))
        assert (hits.coverage, hits.shards, len(cluster)) == (1.0, 2, 2 * ROWS)


def test_too_many_calls_are_refused(world: World) -> None:
    release = threading.Event()
    for many in world.actors.values():
        for actor in many:
            actor.hangs = release
    with world.open(max_in_flight=1, hedge_share=0) as cluster, ThreadPoolExecutor(2) as pool:
        running = [pool.submit(cluster.search, QUERY, 5, include=()) for _ in range(2)]
        ends = time.monotonic() + 200
        while sum(actor.calls for many in world.actors.values() for actor in many) < 2 * SHARDS:
            assert time.monotonic() < ends
            time.sleep(0.01)
        with pytest.raises(OverloadError):
            cluster.search(QUERY, 5, include=())
        release.set()
        assert all(each.result().coverage == 1 for each in running)


async def test_searches_are_awaited(world: World) -> None:
    with world.open() as cluster:
        found = await asyncio.gather(
            *(cluster.asearch(QUERY + number, 5, include=()) for number in range(5))
        )
        for number, hits in enumerate(found):
            assert rows_of(hits) == world.expected(QUERY + number)


def test_what_is_wrong_with_a_search_is_said(world: World) -> None:
    with world.open() as cluster:
        for options in ({"deadline_ms": 0}, {"min_coverage": 1.5}, {"mode": "lexical"}):
            with pytest.raises(ArgumentError):
                cluster.search(QUERY, 5, include=(), **options)
        with pytest.raises(ArgumentError, match="bare vectors"):
            cluster.search(QUERY, 5)
        with pytest.raises(FunnelError):
            cluster.search(QUERY, 5, include=(), funnel="2@1:3 > 8@32")


def test_a_closed_cluster_says_so(world: World) -> None:
    cluster = world.open()
    cluster.close()
    cluster.close()
    assert world.supervisor.closed
    assert repr(cluster).endswith("closed)")
    for call in (lambda: cluster.search(QUERY, include=()), cluster.refresh, cluster.info):
        with pytest.raises(ClosedError, match="the cluster is closed"):
            call()


@pytest.mark.parametrize(
    "settings",
    [{"replicas": 0}, {"actor_bytes": -1}, {"concurrency": 0}, {"cpus": 0}, {"hang_seconds": -1}],
    ids=str,
)
def test_settings_of_replicas_are_checked(settings: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(settings))):
        ReplicaSettings(**settings)


@pytest.mark.parametrize(
    "settings", [{"timeout_ms": 0}, {"watch_seconds": 0}, {"max_in_flight": 0}], ids=str
)
def test_settings_of_clusters_are_checked(settings: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(settings))):
        ClusterSettings(**settings)


@given(
    st.lists(st.integers(0, 100), max_size=30),
    st.none() | st.integers(0, 250),
    st.integers(0, 12),
    st.integers(0, 20),
)
def test_groups_of_shards(sizes: list[int], most_bytes: int | None, nodes: int, cores: int) -> None:
    cores = max(nodes, cores)
    counts = {"first": 0, "last": 9, "rows": 10, "documents": 10, "tokens": 0}
    shards = [
        ShardEntry(
            name=str(number),
            kind="index",
            files=(FileEntry(name=f"shards/{number}/a", bytes=size << 24, checksum="0" * 16),),
            **counts,
        )
        for number, size in enumerate(sizes)
    ]
    room = (1 << 30) if most_bytes is None else most_bytes << 24
    given_bytes = None if most_bytes is None else room
    groups = groups_of(shards, given_bytes, nodes=nodes, cores=cores)
    assert [shard for group in groups for shard in group] == shards
    assert all(groups)
    least = 1 if most_bytes is not None else -(-len(shards) // max(cores, 1))
    for group in groups:
        assert len(group) <= least or sum(shard.size for shard in group) <= room
    if most_bytes is None:
        assert len(groups) <= max(cores, 1)
    most = -(-len(shards) // max(nodes, 1))
    assert all(len(group) <= most for group in groups)
    for one, next_one in itertools.pairwise(groups):  # none is smaller than it has to be
        assert len(one) >= least
        assert len(one) == most or sum(s.size for s in (*one, next_one[0])) > room
