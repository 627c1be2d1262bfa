"""OpenAI's client, LangChain's and LlamaIndex's, pointed at a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from serving import Serving, compare, serving
from tiny_models import make_folder

from nestling import Encoder
from nestling.collection import Collection
from nestling.server.routes.vector_stores import Filter, where_of

TEXTS = ["cat dog", "sun moon read", "مرحبا 😀", "write write cat"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = make_folder(tmp_path_factory.mktemp("model"))
    with serving(tmp_path_factory.mktemp("root"), models=(str(folder),)) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Serving) -> Iterator[openai.OpenAI]:
    http = openai.DefaultHttpxClient(event_hooks={"response": [compare]})
    url = f"{server.url}/v1"
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0, http_client=http) as client:
        yield client


@pytest.fixture(scope="module")
def encoder(server: Serving) -> Encoder:
    return server.service.catalog.model("tiny")


@pytest.fixture
def store(client: openai.OpenAI, server: Serving) -> Iterator[str]:
    made = client.vector_stores.create(name="books")
    assert (made.id, made.object, made.status) == ("books", "vector_store", "completed")
    collection = server.service.catalog.collection("books")
    collection.add(
        TEXTS,
        ids=[f"d{i}" for i in range(4)],
        metadata=[{"year": 2000 + i, "tag": "ab"[i % 2], "deep": {"x": 1}} for i in range(4)],
    )
    yield "books"
    deleted = client.vector_stores.delete("books")
    assert deleted.deleted


def test_embeddings_are_the_encoders_to_the_last_bit(
    client: openai.OpenAI, encoder: Encoder
) -> None:
    expected = encoder.encode_queries(TEXTS)
    answer = client.embeddings.create(model="tiny", input=TEXTS)  # base64, as the client asks for
    got = np.array([one.embedding for one in answer.data], np.float32)
    assert got.tobytes() == expected.tobytes()
    answer = client.embeddings.create(model="tiny", input=TEXTS, encoding_format="float")
    got = np.array([one.embedding for one in answer.data], np.float32)
    assert got.tobytes() == expected.tobytes()
    assert answer.usage.total_tokens > len(TEXTS)
    assert [model.id for model in client.models.list()] == ["tiny"]


def test_errors_have_openais_classes(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="other", input="x")
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        client.embeddings.create(model="tiny", input=["x"], dimensions=5)
    assert caught.value.param == "dimensions"
    with pytest.raises(openai.NotFoundError):
        client.vector_stores.retrieve("unknown")
    with pytest.raises(openai.UnprocessableEntityError):
        client.vector_stores.create(name="../x")


def test_vector_stores_are_listed_page_by_page(client: openai.OpenAI) -> None:
    for name in ("a", "b", "c"):
        client.vector_stores.create(name=name)
    assert [one.id for one in client.vector_stores.list(limit=2, order="asc")] == ["a", "b", "c"]
    assert [one.id for one in client.vector_stores.list(limit=1, order="desc")] == ["c", "b", "a"]
    made = client.vector_stores.create()
    assert made.id.startswith("vs_")
    for name in ("a", "b", "c", made.id):
        client.vector_stores.delete(name)
    for refused in ({"metadata": {"a": "b"}}, {"expires_after": {"anchor": "x", "days": 1}}):
        with pytest.raises(openai.UnprocessableEntityError):
            client.vector_stores.create(name="d", **refused)


def test_searches_have_scores_and_attributes(
    client: openai.OpenAI, store: str, server: Serving
) -> None:
    page = client.vector_stores.search(store, query="cat dog")
    assert len(page.data) == 4
    best = page.data[0]
    assert (best.file_id, best.filename) == ("d0", "d0")
    assert best.attributes == {"year": 2000, "tag": "a"}
    assert best.content[0].text == "cat dog"
    assert all(0 <= one.score <= 1 for one in page.data)
    assert best.score > 0.99
    found = server.service.catalog.collection(store).search("cat dog")
    assert [one.file_id for one in page.data] == [hit.id for hit in found]
    few = client.vector_stores.search(
        store, query="cat dog", ranking_options={"score_threshold": 0.99}
    )
    assert [one.file_id for one in few.data] == ["d0"]
    two = client.vector_stores.search(store, query=["cat dog", "مرحبا 😀"], max_num_results=2)
    assert {one.file_id for one in two.data} == {"d0", "d2"}


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ({"type": "eq", "key": "year", "value": 2001}, {"d1"}),
        ({"type": "ne", "key": "tag", "value": "a"}, {"d1", "d3"}),
        ({"type": "gt", "key": "year", "value": 2001}, {"d2", "d3"}),
        ({"type": "gte", "key": "year", "value": 2001.0}, {"d1", "d2", "d3"}),
        ({"type": "lt", "key": "year", "value": 2001}, {"d0"}),
        ({"type": "lte", "key": "year", "value": 2001}, {"d0", "d1"}),
        ({"type": "in", "key": "year", "value": [2000, 2003, 9]}, {"d0", "d3"}),
        ({"type": "nin", "key": "year", "value": [2000, 2003]}, {"d1", "d2"}),
        (
            {
                "type": "and",
                "filters": [
                    {"type": "eq", "key": "tag", "value": "a"},
                    {
                        "type": "or",
                        "filters": [
                            {"type": "gt", "key": "year", "value": 2001},
                            {"type": "eq", "key": "deep.x", "value": 2},
                        ],
                    },
                ],
            },
            {"d2"},
        ),
    ],
)
def test_filters(client: openai.OpenAI, store: str, filters: Any, ids: set[str]) -> None:
    page = client.vector_stores.search(store, query="cat", filters=filters)
    assert {one.file_id for one in page.data} == ids


@pytest.mark.parametrize(
    "filters",
    [
        {"type": "near", "key": "a", "value": 1},
        {"type": "eq", "key": "a"},
        {"type": "and"},
        {"type": "and", "key": "a", "value": 1},
        {"type": "eq", "key": "$and", "value": 1},
        {"type": "gt", "key": "a", "value": [1]},
        {"type": "in", "key": "a", "value": 1},
    ],
)
def test_wrong_filters_are_refused(client: openai.OpenAI, store: str, filters: Any) -> None:
    with pytest.raises(openai.UnprocessableEntityError):
        client.vector_stores.search(store, query="cat", filters=filters)


def test_deep_filters_are_refused(server: Serving, store: str) -> None:
    for depth, status in ((10, 200), (100, 422), (5_000, 400)):
        filters = '{"type": "and", "filters": [' * depth
        filters += '{"type": "eq", "key": "a", "value": 1}' + "]}" * depth
        body = f'{{"query": "cat", "filters": {filters}}}'
        with server.http() as http:
            answer = http.post(f"/v1/vector_stores/{store}/search", content=body.encode())
        assert answer.status_code == status, depth
    assert where_of(Filter(type="in", key="a", value=[1, "b"])) == {"a": {"$in": [1, "b"]}}


def test_documents_are_files(client: openai.OpenAI, store: str) -> None:
    files = client.vector_stores.files
    listed = list(files.list(store, limit=3))
    assert [one.id for one in listed] == [f"d{i}" for i in range(4)]
    assert listed[1].attributes == {"year": 2001, "tag": "b"}
    assert list(files.list(store, filter="failed")) == []
    one = files.retrieve("d2", vector_store_id=store)
    assert (one.status, one.usage_bytes) == ("completed", len(TEXTS[2].encode()))
    assert files.content("d2", vector_store_id=store).data[0].text == TEXTS[2]
    changed = files.update("d2", vector_store_id=store, attributes={"year": 1999, "new": True})
    assert changed.attributes == {"year": 1999, "new": True}
    found = client.vector_stores.search(
        store, query="x", filters={"type": "eq", "key": "new", "value": True}
    )
    assert [hit.file_id for hit in found.data] == ["d2"]
    assert files.delete("d2", vector_store_id=store).deleted
    with pytest.raises(openai.NotFoundError):
        files.retrieve("d2", vector_store_id=store)
    with pytest.raises(openai.NotFoundError):
        files.delete("d2", vector_store_id=store)


def test_texts_are_uploaded(client: openai.OpenAI, store: str, tmp_path: Path) -> None:
    pytest.importorskip("python_multipart")
    text = "read write مرحبا"
    uploaded = client.files.create(file=("قصة.txt", text.encode()), purpose="assistants")
    assert (uploaded.filename, uploaded.bytes) == ("قصة.txt", len(text.encode()))
    assert client.files.content(uploaded.id).text == text
    assert [one.id for one in client.files.list()] == [uploaded.id]
    file = client.vector_stores.files.create(
        store, file_id=uploaded.id, attributes={"lang": "ar", "year": 7}
    )
    assert (file.id, file.status) == (uploaded.id, "completed")
    hits = client.vector_stores.search(store, query=text).data
    assert (hits[0].file_id, hits[0].filename) == (uploaded.id, "قصة.txt")
    assert hits[0].attributes == {"lang": "ar", "year": 7}
    client.files.delete(uploaded.id)
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(uploaded.id)
    assert client.vector_stores.files.retrieve(uploaded.id, vector_store_id=store).id

    path = tmp_path / "moon.txt"
    path.write_text("moon moon moon")
    with path.open("rb") as opened:
        file = client.vector_stores.files.upload_and_poll(vector_store_id=store, file=opened)
    assert file.status == "completed"
    names = [hit.filename for hit in client.vector_stores.search(store, query="moon").data]
    assert "moon.txt" in names
    made = client.vector_stores.create(name="other", file_ids=[file.id])
    assert made.file_counts.completed == 1
    client.vector_stores.delete("other")
    for name in ("../../etc/passwd", "file-" + "0" * 32, "file-../x"):
        with pytest.raises(openai.NotFoundError):
            client.vector_stores.files.create(store, file_id=name)
    with pytest.raises(openai.UnprocessableEntityError, match="UTF-8"):
        client.files.create(file=("a.pdf", b"%PDF\xff\xfe"), purpose="assistants")
    client.files.delete(file.id)


def test_texts_are_added_in_batches(client: openai.OpenAI, store: str) -> None:
    pytest.importorskip("python_multipart")
    ids = [
        client.files.create(file=(f"{n}.txt", f"moon {n}".encode()), purpose="assistants").id
        for n in range(5)
    ]
    batches = client.vector_stores.file_batches
    begun = batches.create(store, file_ids=[ids[0], ids[1], ids[0]], attributes={"lang": "en"})
    made = batches.poll(begun.id, vector_store_id=store)
    assert (made.object, made.status) == ("vector_store.files_batch", "completed")
    assert (made.file_counts.completed, made.file_counts.total) == (2, 2)
    assert batches.retrieve(made.id, vector_store_id=store) == made
    assert batches.cancel(made.id, vector_store_id=store) == made
    listed = batches.list_files(made.id, vector_store_id=store, limit=1)
    assert [file.id for file in listed] == ids[:2]  # page by page
    listed = batches.list_files(made.id, vector_store_id=store, limit=1, order="desc")
    assert [file.id for file in listed] == [ids[1], ids[0]]
    assert not list(batches.list_files(made.id, vector_store_id=store, filter="failed"))
    file = client.vector_stores.files.retrieve(ids[1], vector_store_id=store)
    assert file.attributes == {"lang": "en"}

    each = batches.create(
        store,
        files=[
            {"file_id": ids[2], "attributes": {"year": 1}},
            {"file_id": ids[3], "attributes": {"year": 2}},
        ],
    )
    page = client.vector_stores.search(
        store, query="moon", filters={"type": "eq", "key": "year", "value": 2}
    )
    assert [hit.file_id for hit in page.data] == [ids[3]]
    client.vector_stores.files.delete(ids[2], vector_store_id=store)
    remaining = batches.list_files(each.id, vector_store_id=store)
    assert [file.id for file in remaining] == [ids[3]]

    with pytest.raises(openai.NotFoundError):  # and nothing is added
        batches.create(store, file_ids=[ids[4], "file-" + "0" * 32])
    with pytest.raises(openai.NotFoundError):
        client.vector_stores.files.retrieve(ids[4], vector_store_id=store)
    for wrong in ({}, {"file_ids": []}, {"file_ids": ids, "files": [{"file_id": ids[0]}]}):
        with pytest.raises(openai.UnprocessableEntityError):
            batches.create(store, **wrong)  # type: ignore[arg-type]
    with pytest.raises(openai.UnprocessableEntityError, match="chunking"):
        batches.create(
            store,
            files=[{"file_id": ids[0], "chunking_strategy": {"type": "static", "static": {}}}],  # type: ignore[typeddict-item]
        )
    client.vector_stores.create(name="another")
    for id, where in ((made.id, "another"), ("vsfb_" + "0" * 32, store), ("x", store)):
        with pytest.raises(openai.NotFoundError):
            batches.retrieve(id, vector_store_id=where)
    client.vector_stores.delete("another")
    for id in ids:
        client.files.delete(id)


def test_only_the_newest_batches_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nestling.server.batches import FileBatches
    from nestling.server.errors import RequestError

    monkeypatch.setattr("nestling.server.batches._MOST", 2)
    with serving(tmp_path) as running:
        batches = FileBatches(running.service.catalog)
        first, second, third = (batches.add("s", (str(n),)) for n in range(3))
        with pytest.raises(RequestError):
            batches.get("s", first.id)
        assert batches.get("s", second.id) == second
        assert batches.get("s", third.id) == third


def test_forms_may_be_malformed(server: Serving) -> None:
    pytest.importorskip("python_multipart")
    kind = "multipart/form-data; boundary=x"
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nt\r\n'
    with server.http() as http:
        for content, type_, status in (
            (b"", kind, 400),
            (b"nonsense", kind, 400),
            (part, kind, 400),
            (part + b"--x--", kind, 422),
            (part, "multipart/form-data", 400),
            (b"{}", "application/json", 415),
            (part * 3 + b"--x--", kind, 400),
        ):
            answer = http.post("/v1/files", content=content, headers={"content-type": type_})
            assert answer.status_code == status, (content, type_, answer.text)


def test_uploads_belong_to_their_keys(tmp_path: Path) -> None:
    pytest.importorskip("python_multipart")
    from nestling.server.keys import new_key, write_keys

    keys = {name: new_key(name, role) for name, role in
            (("one", "write"), ("two", "write"), ("all", "admin"), ("eye", "read"))}  # fmt: skip
    write_keys(tmp_path / "keys.json", {name: record for name, (_, record) in keys.items()})
    root = tmp_path / "root"
    with serving(root, api_keys=str(tmp_path / "keys.json")) as running, running.http() as http:

        def send(method: str, path: str, name: str, **options: Any) -> httpx.Response:
            headers = {"authorization": f"Bearer {keys[name][0]}"}
            return http.request(method, path, headers=headers, **options)

        form: dict[str, Any] = {"files": {"file": ("a", b"t")}, "data": {"purpose": "p"}}
        assert send("POST", "/v1/files", "eye", **form).status_code == 403
        id = send("POST", "/v1/files", "one", **form).json()["id"]
        for name, status in (("one", 200), ("two", 404), ("all", 200), ("eye", 403)):
            assert send("GET", f"/v1/files/{id}", name).status_code == status
        assert send("GET", "/v1/files", "two").json()["data"] == []
        assert send("DELETE", f"/v1/files/{id}", "two").status_code == 404
        assert send("DELETE", f"/v1/files/{id}", "one").status_code == 200
        assert send("POST", "/v1/vector_stores", "one", json={"name": "x"}).status_code == 403


def test_inner_products_are_squeezed(tmp_path: Path) -> None:
    with Collection(tmp_path / "ip", dim=2, metric="ip") as collection:
        from nestling.server.routes.vector_stores import _share

        assert _share(0.0, collection) == 0.5
        assert 0 <= _share(-1e9, collection) < _share(3.0, collection) < 1
        assert _share(1e9, collection) <= 1


def test_langchains_client(server: Serving, encoder: Encoder) -> None:
    embeddings = pytest.importorskip("langchain_openai").OpenAIEmbeddings
    settings: dict[str, Any] = {
        "model": "tiny",
        "base_url": f"{server.url}/v1",
        "api_key": "none",
        "check_embedding_ctx_length": False,
    }

    async def ask() -> list[float]:
        # A client of the test's own: the one that LangChain shares is never closed, and its sockets
        # would outlive the event loop.
        async with httpx.AsyncClient() as client:
            asynchronous = embeddings(**settings, http_async_client=client)
            found: list[float] = await asynchronous.aembed_query(TEXTS[0])
            return found

    got = np.array(embeddings(**settings).embed_documents(TEXTS), np.float32)
    assert got.tobytes() == encoder.encode_queries(TEXTS).tobytes()
    one = np.array(asyncio.run(ask()), np.float32)
    assert one.tobytes() == got[0].tobytes()


def test_llama_indexs_clients(server: Serving, encoder: Encoder) -> None:
    expected = encoder.encode_queries(TEXTS)
    where = {"api_base": f"{server.url}/v1", "api_key": "none"}
    like = pytest.importorskip("llama_index.embeddings.openai_like").OpenAILikeEmbedding
    plain = pytest.importorskip("llama_index.embeddings.openai").OpenAIEmbedding
    for embedding in (
        like(model_name="tiny", embed_batch_size=3, **where),
        plain(model_name="tiny", **where),
    ):
        got = np.array(embedding.get_text_embedding_batch(TEXTS), np.float32)
        assert got.tobytes() == expected.tobytes()
        one = np.array(embedding.get_query_embedding(TEXTS[0]), np.float32)
        assert one.tobytes() == expected[0].tobytes()


def test_answers_are_json_that_any_client_reads(server: Serving, store: str) -> None:
    with server.http() as http:
        for path in ("/v1/vector_stores", f"/v1/vector_stores/{store}/files", "/v1/models"):
            answer = http.get(path)
            assert answer.headers["content-type"] == "application/json"
            assert json.loads(answer.content)["object"] == "list"
