"""A cluster behind Ray Serve: searched over HTTP, deployed again under load, and ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from ray_world import make_dataset, one_machine, queries, ray_nodes

from nestling import Collection
from nestling.bench.server.process import free_port
from nestling.cluster import ClusterSettings
from nestling.cluster.app import dataset_name, deploy, stop
from nestling.errors import ArgumentError, ClusterError
from nestling.server import ServerSettings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of what Ray Serve imports
]

SETTINGS = ClusterSettings(replicas=2, watch_seconds=1.0)


@dataclass
class Served:
    path: str
    url: str
    server: ServerSettings
    one: Collection


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("http")
    port = free_port()
    server = ServerSettings(port=port, shutdown_seconds=5, access_log=False)
    with ray_nodes(2), one_machine(folder, 120) as one:
        path = str(make_dataset(folder, 120, 2))
        url = deploy(path, settings=SETTINGS, server=server, proxies="HeadOnly")
        try:
            yield Served(path, url, server, one)
        finally:
            stop(path)


def search(client: httpx.Client, number: int) -> httpx.Response:
    body = {"vector": queries(4)[number].tolist(), "k": 5}
    return client.post("/collections/dataset/search", json=body)


def test_it_is_searched_and_described(served: Served) -> None:
    with httpx.Client(base_url=served.url, timeout=30) as client:
        assert client.get("/readyz").status_code == 200
        for number in range(4):
            (result,) = search(client, number).json()["results"]
            expected = served.one.search(queries(4)[number], k=5)
            assert [hit["id"] for hit in result["hits"]] == expected.ids
            assert [hit["score"] for hit in result["hits"]] == pytest.approx(expected.scores)
            assert (result["coverage"], result["late"]) == (1.0, [])
        info = client.get("/collections/dataset").json()
        assert (info["documents"], info["version"], info["segments"]) == (120, 1, 2)
        refused = client.get("/collections/dataset/documents")
        assert (refused.status_code, refused.json()["error"]["code"]) == (501, "cluster")


def test_fronts_are_replaced_under_load(served: Served) -> None:
    ends = threading.Event()
    expected = [served.one.search(vector, k=5).ids for vector in queries(4)]

    def client(number: int) -> int:
        count = 0
        with httpx.Client(base_url=served.url, timeout=30) as http:
            while not ends.is_set():
                answer = search(http, number)
                assert answer.status_code == 200, answer.text
                (result,) = answer.json()["results"]
                assert [hit["id"] for hit in result["hits"]] == expected[number]
                count += 1
                time.sleep(0.02)
        return count

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(client, number) for number in range(2)]
        server = replace(served.server, port=served.server.port + 1)  # Ray Serve runs already
        url = deploy(served.path, settings=SETTINGS, server=server, fronts=2, proxies="HeadOnly")
        assert url == served.url
        time.sleep(2)
        ends.set()
        assert all(each.result() > 0 for each in running)


def test_other_settings_of_the_replicas_are_refused(served: Served) -> None:
    with pytest.raises(ArgumentError, match="served with other settings"):
        deploy(served.path, settings=ClusterSettings(replicas=1), server=served.server)


@pytest.mark.parametrize("server", [{"collections": ("x",)}, {"workers": 2}, {"port": 0}])
def test_settings_that_are_not_of_a_front_are_refused(
    served: Served, server: dict[str, object]
) -> None:
    with pytest.raises(ArgumentError, match="a cluster is served"):
        deploy(served.path, server=ServerSettings(**server))  # type: ignore[arg-type]


def test_what_cannot_be_served_leaves_nothing_behind(served: Served, tmp_path: Path) -> None:
    import ray

    make_dataset(tmp_path, 30, 1)
    path = (tmp_path / "dataset").rename(tmp_path / "other")
    (file,) = path.glob("shards/*/collection.db")
    content = file.read_bytes()
    settings = ClusterSettings(replicas=1)
    for written, problem in ((b"x" * len(content), "cannot be served"), (content, "Prefix /")):
        file.write_bytes(written)
        with pytest.raises(ClusterError, match=problem) as caught:
            deploy(str(path), settings=settings, server=served.server)
        assert "Traceback" not in str(caught.value)
        with pytest.raises(ValueError, match="supervisor:other"):
            ray.get_actor("supervisor:other", namespace="nestling")
    with httpx.Client(base_url=served.url, timeout=30) as client:
        assert search(client, 0).status_code == 200


def test_the_name_is_the_last_part_of_the_path(tmp_path: Path) -> None:
    assert dataset_name(str(tmp_path / "wiki")) == "wiki"
    with pytest.raises(ArgumentError, match="no name"):
        dataset_name("/")
