"""What runs when: batches of texts and of searches, turns, refusals, and what is given up."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_models import WORDS

from fake_clock import FakeClock
from nestling.encoder import Encoder
from nestling.server.errors import RequestError
from nestling.server.schedule.admission import Admission, QueueLimits
from nestling.server.schedule.encode import EncodeLimits, EncodeScheduler
from nestling.server.schedule.search import Searches, SearchScheduler
from nestling.server.schedule.threads import WorkerThreads

MakeFolder = Callable[..., Path]
PLAIN = WORDS[4:11]
LIMITS = EncodeLimits(input_tokens=None, request_tokens=100_000)
ROOM = QueueLimits(work=100_000, seconds=1e6)


class Gate:
    """Holds the runs of a model until it is opened, and notes the texts of each."""

    def __init__(self, encoder: Encoder) -> None:
        self.opened = threading.Event()
        self.entered = threading.Event()
        self.runs: list[int] = []
        self._embed = encoder.embedder.embed_tokens

    def __call__(self, rows: list[Any], dim: int | None = None, **options: Any) -> Any:
        self.runs.append(len(rows))
        self.entered.set()
        assert self.opened.wait(200)
        return self._embed(rows, dim, **options)


@pytest.fixture
def encoder(make_folder: MakeFolder) -> Encoder:
    return Encoder(make_folder(special=False), threads=1)


@pytest.fixture
def gate(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate = Gate(encoder)
    monkeypatch.setattr(encoder.embedder, "embed_tokens", gate)
    return gate


def run(
    work: Callable[[EncodeScheduler], Any],
    encoder: Encoder,
    *,
    workers: int = 1,
    limits: EncodeLimits = LIMITS,
    queue: QueueLimits = ROOM,
) -> Any:
    threads = WorkerThreads(workers, "test")

    async def main() -> Any:
        return await work(EncodeScheduler(encoder, threads, workers, limits, queue))

    try:
        return asyncio.run(main())
    finally:
        threads.close()


texts = st.lists(
    st.lists(st.sampled_from(PLAIN), min_size=1, max_size=30).map(" ".join), max_size=20
)


@given(requests=st.lists(texts, max_size=12), workers=st.integers(1, 3))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_concurrent_requests_get_the_vectors_that_the_encoder_gives(
    encoder: Encoder, requests: list[list[str]], workers: int
) -> None:
    async def work(scheduler: EncodeScheduler) -> list[Any]:
        return await asyncio.gather(*(scheduler.encode(each, "") for each in requests))

    for encoded, each in zip(run(work, encoder, workers=workers), requests, strict=True):
        np.testing.assert_allclose(encoded.vectors, encoder.encode(each), atol=1e-6)
        assert encoded.tokens == sum(len(text.split()) for text in each)


@given(request=texts)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_single_request_gets_the_same_bits(encoder: Encoder, request: list[str]) -> None:
    async def work(scheduler: EncodeScheduler) -> Any:
        return await scheduler.encode(request, "", 3)

    np.testing.assert_array_equal(run(work, encoder).vectors, encoder.encode(request, dim=3))


def test_token_ids_give_what_their_texts_give(encoder: Encoder) -> None:
    rows, _ = encoder.embedder.tokenize(["cat sun", "sun"])

    async def work(scheduler: EncodeScheduler) -> Any:
        return await scheduler.encode(rows, "")

    np.testing.assert_array_equal(run(work, encoder).vectors, encoder.encode(["cat sun", "sun"]))


def test_texts_that_come_while_the_model_runs_share_its_next_run(
    encoder: Encoder, gate: Gate
) -> None:
    async def work(scheduler: EncodeScheduler) -> None:
        first = asyncio.ensure_future(scheduler.encode(["cat"], ""))
        while not gate.entered.is_set():
            await asyncio.sleep(0.001)
        others = [asyncio.ensure_future(scheduler.encode(["sun"], "")) for _ in range(9)]
        await asyncio.sleep(0.01)
        gate.opened.set()
        await asyncio.gather(first, *others)

    run(work, encoder)
    assert gate.runs == [1, 9]


def test_a_long_request_takes_turns_with_short_ones(encoder: Encoder, gate: Gate) -> None:
    gate.opened.set()
    order: list[str] = []

    async def work(scheduler: EncodeScheduler) -> None:
        async def request(name: str, texts: Sequence[str]) -> None:
            await scheduler.encode(texts, "")
            order.append(name)

        long = asyncio.ensure_future(request("long", [" ".join(["cat"] * 500)] * 50))
        await asyncio.sleep(0)
        await asyncio.gather(long, *(request("short", ["sun"]) for _ in range(5)))

    run(work, encoder)
    assert order == ["short"] * 5 + ["long"]


def test_what_is_given_up_leaves_the_queue(encoder: Encoder, gate: Gate) -> None:
    async def work(scheduler: EncodeScheduler) -> None:
        first = asyncio.ensure_future(scheduler.encode(["cat"], ""))
        while not gate.entered.is_set():
            await asyncio.sleep(0.001)
        left = asyncio.ensure_future(scheduler.encode(["sun"] * 200, ""))
        stays = asyncio.ensure_future(scheduler.encode(["sun"], ""))
        await asyncio.sleep(0.01)
        left.cancel()
        with suppress(asyncio.CancelledError):
            await left
        gate.opened.set()
        await asyncio.gather(first, stays)
        assert scheduler.admission.queued == 0

    run(work, encoder)
    assert gate.runs == [1, 1]


def test_a_failed_run_fails_its_requests_and_no_others(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = encoder.embedder.embed_tokens

    def broken(rows: list[Any], dim: int | None = None, **options: Any) -> Any:
        if len(rows[0]) == 3:
            raise ValueError("broken")
        return embed(rows, dim, **options)

    monkeypatch.setattr(encoder.embedder, "embed_tokens", broken)

    async def work(scheduler: EncodeScheduler) -> None:
        with pytest.raises(ValueError, match="broken"):
            await scheduler.encode(["cat cat cat"], "")
        assert (await scheduler.encode(["cat"], "")).tokens == 1

    run(work, encoder)


def test_too_many_tokens_are_refused(encoder: Encoder, gate: Gate) -> None:
    limits = EncodeLimits(input_tokens=5, request_tokens=8)

    async def work(scheduler: EncodeScheduler) -> None:
        with pytest.raises(RequestError, match="text 1 has 6 tokens") as error:
            await scheduler.encode(["sun", "cat " * 6], "")
        assert error.value.status == 413
        with pytest.raises(RequestError, match="at most 8"):
            await scheduler.encode(["cat cat cat"] * 3, "")
        running = asyncio.ensure_future(scheduler.encode(["cat cat cat"] * 2, ""))
        await asyncio.sleep(0.01)
        with pytest.raises(RequestError, match="6 tokens wait already") as error:
            await scheduler.encode(["cat cat cat"], "")
        assert error.value.status == 429
        assert error.value.headers()["retry-after"]
        gate.opened.set()
        await running

    run(work, encoder, limits=limits, queue=QueueLimits(work=8, seconds=1e6))


def test_what_is_larger_than_the_limit_by_itself_has_its_turn() -> None:
    admission = Admission(QueueLimits(work=10, seconds=1), "tokens")
    with admission.admitted(50), pytest.raises(RequestError), admission.admitted(1):
        pass
    with admission.admitted(50):
        assert admission.queued == 50
    assert admission.queued == 0


def test_a_request_that_would_wait_too_long_is_refused_and_a_long_one_may_wait_longer() -> None:
    admission = Admission(QueueLimits(work=10**6, seconds=0.1, stretch=10), "tokens")
    admission.note(1000, 1.0)
    assert admission.rate == 1000
    with admission.admitted(500):
        with pytest.raises(RequestError) as error, admission.admitted(10):
            pass
        assert 0.4 < (error.value.retry_after or 0) < 0.6
        with admission.admitted(100):
            assert admission.queued == 600
        with admission.admitted(10, ahead=50):
            assert admission.queued == 510


def test_the_rate_of_an_overload_is_forgotten_after_an_idle_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr("nestling.server.schedule.admission.time.monotonic", lambda: now)
    admission = Admission(QueueLimits(work=100, seconds=0.1), "tokens")
    with admission.admitted(20):
        admission.note(1, 1.0)
        with pytest.raises(RequestError), admission.admitted(1):
            pass
    now += 0.5
    with admission.admitted(20):
        assert admission.full(20)
    now += 1.5
    with admission.admitted(20), admission.admitted(1):
        assert not admission.full(20)


def test_a_busy_event_loop_counts_as_a_wait() -> None:
    admission = Admission(QueueLimits(work=100, seconds=0.1), "tokens")
    admission.note(1000, 1.0, lag=0.01)
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(admission.admitted(1))
        assert not admission.full(0)
        for _ in range(10):
            admission.note(1000, 1.0, lag=0.2)
        assert admission.full(0)
        with pytest.raises(RequestError), admission.admitted(1):
            pass


def test_a_machine_that_is_busy_with_others_refuses_nobody() -> None:
    """A page sends a few requests at a time; one of them may have been late by any time."""
    admission = Admission(QueueLimits(work=100, seconds=0.1), "queries")
    admission.note(1, 0.001, lag=5.0)
    with ExitStack() as stack:
        for _ in range(8):
            assert not admission.full(admission.queued)
            stack.enter_context(admission.admitted(1))
        with pytest.raises(RequestError), admission.admitted(1):
            pass
    with admission.admitted(1), admission.admitted(1):
        assert admission.queued == 2


def test_slow_requests_are_waited_for_by_others_like_them() -> None:
    """A search that takes half a second makes others wait, but it does not overload the server."""
    admission = Admission(QueueLimits(work=100, seconds=0.1), "queries")
    admission.note(1, 0.5)
    with ExitStack() as stack:
        for _ in range(16):
            assert not admission.full(admission.queued)
            stack.enter_context(admission.admitted(1))
        stack.enter_context(admission.admitted(1))
        assert admission.full(admission.queued)
        with pytest.raises(RequestError), admission.admitted(1):
            pass


@given(
    queued=st.lists(st.integers(1, 50), max_size=12),
    rate=st.floats(0.1, 1e5),
    lag=st.floats(0, 1),
    ahead=st.integers(0, 200),
)
def test_a_full_queue_is_one_that_refuses_the_shortest_request(
    queued: list[int], rate: float, lag: float, ahead: int
) -> None:
    admission = Admission(QueueLimits(work=10**6, seconds=0.1), "tokens")
    with ExitStack() as stack:
        for work in queued:
            stack.enter_context(admission.admitted(work, ahead=0))
        admission.note(1, 1 / rate, lag)
        refused = False
        try:
            admission.check(1, ahead)
        except RequestError:
            refused = True
        assert admission.full(ahead) == refused


class Shelf:
    """Stands for a collection: notes each call, and fails for some queries."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.opened = threading.Event()
        self.entered = threading.Event()

    def search(self, queries: Any, *, vectors: Any = None, **options: Any) -> Any:
        rows = [queries] if isinstance(queries, np.ndarray) and queries.ndim == 1 else queries
        self.calls.append(len(rows))
        self.entered.set()
        assert self.opened.wait(200)
        if any("bad" in str(row) for row in rows):
            raise ValueError("bad")
        found = [f"{row} {options}" for row in rows]
        return found if rows is queries else found[0]


@pytest.fixture
def instant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets searches take a microsecond of the scheduler's time, whatever the machine does."""
    clock = FakeClock(tick=1e-6)
    monkeypatch.setattr("nestling.server.schedule.search.time", clock)
    monkeypatch.setattr("nestling.server.schedule.threads.time", clock)


def searches(shelf: Any, *queries: str, k: int = 10) -> Searches:
    return Searches(shelf, (id(shelf), k), {"k": k}, list(queries), None)


def search(work: Callable[[SearchScheduler], Any], *, workers: int = 1, limit: int = 1000) -> None:
    threads = WorkerThreads(workers, "test")

    async def main() -> None:
        await work(SearchScheduler(threads, workers, QueueLimits(work=limit, seconds=1e6)))

    try:
        asyncio.run(main())
    finally:
        threads.close()


async def until_it_runs(shelf: Shelf) -> None:
    while not shelf.entered.is_set():
        await asyncio.sleep(0.001)


async def until_calls(shelf: Shelf, count: int) -> None:
    while len(shelf.calls) < count:
        await asyncio.sleep(0.001)


def test_searches_that_ask_for_the_same_are_one_call() -> None:
    shelf = Shelf()

    async def work(scheduler: SearchScheduler) -> None:
        every = [asyncio.ensure_future(scheduler.search(searches(shelf, "first")))]
        await until_it_runs(shelf)
        for number in range(4):
            one = searches(shelf, f"a{number}", f"b{number}")
            every.append(asyncio.ensure_future(scheduler.search(one)))
        every.append(asyncio.ensure_future(scheduler.search(searches(shelf, "other", k=3))))
        await asyncio.sleep(0.01)
        shelf.opened.set()
        found = [each.hits for each in await asyncio.gather(*every)]
        assert found[0] == ["first {'k': 10}"]
        assert found[3] == ["a2 {'k': 10}", "b2 {'k': 10}"]
        assert found[5] == ["other {'k': 3}"]

    search(work)
    assert shelf.calls == [1, 8, 1]


def noting_threads(shelf: Shelf, seconds: float = 0) -> list[str]:
    """Returns a list that gets the name of the thread of each search of a shelf."""
    threads: list[str] = []
    find = shelf.search

    def search(queries: Any, **options: Any) -> Any:
        threads.append(threading.current_thread().name.partition("-")[0])
        time.sleep(seconds * (1 if getattr(queries, "ndim", 2) == 1 else len(queries)))
        return find(queries, **options)

    shelf.search = search  # type: ignore[method-assign]
    shelf.opened.set()
    return threads


@pytest.mark.usefixtures("instant")
def test_what_is_quick_is_searched_in_the_loop() -> None:
    shelf = Shelf()
    threads = noting_threads(shelf)

    async def work(scheduler: SearchScheduler) -> None:
        for _ in range(3):
            assert (await scheduler.search(searches(shelf, "one"))).hits == ["one {'k': 10}"]
        await asyncio.gather(*(scheduler.search(searches(shelf, "one")) for _ in range(2)))
        with pytest.raises(ValueError, match="bad"):
            await scheduler.search(searches(shelf, "bad"))
        assert scheduler.admission.queued == 0

    search(work)
    assert threads == ["test", *["MainThread"] * 4]
    assert shelf.calls == [1, 1, 1, 2, 1]


@pytest.mark.usefixtures("instant")
def test_the_first_quick_request_of_a_round_does_not_wait_and_the_others_are_gathered() -> None:
    shelf = Shelf()
    noting_threads(shelf)

    async def work(scheduler: SearchScheduler) -> None:
        async def request(name: str) -> list[Any]:
            one = searches(shelf, name)
            return (scheduler.search_now(one) or await scheduler.search(one)).hits

        assert scheduler.search_now(searches(shelf, "new")) is None  # its time is not known
        await request("first")
        found = await asyncio.gather(*map(request, "abc"))
        assert found == [[f"{name} {{'k': 10}}"] for name in "abc"]
        with pytest.raises(ValueError, match="bad"):
            await request("bad")

    search(work)
    assert shelf.calls == [1, 1, 2, 1]


def test_what_takes_long_is_never_searched_in_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nestling.server.schedule.search._QUICK_SECONDS", 0.1)
    shelf = Shelf()
    threads = noting_threads(shelf, seconds=0.03)

    async def work(scheduler: SearchScheduler) -> None:
        await scheduler.search(searches(shelf, "one"))
        many = searches(shelf, *"abcde")
        assert scheduler.search_now(many) is None
        await scheduler.search(many)

    search(work)
    assert threads == ["test", "test"]


def test_a_few_like_those_being_searched_wait_for_them_and_many_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nestling.server.schedule.search._SHORT_SECONDS", 1e6)
    monkeypatch.setattr("nestling.server.schedule.search._QUICK_SECONDS", 0)
    monkeypatch.setattr("nestling.server.schedule.search._WORTH_SECONDS", 1e6)
    shelf = Shelf()

    async def work(scheduler: SearchScheduler) -> None:
        first = asyncio.ensure_future(scheduler.search(searches(shelf, "first")))
        await until_it_runs(shelf)
        few = [asyncio.ensure_future(scheduler.search(searches(shelf, name))) for name in "ab"]
        await asyncio.sleep(0.01)
        assert shelf.calls == [1]
        other = asyncio.ensure_future(scheduler.search(searches(shelf, *"cde", k=3)))
        await until_calls(shelf, 2)
        assert shelf.calls == [1, 3]  # another thread is idle, and searches what is unlike them
        shelf.opened.set()
        await asyncio.gather(first, *few, other)
        assert shelf.calls == [1, 3, 2]
        shelf.opened.clear()
        shelf.entered.clear()
        monkeypatch.setattr("nestling.server.schedule.search._WORTH_SECONDS", 1e-9)
        first = asyncio.ensure_future(scheduler.search(searches(shelf, *"fghi")))
        await until_it_runs(shelf)
        one = asyncio.ensure_future(scheduler.search(searches(shelf, "j")))
        await asyncio.sleep(0.01)
        assert shelf.calls == [1, 3, 2, 4]  # one is few beside four
        two = asyncio.ensure_future(scheduler.search(searches(shelf, "k")))
        await until_calls(shelf, 5)
        assert shelf.calls == [1, 3, 2, 4, 2]
        shelf.opened.set()
        await asyncio.gather(first, one, two)

    search(work, workers=2)


def test_many_that_come_at_once_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nestling.server.schedule.search._QUICK_SECONDS", 0)
    shelf = Shelf()
    shelf.opened.set()

    async def work(scheduler: SearchScheduler) -> None:
        async def at_once(count: int) -> None:
            requests = (scheduler.search(searches(shelf, str(n))) for n in range(count))
            found = await asyncio.gather(*requests)
            assert [each.hits for each in found] == [[f"{n} {{'k': 10}}"] for n in range(count)]

        await at_once(1)
        monkeypatch.setattr("nestling.server.schedule.search._WORTH_SECONDS", 1e-9)
        await at_once(7)
        assert sorted(shelf.calls) == [1, 3, 4]
        monkeypatch.setattr("nestling.server.schedule.search._WORTH_SECONDS", 1e6)
        await at_once(7)
        assert sorted(shelf.calls) == [1, 3, 4, 7]

    search(work, workers=2)


@pytest.mark.usefixtures("instant")
def test_where_requests_come_together_the_first_one_waits_for_the_others() -> None:
    shelf = Shelf()
    noting_threads(shelf)

    async def work(scheduler: SearchScheduler) -> None:
        async def request(name: str) -> list[Any]:
            one = searches(shelf, name)
            return (scheduler.search_now(one) or await scheduler.search(one)).hits

        await request("first")
        await asyncio.gather(*map(request, "abc"))  # nothing came together before
        await asyncio.gather(*map(request, "abc"))
        await request("last")
        await request("alone")

    search(work)
    assert shelf.calls == [1, 1, 2, 3, 1, 1]


def test_a_request_at_fault_does_not_fail_those_it_was_searched_with() -> None:
    shelf = Shelf()

    async def work(scheduler: SearchScheduler) -> None:
        first = asyncio.ensure_future(scheduler.search(searches(shelf, "first")))
        await until_it_runs(shelf)
        bad = asyncio.ensure_future(scheduler.search(searches(shelf, "bad")))
        good = asyncio.ensure_future(scheduler.search(searches(shelf, "good")))
        await asyncio.sleep(0.01)
        shelf.opened.set()
        await first
        with pytest.raises(ValueError, match="bad"):
            await bad
        assert (await good).hits == ["good {'k': 10}"]

    search(work)
    assert shelf.calls == [1, 2, 1, 1]


def test_searches_that_are_given_up_or_too_many() -> None:
    shelf = Shelf()

    async def work(scheduler: SearchScheduler) -> None:
        first = asyncio.ensure_future(scheduler.search(searches(shelf, "first")))
        await until_it_runs(shelf)
        left = asyncio.ensure_future(scheduler.search(searches(shelf, "left")))
        await asyncio.sleep(0.01)
        with pytest.raises(RequestError, match="2 queries wait already"):
            await scheduler.search(searches(shelf, "late"))
        left.cancel()
        with suppress(asyncio.CancelledError):
            await left
        shelf.opened.set()
        await first
        assert scheduler.admission.queued == 0

    search(work, limit=2)
    assert shelf.calls == [1]
