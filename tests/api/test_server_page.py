"""The page's files and what the page asks the server: fields, and the funnel of a query."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from page_server import page_server
from serving import Serving, serving

from nestling import Cells, Collection
from nestling.collection import StoredDocument
from nestling.collection.storage.store import Changes
from nestling.collection.upkeep.compaction import merge
from nestling.server.keys import new_key, write_keys
from nestling.server.routes.fields import fields_of
from nestling.server.routes.page import page_files


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with page_server(tmp_path_factory.mktemp("page")) as running:
        yield running


@pytest.fixture
def http(server: Serving) -> Iterator[httpx.Client]:
    with server.http() as client:
        yield client


class Links(HTMLParser):
    """What a document refers to, and what it has inline."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.inline: list[str] = []
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self._open = tag
        self.urls += [values[name] or "" for name in ("src", "href") if name in values]
        self.inline += [name for name in values if name == "style" or name.startswith("on")]

    def handle_data(self, data: str) -> None:
        if self._open in ("script", "style") and data.strip():
            self.inline.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._open = ""


# The files


def test_the_page_and_all_its_files_are_served(http: httpx.Client) -> None:
    page = http.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    links = Links(page.text)
    assert not links.inline, "the policy refuses what stands in the document"
    ours = [url for url in links.urls if url != "openapi.json"]
    assert len(ours) >= 3
    for url in ours:
        assert re.match(r"\./page/[\w.-]+$", url), url
        file = http.get(url.removeprefix("."))
        assert file.status_code == 200
        assert file.headers["cache-control"] == "public, max-age=31536000, immutable"
    for name in page_files():
        assert http.get(f"/page/{name}").status_code == 200


def test_the_policy_allows_this_server_alone(http: httpx.Client) -> None:
    for path in ("/", f"/page/{next(name for name in page_files() if name.endswith('.js'))}"):
        headers = http.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy
        assert "http" not in policy
        sources = {part for entry in policy.split("; ") for part in entry.split()[1:]}
        assert sources == {"'none'", "'self'"}
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-opener-policy"] == "same-origin"


def test_an_unchanged_file_is_not_sent_again(http: httpx.Client) -> None:
    first = http.get("/")
    assert first.headers["cache-control"] == "no-cache"
    again = http.get("/", headers={"if-none-match": f'"x", {first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["content-security-policy"] == first.headers["content-security-policy"]
    assert http.get("/", headers={"if-none-match": '"x"'}).status_code == 200


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [("gzip, br", True), ("br;q=1, GZIP;q=0.5", True), ("gzip;q=0", False), ("", False)],
)
def test_files_are_compressed_for_those_who_take_it(
    http: httpx.Client, accepted: str, packed: bool
) -> None:
    name, file = max(page_files().items(), key=lambda item: len(item[1].body))
    request = http.build_request("GET", f"/page/{name}", headers={"accept-encoding": accepted})
    answer = http.send(request, stream=True)
    body = b"".join(answer.iter_raw())
    assert (answer.headers.get("content-encoding") == "gzip") == packed
    assert (gzip.decompress(body) if packed else body) == file.body
    assert answer.headers["vary"] == "accept-encoding"


@pytest.mark.parametrize(
    "name", ["absent.js", "%2e%2e", "%2e%2e%2fapp.py", "..%2f__init__.py", "x/y"]
)
def test_no_other_file_can_be_named(http: httpx.Client, name: str) -> None:
    answer = http.get(f"/page/{name}")
    assert answer.status_code == 404
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_the_page_needs_no_key_but_what_it_shows_does(tmp_path: Path) -> None:
    Collection(tmp_path / "root" / "notes", dim=2).close()
    _, record = new_key("page", "read")
    write_keys(tmp_path / "keys.json", {"page": record})
    with (
        serving(tmp_path / "root", api_keys=str(tmp_path / "keys.json")) as server,
        server.http() as http,
    ):
        assert http.get("/").status_code == 200
        assert http.get("/page/index.html").status_code == 200
        assert http.get("/collections").status_code == 401
        assert http.get("/collections/notes/fields").status_code == 401
        body = {"vector": [1, 0]}
        assert http.post("/collections/notes/funnel", json=body).status_code == 401


def test_the_licences_of_what_is_bundled_are_with_it() -> None:
    text = page_files()["LICENSES.txt"].body.decode()
    for words in ("preact 1", "embedding-atlas 0", "Apple Inc.", "Jason Miller", "Svelte"):
        assert words in text


# The fields


def test_fields_have_types_values_and_bounds(http: httpx.Client) -> None:
    fields = {f.pop("name"): f for f in http.get("/collections/animals/fields").json()["fields"]}
    assert fields["year"] == {"type": "number", "declared": True, "min": 1990, "max": 2019}
    assert fields["lang"] == {"type": "string", "declared": False, "values": ["fr", "en"]}
    assert fields["draft"]["type"] == "boolean"
    assert sorted(fields["author.name"]["values"]) == ["A0", "A1", "A2", "A3", "A4"]
    assert fields["tags"]["list"] is True
    assert "cat" in fields["tags"]["values"]
    assert http.get("/collections/empty/fields").json() == {"fields": []}
    assert http.get("/collections/absent/fields").status_code == 404


def document(**metadata: Any) -> StoredDocument:
    return StoredDocument("a", "", "", metadata, [], 0)


def test_fields_of_mixed_types_and_odd_values() -> None:
    found = fields_of([document(a=1, b="x" * 300, c=None, d={}), document(a="1", e=[{"f": 1}, 2])])
    assert {f["name"]: f["type"] for f in found} == {"a": "mixed", "b": "string", "e": "number"}
    assert {f["name"]: f.get("values") for f in found} == {"a": [1, "1"], "b": [], "e": [2]}
    # True and 1 are equal in Python, and not in JSON.
    (mixed,) = fields_of([document(a=True), document(a=1)])
    assert (mixed["type"], len(mixed["values"])) == ("mixed", 2)
    assert fields_of([], ["year"]) == [{"name": "year", "type": "mixed", "declared": True}]


def test_as_many_fields_as_a_form_can_have() -> None:
    found = fields_of([document(**{f"f{i}": i for i in range(500)})])
    assert len(found) == 100
    (many,) = fields_of([document(f=str(i % 90)) for i in range(900)])
    assert len(many["values"]) == 50


# The funnel


def funnel(http: httpx.Client, collection: str = "animals", **body: Any) -> dict[str, Any]:
    answer = http.post(f"/collections/{collection}/funnel", json=body)
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


def test_a_funnel_is_what_the_library_explains(server: Serving, http: httpx.Client) -> None:
    report = funnel(http, query="cat dog", k=8, points=500)
    with Collection(server.root / "animals", read_only=True, threads=1) as animals:
        survivors = animals.survivors("cat dog", 8, limit=500)
    explanation = survivors.hits.explanation
    assert explanation is not None
    for shown, stage in zip(report["stages"], explanation.stages, strict=True):
        assert (shown["dims"], shown["bits"]) == (stage.dims, stage.bits)
        assert (shown["rows_seen"], shown["rows_kept"]) == (stage.rows_seen, stage.rows_kept)
        assert shown["bytes_read"] == stage.bytes_read
    assert report["points"]["id"] == list(survivors.ids)
    assert report["points"]["stage"] == survivors.stages.tolist()
    assert report["points"]["stage"].count(3) == 8
    titles = dict(zip(report["points"]["id"], report["points"]["title"], strict=True))
    assert all(title == f"Title {id[1:]}" for id, title in titles.items() if id[1:].isdigit())
    assert report["recall"] == 1 - len(report["dropped"]) / 8
    assert report["latency_ms"] > 0
    assert report["cells"] == 0


def test_a_narrow_funnel_drops_what_it_names(http: httpx.Client) -> None:
    narrow = funnel(http, query="cat dog", k=8, funnel="4@8:8 > 8@16:8 > 16@16")
    wide = funnel(http, query="cat dog", k=8, funnel="4@8:1000 > 8@16:1000 > 16@16")
    assert wide["recall"] == 1.0
    assert narrow["recall"] < 1.0
    assert len(narrow["dropped"]) == round(8 * (1 - narrow["recall"]))
    for lost in narrow["dropped"]:
        assert set(lost) == {"id", "rank", "stage", "title"}
        assert lost["stage"] in (0, 1)
        assert lost["title"]
    # Those that the first stage dropped are on the map too.
    first = {lost["id"] for lost in narrow["dropped"] if lost["stage"] == 0}
    shown = zip(narrow["points"]["id"], narrow["points"]["stage"], strict=True)
    assert {id for id, stage in shown if stage == 0} == first


def test_points_lie_along_the_principal_axes(server: Serving, http: httpx.Client) -> None:
    report = funnel(http, query="sun", k=5)
    places = np.array([report["points"]["x"], report["points"]["y"]]).T
    with Collection(server.root / "animals", read_only=True, threads=1) as animals:
        survivors = animals.survivors("sun", 5)
    prefix = survivors.vectors[:, :4]
    prefix = prefix / np.linalg.norm(prefix, axis=1, keepdims=True)
    spread = np.linalg.svd(prefix - prefix.mean(axis=0), compute_uv=False)
    assert np.allclose(np.linalg.norm(places, axis=0), spread[:2], rtol=1e-3)
    assert np.allclose(places.mean(axis=0), 0, atol=1e-5)


def test_no_points_if_none_are_requested(http: httpx.Client) -> None:
    report = funnel(http, query="sun", points=0)
    assert report["points"] == {"x": [], "y": [], "stage": [], "id": [], "title": []}
    assert len(report["stages"]) == 3


def test_probes_of_cells(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(2000, 16)).astype(np.float32)
    with Collection(tmp_path / "root" / "cells", dim=16, threads=1) as made:
        made.add(["x"] * 2000, [f"d{i}" for i in range(2000)], vectors=rows)
        store = made._store
        with store.lock.changing():
            store.commit(Changes(), flush=True)
            view = store.view()
            index = merge(view.segments)
            index.rebuild(funnel="8@8:200 > 16@16", cells=Cells(20, probes=2, links=0))
            settings = replace(store.settings, funnel=index.funnel)
            store.replace(view, view.segments, lambda: index, settings)
    with serving(tmp_path / "root") as server, server.http() as http:
        few, more, every = (
            funnel(http, "cells", vector=rows[5].tolist(), probes=probes) for probes in (1, 8, 0)
        )
    assert few["cells"] == 20
    seen = [report["stages"][0]["rows_seen"] for report in (few, more, every)]
    assert seen[0] < seen[1] < seen[2] == 2000
    assert few["recall"] <= more["recall"] <= every["recall"]


def test_filters_and_vectors(http: httpx.Client) -> None:
    report = funnel(http, query="sun", k=500, where={"year": {"$lt": 1992}})
    assert report["recall"] == 1.0
    assert len(report["points"]["id"]) == 16
    assert funnel(http, "vectors", vector=[1, 0, 0, 0], k=1)["points"]["id"] == ["c", "d"]
    assert funnel(http, "empty", vector=[1, 0, 0, 0])["recall"] == 1.0


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, 422),
        ({"query": ["a", "b"]}, 422),
        ({"query": "a", "mode": "lexical"}, 422),
        ({"query": "a", "funnel": "5@8 > 16@16"}, 422),
        ({"query": "a", "where": {"year": {"$near": 1}}}, 422),
        ({"query": "a", "points": -1}, 422),
        ({"query": "a", "k": 10_000_000}, 422),
        ({"query": "a", "colour": "red"}, 422),
    ],
)
def test_what_cannot_be_shown_is_refused(http: httpx.Client, body: Any, code: int) -> None:
    answer = http.post("/collections/animals/funnel", json=body)
    assert answer.status_code == code
    assert answer.json()["error"]["message"]
