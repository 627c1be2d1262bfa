"""Anything may be sent: no answer is a 500, no request ends the server, memory stays as it is."""

from __future__ import annotations

import gc
import json
import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from server_world import DIM, fill
from serving import Serving, serving

from nestling.server import ServerSettings, create_app
from nestling.server.openapi import DESCRIPTION
from nestling.server.routes import ENDPOINTS

STATM = Path("/proc/self/statm")
GROWTH = 24 * 1024 * 1024  # bytes that 2,000 requests may leave behind

BODIES: tuple[bytes, ...] = (
    b"",
    b" ",
    b"{",
    b"}",
    b"null",
    b"true",
    b"[]",
    b"0",
    b'""',
    b"{}",
    b"{'a': 1}",
    b'{"a":}',
    b'{"a": NaN}',
    b'{"k": Infinity}',
    b'{"k": -1e999}',
    b'{"k": 1e400}',
    b'{"k": 99999999999999999999999999}',
    b'{"k": -9223372036854775809}',
    b'{"k": 1.5}',
    b'{"k": true}',
    b'{"query": "\\ud800"}',
    b'{"query": "\\u0000"}',
    b'{"query": "\xff\xfe"}',
    b'{"query": "\xed\xa0\x80"}',
    b"\xef\xbb\xbf{}",
    b"\x00" * 100,
    b"\xff" * 100,
    b"{" * 50_000,
    b"[" * 50_000,
    b'{"where":' * 20_000,
    b'{"a":[' * 300 + b"]}" * 300,
    b'{"a": ' + b"9" * 100_000 + b"}",
    b'{"' + b"a" * 100_000 + b'": 1}',
    b'{"a": 1, "a": 2}',
    b'{"query": "x"} trailing',
    b'{"vectors": [[]]}',
    b'{"vectors": [[1, 2], [3]]}',
    b'{"vector": ["a"]}',
    b'{"vector": "AAA"}',
    b'{"vector": "////"}',
    b'{"vector": "AADAfwAAwH8AAMB/AADAfw=="}',
    b'{"vectors": []}',
    b'{"vector": [1e39, 0, 0, 0]}',
    b'{"query": [], "k": 3}',
    b'{"query": ["a"], "vectors": []}',
    b'{"query": "a", "mode": "lexical", "synonyms": ["=>"]}',
    b'{"query": "a", "mode": "lexical", "weight": -1}',
    b'{"query": "\xd8\xb3\xd9\x84\xd8\xa7\xd9\x85 \xf0\x9f\x98\x80", "mode": "lexical"}',
    b'{"where": {"$and": {}}}',
    b'{"where": {"$where": "1"}}',
    b'{"where": {"a": {"$in": 1}}}',
    b'{"where": {"": {"$gt": []}}}',
    b'{"vector": [1, 0, 0, 0], "where": {"a\'; DROP TABLE documents; --": 1}}',
    b'{"vector": [1, 0, 0, 0], "funnel": "9999@99:9"}',
    b'{"vector": [1, 0, 0, 0], "k": 1000000000000}',
    b'{"vector": [1, 0, 0, 0], "probes": 4611686018427387904}',
    b'{"documents": [null, 1, [], {}]}',
    b'{"documents": [{"text": "a", "id": -1, "vectors": [[[1]]]}]}',
    b'{"documents": [{"text": "a", "vectors": [1, 2, 3, 4], "spans": [[5, 1]]}]}',
    b'{"documents": [{"text": "a", "vectors": "AAAA", "spans": [1]}]}',
    b'{"documents": [{"text": "a", "metadata": {"a": 1e308}, "vectors": [1, 2, 3, 4]}]}',
    b'{"ids": [1, "a", "\\u0000"]}',
    b'{"ids": [-5]}',
    b'{"ids": [99999999999999999999999999999]}',
    b'{"name": "../../etc"}',
    b'{"name": "\xf0\x9f\x98\x80"}',
    b'{"input": [], "model": "tiny"}',
    b'{"input": [[]], "model": "tiny"}',
    b'{"input": [[-1]], "model": "tiny"}',
    b'{"input": [[99999999]], "model": "tiny"}',
    b'{"input": [1, "a"], "model": "tiny"}',
    b'{"input": "a", "model": "tiny", "dimensions": 0}',
    b'{"input": "a", "model": "tiny", "dimensions": 99999999999}',
    b'{"input": "a", "model": "../../x"}',
    b'{"texts": ["a"], "model": "tiny", "embedding_types": ["float", "float"]}',
    b'{"query": "a", "texts": ["b"], "top_n": 9999999999999999999}',
    b'{"inputs": ["a", ""]}',
    b'{"dim": 0}',
    b'{"dim": 99999999999}',
    b'{"dim": 4, "funnel": "nonsense"}',
    b'{"dim": 4, "passages": {"size": -1, "overlap": 3}}',
    b'{"dim": 4, "passages": {"x": 1}}',
    b'{"dim": 4, "fields": ["", "a", "a"]}',
    b'{"encoder": "/etc/passwd"}',
    b'{"file_id": "../x"}',
    b'{"attributes": {"a": [1]}}',
    b"0,1,2\n",
    b"\n\n\n",
    b'"just a text"\n{"text": 5}\n',
)
TYPES = (
    "application/json",
    "application/json; charset=utf-16",
    "application/octet-stream",
    "application/x-ndjson",
    "multipart/form-data; boundary=x",
    "multipart/form-data",
    "text/plain",
    "\u00ff/;;=",
    "",
)
NAMES = (
    *("notes", "library", "unknown", "..", ".", ".deleted-x", ".uploads", "%00", "%2e%2e", "%2F"),
    *("a%2Fb", "سلام", "😀", "e\u0301", "x" * 300, "%ff%fe", "a b", "-a", "CON", "notes%20"),
)
IDS = ("d0", "unknown", "%00", "%2e%2e", "%F0%9F%98%80", "a/b/c", "", "x" * 5_000)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("world")
    with serving(folder / "root", **fill(folder)) as running:
        yield running
        with running.http() as http:
            assert http.post("/collections/notes/check").json()["problems"] == []
        assert not (folder / "etc").exists()


@pytest.fixture(scope="module")
def http(server: Serving) -> Iterator[httpx.Client]:
    with server.http() as client:
        yield client


@pytest.fixture(autouse=True)
def still_there(http: httpx.Client) -> Iterator[None]:
    yield
    assert http.get("/readyz").status_code == 200


def sendable() -> list[tuple[str, str]]:
    """Methods and paths that take a body, but for those that end what is tested."""
    return [
        (endpoint.method, endpoint.path)
        for endpoint in ENDPOINTS
        if endpoint.method in ("POST", "PUT") and not endpoint.path.endswith("/tune")
    ]


def path_of(path: str, name: str = "notes", id: str = "d0") -> str:
    for pattern, value in (("{name}", name), ("{id:path}", id), ("{file_id:path}", id),
                           ("{file_id}", id), ("{model:path}", name), ("{file}", id)):  # fmt: skip
        path = path.replace(pattern, value)
    return path


def fine(answer: httpx.Response, about: Any = None) -> None:
    assert answer.status_code != 500, (about, answer.text)
    if answer.status_code >= 400:
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}, about
        assert error["message"]
        assert "Traceback" not in answer.text


@pytest.mark.parametrize(("method", "path"), sendable())
def test_bodies(http: httpx.Client, method: str, path: str) -> None:
    name = "scratch" if method == "PUT" else "notes"
    for body in BODIES:
        fine(http.request(method, path_of(path, name), content=body), (path, body[:60]))
    for kind in TYPES:
        for body in (b'{"query": "x"}', b"\xff" * 16):
            headers = {"content-type": kind.encode("latin-1")}
            answer = http.request(method, path_of(path, name), content=body, headers=headers)
            fine(answer, (path, kind, body))


@pytest.mark.parametrize("name", NAMES)
def test_names(http: httpx.Client, name: str, server: Serving) -> None:
    before = sorted(path.name for path in server.root.parent.iterdir())
    for endpoint in (*ENDPOINTS, DESCRIPTION):
        if name in ("notes", "library") and endpoint.method in ("DELETE", "PUT"):
            continue
        id = random.Random(len(name)).choice(IDS)
        url = path_of(endpoint.path, name, id)
        fine(http.request(endpoint.method, url, content=b'{"dim": 2}'), url)
    assert sorted(path.name for path in server.root.parent.iterdir()) == before
    assert all(path.parent == server.root for path in server.root.iterdir())


@pytest.mark.parametrize("id", IDS)
def test_ids(http: httpx.Client, id: str) -> None:
    for method, path in (("GET", "documents/{id:path}"), ("DELETE", "documents/{id:path}")):
        if id != "d0":
            fine(http.request(method, f"/collections/notes/{path_of(path, id=id)}"), id)
    fine(http.get(f"/v1/vector_stores/notes/files/{id}"), id)
    fine(http.get(f"/v1/files/{id}"), id)


@pytest.mark.parametrize("value", ["", "-1", "0", "x", "1e3", "9" * 30, "٣", "null", "%00", "[]"])
def test_parameters(http: httpx.Client, value: str) -> None:
    for name in ("limit", "after", "where", "k", "probes", "funnel", "documents", "order",
                 "any_dimensions", "on_conflict", "on_bad_record", "filter", "before"):  # fmt: skip
        query = f"?{name}={value}&{name}={value}"
        for path in ("/collections/notes/documents", "/v1/vector_stores", "/v1/files",
                     "/v1/vector_stores/notes/files"):  # fmt: skip
            fine(http.get(path + query), (path, query))
        rows = b"\0\0\x80\x3f" * DIM
        for path, kind in (
            ("/collections/notes/search", "application/octet-stream"),
            ("/collections/notes/documents", "application/x-ndjson"),
            ("/v1/embeddings", "application/json"),
        ):
            body = rows if "octet" in kind else b'{"input": "a", "model": "tiny", "text": "a"}'
            headers = {"content-type": kind, "x-timeout-ms": "5000"}
            fine(http.post(path + query, content=body, headers=headers), (path, query))
    headers = {"x-timeout-ms": quote(value), "accept": quote(value), "authorization": "x"}
    fine(http.post("/collections/notes/search", json={"query": "a"}, headers=headers), value)


KEYS = st.text(max_size=5) | st.sampled_from(
    (
        *("query", "vector", "vectors", "k", "where", "mode", "include", "text", "documents"),
        *("ids", "input", "model", "texts", "filters", "type", "key", "value", "$and", "$or"),
        *("metadata", "title", "id", "spans", "explain", "points", "file_ids", "name", "year"),
    )
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["notes", "tiny", "d0", "lexical", "hybrid", "$and", "$in", "year", "a"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(suppress_health_check=list(HealthCheck), max_examples=150)
@given(
    place=st.sampled_from(sendable()),
    value=json_values,
    cut=st.integers(0, 8),
    kind=st.sampled_from(TYPES[:4]),
)
@example(("POST", "/collections/{name}/search"), {"vector": [1, 0, 0, 0], "k": 5}, 0, TYPES[0])
def test_generated_bodies(
    http: httpx.Client, place: tuple[str, str], value: Any, cut: int, kind: str
) -> None:
    body = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    body = body[: len(body) - cut] if cut < 4 else body
    method, path = place
    url = path_of(path, "scratch" if method == "PUT" else "notes")
    fine(http.request(method, url, content=body, headers={"content-type": kind}), (url, body))


def raw(server: Serving, data: bytes) -> bytes:
    """Returns what the server answers to bytes, until it closes the connection or says nothing."""
    where = urlsplit(server.url)
    with socket.create_connection((where.hostname, where.port), timeout=0.3) as connection:
        connection.sendall(data)
        found = b""
        try:
            while part := connection.recv(65_536):
                found += part
        except (TimeoutError, ConnectionResetError):
            pass
        return found


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: -5",
        b"Content-Length: 99999999999999999999999",
        b"Content-Length: 999999999",
        b"Content-Length: 3, 3",
        b"Content-Length: abc",
        b"Content-Length: 2\r\nContent-Length: 3",
        b"Transfer-Encoding: chunked\r\nContent-Length: 3",
        b"Transfer-Encoding: nonsense",
        b"Content-Encoding: gzip\r\nContent-Length: 2",
        b"Content-Type: \xff\xfe\r\nContent-Length: 2",
        b"Authorization: \xff\xfe\r\nContent-Length: 2",
        b"X-Timeout-Ms: \xff\r\nContent-Length: 2",
        b"Expect: 100-continue\r\nContent-Length: 2",
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 2",
        b"X-Long: " + b"a" * 100_000 + b"\r\nContent-Length: 2",
    ],
)
def test_raw_requests(server: Serving, head: bytes) -> None:
    request = b"POST /collections/notes/search HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n{}"
    assert b" 500 " not in raw(server, request)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n" * 1000,
        b"GET \xff HTTP/1.1\r\n",
    ],
)
def test_what_is_not_http(server: Serving, data: bytes) -> None:
    assert b" 500 " not in raw(server, data)


@pytest.mark.parametrize("length", [b"x", b"-5", b"", b"\xb2", b"9" * 5_000])
async def test_headers_of_other_servers(length: bytes, tmp_path: Path) -> None:
    """Servers other than uvicorn may let any header through."""
    app = create_app(ServerSettings(collections=(str(tmp_path),), access_log=False))
    await app.service.load()
    statuses = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http",
        "method": "PUT",
        "path": "/collections/a",
        "query_string": b"\xff=%ff",
        "headers": [(b"content-length", length)],
        "client": None,
        "server": None,
    }
    await app(scope, receive, send)  # type: ignore[arg-type]
    app.service.close()
    assert statuses
    assert statuses[0] in (400, 413, 422)


@pytest.mark.slow
@pytest.mark.skipif(not STATM.exists(), reason="reads /proc")
def test_memory_does_not_grow(http: httpx.Client) -> None:
    places = [place for place in sendable() if place[1] != "/v1/vector_stores"]  # makes new ones
    choose = random.Random(4)

    def send(count: int) -> None:
        for _ in range(count):
            method, path = choose.choice(places)
            url = path_of(path, "scratch" if method == "PUT" else "notes")
            kind = choose.choice(TYPES[:6])
            body = choose.choice(BODIES)
            fine(http.request(method, url, content=body, headers={"content-type": kind}))

    send(1_000)
    before = resident()
    send(2_000)
    assert resident() - before < GROWTH


def resident() -> int:
    """Returns the bytes of memory of this process, in which the server runs."""
    gc.collect()
    pages = int(STATM.read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
