"""One request to every shard: the replica that is least busy, the next when it fails or is slow."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Generic, Protocol, TypeVar

from nestling.errors import (
    ArgumentError,
    ArgumentTypeError,
    ClusterError,
    FilterError,
    FunnelError,
    OverloadError,
    VectorError,
)

__all__ = [
    "Clock",
    "Fanout",
    "FanoutSettings",
    "FanoutStatistics",
    "Gathered",
    "Replica",
    "ShardReplicas",
]

# Every replica would answer so: the request is at fault, not the replica.
_REQUEST_ERRORS: Final = (ArgumentError, ArgumentTypeError, FilterError, FunnelError, VectorError)
_LATENCIES: Final = 128  # of a shard that are remembered, for each kind of request
_RECOMPUTE: Final = 16  # latencies after which their quantile is computed again
_FIRST_BACKOFF: Final = 0.05  # seconds that a replica is avoided after it failed; doubles
_LAST_BACKOFF: Final = 2.0
_FIRST_PAUSE: Final = 0.02  # seconds before a shard without any replica is tried again; doubles
_LAST_PAUSE: Final = 0.25

R = TypeVar("R")
A = TypeVar("A")
R_contra = TypeVar("R_contra", contravariant=True)


class Replica(Protocol[R_contra, A]):
    """What answers requests to one shard."""

    def submit(self, request: R_contra, /) -> Future[A]:
        """Sends a request; returns at once. The future may be resolved by any thread."""


class Clock(Protocol):
    """Time, and waiting for an event of a queue; a test can put another in its place."""

    def now(self) -> float:
        """Returns seconds that only grow."""

    def get(self, events: queue.SimpleQueue[A], seconds: float | None) -> A | None:
        """Returns the next event; None after `seconds` without one."""


class _SystemClock:
    """The clock of `time.monotonic`."""

    now = staticmethod(time.monotonic)

    def get(self, events: queue.SimpleQueue[A], seconds: float | None) -> A | None:
        """Returns the next event; None after `seconds` without one."""
        try:
            return events.get(timeout=None if seconds is None else max(seconds, 0.0))
        except queue.Empty:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class FanoutSettings:
    """How requests are sent to replicas.

    Attributes:
        max_in_flight: Calls of one replica that may run or wait at a time; where no replica of a
            shard has room, a query is refused.
        hedge_quantile: A second replica is sent the same request after this quantile of the
            shard's recent latencies.
        hedge_share: The most of such second requests, of all requests; 0 for none.
        hedge_seconds: After how long it is sent while few latencies are known.

    Raises:
        ArgumentError: A value is out of range.

    Example:
        >>> FanoutSettings(hedge_quantile=0.9).max_in_flight
        64
    """

    max_in_flight: int = 64
    hedge_quantile: float = 0.95
    hedge_share: float = 0.1
    hedge_seconds: float = 0.1

    def __post_init__(self) -> None:
        if self.max_in_flight < 1:
            raise ArgumentError(f"max_in_flight must be at least 1, not {self.max_in_flight}")
        for name in ("hedge_quantile", "hedge_share"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ArgumentError(f"{name} must be 0 to 1, not {value}")
        if not self.hedge_seconds > 0:
            raise ArgumentError(f"hedge_seconds must be above 0, not {self.hedge_seconds}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardReplicas(Generic[R, A]):
    """A shard as the fan-out sees it.

    Attributes:
        rows: How many rows it has, for the coverage.
        replicas: What answers for it.
    """

    rows: int
    replicas: Sequence[Replica[R, A]]


@dataclass(frozen=True, slots=True)
class Gathered(Generic[A]):
    """The answers of one round.

    Attributes:
        answers: By shard.
        late: The shards without an answer: they were late, or no replica of theirs could answer.
        coverage: Rows of the shards that answered, of the rows of all that were asked; 1 where
            these have no rows.
        failures: For each of `late`, what its last failed replica said; "" where it was slow.
    """

    answers: dict[str, A]
    late: tuple[str, ...]
    coverage: float
    failures: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FanoutStatistics:
    """Counts since the start.

    Attributes:
        requests: Requests to shards, not counting the following ones.
        hedges: Second requests because the first was slow.
        failures: Requests that a replica failed.
        late: Requests without an answer in time.
    """

    requests: int = 0
    hedges: int = 0
    failures: int = 0
    late: int = 0


class _Latencies:
    """The recent latencies of one kind of request to one shard."""

    __slots__ = ("_next", "_quantile", "_recent", "_share")

    def __init__(self, share: float) -> None:
        self._recent: deque[float] = deque(maxlen=_LATENCIES)
        self._share = share
        self._next = _RECOMPUTE
        self._quantile: float | None = None

    def add(self, seconds: float) -> None:
        self._recent.append(seconds)
        self._next -= 1
        if self._next <= 0:
            self._next = _RECOMPUTE
            ordered = sorted(self._recent)
            self._quantile = ordered[min(int(self._share * len(ordered)), len(ordered) - 1)]

    @property
    def quantile(self) -> float | None:
        """The quantile; None while few are known."""
        return self._quantile


class _Member(Generic[R, A]):
    """One replica of a shard, and what is known about it."""

    __slots__ = ("abandoned", "avoided_until", "failures", "in_flight", "replica", "turn")

    def __init__(self, replica: Replica[R, A]) -> None:
        self.replica = replica
        self.in_flight = 0
        self.abandoned = 0  # of those in flight, the ones that no query waits for any more
        self.failures = 0  # in a row
        self.avoided_until = 0.0
        self.turn = 0  # when it was last chosen

    def failed(self, now: float) -> None:
        backoff = min(_FIRST_BACKOFF * 2.0 ** min(self.failures, 10), _LAST_BACKOFF)
        self.failures += 1
        self.avoided_until = now + backoff

    def answered(self) -> None:
        self.failures = 0
        self.avoided_until = 0.0


class _Group(Generic[R, A]):
    """The replicas of one shard. Its attributes change under its lock only."""

    def __init__(self, name: str, shard: ShardReplicas[R, A], share: float) -> None:
        self.name = name
        self.rows = shard.rows
        self.lock = threading.Lock()
        self.members = [_Member(replica) for replica in shard.replicas]
        self.latencies: dict[Hashable, _Latencies] = {}
        self._share = share
        self._turns = 0

    def choose(self, now: float, tried: Iterable[_Member[R, A]], most: int) -> _Member[R, A] | None:
        """Returns the best replica for one more call, and counts the call; None if there is none.

        Those that failed a moment ago come last: they fail faster than others answer, and would
        draw every request.
        """
        with self.lock:
            free = [each for each in self.members if each not in tried and each.in_flight < most]
            if not free:
                return None
            best = min(free, key=lambda each: (each.avoided_until > now, each.in_flight, each.turn))
            self._turns += 1
            best.turn = self._turns
            best.in_flight += 1
            return best

    def overloaded(self, most: int) -> bool:
        """Whether all replicas are busy with calls that queries wait for."""
        with self.lock:
            return bool(self.members) and all(
                each.in_flight >= most and each.abandoned * 2 < most for each in self.members
            )

    def latency(self, kind: Hashable) -> _Latencies:
        found = self.latencies.get(kind)
        if found is None:
            found = self.latencies.setdefault(kind, _Latencies(self._share))
        return found


class _Attempt(Generic[R, A]):
    """One call of one replica."""

    __slots__ = ("abandoned", "done", "future", "group", "member", "sent")

    def __init__(self, group: _Group[R, A], member: _Member[R, A], sent: float) -> None:
        self.group = group
        self.member = member
        self.sent = sent
        self.future: Future[A] | None = None
        self.done = self.abandoned = False

    def finish(self) -> None:
        """Counts the call out; called once, by whoever resolves the future."""
        with self.group.lock:
            self.done = True
            self.member.in_flight -= 1
            self.member.abandoned -= self.abandoned

    def abandon(self) -> None:
        """Notes that nobody waits for the answer any more."""
        with self.group.lock:
            if not self.done and not self.abandoned:
                self.abandoned = True
                self.member.abandoned += 1


class _Waiting(Generic[R, A]):
    """A shard of which one round still needs the answer."""

    __slots__ = ("due", "failure", "group", "hedged", "pause", "request", "running", "tried")

    def __init__(self, group: _Group[R, A], request: R) -> None:
        self.group = group
        self.request = request
        self.tried: list[_Member[R, A]] = []
        self.running: list[_Attempt[R, A]] = []
        self.due: float | None = None  # when to send a second request, or to try again
        self.hedged = False
        self.pause = _FIRST_PAUSE
        self.failure = ""


class Fanout(Generic[R, A]):
    """Sends requests to shards and gathers their answers. Threads may share it.

    Of a shard's replicas, the one with the fewest calls in flight is sent the request. If it
    fails, the next one is, at once; if it is slower than most of the shard's recent requests of
    that kind, the next one is sent the same, and the first answer counts (a hedged request: Dean
    and Barroso, The Tail at Scale, 2013). What has not answered by the deadline is reported.

    Args:
        shards: The shards by name.
        settings: How requests are sent.
        clock: What time it is; for tests.
        kind: Tells requests apart whose latencies differ. Default: their type.

    Example:
        >>> from concurrent.futures import ThreadPoolExecutor
        >>> class Adder:
        ...     def __init__(self, number):
        ...         self.number = number
        ...
        ...     def submit(self, request):
        ...         return pool.submit(lambda: request + self.number)
        >>> with ThreadPoolExecutor() as pool:
        ...     shards = {
        ...         "a": ShardReplicas(rows=1, replicas=[Adder(1)]),
        ...         "b": ShardReplicas(rows=3, replicas=[]),
        ...     }
        ...     gathered = Fanout(shards).call(10)
        >>> gathered.answers, gathered.late, gathered.coverage
        ({'a': 11}, ('b',), 0.25)
    """

    def __init__(
        self,
        shards: Mapping[str, ShardReplicas[R, A]],
        settings: FanoutSettings | None = None,
        *,
        clock: Clock | None = None,
        kind: Callable[[R], Hashable] = type,
    ) -> None:
        self._settings = settings or FanoutSettings()
        self._kind = kind
        self._clock: Clock = clock or _SystemClock()
        share = self._settings.hedge_quantile
        self._groups = {name: _Group(name, shard, share) for name, shard in shards.items()}
        self._counts = dict.fromkeys(("requests", "hedges", "failures", "late"), 0)
        self._counting = threading.Lock()
        self._most_hedges = max(16.0, float(len(shards)))
        self._hedges = self._most_hedges  # that may be sent now

    def __repr__(self) -> str:
        replicas = sum(len(group.members) for group in self._groups.values())
        return f"Fanout({len(self._groups)} shards, {replicas} replicas)"

    @property
    def statistics(self) -> FanoutStatistics:
        """Counts since the start."""
        with self._counting:
            return FanoutStatistics(**self._counts)

    @property
    def rows(self) -> dict[str, int]:
        """Rows of each shard."""
        return {name: group.rows for name, group in self._groups.items()}

    def replace(self, shard: str, old: Replica[R, A], new: Replica[R, A]) -> None:
        """Puts a replica in the place of one that will not answer any more.

        Raises:
            ArgumentError: `old` is not a replica of the shard.
        """
        group = self._groups[shard]
        with group.lock:
            for place, member in enumerate(group.members):
                if member.replica is old:
                    group.members[place] = _Member(new)
                    return
        raise ArgumentError(f"{old!r} is not a replica of the shard {shard!r}")

    def call(
        self,
        requests: Mapping[str, R] | R,
        deadline: float | None = None,
        *,
        min_coverage: float = 0.0,
    ) -> Gathered[A]:
        """Sends requests, and returns the answers that came before the deadline.

        Args:
            requests: By shard; or one for all of them.
            deadline: Seconds of `time.monotonic`; None to wait until every shard has answered or
                every replica of it has failed.
            min_coverage: A shard of which every replica has failed is tried again until the
                deadline while less than this share of the rows would be left without it.

        Raises:
            OverloadError: No replica of a shard has room for one more call.
            ArgumentError, FilterError, FunnelError, VectorError: The request is at fault.
        """
        if not isinstance(requests, Mapping):
            requests = dict.fromkeys(self._groups, requests)
        for name in requests:
            if name not in self._groups:
                raise ArgumentError(f"there is no shard {name!r}")
        return _Round(self, requests, deadline, min_coverage).run()

    def count(self, *, requests: int = 0, failures: int = 0, late: int = 0) -> None:
        """Adds to the statistics."""
        with self._counting:
            self._counts["requests"] += requests
            self._counts["failures"] += failures
            self._counts["late"] += late
            earned = requests * self._settings.hedge_share
            self._hedges = min(self._hedges + earned, self._most_hedges)

    def may_hedge(self) -> bool:
        """Returns whether one more second request may be sent, and counts it."""
        with self._counting:
            if not self._settings.hedge_share or self._hedges < 1:
                return False
            self._hedges -= 1
            self._counts["hedges"] += 1
            return True


class _Round(Generic[R, A]):
    """One call of a fan-out."""

    def __init__(
        self,
        fanout: Fanout[R, A],
        requests: Mapping[str, R],
        deadline: float | None,
        min_coverage: float,
    ) -> None:
        self._fanout = fanout
        self._settings = fanout._settings
        self._clock = fanout._clock
        self._deadline = deadline
        groups = fanout._groups
        self._waiting = {name: _Waiting(groups[name], each) for name, each in requests.items()}
        self._events: queue.SimpleQueue[tuple[_Waiting[R, A], _Attempt[R, A]]] = queue.SimpleQueue()
        self._rows = sum(each.group.rows for each in self._waiting.values())
        self._needed = min_coverage * self._rows
        self._in_reach = self._rows  # rows of shards that have answered or still may
        self._answers: dict[str, A] = {}
        self._out: dict[str, str] = {}

    def run(self) -> Gathered[A]:
        names = tuple(self._waiting)
        try:
            self._fanout.count(requests=len(names))
            for each in list(self._waiting.values()):
                self._send(each)
            while self._waiting:
                now = self._clock.now()
                if self._deadline is not None and now >= self._deadline:
                    break
                due = self._next_due()
                event = self._clock.get(self._events, None if due is None else due - now)
                if event is None:
                    self._on_time()
                else:
                    self._on_done(*event)
        finally:
            self._leave()
        answers = {name: self._answers[name] for name in names if name in self._answers}
        late = tuple(name for name in names if name not in answers)
        if late:
            self._fanout.count(late=len(late))
        answered = sum(self._fanout._groups[name].rows for name in answers)
        coverage = answered / self._rows if self._rows else float(not late)
        return Gathered(answers, late, coverage, {name: self._out.get(name, "") for name in late})

    def _next_due(self) -> float | None:
        """Returns when something is to be done if no answer comes."""
        due = self._deadline
        for each in self._waiting.values():
            if each.due is not None and (due is None or each.due < due):
                due = each.due
        return due

    def _send(self, waiting: _Waiting[R, A]) -> bool:
        """Sends the request to the best replica that was not tried; whether there is one."""
        now = self._clock.now()
        group = waiting.group
        member = group.choose(now, waiting.tried, self._settings.max_in_flight)
        if member is None:
            if not waiting.tried and group.overloaded(self._settings.max_in_flight):
                raise OverloadError(
                    f"the shard {group.name} has {self._settings.max_in_flight} calls in flight at "
                    "each replica: send fewer queries at a time, or serve it with more replicas"
                )
            if not waiting.running:
                self._exhausted(waiting, now)
            return False
        waiting.tried.append(member)
        attempt = _Attempt(group, member, now)
        waiting.running.append(attempt)
        waiting.due = None
        if not waiting.hedged:
            quantile = group.latency(self._fanout._kind(waiting.request)).quantile
            waiting.due = now + (self._settings.hedge_seconds if quantile is None else quantile)
        future: Future[A]
        try:
            future = member.replica.submit(waiting.request)
        except Exception as error:
            future = Future()
            future.set_exception(error)
        attempt.future = future
        future.add_done_callback(partial(_finished, self._events, waiting, attempt))
        return True

    def _on_time(self) -> None:
        """Sends what is due: second requests, and those to shards that are tried again."""
        now = self._clock.now()
        for each in list(self._waiting.values()):
            if each.due is None or each.due > now:
                continue
            each.due = None
            if not each.running:
                each.tried.clear()
                self._send(each)
            elif not each.hedged and self._has_another(each) and self._fanout.may_hedge():
                each.hedged = True
                self._send(each)

    def _has_another(self, waiting: _Waiting[R, A]) -> bool:
        return len(waiting.tried) < len(waiting.group.members)

    def _on_done(self, waiting: _Waiting[R, A], attempt: _Attempt[R, A]) -> None:
        """Handles an answer, or a failure."""
        assert attempt.future is not None
        waiting.running.remove(attempt)
        name, group, now = waiting.group.name, waiting.group, self._clock.now()
        error = _error_of(attempt.future)
        if error is None:
            with group.lock:
                attempt.member.answered()
                group.latency(self._fanout._kind(waiting.request)).add(now - attempt.sent)
            if self._waiting.pop(name, None) is not None:
                self._answers[name] = attempt.future.result()
                for other in waiting.running:
                    other.abandon()
            return
        if isinstance(error, _REQUEST_ERRORS):
            raise error
        with group.lock:
            attempt.member.failed(now)
        self._fanout.count(failures=1)
        if name not in self._waiting:
            return
        waiting.failure = f"{type(error).__name__}: {error}"
        self._send(waiting)

    def _exhausted(self, waiting: _Waiting[R, A], now: float) -> None:
        """Tries a shard again in a moment where the round needs it; else goes on without it."""
        rows = waiting.group.rows
        if self._deadline is not None and self._in_reach - rows < self._needed:
            waiting.due = now + waiting.pause
            waiting.pause = min(waiting.pause * 2, _LAST_PAUSE)
            return
        self._in_reach -= rows
        self._out[waiting.group.name] = waiting.failure or "no replica is there"
        del self._waiting[waiting.group.name]

    def _leave(self) -> None:
        """Notes of each replica that still has not answered that it is slow."""
        now = self._clock.now()
        for name, each in self._waiting.items():
            if each.failure:
                self._out[name] = each.failure
            for attempt in each.running:
                attempt.abandon()
                with each.group.lock:
                    attempt.member.failed(now)


def _finished(
    events: queue.SimpleQueue[tuple[_Waiting[R, A], _Attempt[R, A]]],
    waiting: _Waiting[R, A],
    attempt: _Attempt[R, A],
    _: Future[A],
) -> None:
    attempt.finish()
    events.put((waiting, attempt))


def _error_of(future: Future[A]) -> BaseException | None:
    if future.cancelled():
        return ClusterError("the call was cancelled")
    return future.exception()
