"""The app without a network: keys, readiness, limits, time, errors and headers."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from tiny_models import DIM, WORDS

from nestling import Collection
from nestling.encoder import Encoder
from nestling.server import ServerSettings, create_app
from nestling.server.keys import ApiKey, new_key, write_keys
from nestling.training import QueryEncoderSettings, train_query_encoder

MakeFolder = Callable[..., Path]
VECTORS = np.array([[1, 0], [0, 1], [1, 1]], np.float32)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "collections"
    for name in ("notes", "مقالات"):
        with Collection(root / name, dim=2) as notes:
            notes.add(
                ["bread", "river", "خبز"],
                ["b", "r", "k"],
                [{"year": 2020}, {"year": 2021}, {"year": 2022}],
                vectors=VECTORS,
            )
    return root


@asynccontextmanager
async def serving(*folders: Path | str, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    settings = ServerSettings(collections=tuple(map(str, folders)), **options)
    app = create_app(settings)
    await app.service.load()
    transport = httpx.ASGITransport(app)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            client.app = app  # type: ignore[attr-defined]
            yield client
    finally:
        app.service.close()


def error_of(response: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


async def test_a_vector_finds_what_the_library_finds(root: Path) -> None:
    async with serving(root) as client:
        answer = await client.post(
            "/collections/notes/search", json={"vector": [1, 0.1], "k": 2, "explain": True}
        )
        (result,) = answer.json()["results"]
        raw = await client.post(
            "/collections/notes/search?k=2",
            content=np.array([1, 0.1], "<f4").tobytes(),
            headers={"content-type": "application/octet-stream"},
        )
        packed = await client.post(
            "/collections/notes/search",
            json={"vector": base64.b64encode(np.array([1, 0.1], "<f4").tobytes()).decode()},
        )
    with Collection(root / "notes", read_only=True) as notes:
        hits = notes.search([1, 0.1], k=2)
    assert [hit["id"] for hit in result["hits"]] == [hit.id for hit in hits] == ["b", "k"]
    assert [hit["score"] for hit in result["hits"]] == [hit.score for hit in hits]
    assert result["hits"][1]["text"] == "خبز"
    assert result["hits"][1]["metadata"] == {"year": 2022}
    assert result["explanation"]["stages"][0]["rows_seen"] == 3
    assert raw.json()["results"][0]["hits"] == [
        {"id": hit.id, "score": hit.score, "passage": 0} for hit in hits
    ]
    assert packed.json()["results"][0]["hits"][0]["id"] == "b"


async def test_ids_and_scores_come_as_bytes(root: Path) -> None:
    async with serving(root) as client:
        answer = await client.post(
            "/collections/notes/search?k=2",
            content=VECTORS.tobytes(),
            headers={
                "content-type": "application/octet-stream",
                "accept": "application/octet-stream",
            },
        )
    data = answer.content
    counts = np.frombuffer(data, "<u4", 3)
    total = int(counts.sum())
    scores = np.frombuffer(data, "<f4", total, 12)
    passages = np.frombuffer(data, "<u4", total, 12 + 4 * total)
    lengths = np.frombuffer(data, "<u4", total, 12 + 8 * total)
    ids = data[12 + 12 * total :].decode()
    assert passages.tolist() == [0] * 6
    assert counts.tolist() == [2, 2, 2]
    assert lengths.tolist() == [1] * 6
    assert ids[:4:2] == "br"
    assert scores[0] == pytest.approx(1)


async def test_filters_and_words_in_arabic(root: Path) -> None:
    async with serving(root) as client:
        body = {"query": "خبز", "mode": "lexical", "include": ["text", "highlight", "snippet"]}
        answer = await client.post("/collections/مقالات/search", json=body)
        filtered = await client.post(
            "/collections/مقالات/search", json={"vector": [1, 1], "where": {"year": {"$gt": 2021}}}
        )
    (hit,) = answer.json()["results"][0]["hits"]
    assert (hit["text"], hit["highlights"]) == ("خبز", [[0, 3]])
    assert hit["snippet"] == {"text": "خبز", "start": 0, "end": 3, "highlights": [[0, 3]]}
    assert [hit["id"] for hit in filtered.json()["results"][0]["hits"]] == ["k"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "argument"),
        ({"vector": [1]}, 422, "vector"),
        ({"vector": [1, float("inf")]}, 422, "invalid_value"),
        ({"vector": "%%"}, 422, "vector"),
        ({"vectors": []}, 422, "vector"),
        ({"vector": [1, 0], "where": {"year": {"$near": 1}}}, 422, "filter"),
        ({"vector": [1, 0], "funnel": "99@4:10"}, 422, "funnel"),
        ({"vector": [1, 0], "k": 0}, 422, "invalid_value"),
        ({"vector": [1, 0], "k": 10**6}, 422, "argument"),
        ({"vector": [1, 0], "colour": 1}, 422, "invalid_value"),
        ({"query": "bread", "mode": "dense"}, 422, "vector"),
        ({"vector": [1, 0], "mode": "hybrid"}, 422, "argument"),
    ],
)
async def test_requests_that_cannot_be_served(
    root: Path, body: dict[str, Any], status: int, code: str
) -> None:
    async with serving(root) as client:
        content = json.dumps(body).replace("Infinity", "1e999")
        answer = await client.post("/collections/notes/search", content=content)
        assert answer.status_code == status, answer.text
        assert error_of(answer)["code"] == code


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b'{"where": ' + b'{"a": ' * 20_000, 400),
        (b'{"query": "' + b"a" * 2000 + b'"}', 413),
        (b"[]", 422),
    ],
)
async def test_bodies_that_are_no_requests(root: Path, content: bytes, status: int) -> None:
    async with serving(root, max_body_bytes=150_000 if status == 400 else 1000) as client:
        answer = await client.post("/collections/notes/search", content=content)
    assert answer.status_code == status, answer.text
    error_of(answer)


async def test_paths_and_methods_that_are_not_there(root: Path) -> None:
    async with serving(root) as client:
        for path in (
            "/nowhere",
            "/collections/none",
            "/collections/..%2F..%2Fetc",
            "/collections/%00",
        ):
            answer = await client.get(path)
            assert answer.status_code in (404, 422), path
            error_of(answer)
        answer = await client.patch("/collections/notes")
        assert answer.status_code == 405
        assert answer.headers["allow"] == "DELETE, GET, HEAD, PUT"
        error_of(answer)


async def test_the_app_can_be_mounted_and_closes_websockets(root: Path) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async with serving(root) as client:
        app = client.app  # type: ignore[attr-defined]
        mounted = httpx.ASGITransport(Starlette(routes=[Mount("/engine", app)]))
        async with httpx.AsyncClient(transport=mounted, base_url="http://server") as outside:
            found = await outside.post("/engine/collections/notes/search", json={"vector": [1, 0]})
            assert found.json()["results"][0]["hits"][0]["id"] == "b"
            assert (await outside.get("/engine/nothing")).status_code == 404
            assert (await outside.get("/enginelivez")).status_code == 404
        await app({"type": "websocket", "path": "/", "headers": []}, lambda: None, send)
    assert sent == [{"type": "websocket.close"}]


async def test_collections_are_created_and_deleted(root: Path) -> None:
    async with serving(root) as client:
        created = await client.put("/collections/جديد", json={"dim": 4, "fields": ["year"]})
        assert created.status_code == 201
        assert created.json()["fields"] == ["year"]
        assert (await client.put("/collections/جديد", json={"dim": 4})).status_code == 200
        other = await client.put("/collections/جديد", json={"dim": 5})
        assert (other.status_code, error_of(other)["code"]) == (422, "argument")
        names = [each["name"] for each in (await client.get("/collections")).json()["collections"]]
        assert names == sorted(["notes", "جديد", "مقالات"])
        assert (await client.delete("/collections/جديد")).json() == {"deleted": True}
        assert (await client.get("/collections/جديد")).status_code == 404
        assert sorted(path.name for path in root.iterdir()) == sorted(["notes", "مقالات"])
        for name in ("../up", ".hidden", "a b", "x" * 101, "-"):
            answer = await client.put(f"/collections/{name}", json={"dim": 4})
            assert answer.status_code in (404, 422), name
        model = await client.put("/collections/m", json={"encoder": "minilm"})
        assert (model.status_code, error_of(model)["code"]) == (404, "model_not_found")


async def test_a_single_collection_has_no_place_for_others(root: Path) -> None:
    async with serving(root / "notes") as client:
        assert (await client.put("/collections/new", json={"dim": 4})).status_code == 409


async def test_a_read_only_server_refuses_changes(root: Path) -> None:
    async with serving(root, read_only=True) as client:
        answers = [
            await client.put("/collections/new", json={"dim": 4}),
            await client.delete("/collections/notes"),
            await client.post("/collections/notes/compact"),
            await client.post("/collections/notes/tune", json={}),
        ]
        assert [answer.status_code for answer in answers] == [403] * 4
        search = await client.post("/collections/notes/search", json={"vector": [1, 0]})
        assert search.status_code == 200


async def test_upkeep(root: Path, tmp_path: Path) -> None:
    async with serving(root, backups=str(tmp_path / "backups")) as client:
        assert (await client.post("/collections/notes/check")).json()["problems"] == []
        assert (await client.post("/collections/notes/compact")).status_code == 200
        body = {"recall": 0.9, "budget_seconds": 0.1}
        assert "chosen" in (await client.post("/collections/notes/tune", json=body)).json()
        backup = await client.post("/collections/notes/backup", json={"name": "first"})
        assert backup.status_code == 201
        escape = await client.post("/collections/notes/backup", json={"name": "../first"})
        assert escape.status_code == 422
    with Collection(tmp_path / "backups" / "first", read_only=True) as copy:
        assert len(copy) == 3


async def test_keys_roles_and_scopes(root: Path, tmp_path: Path) -> None:
    keys: dict[str, str] = {}
    records: dict[str, ApiKey] = {}
    for name, role, scope in (
        ("page", "read", ("notes",)),
        ("loader", "write", ("*",)),
        ("boss", "admin", ("n*",)),
    ):
        keys[name], records[name] = new_key(name, role, scope)  # type: ignore[arg-type]
    write_keys(tmp_path / "keys.json", records)

    async with serving(root, api_keys=str(tmp_path / "keys.json")) as client:

        async def status(key: str | None, method: str, path: str, **options: Any) -> int:
            headers = {} if key is None else {"authorization": f"Bearer {key}"}
            return (await client.request(method, path, headers=headers, **options)).status_code

        vector = {"json": {"vector": [1, 0]}}
        assert await status(None, "GET", "/livez") == 200
        assert await status(None, "GET", "/metrics") == 401
        assert await status(None, "GET", "/collections") == 401
        assert await status("nest-wrong", "GET", "/collections") == 401
        assert await status(keys["page"], "POST", "/collections/notes/search", **vector) == 200
        assert await status(keys["page"], "POST", "/collections/مقالات/search", **vector) == 403
        assert await status(keys["page"], "POST", "/collections/notes/compact") == 403
        assert await status(keys["loader"], "POST", "/collections/notes/compact") == 200
        assert await status(keys["loader"], "PUT", "/collections/new", json={"dim": 2}) == 403
        assert await status(keys["boss"], "PUT", "/collections/new", json={"dim": 2}) == 201
        assert await status(keys["boss"], "PUT", "/collections/other", json={"dim": 2}) == 403
        listed = await client.get(
            "/collections", headers={"authorization": f"Bearer {keys['page']}"}
        )
        assert [each["name"] for each in listed.json()["collections"]] == ["notes"]


async def test_nothing_is_served_before_it_is_loaded(root: Path) -> None:
    app = create_app(ServerSettings(collections=(str(root),)))
    transport = httpx.ASGITransport(app)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            assert (await client.get("/livez")).status_code == 200
            assert (await client.get("/readyz")).status_code == 503
            answer = await client.post("/collections/notes/search", json={"vector": [1, 0]})
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "1"
            await app.service.load()
            assert (await client.get("/readyz")).json() == {"status": "ready"}
            app.service.draining = True
            assert (await client.get("/readyz")).status_code == 503
            answer = await client.post("/collections/notes/search", json={"vector": [1, 0]})
            assert answer.status_code == 200
    finally:
        app.service.close()


async def test_a_folder_that_cannot_be_loaded_is_not_ready(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(ServerSettings(models=("no-such-model",)))
    try:
        await app.service.load()
        assert app.service.status.startswith("failed: ModelNotFoundError")
    finally:
        app.service.close()


async def test_a_collection_with_a_broken_encoder_is_served_for_vectors_and_words(
    make_folder: MakeFolder, tmp_path: Path
) -> None:
    model = make_folder()
    with Collection(tmp_path / "c" / "cats", model) as cats:
        cats.add("cat sun")
    (model / "onnx" / "model.onnx").unlink()
    async with serving(tmp_path / "c") as client:
        assert "cats" in (await client.get("/status")).json()["problems"]
        body = {"query": "sun", "mode": "lexical"}
        assert (await client.post("/collections/cats/search", json=body)).status_code == 200
        dense = await client.post("/collections/cats/search", json={"query": "sun"})
        assert 400 <= dense.status_code < 500
        error_of(dense)


async def test_a_query_encoder_encodes_the_queries_unless_a_request_says_otherwise(
    make_folder: MakeFolder, tmp_path: Path
) -> None:
    teacher = Encoder(make_folder(), threads=1)
    texts = [" ".join(words) for words in product(WORDS[4:11], repeat=2)]
    quick = QueryEncoderSettings(dims=[8], pieces=300, epochs=2, batch_size=32)
    train_query_encoder(teacher, texts, tmp_path / "fast", quick)
    with Collection(tmp_path / "c" / "cats", teacher) as cats:
        cats.add(texts)
        exact = cats.search("cat sun", k=3, refine="always")
    with Collection(tmp_path / "c" / "cats", teacher, query_encoder=tmp_path / "fast") as cats:
        fast = cats.search("cat sun", k=3)
    assert [hit.score for hit in fast] != [hit.score for hit in exact]
    async with serving(tmp_path / "c", query_encoders=(str(tmp_path / "fast"),)) as client:
        (listed,) = (await client.get("/status")).json()["query_encoders"]
        assert (listed["imitates"], listed["dim"]) == (teacher.name, DIM)
        for refine, expected in (("never", fast), ("always", exact)):
            body = {"query": "cat sun", "k": 3, "refine": refine}
            answer = await client.post("/collections/cats/search", json=body)
            hits = answer.json()["results"][0]["hits"]
            assert [hit["score"] for hit in hits] == [hit.score for hit in expected]
            shown = await client.post("/collections/cats/funnel", json=body)
            report = shown.json()
            points = zip(report["points"]["id"], report["points"]["stage"], strict=True)
            found = {id for id, stage in points if stage == len(report["stages"])}
            assert found == {hit.id for hit in expected}


async def test_embeddings_in_openais_form(make_folder: MakeFolder) -> None:
    folder = make_folder(files={"README.md": "---\n---\n"})
    encoder = Encoder(folder, threads=1)
    async with serving(models=(str(folder),)) as client:
        (model,) = (await client.get("/v1/models")).json()["data"]
        assert (model["id"], model["dimensions"]) == (encoder.name, DIM)
        name = model["id"]

        async def embed(**body: Any) -> httpx.Response:
            return await client.post("/v1/embeddings", json={"model": name, **body})

        answer = (await embed(input=["cat sun", "sun"], encoding_format="base64")).json()
        vectors = [base64.b64decode(each["embedding"]) for each in answer["data"]]
        expected = encoder.encode_queries(["cat sun", "sun"])
        assert vectors == [vector.astype("<f4").tobytes() for vector in expected]
        assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] > 0
        floats = (await embed(input="cat sun")).json()["data"][0]["embedding"]
        np.testing.assert_array_equal(np.array(floats, np.float32), expected[0])
        tokens = encoder.embedder.tokenize(["cat sun"])[0][0].tolist()
        by_token = (await embed(input=[tokens])).json()["data"][0]["embedding"]
        assert by_token == floats
        assert (await embed(input=tokens)).json()["data"][0]["embedding"] == floats
        refused = await embed(input="cat", dimensions=2)
        assert (refused.status_code, error_of(refused)["param"]) == (422, "dimensions")
        short = await client.post(
            "/v1/embeddings?any_dimensions=1", json={"model": name, "input": "cat", "dimensions": 2}
        )
        assert len(short.json()["data"][0]["embedding"]) == 2
        for wrong in ("", [], [""], ["a", [1]], [[]], [[10**6]], [-1], [[1.5]], 3):
            assert (await embed(input=wrong)).status_code == 422, wrong
        other = await client.post("/v1/embeddings", json={"model": "other", "input": "cat"})
        assert (other.status_code, error_of(other)["code"]) == (404, "model_not_found")


async def test_a_request_is_given_up_after_its_time(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(root) as client:
        service = client.app.service  # type: ignore[attr-defined]
        monkeypatch.setattr(service.searches, "search", lambda _: asyncio.sleep(1000))
        answer = await client.post(
            "/collections/notes/search", json={"vector": [1, 0]}, headers={"x-timeout-ms": "70"}
        )
        assert (answer.status_code, error_of(answer)["type"]) == (504, "timeout_error")
        wrong = await client.post(
            "/collections/notes/search", json={"vector": [1, 0]}, headers={"x-timeout-ms": "soon"}
        )
        assert wrong.status_code == 400


async def test_the_work_of_a_client_that_left_is_dropped(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = asyncio.Event()

    async def slow(_: object) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            ended.set()

    async with serving(root) as client:
        app = client.app  # type: ignore[attr-defined]
        monkeypatch.setattr(app.service.searches, "search", slow)
        messages = [
            {"type": "http.request", "body": b'{"vector": [1, 0]}', "more_body": False},
            {"type": "http.disconnect"},
        ]

        async def receive() -> Any:
            return messages.pop(0)

        async def send(_: object) -> None:
            pass

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/collections/notes/search",
            "query_string": b"",
            "headers": [],
            "client": None,
        }
        await asyncio.wait_for(app(scope, receive, send), 200)
    assert ended.is_set()


async def test_every_answer_has_its_headers_and_its_line_in_the_log(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("nestling.access").propagate = True
    with caplog.at_level(logging.INFO, "nestling.access"):
        async with serving(root) as client:
            answer = await client.post("/collections/notes/search", json={"vector": [1, 0]})
            metrics = (await client.get("/metrics")).text
            others = await asyncio.gather(*(client.get("/livez") for _ in range(9)))
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert float(answer.headers["x-total-time"]) >= float(answer.headers["x-search-time"]) > 0
    line, _, *lines = map(json.loads, "\n".join(caplog.messages).splitlines())
    assert {line["id"] for line in lines} == {other.headers["x-request-id"] for other in others}
    assert line["id"] == answer.headers["x-request-id"]
    assert (line["path"], line["status"]) == ("/collections/notes/search", 200)
    path = 'path="/collections/{name}/search"'
    assert f'nestling_requests_total{{method="POST",{path},status="200"}} 1.0' in metrics
    assert 'nestling_queued{queue="search"} 0.0' in metrics


async def test_a_sample_of_searches_tells_their_recall(root: Path) -> None:
    async with serving(root, recall_sample=1.0) as client:
        for _ in range(3):
            await client.post("/collections/notes/search", json={"vector": [1, 0]})
        for _ in range(10_000):
            metrics = (await client.get("/metrics")).text
            if "nestling_recall_count 0.0" not in metrics:
                break
            await asyncio.sleep(0.02)
    counts = [line for line in metrics.splitlines() if line.startswith("nestling_recall_")]
    (total,) = (float(line.split()[1]) for line in counts if line.startswith("nestling_recall_sum"))
    assert total >= 1
    assert 'nestling_stage_rows_total{stage="2@8"}' in metrics


async def test_a_fault_of_the_server_shows_no_details(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(root) as client:
        service = client.app.service  # type: ignore[attr-defined]

        def broken(_: object) -> None:
            raise KeyError("secret")

        monkeypatch.setattr(service.searches, "search", broken)
        answer = await client.post("/collections/notes/search", json={"vector": [1, 0]})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "secret" in caplog.text


async def test_other_origins_are_let_in_only_where_they_are_named(root: Path) -> None:
    headers = {"origin": "https://example.org", "access-control-request-method": "POST"}
    async with serving(root) as client:
        answer = await client.options("/collections/notes/search", headers=headers)
        assert "access-control-allow-origin" not in answer.headers
    async with serving(root, cors_origins=("https://example.org",)) as client:
        answer = await client.options("/collections/notes/search", headers=headers)
        assert answer.headers["access-control-allow-origin"] == "https://example.org"
