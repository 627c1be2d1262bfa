"""Requests that wait: what ends them, and when."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fake_clock import FakeClock
from nestling.server.http import ClientDisconnectedError, Request
from nestling.server.watch import Watch, Watched


class Line:
    """Stands for the connection of a client, and notes whether it was looked at."""

    def __init__(self) -> None:
        self.looks = 0
        self.left = asyncio.Event()
        self.request = Request({"headers": []}, self.receive, {})

    async def receive(self) -> dict[str, Any]:
        self.looks += 1
        await self.left.wait()
        return {"type": "http.disconnect"}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The time of the watch, in which a slow machine is as fast as any."""
    clock = FakeClock()
    monkeypatch.setattr("nestling.server.watch.time", clock)
    return clock


async def waiting(clock: FakeClock, watch: Watch, line: Line, seconds: float, work: float) -> float:
    """Waits as a request does; returns the seconds until it was ended, -1 if it was not."""
    start = clock.now
    try:
        with Watched(watch, line.request, start + seconds):
            await asyncio.sleep(work)
    except TimeoutError:
        return clock.now - start
    return -1.0


def test_each_is_ended_at_its_own_deadline_whatever_waits_beside_it(clock: FakeClock) -> None:
    async def work() -> None:
        watch = Watch()
        lines = [Line() for _ in range(3)]
        late, soon, done = await asyncio.gather(
            waiting(clock, watch, lines[0], 0.4, 5),
            waiting(clock, watch, lines[1], 0.01, 5),
            waiting(clock, watch, lines[2], 5, 0.02),
        )
        assert done == -1
        assert soon == pytest.approx(0.01)
        assert late == pytest.approx(0.4)
        assert lines[2].looks == 0  # it was done before anyone looked at its connection
        assert lines[0].looks == 1

    clock.run(work())


def test_a_client_that_leaves_ends_its_request_alone(clock: FakeClock) -> None:
    async def work() -> None:
        watch = Watch()
        leaves, stays = Line(), Line()
        other = asyncio.ensure_future(waiting(clock, watch, stays, 30, 0.5))
        asyncio.get_running_loop().call_later(0.15, leaves.left.set)
        with pytest.raises(ClientDisconnectedError):
            await waiting(clock, watch, leaves, 30, 30)
        assert clock.now == pytest.approx(0.15)
        assert await other == -1

    clock.run(work())


def test_what_is_cancelled_by_others_stays_cancelled(clock: FakeClock) -> None:
    async def work() -> None:
        task = asyncio.ensure_future(waiting(clock, Watch(), Line(), 30, 30))
        await asyncio.sleep(0.12)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    clock.run(work())


def test_it_looks_again_at_what_comes_after_a_pause(clock: FakeClock) -> None:
    async def work() -> None:
        watch = Watch()
        for _ in range(2):
            assert await waiting(clock, watch, Line(), 30, 0.001) == -1
            await asyncio.sleep(0.1)
        assert await waiting(clock, watch, Line(), 0.03, 5) == pytest.approx(0.03)

    clock.run(work())
