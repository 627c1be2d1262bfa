"""The commands of clusters as real processes, which start and end a Ray of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

pytest.importorskip("ray")
pytest.importorskip("fsspec")

from cluster_files import DIM, documents, write_jsonl

from nestling import Collection
from nestling.bench.server.process import free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc"),
]

COUNT = 60


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """No cluster of another is found, and the shards of no other test."""
    made = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    cache = tmp_path_factory.mktemp("cache")
    # Not below pytest's own folder: the path of a socket must be short.
    with tempfile.TemporaryDirectory(prefix="nestling-", ignore_cleanup_errors=True) as folder:
        yield made | {"RAY_TMPDIR": folder, "NESTLING_CLUSTER_CACHE": str(cache)}


def nestling(environment: dict[str, str], *arguments: object) -> str:
    """Runs a command to its end; returns what it printed."""
    command = [sys.executable, "-m", "nestling", *map(str, arguments)]
    ended = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=300, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def dataset(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("commands")
    source = write_jsonl(folder / "source.jsonl", documents(COUNT))
    path = folder / "news"
    printed = nestling(
        environment, "cluster", "build", source, "-o", path, "-s", 2, "--routing", "cells", "--json"
    )
    assert json.loads(printed)["documents"] == COUNT
    return path


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    with Collection(tmp_path_factory.mktemp("one"), dim=DIM) as made:
        made.add(documents(COUNT), progress=False)
        yield made


def found(answer: Any) -> list[tuple[str, float]]:
    return [(hit["id"], hit["score"]) for hit in answer["hits"]]


def test_a_dataset_is_searched(
    environment: dict[str, str], dataset: Path, one: Collection, tmp_path: Path
) -> None:
    vectors = np.random.default_rng(5).standard_normal((2, DIM)).astype(np.float32)
    np.save(tmp_path / "v.npy", vectors)
    options = ("cluster", "search", dataset, "--vector", tmp_path / "v.npy", "-k", 5, "--json")
    answers = [json.loads(line) for line in nestling(environment, *options).splitlines()]
    for answer, vector in zip(answers, vectors, strict=True):
        expected = one.search(vector, 5)
        assert found(answer) == [(hit.id, hit.score) for hit in expected]
        assert (answer["coverage"], answer["late"], answer["shards"]) == (1, [], 2)
    answer = json.loads(nestling(environment, *options, "--shard-probes", 1).splitlines()[0])
    assert (answer["coverage"], answer["shards"]) == (1, 1)
    shown = nestling(environment, "cluster", "search", dataset, "number7", "--mode", "lexical")
    assert "d7" in shown


def test_bare_vectors_are_searched(environment: dict[str, str], tmp_path: Path) -> None:
    rows = np.eye(6, DIM, dtype=np.float32)
    source = write_jsonl(tmp_path / "rows.jsonl", [{"vectors": row.tolist()} for row in rows])
    np.save(tmp_path / "v.npy", rows[4:5])
    out = tmp_path / "rows"
    nestling(environment, "cluster", "build", source, "-o", out, "-s", 2)
    shown = nestling(environment, "cluster", "search", out, "--vector", tmp_path / "v.npy", "-k", 1)
    assert shown.split()[-3:] == ["1", "1.0000", "4"]


@contextmanager
def server(environment: dict[str, str], *arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "nestling", "serve", *map(str, arguments)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
        for number in running(environment):
            os.kill(number, signal.SIGKILL)


def running(environment: dict[str, str]) -> dict[int, str]:
    """Returns the processes of the Ray that a command has started, by their ids."""
    mark = f"RAY_TMPDIR={environment['RAY_TMPDIR']}".encode()
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")[:200]
    return found


def test_a_dataset_is_served_until_the_process_is_ended(
    environment: dict[str, str], dataset: Path, one: Collection
) -> None:
    port = free_port()
    with server(environment, "--ray", dataset, "--port", port, "--replicas", 1) as process:
        assert process.stdout is not None
        url = f"http://127.0.0.1:{port}"
        line = process.stdout.readline()
        assert line == f"serving {dataset} at {url}\n", process.communicate()[1]
        with httpx.Client(base_url=url, timeout=30) as client:
            assert client.get("/readyz").status_code == 200
            vector = np.ones(DIM, np.float32)
            body = {"vector": vector.tolist(), "k": 4, "shard_probes": 1_000}
            (result,) = client.post("/collections/news/search", json=body).json()["results"]
            assert [hit["id"] for hit in result["hits"]] == one.search(vector, 4).ids
            assert (result["coverage"], result["late"]) == (1, [])
        assert any("raylet" in each for each in running(environment).values())
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        ends = time.monotonic() + 20
        while running(environment) and time.monotonic() < ends:
            time.sleep(0.1)
        assert running(environment) == {}
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_what_cannot_be_served_is_said_in_one_line(
    environment: dict[str, str], dataset: Path, tmp_path: Path
) -> None:
    with server(environment, "--ray", tmp_path / "none", "--replicas", 1) as process:
        printed, errors = process.communicate(timeout=120)
    assert (process.returncode, printed) == (1, "")
    assert "not a dataset" in errors
    assert "Traceback" not in errors
