"""`nestling.Client`: answers as a local collection gives them, errors as it raises them."""

from __future__ import annotations

import copy
import doctest
import json
import re
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving import Serving, compare, serving
from tiny_models import make_folder

import nestling
from nestling import Client, Collection, Encoder
from nestling.client import RemoteCollection
from nestling.collection import Passages

WORDS = ("cat", "dog", "sun", "moon", "read", "write", "مرحبا", "😀")
ROWS = np.random.default_rng(5).standard_normal((300, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = make_folder(tmp_path_factory.mktemp("model"))
    root = tmp_path_factory.mktemp("root")
    backups = tmp_path_factory.mktemp("backups")
    with serving(root, models=(str(folder),), backups=str(backups)) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Serving) -> Iterator[Client]:
    with Client(server.url) as client:
        client._transport._http.event_hooks = {"response": [compare]}
        yield client


@pytest.fixture
def notes(client: Client) -> Iterator[RemoteCollection]:
    yield client.create_collection("notes", dim=8, fields=["year"])
    client.delete_collection("notes")


@pytest.fixture(scope="module")
def library(client: Client, server: Serving) -> Iterator[tuple[RemoteCollection, Collection]]:
    """A collection with an encoder, as the client sees it and as it is on the disk."""
    remote = client.create_collection(
        "library", "tiny", passages=Passages(40, 0), title_weight=3, fields=["n"]
    )
    remote.add(
        ({"id": f"t{i}", "text": text, "title": f"T{i}", "metadata": {"n": i}}
         for i, text in enumerate(texts(60))),
    )  # fmt: skip
    with Collection(server.root / "library", read_only=True) as local:
        yield remote, local


def texts(count: int) -> list[str]:
    choose = np.random.default_rng(3).choice
    return [". ".join(" ".join(choose(WORDS, 4)) for _ in range(3)) for _ in range(count)]


def test_documents_go_in_and_come_out(notes: RemoteCollection) -> None:
    documents = [f"text {i}" for i in range(300)]
    metadata = [{"year": 1900 + i} for i in range(300)]
    ids = [f"d/{i}" for i in range(300)]
    result = notes.add(documents, ids, metadata, vectors=ROWS)
    assert (result.added, result.passages, result.ids) == (300, 300, ids)
    assert len(notes) == notes.count() == 300
    assert notes.count({"year": {"$lt": 1950}}) == 50
    assert "d/7" in notes
    assert "d" not in notes
    assert "\0" not in notes
    stored = notes.get("d/7")
    assert stored is not None
    assert (stored.text, stored.metadata, stored.spans) == ("text 7", {"year": 1907}, [(0, 6)])
    assert notes.get(["d/1", "unknown"])[1] is None
    assert [one.id for one in notes] == ids
    assert [one.id for one in notes.documents({"year": {"$gte": 2198}})] == ["d/298", "d/299"]
    assert notes.delete(["d/0", "d/1", "unknown"]) == 2
    assert notes.delete(where={"year": {"$gte": 1950}}) == 250
    assert notes.info().documents == 48


def test_adding_is_like_a_local_collections(notes: RemoteCollection, tmp_path: Path) -> None:
    documents: list[Any] = [
        "bare",
        {"text": "own", "id": 5, "metadata": {"tags": ["a", None, 1.5]}},
        {"text": "سلام 😀", "title": "عنوان"},
        {"text": "two passages", "spans": [(0, 3), (4, 12)]},
        {"txt": "bad"},
        {"text": "bare again", "id": 5, "metadata": {"year": 1}},
    ]
    vectors = [ROWS[0], ROWS[1], ROWS[2], ROWS[3:5], ROWS[5], ROWS[6]]
    with Collection(tmp_path / "local", dim=8, fields=["year"]) as local:
        expected = local.add(documents, vectors=vectors, on_bad_record="skip")
        result = notes.add(documents, vectors=vectors, on_bad_record="skip")
        assert result == expected
        assert len(result.rejected) == 1
        assert list(notes) == list(local)
        for conflict in ("skip", "replace"):
            again = [document for document in documents if document != {"txt": "bad"}]
            rows = [*vectors[:4], vectors[5]]
            kept = {"vectors": rows, "on_conflict": conflict}
            assert notes.add(again, **kept) == local.add(again, **kept)
        with pytest.raises(nestling.DocumentError, match=r"documents\[4\]"):
            notes.add(documents, vectors=vectors)
        with pytest.raises(nestling.VectorError):
            notes.add(["x"], vectors=[[1.0, 2.0]])
        with pytest.raises(nestling.IdError):
            notes.add(["other"], ["5"], vectors=ROWS[:1], on_conflict="error")


def test_long_additions_are_several_requests(
    notes: RemoteCollection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nestling.client.collection._BODY", 1_000)
    documents = ({"text": f"{i} " * 50, "id": str(i), "vectors": ROWS[i]} for i in range(40))
    result = notes.add(documents)
    assert (result.added, result.ids, len(notes)) == (40, None, 40)


def test_searches_find_what_a_local_collection_finds(
    library: tuple[RemoteCollection, Collection],
) -> None:
    remote, local = library
    every = ("text", "metadata", "highlight", "document", "vector")
    for options in (
        {},
        {"k": 3, "include": ()},
        {"include": every, "mode": "hybrid", "weight": 0.3},
        {"include": every, "mode": "lexical", "fuzzy": True},
        {"mode": "hybrid", "fusion": "rrf", "where": {"n": {"$lt": 30}}},
        {"where": {"$or": [{"n": 3}, {"n": {"$gt": 50}}]}},
    ):
        assert remote.search("cat moon", **options) == local.search("cat moon", **options)
        two = ["cat moon", "مرحبا 😀"]
        assert remote.search(two, **options) == local.search(two, **options)
    assert remote.search([], k=3) == []
    lines = ["cat, dog"]
    synonyms = nestling.collection.Synonyms(lines)
    found = remote.search("cat", mode="lexical", synonyms=lines)
    assert found == local.search("cat", mode="lexical", synonyms=synonyms)


def test_vectors_are_sent_raw(library: tuple[RemoteCollection, Collection]) -> None:
    remote, local = library
    queries = np.random.default_rng(9).standard_normal((700, local.dim)).astype(np.float32)
    for include in ((), ("text", "metadata"), ("text",), ("vector",)):
        options = {"k": 4, "include": include, "where": {"n": {"$lt": 40}}}
        assert remote.search(queries, **options) == local.search(queries, **options)
        assert remote.search(queries[0], **options) == local.search(queries[0], **options)
    assert remote.search(queries[:2].tolist(), include=()) == local.search(queries[:2], include=())
    with pytest.raises(nestling.VectorError):
        remote.search(queries[:, :3])
    with pytest.raises(nestling.VectorError):
        remote.search(np.full(local.dim, np.nan, np.float32))


def test_searches_are_explained(library: tuple[RemoteCollection, Collection]) -> None:
    remote, local = library
    mine = local.search("cat moon", explain=True).explanation
    theirs = remote.search("cat moon", explain=True).explanation
    assert theirs is not None
    assert mine is not None
    assert (theirs.mode, theirs.stages, theirs.dropped) == (mine.mode, mine.stages, mine.dropped)
    assert "rows seen" in str(theirs)


def test_info_is_that_of_the_collection(
    client: Client, library: tuple[RemoteCollection, Collection]
) -> None:
    remote, local = library
    assert remote.info() == local.info()
    assert client.collections()["library"] == local.info()
    assert remote.info().split == Passages(40, 0)


def test_upkeep(notes: RemoteCollection, server: Serving) -> None:
    notes.add([f"text {i}" for i in range(300)], vectors=ROWS)
    report = notes.tune(0.9, budget_seconds=0.2, cells=True)
    assert report.chosen.funnel == str(notes.info().funnel)
    assert report.rows == 300
    assert "recall@10" in report.line()
    served = server.service.catalog.collection("notes")
    assert notes.info() == served.info()
    assert notes.check().problems == ()
    assert notes.compact().segments >= 0
    notes.backup("copy")
    backups = server.service.settings.backups
    assert backups is not None
    with Collection(Path(backups) / "copy", read_only=True) as copy:
        assert len(copy) == 300
    with pytest.raises(nestling.ServerError, match="already") as caught:
        notes.backup("copy")
    assert caught.value.status == 409


def test_embeddings_are_the_encoders(client: Client, server: Serving) -> None:
    encoder: Encoder = server.service.catalog.model("tiny")
    given = texts(300)
    assert client.models() == ["tiny"]
    queries = client.embed(given)
    assert queries.dtype == np.float32
    assert queries.tobytes() == encoder.encode_queries(given).tobytes()
    documents = client.embed(given, "tiny", kind="document")
    assert documents.tobytes() == encoder.encode(given).tobytes()
    assert client.embed("cat").shape == (encoder.dim,)
    assert client.embed([]).shape == (0, 0)
    with pytest.raises(nestling.ModelNotFoundError):
        client.embed("cat", "unknown")
    with pytest.raises(nestling.ArgumentError, match="dimensions"):
        client.embed("cat", dim=3)


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        (nestling.FilterError, lambda c: c.search("x", mode="lexical", where={"$near": 1})),
        (nestling.FilterError, lambda c: c.count({"a": {"$gt": []}})),
        (nestling.FunnelError, lambda c: c.search(ROWS[0], funnel="nonsense")),
        (nestling.ArgumentError, lambda c: c.search(ROWS[0], k=0)),
        (nestling.ArgumentError, lambda c: c.search("x", mode="other")),
        (nestling.ArgumentError, lambda c: c.delete()),
        (nestling.VectorError, lambda c: c.search("x")),
        (nestling.IdError, lambda c: c.get("\0")),
    ],
)
def test_errors_are_those_of_a_collection(
    notes: RemoteCollection, kind: type[Exception], call: Any
) -> None:
    with pytest.raises(kind):
        call(notes)


def test_what_the_server_refuses_has_its_status(client: Client) -> None:
    with pytest.raises(nestling.ServerError, match="no collection") as caught:
        client.collection("unknown").info()
    assert caught.value.status == 404
    assert copy.copy(caught.value).status == 404
    for name in ("../etc", "a/b", "", "سلام\0"):
        with pytest.raises(nestling.NestlingError):
            client.collection(name).info()


def test_servers_that_are_not_there() -> None:
    with Client("http://127.0.0.1:9", retries=1) as client:
        with pytest.raises(nestling.ServerError, match="cannot connect") as caught:
            client.models()
        assert caught.value.status is None
    for url in ("127.0.0.1:80", "http://a:x", ""):
        with pytest.raises(nestling.ArgumentError):
            Client(url)


class _Busy(BaseHTTPRequestHandler):
    """Says what `answers` says, one after the other."""

    answers: list[tuple[int, dict[str, str], bytes]]
    seen: list[dict[str, str]]

    def do_GET(self) -> None:
        self.seen.append(dict(self.headers))
        status, headers, body = self.answers.pop(0)
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def busy() -> Iterator[tuple[str, type[_Busy]]]:
    handler = type("Handler", (_Busy,), {"answers": [], "seen": []})
    with HTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}", handler
        http.shutdown()
        thread.join()


def test_busy_servers_are_tried_again(
    busy: tuple[str, type[_Busy]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, handler = busy
    waits: list[float] = []
    monkeypatch.setattr("nestling.client.transport.time.sleep", waits.append)
    full = json.dumps({"error": {"message": "full", "type": "", "code": "overloaded"}}).encode()
    fine = json.dumps({"data": [{"id": "m"}]}).encode()
    handler.answers += [
        (429, {"Retry-After": "2", "Retry-After-Ms": "1500"}, full),
        (503, {"Retry-After": "3"}, full),
        (503, {"Retry-After": "9999"}, b"<html>"),
        (502, {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, b""),
        (200, {}, fine),
    ]
    with Client(url, "nest-key", timeout=7) as client:
        assert client.models() == ["m"]
    assert waits[:3] == [1.5, 3.0, 30.0]
    assert 0 < waits[3] <= 30
    assert handler.seen[0]["authorization"] == "Bearer nest-key"
    assert handler.seen[0]["x-timeout-ms"] == "7000"

    handler.answers += [(429, {}, full)] * 2
    with Client(url, retries=1) as client, pytest.raises(nestling.ServerError, match="full"):
        client.models()
    handler.answers += [(500, {}, b"\xff")]
    with Client(url) as client, pytest.raises(nestling.ServerError) as caught:
        client.models()
    assert caught.value.status == 500
    handler.answers += [(200, {}, b"<html>")]
    with Client(url) as client, pytest.raises(nestling.ServerError, match="not JSON"):
        client.models()


@pytest.mark.slow
def test_the_guide_is_true(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "guides" / "client.md"
    blocks = re.findall(r"^```pycon\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    with serving(tmp_path, models=("minilm",)) as running:
        session = "\n".join(blocks).replace("http://127.0.0.1:8080", running.url)
        test = doctest.DocTestParser().get_doctest(session, {}, page.name, str(page), 0)
        runner = doctest.DocTestRunner()
        runner.run(test, clear_globs=False)
        test.globs["client"].close()
    assert (runner.failures, runner.tries) == (0, len(test.examples))
    assert runner.tries > 10


def test_without_httpx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(nestling.PackageError, match=r"nestling\[client\]"):
        Client("http://127.0.0.1:1")
