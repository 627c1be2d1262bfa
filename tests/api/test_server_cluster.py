"""What a server answers for a cluster, which it searches and describes and does not change.

The clusters are collections in the clothes of one, so that neither Ray nor other machines are
needed; tests/api/test_cluster_*.py have real ones.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from serving import Serving, serving
from tiny_models import WORDS, make_folder

from nestling import Client, Collection, CoverageError, Encoder, OverloadError
from nestling.collection import CollectionInfo, DocumentHits
from nestling.errors import ArgumentError, NestlingError, ServerError
from nestling.server import Catalog

MISSING = ("shard-3", "shard-5")
OF_CLUSTERS = ("deadline_ms", "min_coverage", "shard_probes")


@dataclass(frozen=True, kw_only=True)
class Facts(CollectionInfo):
    version: int
    replicas: int
    ready: int
    nodes: int
    requests: dict[str, int]


@dataclass
class Elsewhere:
    """A collection that is searched as a cluster is."""

    collection: Collection
    coverage: float = 1.0
    error: Exception | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.collection, name)

    @property
    def path(self) -> str:
        return "s3://bucket/wiki"

    def info(self) -> Facts:
        own = {each.name: getattr(self.collection.info(), each.name) for each in fields(Facts)[:14]}
        return Facts(**own, version=3, replicas=8, ready=7, nodes=4, requests={"late": 0})

    def search(self, query: Any, **options: Any) -> list[DocumentHits]:
        if self.error is not None:
            raise self.error
        self.asked.append(dict(options))
        own = {name: options.pop(name, None) for name in OF_CLUSTERS}
        hits = self.collection.search(query, **options)
        many = hits if isinstance(hits, list) else [hits]
        if own["min_coverage"] is not None and self.coverage < own["min_coverage"]:
            raise CoverageError("0.75 of the rows were searched")
        for one in many:
            one.coverage, one.late = self.coverage, MISSING if self.coverage < 1 else ()
        return many


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Serving, Elsewhere]]:
    folder = tmp_path_factory.mktemp("cluster")
    model = make_folder(folder)
    root = folder / "root"
    with Collection(root / "notes", dim=2) as notes:
        notes.add(["bread"], ["b"], vectors=[[1, 0]])
    with Collection(folder / "wiki", Encoder(model)) as wiki:
        wiki.add(list(WORDS[:5]), list("abcde"))
        cluster = Elsewhere(wiki)
        catalog = Catalog([root], clusters={"wiki": cluster})
        with serving(root, catalog) as server:
            yield server, cluster


@pytest.fixture
def http(world: tuple[Serving, Elsewhere]) -> Iterator[httpx.Client]:
    server, cluster = world
    cluster.coverage, cluster.error = 1.0, None
    for _ in range(10_000):
        if server.service.ready:
            break
        time.sleep(0.02)
    with server.http() as client:
        yield client


@pytest.fixture
def cluster(world: tuple[Serving, Elsewhere]) -> Elsewhere:
    return world[1]


def search(http: httpx.Client, **body: Any) -> httpx.Response:
    return http.post("/collections/wiki/search", json={"query": WORDS[0], "k": 2} | body)


def test_a_text_is_encoded_by_the_server_and_searched_for(
    http: httpx.Client, cluster: Elsewhere
) -> None:
    answer = search(http)
    assert answer.status_code == 200
    (result,) = answer.json()["results"]
    expected = cluster.collection.search(WORDS[0], k=2)
    assert [hit["id"] for hit in result["hits"]] == expected.ids
    assert (result["coverage"], result["late"]) == (1.0, [])


def test_what_was_not_searched_is_reported(http: httpx.Client, cluster: Elsewhere) -> None:
    cluster.coverage = 0.75
    (result,) = search(http, deadline_ms=5000, shard_probes=3).json()["results"]
    assert (result["coverage"], result["late"]) == (0.75, list(MISSING))
    assert (cluster.asked[-1]["deadline_ms"], cluster.asked[-1]["shard_probes"]) == (5000, 3)
    refused = search(http, min_coverage=0.9)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "coverage")
    assert "retry-after" in refused.headers


def test_the_client_has_the_coverage(
    world: tuple[Serving, Elsewhere], http: httpx.Client, cluster: Elsewhere
) -> None:
    cluster.coverage = 0.75
    with Client(world[0].url) as client:
        hits = client.collection("wiki").search(WORDS[0], k=2)
        info = client.collection("wiki").info()
    assert (hits.coverage, hits.late) == (0.75, MISSING)
    assert info.documents == 5


def test_raw_hits_have_the_coverage(
    world: tuple[Serving, Elsewhere], http: httpx.Client, cluster: Elsewhere
) -> None:
    cluster.coverage = 0.75
    vector = cluster.collection.search(WORDS[0], k=1, include=["vector"])[0].vector
    assert vector is not None
    with Client(world[0].url) as client:
        for k in (2, 1):
            several = client.collection("wiki").search(np.stack([vector] * 3), k=k, include=())
            assert [(hits.coverage, hits.late) for hits in several] == [(0.75, MISSING)] * 3
            assert [len(hits) for hits in several] == [k] * 3


def test_the_client_sends_the_options_of_clusters(
    world: tuple[Serving, Elsewhere], http: httpx.Client, cluster: Elsewhere
) -> None:
    cluster.coverage = 0.75
    vector = cluster.collection.search(WORDS[0], k=1, include=["vector"])[0].vector
    with Client(world[0].url, retries=0) as client:
        wiki = client.collection("wiki")
        for query in (WORDS[0], vector):
            hits = wiki.search(query, k=2, deadline_ms=5000, shard_probes=3, include=())
            assert (hits.coverage, hits.late) == (0.75, MISSING)
            asked = cluster.asked[-1]
            assert (asked["deadline_ms"], asked["shard_probes"]) == (5000, 3)
            with pytest.raises(NestlingError, match="rows were searched") as refused:
                wiki.search(query, k=2, min_coverage=0.9)
            assert isinstance(refused.value, (CoverageError, ServerError))


def test_overload_is_answered_with_429(http: httpx.Client, cluster: Elsewhere) -> None:
    cluster.error = OverloadError("64 calls are in flight")
    answer = search(http)
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "overloaded")
    assert "retry-after" in answer.headers


def test_it_is_listed_and_described(http: httpx.Client) -> None:
    names = [each["name"] for each in http.get("/collections").json()["collections"]]
    assert names == ["notes", "wiki"]
    described = http.get("/collections/wiki").json()
    assert (described["version"], described["ready"], described["documents"]) == (3, 7, 5)


def test_all_else_is_refused(http: httpx.Client) -> None:
    for method, path, body in (
        ("GET", "/collections/wiki/documents", None),
        ("POST", "/collections/wiki/count", {}),
        ("POST", "/collections/wiki/documents", {"documents": ["new"]}),
        ("PUT", "/collections/wiki", {"dim": 2}),
    ):
        answer = http.request(method, path, json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (501, "cluster"), path
    stores = http.get("/v1/vector_stores").json()["data"]
    assert "wiki" not in [store["id"] for store in stores]


def test_the_options_of_clusters_are_not_those_of_a_collection(http: httpx.Client) -> None:
    for name, value in zip(OF_CLUSTERS, (50, 0.5, 2), strict=True):
        body = {"vector": [1, 0], name: value}
        answer = http.post("/collections/notes/search", json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (422, name)


def test_two_of_one_name_are_refused(tmp_path: Path) -> None:
    with Collection(tmp_path / "wiki", dim=2) as wiki, pytest.raises(ArgumentError, match="rename"):
        Catalog([tmp_path / "wiki"], clusters={"wiki": wiki})
