"""What is asked of the servers, and of the library beside them."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nestling._util.timing import interleave
from nestling.bench.server import chroma, infinity
from nestling.bench.server.load import (
    Load,
    closed_loop,
    one_client,
    open_loop,
    request_bytes,
    run_load,
)
from nestling.bench.server.process import ServerProcess, free_port
from nestling.bench.server.results import Measured, Overload, measured
from nestling.collection import Collection
from nestling.encoder import Encoder

__all__ = [
    "COLLECTION",
    "Plan",
    "Workload",
    "measure_chroma",
    "measure_infinity",
    "measure_nestling",
    "overload",
]

COLLECTION: Final = "bench"
K: Final = 10
MANY: Final = 100  # queries in a large request
_BINARY: Final = tuple((name, "application/octet-stream") for name in ("content-type", "accept"))
_JSON: Final = (("content-type", "application/json"),)
_TEXTS: Final = 32  # in a request for embeddings
_OVERLOAD_CLIENTS: Final = 16
_SAMPLE_SECONDS: Final = 0.1

_Requests: TypeAlias = tuple[list[bytes], int, int]  # with their clients, and queries in each


@dataclass(frozen=True, slots=True)
class Workload:
    """What is stored and asked.

    Attributes:
        folder: Folder of the folder of the collection.
        model: The encoder: its name, or its folder.
        texts: The documents.
        rows: (n, dim) float32: their vectors.
        questions: Texts of queries.
        queries: (m, dim) float32: their vectors.
    """

    folder: Path
    model: str
    texts: Sequence[str]
    rows: NDArray[np.float32]
    questions: Sequence[str]
    queries: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Plan:
    """How to measure.

    Attributes:
        clients: Numbers of clients of single queries.
        rounds: Rounds.
        seconds: Seconds of one kind of request in a round.
        workers: Processes of the server.
        overload_seconds: Seconds of overload; 0 to leave it out.
    """

    clients: tuple[int, ...]
    rounds: int
    seconds: float
    workers: int
    overload_seconds: float


def _start_nestling(workload: Workload, plan: Plan) -> ServerProcess:
    """Starts nestling's server."""
    port = free_port()
    command = [sys.executable, "-m", "nestling", "serve", str(workload.folder / COLLECTION)]
    command += ["--models", workload.model, "--port", str(port), "--workers", str(plan.workers)]
    environment = {"NESTLING_SERVER_ACCESS_LOG": "false", "NESTLING_SERVER_DRAIN_SECONDS": "0"}
    return ServerProcess(
        command,
        port=port,
        ready="/readyz",
        log=workload.folder / "nestling.log",
        environment=environment,
    )


def measure_nestling(
    workload: Workload, plan: Plan
) -> tuple[list[Measured], float, float, Overload | None]:
    """Measures nestling's server and, in turns with it, the library.

    Returns:
        The requests; the overhead of a query vector in milliseconds; the requests a second of 64
        clients over those of one; and the overload.
    """
    encoder = Encoder(workload.model)
    path = f"/collections/{COLLECTION}/search?k={K}"
    queries = workload.queries
    singles = [request_bytes("POST", path, query.tobytes(), _BINARY) for query in queries]
    bodies = [queries[start : start + MANY] for start in range(0, len(queries) - MANY + 1, MANY)]
    many = [request_bytes("POST", path, body.tobytes(), _BINARY) for body in bodies]
    questions = [
        request_bytes("POST", path, json.dumps({"query": text, "k": K}).encode(), _JSON)
        for text in workload.questions
    ]
    passages = _passages(workload)
    counts = sorted({1, 64, *plan.clients})
    kinds: dict[str, _Requests] = {
        f"a query vector/{clients}": (singles, clients, 1) for clients in counts
    }
    kinds[f"{MANY} query vectors/2"] = (many, 2, MANY)
    kinds["a question/1"] = (questions, 1, 1)
    kinds["a question/16"] = (questions, 16, 1)
    kinds |= _embeddings(workload, encoder.name)
    with (
        Collection(workload.folder / COLLECTION, encoder, read_only=True) as collection,
        _start_nestling(workload, plan) as server,
    ):

        def library_one() -> float:
            return median(_times(lambda q: collection.search(q, K, include=()), queries[:200]))

        def library_many() -> float:
            return median(_times(lambda q: collection.search(q, K, include=()), bodies)) / MANY

        def library_encode() -> float:
            start = time.perf_counter()
            for texts in passages:
                encoder.encode(texts)
            return (time.perf_counter() - start) / (len(passages) * _TEXTS)

        tasks: dict[str, Callable[[], Any]] = {
            name: _closed_loop(server, requests, clients, plan.seconds)
            for name, (requests, clients, _) in kinds.items()
        }
        tasks |= {"one": library_one, "many": library_many, "encode": library_encode}
        rounds = interleave(tasks, rounds=plan.rounds, title="Measuring nestling")
        extreme = (
            overload(server, encoder.name, workload.questions, plan.overload_seconds)
            if plan.overload_seconds
            else None
        )
    library = {name: 1 / median(rounds[name]) for name in ("one", "many", "encode")}
    beside = {"a query vector/1": "one", f"{MANY} query vectors/2": "many"}
    beside[f"{_TEXTS} embeddings/4"] = "encode"
    found = []
    for name, (_, clients, size) in kinds.items():
        one = measured("nestling", name.partition("/")[0], clients, size, rounds[name])
        found.append(replace(one, library=library[beside[name]]) if name in beside else one)
    by_kind = dict(zip(kinds, found, strict=True))
    overhead = by_kind["a query vector/1"].p50_ms - 1000 / library["one"]
    gathered = by_kind["a query vector/64"].rate / by_kind["a query vector/1"].rate
    return found, overhead, gathered, extreme


def overload(server: ServerProcess, name: str, texts: Sequence[str], seconds: float) -> Overload:
    """Sends four times the requests that the server can answer: embeddings of one text each."""
    requests = [_embedding(name, "query", [text]) for text in texts]
    with _Peak(server) as at_capacity:
        capacity = run_load(
            closed_loop(server.address, requests, clients=_OVERLOAD_CLIENTS, seconds=3)
        )
    with _Peak(server) as meanwhile:
        load = run_load(
            open_loop(
                server.address,
                requests,
                rate=4 * capacity.rate,
                seconds=seconds,
            )
        )
    time.sleep(1)
    after = run_load(closed_loop(server.address, requests, clients=_OVERLOAD_CLIENTS, seconds=3))
    answers = sum(load.statuses.values())
    refused = load.statuses[429]
    return Overload(
        what="embeddings of one text",
        capacity=capacity.rate,
        capacity_p99_ms=capacity.percentile(99),
        offered=4 * capacity.rate,
        answered=load.rate,
        p99_ms=load.percentile(99),
        refused=refused / max(answers, 1),
        refused_p99_ms=load.refused_percentile(99),
        others=answers - refused - load.statuses[200],
        memory_ratio=meanwhile.most / max(at_capacity.most, 1),
        recovered=after.rate / capacity.rate,
    )


def _passages(workload: Workload) -> list[list[str]]:
    """Returns the texts of requests for embeddings of documents."""
    texts = list(workload.texts[: 20 * _TEXTS])
    return [texts[start : start + _TEXTS] for start in range(0, len(texts) - _TEXTS + 1, _TEXTS)]


def _embeddings(workload: Workload, model: str) -> dict[str, _Requests]:
    """Returns the requests for embeddings, each kind with its clients and its texts a request."""
    single = [_embedding(model, "query", [text]) for text in workload.questions]
    many = [_embedding(model, "document", texts) for texts in _passages(workload)]
    return {
        "an embedding/1": (single, 1, 1),
        "an embedding/16": (single, 16, 1),
        f"{_TEXTS} embeddings/4": (many, 4, _TEXTS),
    }


def measure_infinity(workload: Workload, plan: Plan, model: str) -> list[Measured]:
    """Measures Infinity's server on the same texts, with a model of its own."""
    with infinity.start(model, workload.folder / "infinity.log") as server:
        return _measure("infinity", server, _embeddings(workload, "bench"), plan)


def measure_chroma(workload: Workload, plan: Plan) -> list[Measured]:
    """Measures Chroma's server on the same rows."""
    with chroma.start(workload.folder / "chroma") as server:
        path = chroma.fill(server, workload.rows, workload.texts)
        queries = workload.queries
        singles = [chroma.query(path, query[np.newaxis], K) for query in queries]
        many = [
            chroma.query(path, queries[start : start + MANY], K)
            for start in range(0, len(queries) - MANY + 1, MANY)
        ]
        kinds = {f"a query vector/{clients}": (singles, clients, 1) for clients in (1, 64)}
        kinds[f"{MANY} query vectors/2"] = (many, 2, MANY)
        return _measure("chroma", server, kinds, plan)


def _measure(
    name: str, server: ServerProcess, kinds: Mapping[str, _Requests], plan: Plan
) -> list[Measured]:
    """Measures kinds of requests in turns."""
    tasks = {
        kind: _closed_loop(server, requests, clients, plan.seconds)
        for kind, (requests, clients, _) in kinds.items()
    }
    rounds = interleave(tasks, rounds=plan.rounds, title=f"Measuring {name}")
    return [
        measured(name, kind.partition("/")[0], clients, size, rounds[kind])
        for kind, (_, clients, size) in kinds.items()
    ]


def _closed_loop(
    server: ServerProcess, requests: Sequence[bytes], clients: int, seconds: float
) -> Callable[[], Load]:
    def run() -> Load:
        if clients == 1:
            return one_client(server.address, requests, seconds=seconds)
        return run_load(closed_loop(server.address, requests, clients=clients, seconds=seconds))

    return run


def _embedding(model: str, kind: str, texts: Sequence[str]) -> bytes:
    body = {"model": model, "input": texts, "encoding_format": "base64", "input_type": kind}
    return request_bytes("POST", "/v1/embeddings", json.dumps(body).encode(), _JSON)


def _times(
    call: Callable[[NDArray[np.float32]], object], values: Iterable[NDArray[np.float32]]
) -> list[float]:
    times = []
    for value in values:
        start = time.perf_counter()
        call(value)
        times.append(time.perf_counter() - start)
    return times


class _Peak:
    """The most memory of a server while a block runs."""

    def __init__(self, server: ServerProcess) -> None:
        self.most = 0
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.is_set():
            self.most = max(self.most, self._server.memory)
            self._stop.wait(_SAMPLE_SECONDS)
