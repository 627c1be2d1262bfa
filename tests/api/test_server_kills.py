"""Processes of a server are killed while it is written to and searched."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import pytest
from processes import running
from waiting import until

from nestling import Collection
from nestling.bench.server.process import ServerProcess, free_port

DIM = 8
BATCH = 5


def vector(number: int) -> list[float]:
    values: list[float] = np.random.default_rng(number).normal(size=DIM).tolist()
    return values


def text(number: int) -> str:
    return f"document {number} " + "x" * (number % 50)


class Server:
    """A server of two workers at one port, which is started again after it was killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = self._start()

    def _start(self) -> ServerProcess:
        command = [sys.executable, "-m", "nestling", "serve", str(self.folder)]
        command += ["--workers", "2", "--port", str(self.port)]
        environment = {"NESTLING_SERVER_DRAIN_SECONDS": "0", "NESTLING_SERVER_ACCESS_LOG": "false"}
        process = ServerProcess(
            command,
            port=self.port,
            ready="/readyz",
            log=self.folder.with_suffix(".log"),
            environment=environment,
        )
        return process.__enter__()

    def workers(self) -> list[int]:
        found = subprocess.run(
            ["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False
        )
        return [int(line) for line in found.stdout.split()]

    def kill_a_worker(self, chance: random.Random) -> None:
        if workers := self.workers():
            with suppress(ProcessLookupError):
                os.kill(chance.choice(workers), signal.SIGKILL)

    def kill_all(self) -> None:
        workers = self.workers()
        for pid in (self.process.pid, *workers):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.close()
        self.process = self._start()


class Clients:
    """Threads that write and search until they are stopped."""

    def __init__(self, url: str) -> None:
        self.acknowledged: set[int] = set()
        self.deleted: set[int] = set()
        self.wrong: list[str] = []
        self.searches = 0
        self._url = url
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(work, seed))
            for seed, work in enumerate((self._write, self._write, self._search, self._search))
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, work: Callable[[httpx.Client, int, int], None], seed: int) -> None:
        step = 0
        while not self._stop.is_set():
            with httpx.Client(base_url=self._url, timeout=20) as client, suppress(httpx.HTTPError):
                while not self._stop.is_set():
                    step += 1
                    work(client, seed, step)
            time.sleep(0.02)

    def _write(self, client: httpx.Client, seed: int, step: int) -> None:
        numbers = range((2 * step + seed) * BATCH, (2 * step + seed + 1) * BATCH)
        documents = [{"id": str(n), "text": text(n), "vectors": [vector(n)]} for n in numbers]
        answer = client.post("/collections/notes/documents", json={"documents": documents})
        if answer.status_code == 200:
            self.acknowledged.update(numbers)
        elif answer.status_code != 503:
            self.wrong.append(answer.text)
        if step % 10 == 0 and numbers[0] in self.acknowledged:
            self.acknowledged.discard(numbers[0])  # without an answer it may or may not be there
            if client.delete(f"/collections/notes/documents/{numbers[0]}").status_code == 200:
                self.deleted.add(numbers[0])

    def _search(self, client: httpx.Client, seed: int, step: int) -> None:
        wanted = random.Random(step).choice([*self.acknowledged] or [0])
        body = {"vector": vector(wanted), "k": 5}
        answer = client.post("/collections/notes/search", json=body)
        if answer.status_code == 503:
            return
        if answer.status_code != 200:
            self.wrong.append(answer.text)
            return
        self.searches += 1
        for hit in answer.json()["results"][0]["hits"]:
            if hit["text"] != text(int(hit["id"])):
                self.wrong.append(str(hit))


@pytest.mark.parametrize(
    "kills",
    [
        pytest.param(6, marks=pytest.mark.slow),
        pytest.param(50, marks=[pytest.mark.long, pytest.mark.timeout(900)]),
    ],
)
def test_kills_lose_nothing_that_was_acknowledged(tmp_path: Path, kills: int) -> None:
    folder = tmp_path / "collections"
    Collection(folder / "notes", dim=DIM, passages=None).close()
    server = Server(folder)
    chance = random.Random(kills)
    clients = Clients(server.url)
    try:
        for number in range(kills):
            time.sleep(0.5 + chance.random())
            if number % 3 == 2:
                server.kill_all()
            else:
                server.kill_a_worker(chance)
        time.sleep(2)
        ended = len(clients.acknowledged), clients.searches
        time.sleep(3)
        assert len(clients.acknowledged) > ended[0]  # it serves still
        assert clients.searches > ended[1]
    finally:
        clients.stop()
        server.process.close()
    assert clients.wrong == []
    with Collection(folder / "notes") as notes:
        assert notes.check().problems == ()
        stored = {int(document.id): document.text for document in notes.documents()}
    assert clients.acknowledged <= stored.keys()
    assert not clients.deleted & stored.keys()
    assert all(stored[number] == text(number) for number in stored)


@pytest.mark.slow
def test_a_server_drains_before_it_stops_and_its_workers_end_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "collections"
    Collection(folder / "notes", dim=DIM).close()
    command = [sys.executable, "-m", "nestling", "serve", str(folder), "--workers", "2"]
    port = free_port()
    process = ServerProcess(
        [*command, "--port", str(port)],
        port=port,
        ready="/readyz",
        log=tmp_path / "log",
        environment={"NESTLING_SERVER_DRAIN_SECONDS": "2"},
    )
    with process, httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        assert client.get("/readyz").status_code == 200
        os.kill(process.pid, signal.SIGTERM)
        until(lambda: client.get("/readyz").status_code != 200)
        assert client.get("/readyz").json() == {"status": "draining"}
        assert client.get("/collections").status_code == 200
        assert process.wait(15) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/livez")


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "collections"
    Collection(folder / "notes", dim=DIM).close()
    server = Server(folder)
    try:
        until(lambda: len(server.workers()) == 2)  # one may be ready before the other starts
        workers = server.workers()
        os.kill(server.process.pid, signal.SIGKILL)
        until(lambda: not any(map(running, workers)))
    finally:
        server.process.close()
