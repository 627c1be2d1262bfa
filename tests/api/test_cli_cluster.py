"""`nestling cluster search` and `nestling serve --ray`, with a cluster of no machines."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import pytest
from commands import end_of

pytest.importorskip("fsspec")

from nestling.cluster import Cluster, ClusterHits
from nestling.collection import DocumentHit


class Stand:
    """What `Cluster.open` returns here: finds one document, in two of three shards."""

    class manifest:  # noqa: N801
        kind = "collection"

    def __init__(self) -> None:
        self.opened: dict[str, Any] = {}
        self.asked: list[dict[str, Any]] = []

    def __enter__(self) -> Stand:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def search(self, query: Any, k: int, where: Any, funnel: Any, **options: Any) -> ClusterHits:
        self.asked.append({"query": query, "k": k, "where": where, **options})
        hit = DocumentHit("w1", 0.5, "Whales sing.", "Whales", {"year": 2020}, 0, 0, 12)
        return ClusterHits((hit,), coverage=2 / 3, late=("shard-2",), shards=3)


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Stand:
    made = Stand()

    def opened(path: str, replicas: int, **options: Any) -> Stand:
        made.opened = {"path": path, "replicas": replicas, **options}
        return made

    monkeypatch.setattr(Cluster, "open", opened)
    return made


def test_hits_are_shown_and_what_is_missing_is_named(
    stand: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = end_of(
        capsys, "cluster", "search", "s3://b/wiki", "do whales sing?", "-k", 3,
        "--where", '{"year": 2020}', "--deadline-ms", 50, "--min-coverage", 0.5,
        "--shard-probes", 2, "--mode", "hybrid", "--fuzzy", "--version", 7, "--replicas", 4,
        "--storage-options", '{"anon": true}',
    )  # fmt: skip
    assert ended.code == 0
    assert "Whales sing." in ended.out
    assert "66.7% of the passages of 3 shards were searched; without an answer: shard-2" in (
        " ".join(ended.err.split())
    )
    opened = {"path": "s3://b/wiki", "replicas": 4, "version": 7, "query_encoder": None}
    assert stand.opened == {**opened, "storage_options": {"anon": True}}
    (asked,) = stand.asked
    assert (asked["query"], asked["k"], asked["where"]) == ("do whales sing?", 3, {"year": 2020})
    assert (asked["deadline_ms"], asked["min_coverage"], asked["shard_probes"]) == (50, 0.5, 2)
    assert (asked["mode"], asked["fuzzy"], asked["prefix"]) == ("hybrid", True, False)


def test_json_has_the_coverage(stand: Stand, capsys: pytest.CaptureFixture[str]) -> None:
    ended = end_of(capsys, "cluster", "search", "s3://b/wiki", "whales", "--json")
    assert ended.json["coverage"] == pytest.approx(2 / 3)
    assert (ended.json["late"], ended.json["shards"]) == (["shard-2"], 3)
    assert [hit["id"] for hit in ended.json["hits"]] == ["w1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cluster", "search", "x"), "give questions"),
        (("cluster", "search", "x", "--vector", "v.npy", "--mode", "lexical"), "give texts"),
        (("cluster", "search", "x", "q", "--prefix"), "is for searches by words"),
        (("cluster", "search", "x", "q", "--min-coverage", "2"), "less than or equal to 1"),
        (("cluster", "search", "x", "q", "--storage-options", "[]"), "not a JSON object"),
        (("cluster", "build", "a.jsonl", "-o", "x", "--routing", "words"), "rows"),
        (("serve", "--replicas", "2"), "is for --ray"),
        (("serve", "--storage-options", "{}"), "is for --ray"),
        (("serve", "--fronts", "2"), "is for --ray"),
    ],
)
def test_what_does_not_fit_is_refused(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = end_of(capsys, *arguments)
    assert ended.code == 2
    assert message in " ".join(ended.err.split())


@pytest.mark.parametrize("seconds", [0, 1])
def test_a_dataset_is_deployed_and_stopped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], seconds: int
) -> None:
    """By a signal while it is deployed, or later."""
    pytest.importorskip("starlette")

    from nestling.cluster import app, packages

    done: list[Any] = []

    def deploy(path: str, **options: Any) -> str:
        done.append((path, options))
        if not seconds:
            os.kill(os.getpid(), signal.SIGTERM)
        return "http://127.0.0.1:9000"

    def printed(*arguments: Any, **options: Any) -> None:
        print(*arguments, **options)
        threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGTERM)).start()

    monkeypatch.setattr("nestling.cli.serve.print", printed, raising=False)
    monkeypatch.setattr(packages, "connected_ray", lambda: None)
    monkeypatch.setattr(app, "deploy", deploy)
    monkeypatch.setattr(app, "stop", done.append)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ended = end_of(
            capsys, "serve", "--ray", "s3://b/wiki", "--replicas", 3, "--fronts", 2,
            "--port", 9000, "--storage-options", '{"anon": true}',
        )  # fmt: skip
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    expected = "serving s3://b/wiki at http://127.0.0.1:9000" if seconds else ""
    assert (ended.code, ended.out.strip()) == (0, expected)
    (path, options), stopped = done
    assert path == stopped == "s3://b/wiki"
    assert (options["settings"].replicas, options["fronts"]) == (3, 2)
    assert options["server"].port == 9000
    assert options["storage_options"] == {"anon": True}
