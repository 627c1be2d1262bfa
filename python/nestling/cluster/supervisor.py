"""The supervisor of the actors that serve shards.

Ray places the replicas of a shard on different nodes (a placement group), starts an actor again
when its process or node dies, and moves the places of a dead node. The supervisor checks every
replica once a second. It has Ray restart one that does not answer, and starts one that cannot open
its shards, because a disk is full or a file corrupted, on another node.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from nestling.cluster.actors import (
    Directory,
    Health,
    ReplicaAddress,
    ReplicaSettings,
    ShardActor,
    ShardGroup,
    groups_of,
)
from nestling.cluster.dataset import Dataset
from nestling.cluster.manifest import Manifest, ShardEntry
from nestling.cluster.packages import require_ray
from nestling.errors import ClosedError, ClusterError

__all__ = ["Supervisor"]

_NODE_LABEL: Final = "ray.io/node-id"
_STARTING_SECONDS: Final = 0.2  # between two checks while a replica starts
_MOST_ATTEMPTS: Final = 3  # to open its shards, after which opening a version gives up
_LONGEST_BACKOFF: Final = 30.0
_log = logging.getLogger("nestling.cluster")


class _Slot:
    """The place of one replica of a shard, and the actor that fills it now."""

    def __init__(self, number: int, actor: Any) -> None:
        self.number = number
        self.avoided: set[str] = set()  # nodes that could not open the shard
        self.attempts = 0  # that failed in a row
        self.next_attempt = 0.0
        self.problem: Exception | None = None
        self.node: str | None = None
        self.process: int | None = None
        self.fill(actor)

    def fill(self, actor: Any) -> None:
        self.actor = actor
        self.ready = False
        self.started = time.monotonic()
        self.reset()

    def reset(self) -> None:
        """Forgets the check that is under way."""
        self.check: Any = None
        self.checked = 0.0

    @property
    def address(self) -> ReplicaAddress:
        return ReplicaAddress(
            self.actor._actor_id.hex(),
            self.actor,
            self.ready,
            self.node,
            self.process,
            self.problem,
        )


class _Served:
    """A group of shards and its replicas."""

    def __init__(
        self, entries: tuple[ShardEntry, ...], dim: int, places: Any, slots: list[_Slot]
    ) -> None:
        self.entries = entries
        self.dim = dim
        self.places = places  # the placement group
        self.slots = slots
        self.ends: float | None = None  # when a group that no version needs any more is closed

    @property
    def keys(self) -> frozenset[str]:
        """Those of the shards."""
        return frozenset(entry.key for entry in self.entries)

    def __str__(self) -> str:
        first, *others = [entry.name for entry in self.entries]
        return f"the shard {first}" + (f" and {len(others)} more" if others else "")


class Supervisor:
    """Starts the replicas of a dataset's newest version and keeps them alive.

    Threads may share it. It runs in the process that opens a cluster, or, where several processes
    use the same replicas, as an actor.

    Args:
        dataset: The dataset.
        settings: How it is served.
        drain_seconds: How long replicas that the served version does not need any more are kept for
            the queries that still use them.
        watch_seconds: Time between two looks for a new version; None not to look.

    Attributes:
        generation: That of the directory.
    """

    def __init__(
        self,
        dataset: Dataset,
        settings: ReplicaSettings,
        *,
        drain_seconds: float = 30.0,
        watch_seconds: float | None = None,
    ) -> None:
        self._ray = require_ray()
        self._dataset = dataset
        self._settings = settings
        self._drain_seconds = drain_seconds
        self._served: list[_Served] = []
        self._used: list[_Served] = []  # those of the version that is served
        self._manifest: Manifest | None = None
        self._changed = threading.Condition()  # not held while Ray is waited for
        self._loading = threading.Lock()
        self._closing = threading.Event()
        self._wake = threading.Event()
        self.generation = 0
        self._threads = [self._start(self._check_forever, "check")]
        if watch_seconds is not None:
            self._threads.append(self._start(partial(self._watch, watch_seconds), "watch"))

    def _start(self, run: Callable[[], None], name: str) -> threading.Thread:
        thread = threading.Thread(target=run, name=f"nestling-cluster-{name}", daemon=True)
        thread.start()
        return thread

    def load(self, version: int | None = None) -> Directory:
        """Opens a version beside the one that is served, and serves it once it is ready.

        Shards that both have stay as they are.

        Args:
            version: Its number; the newest by default.

        Returns:
            The directory. Some replicas may not be ready yet, but each shard has one that is.

        Raises:
            ClusterError: A shard has no replica that could open it; the version before is served.
            ClosedError: The supervisor was closed.
            FormatError, StorageError, ArgumentError: The manifest cannot be read.
        """
        with self._loading:
            manifest = self._dataset.manifest(version)
            if self._manifest is not None and self._manifest.version == manifest.version:
                return self.directory()
            keys = {entry.key for entry in manifest.shards}
            with self._changed:
                # A group that has a shard too many does not stay: it would answer for that too.
                kept = [served for served in self._served if served.keys <= keys]
                for served in kept:
                    served.ends = None  # it is needed again
            there = frozenset().union(*(served.keys for served in kept))
            missing = [entry for entry in manifest.shards if entry.key not in there]
            nodes = self._nodes()
            groups = groups_of(
                missing,
                self._settings.actor_bytes,
                nodes=len(nodes),
                cores=int(sum(nodes.values())),
            )
            new: list[_Served] = []
            try:
                for entries in groups:
                    new.append(self._serve(entries, manifest.dim))
                    with self._changed:
                        self._served.append(new[-1])
                self._wake.set()
                self._await_ready(manifest, kept + new)
            except BaseException:
                with self._changed:
                    self._served = [served for served in self._served if served not in new]
                for served in new:
                    self._end(served)
                self._retire_unused()
                raise
            with self._changed:
                self._manifest, self._used = manifest, kept + new
                self._note_change()
            self._retire_unused()
            return self.directory()

    def _retire_unused(self) -> None:
        """Has the replicas of groups that the served version does not use end in a while."""
        with self._changed:
            for served in self._served:
                if served not in self._used and served.ends is None:
                    served.ends = time.monotonic() + self._drain_seconds

    def directory(self) -> Directory:
        """Returns who answers for which shard.

        Raises:
            ClusterError: Nothing was loaded yet.
        """
        with self._changed:
            manifest = self._manifest
            if manifest is None:
                raise ClusterError("no version has been opened")
            groups = tuple(
                ShardGroup(
                    tuple(entry.name for entry in served.entries),
                    tuple(slot.address for slot in served.slots),
                )
                for served in self._used
            )
            return Directory(self.generation, manifest, groups)

    def close(self) -> None:
        """Ends all replicas."""
        self._closing.set()
        self._wake.set()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(timeout=30)
        with self._changed:
            served, self._served = self._served, []
            self._changed.notify_all()
        for each in served:
            self._end(each)

    def _note_change(self) -> None:
        self.generation += 1
        self._changed.notify_all()

    def _serve(self, entries: tuple[ShardEntry, ...], dim: int) -> _Served:
        from ray.util.placement_group import placement_group

        count = self._settings.replicas
        spread = "STRICT_SPREAD" if len(self._nodes()) >= count else "SPREAD"
        places = placement_group([{"CPU": self._settings.cpus}] * count, strategy=spread)
        slots = [
            _Slot(number, self._actor(entries, dim, places, number, ())) for number in range(count)
        ]
        return _Served(entries, dim, places, slots)

    def _actor(
        self,
        entries: tuple[ShardEntry, ...],
        dim: int,
        places: Any,
        number: int,
        avoided: Iterable[str],
    ) -> Any:
        """Starts a replica: in its place, or on a node that is not to be avoided."""
        from ray.util.scheduling_strategies import (
            NodeLabelSchedulingStrategy,
            NotIn,
            PlacementGroupSchedulingStrategy,
        )

        nodes = list(avoided)
        strategy: Any = PlacementGroupSchedulingStrategy(places, number)
        if nodes:
            strategy = NodeLabelSchedulingStrategy(hard={_NODE_LABEL: NotIn(*nodes)})
        settings = self._settings
        actor = self._ray.remote(
            num_cpus=settings.cpus,
            max_restarts=-1,
            max_task_retries=0,  # the fan-out goes to the next replica instead
            max_concurrency=settings.concurrency,
            concurrency_groups={"control": 1},
            scheduling_strategy=strategy,
        )(ShardActor)
        return actor.remote(self._dataset, entries, dim, settings)

    def _nodes(self) -> dict[str, float]:
        """Returns the cores of the living nodes that have any."""
        cores = {
            node["NodeID"]: node["Resources"].get("CPU", 0.0)
            for node in self._ray.nodes()
            if node["Alive"]
        }
        return {node: count for node, count in cores.items() if count > 0}

    def _await_ready(self, manifest: Manifest, groups: Sequence[_Served]) -> None:
        """Waits until all replicas of a version are ready, or have failed too often.

        Raises:
            ClusterError: A shard has none that is.
            ClosedError: The supervisor was closed.
        """
        ends = time.monotonic() + self._settings.open_seconds
        with self._changed:
            while not self._closing.is_set():
                slots = [slot for served in groups for slot in served.slots]
                waiting = [
                    slot for slot in slots if not slot.ready and slot.attempts < _MOST_ATTEMPTS
                ]
                if not waiting or not self._changed.wait(max(ends - time.monotonic(), 0)):
                    break
            if self._closing.is_set():
                raise ClosedError(f"{self._dataset.path}: the cluster is closed")
            for served in groups:
                if not any(slot.ready for slot in served.slots):
                    problem = next((s.problem for s in served.slots if s.problem is not None), None)
                    reason = problem or (
                        f"Ray has not started its replicas within {self._settings.open_seconds:g} "
                        f"s: are there nodes with {self._settings.cpus:g} CPUs to spare?"
                    )
                    raise ClusterError(
                        f"{self._dataset.path}, version {manifest.version}: {served} "
                        f"cannot be served: {reason}"
                    ) from problem

    def _watch(self, seconds: float) -> None:
        """Opens new versions as they come."""
        while not self._closing.wait(seconds):
            manifest = self._manifest
            if manifest is None:
                continue
            try:
                if self._dataset.versions()[-1] > manifest.version:
                    self.load()
            except Exception as error:
                _log.warning("%s: a new version cannot be served: %s", self._dataset.path, error)

    def _check_forever(self) -> None:
        # A call would connect to Ray again after this process has disconnected.
        while not self._closing.is_set() and self._ray.is_initialized():
            try:
                starting = self._check()
            except Exception:
                if self._closing.is_set():
                    return
                _log.exception("the replicas cannot be checked")
                starting = False
            self._wake.wait(_STARTING_SECONDS if starting else self._settings.check_seconds)
            self._wake.clear()

    def _check(self) -> bool:
        """Checks all replicas once; returns whether some are starting."""
        now = time.monotonic()
        with self._changed:
            ended = [
                served for served in self._served if served.ends is not None and served.ends <= now
            ]
            self._served = [served for served in self._served if served not in ended]
            checked = [(served, slot) for served in self._served for slot in served.slots]
        for served in ended:
            self._end(served)
        for _, slot in checked:
            if slot.check is None:
                slot.check = slot.actor.health.options(concurrency_group="control").remote()
                slot.checked = now
        done = self._answered([slot.check for _, slot in checked])
        for served, slot in checked:
            before = slot.ready
            if slot.check in done:
                self._note_answer(served, slot)
            elif time.monotonic() - slot.checked > self._patience(slot):
                self._restart_hung(served, slot)
            if slot.ready != before:
                with self._changed:
                    self._note_change()
        return any(not slot.ready for _, slot in checked)

    def _patience(self, slot: _Slot) -> float:
        """Returns how long a replica may take to answer a check."""
        return self._settings.hang_seconds if slot.ready else self._settings.open_seconds

    def _answered(self, checks: list[Any]) -> set[Any]:
        """Returns the checks that have an answer, after a moment for those that were just sent."""
        if not checks:
            return set()
        count = len(checks)
        return set(self._ray.wait(checks, num_returns=count, timeout=_STARTING_SECONDS / 2)[0])

    def _note_answer(self, served: _Served, slot: _Slot) -> None:
        """Handles what came of a check."""
        from ray.exceptions import ActorDiedError, RayError

        check = slot.check
        slot.reset()
        try:
            health: Health = self._ray.get(check)
        except ActorDiedError as error:  # for good: Ray does not start it again
            slot.ready = False
            slot.problem = error
            self._replace(served, slot)
        except RayError:  # Ray is starting it again
            slot.ready = False
        else:
            slot.node, slot.process = health.node, health.process
            slot.problem = health.problem
            slot.ready = health.problem is None
            if slot.ready:
                slot.attempts = 0
                return
            slot.avoided.add(health.node)
            self._replace(served, slot)

    def _restart_hung(self, served: _Served, slot: _Slot) -> None:
        """Has Ray end and restart a replica that does not answer."""
        _log.warning(
            "a replica of %s on node %s has not answered for %g s: it is restarted",
            served,
            slot.node,
            self._patience(slot),
        )
        slot.ready = False
        slot.reset()
        with suppress(Exception):
            self._ray.kill(slot.actor, no_restart=False)

    def _replace(self, served: _Served, slot: _Slot) -> None:
        """Starts another actor in the place of one that is of no use, elsewhere if possible."""
        now = time.monotonic()
        if now < slot.next_attempt:
            return
        _log.warning(
            "%s cannot be served on node %s: %s",
            served,
            slot.node,
            slot.problem,
        )
        slot.attempts += 1
        slot.next_attempt = now + min(2.0 ** (slot.attempts - 1), _LONGEST_BACKOFF)
        with suppress(Exception):
            self._ray.kill(slot.actor)
        nodes = set(self._nodes())
        siblings = {
            each.node for each in served.slots if each is not slot and each.node is not None
        }
        avoided = slot.avoided & nodes
        if avoided >= nodes:  # no other is left: whatever was wrong may be over
            avoided = slot.avoided = set()
        elif avoided and (avoided | siblings) < nodes:
            avoided = avoided | (siblings & nodes)
        actor = self._actor(served.entries, served.dim, served.places, slot.number, avoided)
        with self._changed:
            slot.fill(actor)
            self._note_change()

    def _end(self, served: _Served) -> None:
        from ray.util.placement_group import remove_placement_group

        for slot in served.slots:
            with suppress(Exception):
                self._ray.kill(slot.actor)
        with suppress(Exception):
            remove_placement_group(served.places)
