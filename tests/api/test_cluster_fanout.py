"""The fan-out with simulated replicas: in simulated time, where nothing depends on the machine."""

from __future__ import annotations

import heapq
import itertools
import queue
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling.cluster.fanout import Fanout, FanoutSettings, Gathered, ShardReplicas
from nestling.errors import ArgumentError, FilterError, OverloadError


class World:
    """A clock in whose time replicas answer: `get` runs what happens until an event is there."""

    def __init__(self) -> None:
        self.time = 0.0
        self._plans: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def now(self) -> float:
        return self.time

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._plans, (self.time + seconds, next(self._numbers), action))

    def get(self, events: queue.SimpleQueue[Any], seconds: float | None) -> Any:
        end = None if seconds is None else self.time + max(seconds, 0.0)
        while events.empty():
            if self._plans and (end is None or self._plans[0][0] <= end):
                self.time, _, action = heapq.heappop(self._plans)
                action()
            else:
                assert end is not None, "the call waits for what never happens"
                self.time = end
                return None
        return events.get()

    def advance(self, seconds: float) -> None:
        self.get(queue.SimpleQueue(), seconds)


@dataclass(eq=False)
class Simulated:
    """A replica: how long it takes, and what comes of it.

    Attributes:
        outcome: "answer", "fail", "hang", or "raise" where even sending fails.
        until: When it recovers and answers.
    """

    world: World
    name: str
    seconds: float = 0.01
    outcome: str = "answer"
    until: float = float("inf")
    sent: list[float] = field(default_factory=list)
    in_flight: int = 0
    most: int = 0

    def submit(self, request: Any) -> Future[Any]:
        future: Future[Any] = Future()
        outcome = self.outcome if self.world.time < self.until else "answer"
        self.sent.append(self.world.time)
        if outcome == "raise":
            raise ConnectionError(self.name)
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        if outcome != "hang":
            self.world.later(self.seconds, lambda: self._resolve(future, request, outcome))
        return future

    def _resolve(self, future: Future[Any], request: Any, outcome: str) -> None:
        self.in_flight -= 1
        if outcome == "answer":
            future.set_result((self.name, request))
        elif outcome == "filter":
            future.set_exception(FilterError("where: unknown"))
        else:
            future.set_exception(ConnectionError(f"{self.name} is lost"))


def fan(world: World, shards: dict[str, list[Simulated]], **options: Any) -> Fanout[Any, Any]:
    known = {
        name: ShardReplicas(rows=10 * (place + 1), replicas=replicas)
        for place, (name, replicas) in enumerate(shards.items())
    }
    return Fanout(known, FanoutSettings(**options), clock=world)


Behaviour = st.tuples(
    st.floats(0.0001, 0.5),
    st.sampled_from(["answer", "answer", "fail", "hang", "raise"]),
    st.one_of(st.just(float("inf")), st.floats(0, 1)),
)


@given(
    shards=st.lists(st.lists(Behaviour, max_size=3), min_size=1, max_size=5),
    deadline=st.floats(0.001, 2),
    min_coverage=st.floats(0, 1),
    rounds=st.integers(1, 4),
)
def test_what_is_answered_is_true_in_time_and_counted(
    shards: list[list[tuple[float, str, float]]],
    deadline: float,
    min_coverage: float,
    rounds: int,
) -> None:
    world = World()
    made = {
        f"s{place}": [
            Simulated(world, f"s{place}", seconds, outcome, until)
            for seconds, outcome, until in replicas
        ]
        for place, replicas in enumerate(shards)
    }
    fanout = fan(world, made)
    rows = fanout.rows
    for number in range(rounds):
        start = world.time
        requests = {name: (number, name) for name in made}
        gathered = fanout.call(requests, start + deadline, min_coverage=min_coverage)
        assert world.time <= start + deadline + 1e-9
        assert gathered.answers == {name: (name, requests[name]) for name in gathered.answers}
        assert set(gathered.late) == made.keys() - gathered.answers.keys()
        assert gathered.coverage == sum(rows[name] for name in gathered.answers) / sum(
            rows.values()
        )
        assert gathered.failures.keys() == set(gathered.late)
        # Whoever went before the deadline went because it could not get better.
        if world.time < start + deadline and gathered.late:
            assert gathered.coverage >= min_coverage - 1e-9
        for name in gathered.late:
            if world.time < start + deadline:
                assert all(replica.outcome != "answer" for replica in made[name])


@given(st.permutations(["fail", "raise", "answer"]))
def test_the_next_replica_is_tried_at_once(outcomes: list[str]) -> None:
    world = World()
    replicas = [Simulated(world, "a", 0.001, outcome) for outcome in outcomes]
    gathered = fan(world, {"a": replicas}).call("q")
    assert gathered == Gathered({"a": ("a", "q")}, (), 1.0)
    assert world.time <= 0.0021


def test_without_a_deadline_a_shard_whose_replicas_all_failed_is_left_out() -> None:
    world = World()
    shards = {"a": [Simulated(world, "a")], "b": [Simulated(world, "b", outcome="fail")] * 2}
    gathered = fan(world, shards).call("q", min_coverage=1.0)
    assert (gathered.late, gathered.coverage) == (("b",), 10 / 30)
    assert "b is lost" in gathered.failures["b"]


@given(recovery=st.floats(0.0, 0.6))
def test_a_shard_that_the_coverage_needs_is_tried_until_it_is_back(recovery: float) -> None:
    world = World()
    shards = {
        "a": [Simulated(world, "a")],
        "b": [Simulated(world, "b", 0.001, "fail", until=recovery) for _ in range(2)],
    }
    fanout = fan(world, shards)
    gathered = fanout.call("q", 1.0, min_coverage=1.0)
    assert gathered.coverage == 1
    assert world.time <= recovery + 0.3


def test_a_shard_that_the_coverage_does_not_need_is_not_waited_for() -> None:
    world = World()
    shards = {
        "a": [Simulated(world, "a", outcome="fail", until=0.2)],
        "b": [Simulated(world, "b")],
    }
    gathered = fan(world, shards).call("q", 1.0, min_coverage=0.5)
    assert gathered.late == ("a",)
    assert world.time < 0.05


def test_a_slow_answer_is_hedged_after_the_quantile_of_those_like_it() -> None:
    world = World()
    first, second = Simulated(world, "a", 0.01), Simulated(world, "a", 0.01)
    fanout = fan(world, {"a": [first, second]})
    for _ in range(40):
        fanout.call("q")
        assert fanout.call(b"of another kind").coverage == 1
    assert fanout.statistics.hedges == 0
    first.sent.clear()
    second.sent.clear()
    first.outcome = second.outcome = "hang"
    start = world.time
    world.later(0.05, lambda: None)
    fanout.call("q", start + 1)
    sent = sorted(first.sent + second.sent)
    assert sent == pytest.approx([start, start + 0.01])
    assert fanout.statistics.hedges == 1


@given(share=st.sampled_from([0.0, 0.05, 0.2]), calls=st.integers(100, 400))
def test_hedges_stay_within_their_share(share: float, calls: int) -> None:
    world = World()
    replicas = [Simulated(world, "a", 0.2) for _ in range(2)]
    fanout = fan(world, {"a": replicas}, hedge_share=share, hedge_seconds=0.001)
    for _ in range(calls):
        for replica in replicas:  # slower and slower: each is slower than those before it
            replica.seconds *= 1.02
        fanout.call("q")
    assert fanout.statistics.hedges <= (calls * share + 16 if share else 0)
    assert share == 0 or fanout.statistics.hedges >= 16


def test_a_hung_replica_is_avoided_and_its_calls_are_bounded() -> None:
    world = World()
    hung, healthy = Simulated(world, "a", outcome="hang"), Simulated(world, "a", 0.01)
    fanout = fan(world, {"a": [hung, healthy]}, max_in_flight=4, hedge_share=0.0)
    full = sum(fanout.call("q", world.time + 0.05).coverage == 1 for _ in range(200))
    assert full >= 190
    assert hung.most <= 4


def test_a_shard_of_hung_replicas_is_late_and_not_overloaded() -> None:
    world = World()
    shards = {
        "a": [Simulated(world, "a", outcome="hang") for _ in range(2)],
        "b": [Simulated(world, "b")],
    }
    fanout = fan(world, shards, max_in_flight=4)
    for _ in range(30):
        assert fanout.call("q", world.time + 0.02).late == ("a",)
    assert all(replica.most <= 4 for replica in shards["a"])


def test_more_calls_than_the_replicas_admit_are_refused() -> None:
    started = threading.Semaphore(0)
    release = threading.Event()

    class Blocking:
        def submit(self, request: str) -> Future[str]:
            started.release()
            return pool.submit(lambda: (release.wait(200), request)[1])

    shards = {"a": ShardReplicas(rows=1, replicas=[Blocking(), Blocking()])}
    fanout = Fanout(shards, FanoutSettings(max_in_flight=3, hedge_share=0))
    with ThreadPoolExecutor(12) as pool, ThreadPoolExecutor(6) as clients:
        running = [clients.submit(fanout.call, "q") for _ in range(6)]
        for _ in running:
            assert started.acquire(timeout=200)
        with pytest.raises(OverloadError, match="3 calls in flight at each replica"):
            fanout.call("q")
        release.set()
        assert all(each.result().coverage == 1 for each in running)
        assert fanout.call("q").coverage == 1


def test_a_replica_that_fails_fast_does_not_draw_every_request() -> None:
    world = World()
    failing, healthy = Simulated(world, "a", 0.0001, "fail"), Simulated(world, "a", 0.01)
    fanout = fan(world, {"a": [failing, healthy]})
    for _ in range(200):
        assert fanout.call("q").coverage == 1
    assert len(failing.sent) < 20
    failing.outcome, before = "answer", len(failing.sent)
    world.advance(5)
    for _ in range(20):
        fanout.call("q")
    assert len(failing.sent) >= before + 10


def test_requests_are_spread_over_the_replicas() -> None:
    world = World()
    replicas = [Simulated(world, "a") for _ in range(3)]
    fanout = fan(world, {"a": replicas})
    for _ in range(30):
        fanout.call("q")
    assert [len(replica.sent) for replica in replicas] == [10, 10, 10]


def test_what_the_request_is_at_fault_for_is_raised_and_not_retried() -> None:
    world = World()
    replicas = [Simulated(world, "a", outcome="filter") for _ in range(2)]
    with pytest.raises(FilterError, match="unknown"):
        fan(world, {"a": replicas}).call("q")
    assert sum(len(replica.sent) for replica in replicas) == 1


def test_a_replica_can_be_replaced() -> None:
    world = World()
    old, new = Simulated(world, "a", outcome="fail"), Simulated(world, "a")
    fanout = fan(world, {"a": [old]})
    assert fanout.call("q").coverage == 0
    fanout.replace("a", old, new)
    assert fanout.call("q").coverage == 1
    with pytest.raises(ArgumentError, match="not a replica of the shard 'a'"):
        fanout.replace("a", old, new)


def test_some_shards_can_be_asked() -> None:
    world = World()
    fanout = fan(world, {name: [Simulated(world, name)] for name in "abc"})
    gathered = fanout.call({"c": 1, "a": 2})
    assert gathered == Gathered({"c": ("c", 1), "a": ("a", 2)}, (), 1.0)
    assert fanout.call({}) == Gathered({}, (), 1.0)
    with pytest.raises(ArgumentError, match="no shard 'd'"):
        fanout.call({"d": 1})


def test_threads_share_it() -> None:
    """Real threads and small delays: each gets its own answers, and every call is counted out."""
    rng = random.Random(0)

    class Flaky:
        def __init__(self, name: str) -> None:
            self.name = name

        def submit(self, request: Any) -> Future[Any]:
            seconds, fails = rng.expovariate(2000), rng.random() < 0.05

            def answer() -> Any:
                time.sleep(seconds)
                if fails:
                    raise ConnectionError
                return self.name, request

            return pool.submit(answer)

    shards = {
        name: ShardReplicas(rows=1, replicas=[Flaky(name), Flaky(name), Flaky(name)])
        for name in "abcd"
    }
    fanout = Fanout(shards)

    def client(number: int) -> list[float]:
        found = []
        for turn in range(50):
            gathered = fanout.call((number, turn), time.monotonic() + 200)
            assert gathered.answers == {name: (name, (number, turn)) for name in gathered.answers}
            found.append(gathered.coverage)
        return found

    with ThreadPoolExecutor(16) as pool:
        with ThreadPoolExecutor(8) as clients:
            coverages = [one for many in clients.map(client, range(8)) for one in many]
        pool.shutdown()
    assert sum(one == 1 for one in coverages) >= 395
    assert all(
        member.in_flight == member.abandoned == 0
        for group in fanout._groups.values()
        for member in group.members
    )


@pytest.mark.parametrize(
    "settings",
    [{"max_in_flight": 0}, {"hedge_quantile": 1.5}, {"hedge_share": -1}, {"hedge_seconds": 0}],
)
def test_settings_are_checked(settings: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(settings))):
        FanoutSettings(**settings)
