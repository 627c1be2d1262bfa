"""Documents over HTTP: added as JSON and as a stream, read, counted, removed."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from serving import Serving, serving
from waiting import SECONDS, until

from nestling import Collection
from nestling.server.ingest import Batch, Ingest, LineReader

NDJSON = {"content-type": "application/x-ndjson"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("root")) as running:
        yield running


@pytest.fixture
def http(server: Serving) -> Iterator[httpx.Client]:
    with server.http() as client:
        client.put("/collections/notes", json={"dim": 2, "fields": ["year"]}).raise_for_status()
        yield client
        client.delete("/collections/notes").raise_for_status()


def documents(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [
        {"id": f"d{i}", "text": f"text {i}", "metadata": {"year": 2000 + i}, "vectors": [1, i]}
        for i in range(start, start + count)
    ]


def lines(*values: Any) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def stream(http: httpx.Client, body: Any, **query: str) -> tuple[httpx.Response, list[Any]]:
    answer = http.post("/collections/notes/documents", content=body, headers=NDJSON, params=query)
    return answer, [json.loads(line) for line in answer.text.splitlines()]


def test_json_documents_are_added_once(http: httpx.Client) -> None:
    body = {"documents": [*documents(2), {"text": "no id", "vectors": [0, 1]}]}
    first = http.post("/collections/notes/documents", json=body).json()
    assert (first["added"], first["passages"], first["rejected"]) == (3, 3, [])
    assert first["ids"][:2] == ["d0", "d1"]
    changed = documents(2)
    changed[1]["text"] = "other"
    again = http.post("/collections/notes/documents", json={"documents": changed}).json()
    assert again["replaced"] == 2  # vectors came with them: they are always stored
    assert http.get("/collections/notes/documents/d1").json()["text"] == "other"


def test_bad_documents_are_an_error_or_reported(http: httpx.Client) -> None:
    bad = {"documents": [*documents(1), {"txt": "x"}, {"text": "y", "vectors": [1, 2, 3]}]}
    answer = http.post("/collections/notes/documents", json=bad)
    assert answer.status_code == 422
    assert "documents[1]" in answer.json()["error"]["message"]
    assert http.get("/collections/notes").json()["documents"] == 0
    answer = http.post("/collections/notes/documents", json=bad | {"on_bad_record": "skip"})
    assert answer.json()["added"] == 1
    assert [one["line"] for one in answer.json()["rejected"]] == [1, 2]


def test_conflicts_are_an_error_where_the_request_says_so(http: httpx.Client) -> None:
    http.post("/collections/notes/documents", json={"documents": documents(1)})
    changed = [{**documents(1)[0], "text": "other"}]
    body = {"documents": changed, "on_conflict": "error"}
    answer = http.post("/collections/notes/documents", json=body)
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "id"
    skipped = http.post("/collections/notes/documents", json=body | {"on_conflict": "skip"})
    assert skipped.json()["skipped"] == 1


def test_vectors_may_be_base64(http: httpx.Client) -> None:
    vectors = np.array([0.6, 0.8], "<f4")
    document = {"id": "b", "text": "t", "vectors": base64.b64encode(vectors.tobytes()).decode()}
    http.post("/collections/notes/documents", json={"documents": [document]}).raise_for_status()
    found = http.post(
        "/collections/notes/search", json={"vector": [0.6, 0.8], "include": ["vector"]}
    ).json()
    np.testing.assert_allclose(found["results"][0]["hits"][0]["vector"], vectors, rtol=1e-3)
    bad = http.post(
        "/collections/notes/documents", json={"documents": [{"text": "t", "vectors": "?"}]}
    )
    assert bad.status_code == 422


def test_stream_answers_lines_of_progress(http: httpx.Client, server: Serving) -> None:
    sent = lines(*documents(3_000))

    def parts() -> Iterator[bytes]:
        """The first part is more than a batch, and committed before the second one comes."""
        yield sent[:100_001]
        with server.http() as reader:
            until(lambda: reader.get("/collections/notes").json()["documents"])
        yield sent[100_001:]

    answer, progress = stream(http, parts())
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert progress[-1]["done"] is True
    assert progress[-1]["added"] == progress[-1]["committed"] == progress[-1]["read"] == 3_000
    committed = [line["committed"] for line in progress]
    assert committed == sorted(committed)
    assert len(progress) > 2  # more than one commit
    assert http.post("/collections/notes/count", json={}).json() == {"count": 3_000}


def test_stream_without_an_end_of_line_and_with_blank_ones(http: httpx.Client) -> None:
    _, progress = stream(http, b"\n\r\n" + lines(*documents(2)) + lines(*documents(1, 2))[:-1])
    assert progress[-1]["added"] == 3
    assert progress[-1]["committed"] == 5
    _, progress = stream(http, b"")
    assert progress == [progress[-1]]
    assert progress[-1]["added"] == 0


def test_stream_leaves_out_bad_lines(http: httpx.Client) -> None:
    deep = b"[" * 100_000 + b"\n"
    body = lines(*documents(1)) + b'{"text": \n' + deep + b"\xff\n" + lines({"txt": 1}, 5)
    _, progress = stream(http, body, on_bad_record="skip")
    rejected = [one for line in progress for one in line["rejected"]]
    assert [one["line"] for one in rejected] == [2, 3, 4, 5, 6]
    assert "not JSON" in rejected[0]["reason"]
    assert progress[-1]["added"] == 1


def test_stream_ends_at_a_bad_line(http: httpx.Client) -> None:
    answer, (error,) = stream(http, lines(*documents(2), 5))
    assert answer.status_code == 422
    assert error["error"]["message"].startswith("line 3: ")
    assert http.get("/collections/notes").json()["documents"] == 0
    # After a commit the status is out already: the error is the last line.
    many = lines(*documents(4_000))
    answer, progress = stream(http, iter([many[:200_000], many[200_000:], b"nonsense\n"]))
    assert answer.status_code == 200
    assert progress[-1]["error"]["message"].startswith("line 4,001: ")
    stored = http.get("/collections/notes").json()["documents"]
    assert 0 < stored == progress[-1]["committed"]


def test_stream_refuses_long_lines(tmp_path: Path) -> None:
    with serving(tmp_path, max_body_bytes=1_000) as running, running.http() as http:
        http.put("/collections/notes", json={"dim": 2}).raise_for_status()
        body = lines(*documents(100), {"text": "x" * 2_000, "vectors": [1, 2]})
        assert len(body) > 8 * 1_000
        answer, progress = stream(http, iter([body]))
        error = progress[-1]["error"] if answer.status_code == 200 else answer.json()["error"]
        assert error["code"] == "line_too_long"
        answer, progress = stream(http, iter([lines(*documents(100))]))
        assert progress[-1]["added"] == 100  # the limit is that of a line


def test_lines_that_are_stored_are_not_encoded_again(tmp_path: Path) -> None:
    plain = [{"id": f"p{i}", "text": f"text {i}"} for i in range(5)]
    encoder = Counting()
    with Collection(tmp_path / "encoded", encoder) as collection:
        collection.add(plain[:3])
        ingest = Ingest(collection, "replace", "error")
        ingest.add(Batch(1, lines(*plain).splitlines()))
    assert ingest.counts["unchanged"] == 3
    assert ingest.counts["added"] == 2
    assert encoder.texts == 5


def test_client_that_leaves_ends_the_stream_at_a_commit(
    http: httpx.Client, server: Serving
) -> None:
    where = urlsplit(server.url)
    connection = HTTPConnection(where.netloc, timeout=SECONDS)
    connection.putrequest("POST", "/collections/notes/documents")
    connection.putheader("Content-Type", NDJSON["content-type"])
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    body = lines(*documents(2_000))
    connection.send(b"%x\r\n%s\r\n" % (len(body), body))
    until(lambda: http.get("/collections/notes").json()["documents"])
    connection.close()
    until(lambda: not server.service.ingesting.queued)
    stored = http.get("/collections/notes").json()["documents"]
    assert 0 < stored <= 2_000
    assert http.post("/collections/notes/check", json={}).json()["problems"] == []
    _, progress = stream(http, body)
    assert progress[-1]["added"] + progress[-1]["replaced"] == 2_000
    assert progress[-1]["replaced"] == stored


def test_stream_waits_for_a_slow_client_but_commits(
    http: httpx.Client, server: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each document but the first is sent when the one before it is stored."""
    monkeypatch.setattr("nestling.server.ingest._COMMIT_SECONDS", 0.05)

    def are_stored(reader: httpx.Client, count: int) -> bool:
        return bool(reader.get("/collections/notes").json()["documents"] == count)

    def slow() -> Iterator[bytes]:
        with server.http() as reader:
            for number, document in enumerate(documents(4), 1):
                yield lines(document)
                until(partial(are_stored, reader, number))

    _, progress = stream(http, slow())
    assert [line["added"] for line in progress] == [1, 2, 3, 4, 4]


def test_silent_client_is_given_up(http: httpx.Client, server: Serving) -> None:
    def silent() -> Iterator[bytes]:
        yield b'{"text"'
        until(lambda: server.service.ingesting.queued)
        until(lambda: not server.service.ingesting.queued)
        yield b"\n"

    answer = http.post(
        "/collections/notes/documents",
        content=silent(),
        headers={**NDJSON, "X-Timeout-Ms": "200"},
    )
    assert answer.status_code == 408


async def test_reader_holds_one_batch() -> None:
    chunk = lines(*documents(100))
    sent = 0

    async def receive() -> dict[str, Any]:
        nonlocal sent
        sent += 1
        return {"type": "http.request", "body": chunk, "more_body": True}

    reader = LineReader(receive, 10_000, 1.0)
    batch = await reader.batch(5 * len(chunk))
    assert batch is not None
    assert (batch.first, len(batch.lines), sent) == (1, 500 + 100, 6)
    reader.close()


def test_another_writer_is_reported(http: httpx.Client, server: Serving) -> None:
    served = server.service.catalog.collection("notes")
    served._store.lock._timeout = 0.1  # instead of 10 s
    with Collection(server.root / "notes") as other, other._store.lock.holding():
        for options in ({"json": {"documents": documents(1)}}, {"content": lines(*documents(1))}):
            headers = NDJSON if "content" in options else {}
            answer = http.post("/collections/notes/documents", headers=headers, **options)
            assert answer.status_code == 503, answer.text
            assert answer.json()["error"]["code"] == "locked"
            assert int(answer.headers["retry-after"]) >= 1
    http.post("/collections/notes/documents", json={"documents": documents(1)}).raise_for_status()


def test_too_much_at_a_time_is_refused(http: httpx.Client, server: Serving) -> None:
    with server.service.ingesting.admitted(250 * 1024 * 1024):
        many = {"documents": [{"text": "x" * 1_000_000}] * 7}
        answers = [
            http.post("/collections/notes/documents", json=many),
            http.post("/collections/notes/documents", content=lines(*many["documents"]),
                      headers=NDJSON),
        ]  # fmt: skip
    for answer in answers:
        assert answer.status_code == 429
        assert answer.json()["error"]["code"] == "overloaded"
        assert int(answer.headers["retry-after"]) >= 1
    http.post("/collections/notes/documents", json={"documents": documents(1)}).raise_for_status()


def test_documents_are_listed_page_by_page(http: httpx.Client) -> None:
    http.post("/collections/notes/documents", json={"documents": documents(25)})
    seen: list[str] = []
    after: dict[str, str] = {}
    pages = 0
    while True:
        query = {"limit": "10", **after}
        page = http.get("/collections/notes/documents", params=query).json()
        seen += [document["id"] for document in page["documents"]]
        pages += 1
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert (seen, pages) == ([f"d{i}" for i in range(25)], 3)
    where = json.dumps({"year": {"$gte": 2020}})
    page = http.get("/collections/notes/documents", params={"where": where, "limit": "5"}).json()
    assert [document["id"] for document in page["documents"]] == [f"d{i}" for i in range(20, 25)]
    assert page["next"] is None
    assert page["documents"][0]["metadata"] == {"year": 2020}


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "1001"}, {"after": "x"}, {"where": '{"$near": 1}'}]
)
def test_wrong_pages_are_refused(http: httpx.Client, query: dict[str, str]) -> None:
    assert http.get("/collections/notes/documents", params=query).status_code == 422


def test_documents_by_ids(http: httpx.Client) -> None:
    ids = ["a/b", "..", "سلام 😀", "7", "a?b#c"]
    added = [{"id": id, "text": f"text of {id}", "vectors": [1, 2]} for id in ids]
    http.post("/collections/notes/documents", json={"documents": added}).raise_for_status()
    body = {"ids": [*ids[:3], 7, "unknown"]}
    found = http.post("/collections/notes/documents/get", json=body).json()["documents"]
    assert [one and one["id"] for one in found] == [*ids[:4], None]
    for id in ("a%2Fb", "a/b", "%D8%B3%D9%84%D8%A7%D9%85%20%F0%9F%98%80", "a%3Fb%23c"):
        assert http.get(f"/collections/notes/documents/{id}").status_code == 200, id
    assert http.get("/collections/notes/documents/no").status_code == 404
    assert http.delete("/collections/notes/documents/a%3Fb%23c").json() == {"deleted": 1}
    assert http.delete("/collections/notes/documents/a%3Fb%23c").status_code == 404


def test_documents_are_deleted_by_ids_and_filter(http: httpx.Client) -> None:
    http.post("/collections/notes/documents", json={"documents": documents(10)})

    def delete(**body: Any) -> Any:
        return http.post("/collections/notes/documents/delete", json=body).json()

    assert delete(ids=["d0", "d1", "unknown"]) == {"deleted": 2}
    assert delete(where={"year": {"$gt": 2007}}) == {"deleted": 2}
    assert delete(ids=["d2", "d3"], where={"year": 2003}) == {"deleted": 1}
    assert delete()["error"]["code"] == "argument"
    assert http.post("/collections/notes/count", json={}).json() == {"count": 5}
    assert http.post("/collections/notes/count", json={"where": {"year": 2002}}).json() == {
        "count": 1
    }
    assert delete(where={}) == {"deleted": 5}


def test_read_only_servers_refuse_changes(tmp_path: Path) -> None:
    with Collection(tmp_path / "notes", dim=2) as notes:
        notes.add(["bread"], ["a"], vectors=[[1, 0]])
    with serving(tmp_path, read_only=True) as running, running.http() as http:
        assert http.get("/collections/notes/documents/a").json()["text"] == "bread"
        for method, path in (("POST", ""), ("POST", "/delete"), ("DELETE", "/a")):
            url = f"/collections/notes/documents{path}"
            answer = http.request(method, url, content=b'{"documents": [], "ids": []}')
            assert answer.status_code == 403, (method, path)


class Counting:
    """An encoder that counts the texts it was given."""

    name, dim, fingerprint = "counting", 2, "0"

    def __init__(self) -> None:
        self.texts = 0

    def encode(self, texts: list[str]) -> list[list[float]]:
        self.texts += len(texts)
        return [[1.0, float(len(text))] for text in texts]

    encode_queries = encode
