"""A discrete-event simulation of searches over many shards.

What it needs to know of a shard is measured: how many seconds of a core a query takes. The rest is
arithmetic that a formula does not do well: the slowest of many shards, queues at cores that several
replicas share, second requests to slow shards, nodes that fail and come back, deadlines.

The model. A query takes `query_seconds` of the coordinator, which does one thing at a time, and
`call_seconds` for each request that it sends. A request travels for `network_seconds`, takes
`serve_seconds` and a measured time of a core of its replica's node, and its answer travels as long.
Cores are given in turns of `turn_seconds`, as an operating system does, so that many short searches
on few cores all advance. Of a shard's replicas, the one with the fewest requests under way is sent
the request; the next one is sent it too where the first is slower than a quantile of the shard's
recent latencies, or its node fails. Requests that nobody waits for any more still run to their end.

The same seed gives the same outcome, and scenarios with the same seed see the same arrivals, the
same times of each shard and the same failures, so that differences are those of the scenarios.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from nestling.errors import ArgumentError, PackageError

if TYPE_CHECKING:
    import simpy

__all__ = ["Load", "Outcome", "Scenario", "simulate"]

Values = NDArray[np.float64]
Steps = Generator[Any, Any, Any]

_RECENT: Final = 128  # latencies of a shard, of which the hedging quantile is taken
_RECOMPUTE: Final = 16
_FIRST_HEDGES: Final = 16.0

# The streams of random numbers.
_ARRIVALS, _SERVICE, _FAILURES = range(3)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scenario:
    """A cluster.

    Attributes:
        service: (n,) measured seconds of a core that one shard takes for a query; each request
            draws one of them.
        shards: Shards, of the same size as the measured one.
        together: Shards that share an actor: one request goes to all of them, which are searched
            side by side on as many cores of the node as there are.
        replicas: Copies of each shard, on different nodes.
        nodes: Machines.
        cores: Cores of each.
        shared: Whether the coordinator runs on cores of the first node; else on a machine of its
            own.
        query_seconds: Seconds of the coordinator for a query.
        call_seconds: Seconds of the coordinator for each request and its answer.
        serve_seconds: Seconds of a core of the node for each request, beside the search.
        network_seconds: From the coordinator to a node, and the same back.
        turn_seconds: Longest time for which a core works on one request before another's turn.
        straggler_share: The share of requests that are slow for reasons outside of the search.
        straggler_seconds: How much slower, without using a core.
        hedge_quantile: A second request is sent after this quantile of the shard's recent
            latencies; None to send it after `hedge_seconds` always.
        hedge_seconds: After how long it is sent while few latencies are known.
        hedge_share: The most second requests, of all requests; 0 for none.
        deadline: Seconds after which a query is answered without the shards that are late; None
            to wait for all of them.
        failure_seconds: Mean seconds between failures of a node.
        restart_seconds: From its failure until its replicas answer again.
        detect_seconds: Until the coordinator notices that a request's node has failed.

    Raises:
        ArgumentError: A value is out of range.
    """

    service: Values
    shards: int
    together: int = 1
    replicas: int = 1
    nodes: int = 1
    cores: int = 1
    shared: bool = False
    query_seconds: float = 0.0
    call_seconds: float = 0.0
    serve_seconds: float = 0.0
    network_seconds: float = 0.0
    turn_seconds: float = 0.003
    straggler_share: float = 0.0
    straggler_seconds: float = 0.0
    hedge_quantile: float | None = 0.95
    hedge_seconds: float = 0.1
    hedge_share: float = 0.1
    deadline: float | None = None
    failure_seconds: float = math.inf
    restart_seconds: float = 15.0
    detect_seconds: float = 0.0

    def __post_init__(self) -> None:
        for name in ("shards", "together", "replicas", "nodes", "cores"):
            if getattr(self, name) < 1:
                raise ArgumentError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.replicas > self.nodes:
            raise ArgumentError(
                f"{self.replicas} replicas need as many nodes, not {self.nodes}: each is on another"
            )
        if len(self.service) == 0 or not (np.isfinite(self.service) & (self.service >= 0)).all():
            raise ArgumentError("service must be measured seconds, at least one")
        if self.turn_seconds <= 0 or self.failure_seconds <= 0:
            raise ArgumentError("turn_seconds and failure_seconds must be above 0")
        for name in ("hedge_share", "straggler_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ArgumentError(f"{name} must be 0 to 1, not {getattr(self, name)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The queries that a cluster gets.

    Attributes:
        queries: How many.
        rate: Queries a second, at random moments (a Poisson process), whether those before are
            answered or not; None where clients send one after the other.
        clients: How many clients then.
        seed: The same seed gives the same outcome.
    """

    queries: int
    rate: float | None = None
    clients: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.queries < 1 or self.clients < 1 or (self.rate is not None and self.rate <= 0):
            raise ArgumentError("queries and clients must be at least 1, and rate above 0")


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What happened to the queries.

    Attributes:
        latencies: (queries,) seconds until the answer.
        slowest: (queries,) seconds of the slowest shard that answered, from when its replica first
            got a core.
        coverage: (queries,) the share of the shards whose answers came in time.
        second_requests: Hedged requests, of all.
        core_use: The share of the nodes' core-seconds that were used.
    """

    latencies: Values
    slowest: Values
    coverage: Values
    second_requests: float
    core_use: float

    def percentile(self, percent: float) -> float:
        """Returns a percentile of the latencies, in seconds."""
        return float(np.percentile(self.latencies, percent))


def simulate(scenario: Scenario, load: Load) -> Outcome:
    """Simulates queries, and returns what happened to them.

    Args:
        scenario: The cluster.
        load: The queries.

    Raises:
        PackageError: simpy is not installed.

    Example:
        >>> second = np.ones(1)
        >>> outcome = simulate(Scenario(service=second, shards=8, cores=2), Load(queries=3))
        >>> round(outcome.percentile(50), 3)  # of 8 searches on 2 cores
        4.0
    """
    return _Simulation(scenario, load).run()


class _Node:
    """A machine: its cores, whether it is up, and the attempts that run on it."""

    def __init__(self, environment: simpy.Environment, cores: int) -> None:
        import simpy

        self.cores = simpy.Resource(environment, cores)
        self.up = True
        self.running: dict[_Attempt, simpy.Process] = {}


@dataclass(slots=True, eq=False)
class _Attempt:
    """One request to one replica."""

    place: int
    sent: float
    done: simpy.Event  # with the seconds of the search, or None where the node failed


class _Shard:
    """What the coordinator knows of a shard, or of several that share their actors."""

    def __init__(self, nodes: list[int], shards: int) -> None:
        self.nodes = nodes
        self.shards = shards
        self.in_flight = [0] * len(nodes)
        self.turns = [0] * len(nodes)
        self.turn = 0
        self.recent: deque[float] = deque(maxlen=_RECENT)
        self.unused = _RECOMPUTE
        self.quantile: float | None = None


class _Simulation:
    """One run."""

    def __init__(self, scenario: Scenario, load: Load) -> None:
        try:
            import simpy
        except ImportError as error:
            raise PackageError(
                "the simulation needs the package simpy: pip install 'nestling[bench]'"
            ) from error
        self._simpy = simpy
        self._scenario = scenario
        self._load = load
        self._environment = environment = simpy.Environment()
        self._nodes = [_Node(environment, scenario.cores) for _ in range(scenario.nodes)]
        self._coordinator = simpy.Resource(environment, 1)
        sizes = [
            min(scenario.together, scenario.shards - first)
            for first in range(0, scenario.shards, scenario.together)
        ]
        self._shards = [_Shard(self._places(place), size) for place, size in enumerate(sizes)]
        self._busy = 0.0
        self._requests = self._hedged = 0
        self._hedges = self._most_hedges = max(_FIRST_HEDGES, float(len(sizes)))
        self._latencies = np.zeros(load.queries)
        self._slowest = np.zeros(load.queries)
        self._coverage = np.zeros(load.queries)

    def _places(self, shard: int) -> list[int]:
        """Returns the nodes of a shard's replicas; more of them leave the first where they are."""
        nodes = self._scenario.nodes
        return [(shard + replica) % nodes for replica in range(self._scenario.replicas)]

    def run(self) -> Outcome:
        environment, load = self._environment, self._load
        if self._scenario.failure_seconds < math.inf:
            for number in range(len(self._nodes)):
                environment.process(self._fail(number))
        if load.rate is None:
            loops = [
                environment.process(self._client(first))
                for first in range(min(load.clients, load.queries))
            ]
        else:
            loops = [environment.process(self._arrivals(load.rate))]
        environment.run(self._simpy.AllOf(environment, loops))
        capacity = environment.now * self._scenario.cores * self._scenario.nodes
        return Outcome(
            self._latencies,
            self._slowest,
            self._coverage,
            self._hedged / max(self._requests, 1),
            self._busy / capacity if capacity else 0.0,
        )

    def _client(self, first: int) -> Steps:
        for query in range(first, self._load.queries, self._load.clients):
            yield self._environment.process(self._query(query))

    def _arrivals(self, rate: float) -> Steps:
        rng = np.random.default_rng([self._load.seed, _ARRIVALS])
        answered = []
        for query, pause in enumerate(rng.exponential(1 / rate, self._load.queries)):
            yield self._environment.timeout(pause)
            answered.append(self._environment.process(self._query(query)))
        yield self._simpy.AllOf(self._environment, answered)

    def _fail(self, number: int) -> Steps:
        """Lets a node fail and come back, again and again."""
        scenario, node = self._scenario, self._nodes[number]
        rng = np.random.default_rng([self._load.seed, _FAILURES, number])
        while True:
            yield self._environment.timeout(rng.exponential(scenario.failure_seconds))
            node.up = False
            for process in list(node.running.values()):
                process.interrupt()
            yield self._environment.timeout(scenario.restart_seconds)
            node.up = True

    def _query(self, query: int) -> Steps:
        environment, scenario = self._environment, self._scenario
        start = environment.now
        draws = self._draws(query)
        yield from self._coordinate(scenario.query_seconds)
        found: list[tuple[_Shard, float]] = []
        gathering = [
            environment.process(self._gather(shard, times, found))
            for shard, times in zip(self._shards, draws, strict=True)
        ]
        everything = self._simpy.AllOf(environment, gathering)
        if scenario.deadline is None:
            yield everything
        else:
            left = max(start + scenario.deadline - environment.now, 0.0)
            yield everything | environment.timeout(left)
        self._latencies[query] = environment.now - start
        self._slowest[query] = max((seconds for _, seconds in found), default=0.0)
        self._coverage[query] = sum(shard.shards for shard, _ in found) / scenario.shards

    def _draws(self, query: int) -> NDArray[np.float64]:
        """Returns the times of the searches and delays of each request: (requests, replicas, 2).

        Each replica's are drawn by themselves, so that they are the same however many there are.
        """
        scenario = self._scenario
        firsts = np.cumsum([0, *(shard.shards for shard in self._shards[:-1])])
        drawn = np.zeros((len(firsts), scenario.replicas, 2))
        for replica in range(scenario.replicas):
            rng = np.random.default_rng([self._load.seed, _SERVICE, query, replica])
            each = scenario.service[rng.integers(len(scenario.service), size=scenario.shards)]
            drawn[:, replica, 0] = np.add.reduceat(each, firsts)
            slow = rng.random(len(firsts)) < scenario.straggler_share
            drawn[:, replica, 1] = slow * scenario.straggler_seconds
        return drawn

    def _gather(self, shard: _Shard, times: Values, found: list[tuple[_Shard, float]]) -> Steps:
        """Gets the answer to one request, and appends the seconds that the search took."""
        environment = self._environment
        tried: list[int] = []
        self._count_request()
        first = yield from self._send(shard, times, tried)
        if first is None:
            return
        running: list[_Attempt] = [first]
        after = self._scenario.hedge_seconds if shard.quantile is None else shard.quantile
        hedge: simpy.Event | None = environment.timeout(after)
        while running:
            waiting = [attempt.done for attempt in running]
            yield self._simpy.AnyOf(environment, waiting if hedge is None else [*waiting, hedge])
            for attempt in list(running):
                if not attempt.done.processed:
                    continue
                if attempt.done.value is not None:
                    self._note(shard, environment.now - attempt.sent)
                    found.append((shard, attempt.done.value))
                    return
                running.remove(attempt)
                following = yield from self._send(shard, times, tried)
                if following is not None:
                    running.append(following)
            if hedge is not None and hedge.processed:
                hedge = None
                if len(tried) < len(shard.nodes) and self._may_hedge():
                    second = yield from self._send(shard, times, tried)
                    if second is not None:
                        running.append(second)

    def _send(self, shard: _Shard, times: Values, tried: list[int]) -> Steps:
        """Sends the request to the best replica that was not tried; returns None without one."""
        free = [
            place
            for place, node in enumerate(shard.nodes)
            if place not in tried and self._nodes[node].up
        ]
        if not free:
            return None
        place = min(free, key=lambda each: (shard.in_flight[each], shard.turns[each]))
        shard.turn += 1
        shard.turns[place] = shard.turn
        shard.in_flight[place] += 1
        search, delay = times[len(tried)]  # of the first request, the second …
        tried.append(place)
        yield from self._coordinate(self._scenario.call_seconds)
        attempt = _Attempt(place, self._environment.now, self._environment.event())
        node = self._nodes[shard.nodes[place]]
        process = self._environment.process(self._serve(shard, attempt, node, search, delay))
        node.running[attempt] = process
        return attempt

    def _serve(
        self, shard: _Shard, attempt: _Attempt, node: _Node, search: float, delay: float
    ) -> Steps:
        """Runs a request on its node, unless this fails."""
        environment, scenario = self._environment, self._scenario
        took: float | None = None
        try:
            yield environment.timeout(scenario.network_seconds)
            if node.up:
                side_by_side = min(shard.shards, scenario.cores)
                part = search / side_by_side
                others = [
                    environment.process(self._work(node, part)) for _ in range(side_by_side - 1)
                ]
                started = yield from self._work(node, scenario.serve_seconds + part)
                yield self._simpy.AllOf(environment, others)
                yield environment.timeout(delay)
                seconds = environment.now - started - scenario.serve_seconds
                yield environment.timeout(scenario.network_seconds)
                took = seconds
        except self._simpy.Interrupt:
            pass
        del node.running[attempt]
        if took is None:
            yield environment.timeout(scenario.detect_seconds)
        shard.in_flight[attempt.place] -= 1
        attempt.done.succeed(took)

    def _work(self, node: _Node, seconds: float) -> Steps:
        """Uses cores of a node, turn by turn; returns when the first turn began."""
        started: float | None = None
        while started is None or seconds > 0:
            with node.cores.request() as turn:
                yield turn
                started = self._environment.now if started is None else started
                part = min(seconds, self._scenario.turn_seconds)
                yield self._environment.timeout(part)
                self._busy += part
                seconds -= part
        return started

    def _coordinate(self, seconds: float) -> Steps:
        """Uses the coordinator, which does one thing at a time."""
        if seconds <= 0:
            return
        with self._coordinator.request() as turn:
            yield turn
            if self._scenario.shared:
                yield from self._work(self._nodes[0], seconds)
            else:
                yield self._environment.timeout(seconds)

    def _note(self, shard: _Shard, latency: float) -> None:
        """Remembers a latency, of which the hedging quantile is taken now and then."""
        shard.recent.append(latency)
        shard.unused -= 1
        if shard.unused <= 0 and self._scenario.hedge_quantile is not None:
            shard.unused = _RECOMPUTE
            ordered = sorted(shard.recent)
            at = int(self._scenario.hedge_quantile * len(ordered))
            shard.quantile = ordered[min(at, len(ordered) - 1)]

    def _count_request(self) -> None:
        self._requests += 1
        self._hedges = min(self._hedges + self._scenario.hedge_share, self._most_hedges)

    def _may_hedge(self) -> bool:
        if not self._scenario.hedge_share or self._hedges < 1:
            return False
        self._hedges -= 1
        self._hedged += 1
        return True
