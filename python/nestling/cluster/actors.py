"""Actors of Ray, each of which serves some shards in a process of its own, and calls of them.

A call of an actor costs about a millisecond of a core, whatever it does. So small shards share an
actor, which searches them side by side, and a query that goes to all of them is one call.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import platformdirs

from nestling._util.threads import thread_count
from nestling._util.value import Value
from nestling.cluster.cache import LocalShard, ShardCache
from nestling.cluster.dataset import Dataset
from nestling.cluster.manifest import Manifest, ShardEntry
from nestling.cluster.packages import require_ray
from nestling.cluster.requests import (
    Answer,
    CompletionRequest,
    CountRequest,
    DenseAnswer,
    DenseRequest,
    PassageRequest,
    Request,
)
from nestling.cluster.shard import Shard, answers
from nestling.cluster.storage import checksum_of
from nestling.collection.query.terms import PartKind
from nestling.errors import ArgumentError, ClusterError, FormatError, NestlingError

__all__ = [
    "CACHE_VARIABLE",
    "ActorReplica",
    "Directory",
    "Health",
    "ReplicaAddress",
    "ReplicaSettings",
    "ShardActor",
    "ShardGroup",
    "groups_of",
]

CACHE_VARIABLE: Final = "NESTLING_CLUSTER_CACHE"

_ACTOR_BYTES: Final = 1 << 30  # of shards that share an actor, unless that makes too many
_WARM_ROWS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ReplicaSettings(Value):
    """How shards are served.

    Attributes:
        replicas: Actors for each shard, on different nodes as far as there are so many.
        actor_bytes: The most bytes of shards that share an actor; a larger shard has one of its
            own, as has every shard for 0. Default: 1 GiB, or more, so that a query goes to no more
            actors than Ray has cores. There are as many actors as nodes in any case, if there are
            as many shards.
        concurrency: Requests that a replica works on at a time; others wait.
        threads: Threads that each of them may use. An actor of several shards uses a thread for
            each of them, up to the cores granted, if these are more.
        cpus: What Ray reserves for a replica, in cores; a fraction lets many share one.
        cache: The folder, on every node, of the shards' files. Default: NESTLING_CLUSTER_CACHE
            there, else the user's folder for caches.
        cache_bytes: The most bytes that these may take; None for no limit but the disk's.
        check_seconds: Time between two checks of a replica.
        hang_seconds: After how long a replica that does not answer a check is restarted.
        open_seconds: How long a version may take to open.

    Raises:
        ArgumentError: A value is out of range.

    Example:
        >>> ReplicaSettings(replicas=3).concurrency
        4
    """

    replicas: int = 2
    actor_bytes: int | None = None
    concurrency: int = 4
    threads: int = 1
    cpus: float = 0.1
    cache: str | None = None
    cache_bytes: int | None = None
    check_seconds: float = 1.0
    hang_seconds: float = 5.0
    open_seconds: float = 600.0

    def __post_init__(self) -> None:
        for name in ("replicas", "concurrency", "threads"):
            if getattr(self, name) < 1:
                raise ArgumentError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.actor_bytes is not None and self.actor_bytes < 0:
            raise ArgumentError(f"actor_bytes must be at least 0, not {self.actor_bytes}")
        for name in ("cpus", "check_seconds", "hang_seconds", "open_seconds"):
            if not getattr(self, name) > 0:
                raise ArgumentError(f"{name} must be above 0, not {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class ReplicaAddress:
    """Where a replica is reached.

    Attributes:
        id: The id of the actor.
        actor: Its handle.
        ready: Whether it has opened its shards and answers.
        node: The node that it was last seen on; None before it was.
        process: The id of its process there.
        problem: What is wrong with it, if it cannot serve.
    """

    id: str
    actor: Any
    ready: bool
    node: str | None = None
    process: int | None = None
    problem: Exception | None = None


@dataclass(frozen=True, slots=True)
class ShardGroup:
    """Shards that share their actors.

    Attributes:
        shards: Their names.
        replicas: The actors, each of which serves all of them.
    """

    shards: tuple[str, ...]
    replicas: tuple[ReplicaAddress, ...]


@dataclass(frozen=True, slots=True)
class Directory:
    """Who answers for which shard.

    Attributes:
        generation: Grows with every change.
        manifest: The version that is served.
        groups: The shards and their replicas. They stay the same ones, in the same order, for as
            long as the version does; their replicas change.
    """

    generation: int
    manifest: Manifest
    groups: tuple[ShardGroup, ...]

    @property
    def replicas(self) -> dict[str, tuple[ReplicaAddress, ...]]:
        """The replicas of each shard, by its name."""
        return {shard: group.replicas for group in self.groups for shard in group.shards}


def groups_of(
    shards: Sequence[ShardEntry], most_bytes: int | None, *, nodes: int, cores: int
) -> list[tuple[ShardEntry, ...]]:
    """Puts shards that follow one another into groups, each of which an actor serves.

    Args:
        shards: The shards.
        most_bytes: Bytes of a group of several shards at most. None: 1 GiB, but no more groups than
            cores: actors would wait for one another, and each call takes some of a core.
        nodes: How many groups there are at least, if there are so many shards.
        cores: As many as nodes, or more.
    """
    most = -(-len(shards) // max(nodes, 1))
    least = 1 if most_bytes is not None else -(-len(shards) // max(nodes, cores, 1))
    room = _ACTOR_BYTES if most_bytes is None else most_bytes
    groups: list[list[ShardEntry]] = []
    size = 0
    for shard in shards:
        count = len(groups[-1]) if groups else most
        if count == most or (count >= least and size + shard.size > room):
            groups.append([])
            size = 0
        groups[-1].append(shard)
        size += shard.size
    return [tuple(group) for group in groups]


@dataclass(frozen=True, slots=True)
class Health:
    """What a replica says of itself."""

    node: str
    process: int
    problem: Exception | None = None


class ShardActor:
    """Serves some shards in a process of its own; what `Supervisor` makes an actor of Ray of.

    Its constructor does not raise what is wrong with a shard or a disk: Ray would pass it on as a
    text. `health` reports it.

    Args:
        dataset: The dataset.
        entries: The shards.
        dim: Dimensions of their vectors.
        settings: How they are served.
    """

    def __init__(
        self,
        dataset: Dataset,
        entries: Sequence[ShardEntry],
        dim: int,
        settings: ReplicaSettings,
    ) -> None:
        self._node = require_ray().get_runtime_context().get_node_id()
        self._problem: Exception | None = None
        self._open = ExitStack()
        self._shards: dict[str, Shard] = {}
        side_by_side = min(len(entries), thread_count(None))
        threads = max(settings.threads, side_by_side)
        self._threads = ThreadPoolExecutor(side_by_side, "shard")
        try:
            cache = ShardCache(_cache_folder(settings), max_bytes=settings.cache_bytes)
            for entry in entries:
                local = self._open.enter_context(cache.fetch(dataset, entry))
                _verify(local)
                shard = Shard.open(local.folder, entry, local.removed, threads=threads)
                self._open.callback(shard.close)
                _warm(shard, entry, dim)
                self._shards[entry.name] = shard
        except NestlingError as error:
            self._problem = error
        except Exception as error:  # of a class that may not be picklable
            self._problem = ClusterError(f"{type(error).__name__}: {error}")

    def health(self) -> Health:
        """Returns how the replica is."""
        return Health(self._node, os.getpid(), self._problem)

    def call(self, payload: bytes) -> bytes:
        """Answers pickled requests by shard with a pickled pair: the answers, or an exception."""
        found: Mapping[str, Answer] = {}
        problem: Exception | None = self._problem
        if problem is None:
            try:
                requests: Mapping[str, Request] = pickle.loads(payload)  # noqa: S301
                found = answers(self._shards, requests, self._threads.map)
            except Exception as error:
                problem = error
                if isinstance(error, FormatError):
                    self._problem = error  # what is corrupted is not answered from again
        return pickle.dumps((found, problem), 5)


def _cache_folder(settings: ReplicaSettings) -> Path:
    """Returns the folder of shards on this node."""
    folder = settings.cache or os.environ.get(CACHE_VARIABLE)
    return Path(folder) if folder else platformdirs.user_cache_path("nestling") / "shards"


def _warm(shard: Shard, entry: ShardEntry, dim: int) -> None:
    """Answers a request of each kind, which reads what a first query would wait for."""
    vector = np.ones((1, dim), np.float32)
    found = shard.call(DenseRequest(vector, _WARM_ROWS, ids=True))
    assert isinstance(found, DenseAnswer)
    rows = found.rows[found.rows >= 0]
    if entry.kind == "collection":
        shard.call(CompletionRequest("", 1))
        shard.call(CountRequest(parts=(([""], PartKind.PHRASE),)))
    if len(rows):
        shard.call(PassageRequest(rows, text=entry.kind == "collection", vectors=True))


def _verify(local: LocalShard) -> None:
    """Compares the checksums of all files, and so reads them once, before a query has to.

    Raises:
        FormatError: One is corrupted. It is removed, so that it is fetched again.
    """
    for file in local.entry.files:
        path = local.folder / file.name.removeprefix(f"{local.entry.folder}/")
        if checksum_of(path) != file.checksum:
            path.unlink(missing_ok=True)
            raise FormatError(f"{path}: its checksum is not the one in the manifest: corrupted")


class ActorReplica:
    """A replica of a group of shards as the fan-out calls it.

    Args:
        address: Where it is reached.
    """

    def __init__(self, address: ReplicaAddress) -> None:
        self.address = address
        self._call = address.actor.call

    def __repr__(self) -> str:
        return f"ActorReplica({self.address.id})"

    def submit(self, requests: Mapping[str, Request]) -> Future[Mapping[str, Answer]]:
        """Sends requests, by shard.

        Raises:
            ClusterError: The replica is not ready.
        """
        if not self.address.ready:
            raise ClusterError(f"the replica {self.address.id} is not ready")
        answers: Future[Mapping[str, Answer]] = Future()
        sent = self._call.remote(pickle.dumps(requests, 5)).future()
        sent.add_done_callback(partial(_resolve, answers))
        return answers


def _resolve(answers: Future[Mapping[str, Answer]], sent: Future[bytes]) -> None:
    try:
        value, problem = pickle.loads(sent.result())  # noqa: S301
    except BaseException as error:
        answers.set_exception(error)
        return
    if problem is None:
        answers.set_result(value)
    else:
        answers.set_exception(problem)
