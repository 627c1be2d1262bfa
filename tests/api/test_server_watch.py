"""Requests that wait: what ends them, and when."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

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


async def waiting(watch: Watch, line: Line, seconds: float, work: float) -> float:
    """Waits as a request does; returns the seconds that it took."""
    start = time.monotonic()
    try:
        with Watched(watch, line.request, start + seconds):
            await asyncio.sleep(work)
    except TimeoutError:
        return time.monotonic() - start
    return -1.0


async def test_each_is_ended_at_its_own_deadline_whatever_waits_beside_it() -> None:
    watch = Watch()
    lines = [Line() for _ in range(3)]
    late, soon, done = await asyncio.gather(
        waiting(watch, lines[0], 0.4, 5),
        waiting(watch, lines[1], 0.01, 5),
        waiting(watch, lines[2], 5, 0.02),
    )
    assert done == -1
    assert 0.01 <= soon < late
    assert late >= 0.4
    assert lines[2].looks == 0  # it was done before anyone looked at its connection
    assert lines[0].looks == 1


async def test_a_client_that_leaves_ends_its_request_alone() -> None:
    watch = Watch()
    leaves, stays = Line(), Line()
    other = asyncio.ensure_future(waiting(watch, stays, 30, 0.5))
    asyncio.get_running_loop().call_later(0.15, leaves.left.set)
    with pytest.raises(ClientDisconnectedError):
        await waiting(watch, leaves, 30, 30)
    assert await other == -1


async def test_what_is_cancelled_by_others_stays_cancelled() -> None:
    watch = Watch()
    task = asyncio.ensure_future(waiting(watch, Line(), 30, 30))
    await asyncio.sleep(0.12)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_it_looks_again_at_what_comes_after_a_pause() -> None:
    watch = Watch()
    for _ in range(2):
        assert await waiting(watch, Line(), 30, 0.001) == -1
        await asyncio.sleep(0.1)
    assert await waiting(watch, Line(), 0.03, 5) >= 0.03
