"""Embeddings and ranking as Cohere's and TEI's clients send them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from serving import Serving, serving
from tiny_models import make_folder

from nestling import Encoder
from nestling.server.routes.cohere import quantized

TEXTS = ["cat dog", "sun moon read", "مرحبا 😀", "write write cat"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = make_folder(tmp_path_factory.mktemp("model"))
    with serving(tmp_path_factory.mktemp("root"), models=(str(folder),)) as running:
        yield running


@pytest.fixture(scope="module")
def http(server: Serving) -> Iterator[httpx.Client]:
    with server.http() as client:
        yield client


@pytest.fixture(scope="module")
def encoder(server: Serving) -> Encoder:
    return server.service.catalog.model("tiny")


def post(http: httpx.Client, path: str, **body: Any) -> Any:
    answer = http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_cohere_embeddings_in_every_form(http: httpx.Client, encoder: Encoder) -> None:
    forms = ["float", "int8", "uint8", "binary", "ubinary", "base64"]
    answer = post(http, "/v2/embed", model="tiny", texts=TEXTS, input_type="search_query",
                  embedding_types=forms)  # fmt: skip
    expected = encoder.encode_queries(TEXTS)
    got = answer["embeddings"]
    assert np.array(got["float"], np.float32).tobytes() == expected.tobytes()
    decoded = [np.frombuffer(base64.b64decode(one), "<f4") for one in got["base64"]]
    assert np.stack(decoded).tobytes() == expected.tobytes()
    ubinary = np.array(got["ubinary"], np.uint8)
    assert (np.unpackbits(ubinary, axis=1)[:, : encoder.dim] == (expected > 0)).all()
    assert (np.array(got["binary"]) + 128 == ubinary).all()
    int8 = np.array(got["int8"])
    assert (np.array(got["uint8"]) - 128 == int8).all()
    assert (np.abs(int8).max(axis=1) == 127).all()
    cosines = (int8 * expected).sum(axis=1) / np.linalg.norm(int8, axis=1)
    assert cosines.min() > 0.999
    assert answer["texts"] == TEXTS
    assert answer["meta"]["billed_units"]["input_tokens"] > 4
    plain = post(http, "/v2/embed", model="tiny", texts=TEXTS)["embeddings"]
    assert list(plain) == ["float"]
    assert np.array(plain["float"], np.float32).tobytes() == encoder.encode(TEXTS).tobytes()


def test_the_first_version_of_cohere_s_embeddings(http: httpx.Client, encoder: Encoder) -> None:
    answer = post(http, "/v1/embed", texts=TEXTS, input_type="search_query")
    assert answer["response_type"] == "embeddings_floats"
    expected = encoder.encode_queries(TEXTS)
    assert np.array(answer["embeddings"], np.float32).tobytes() == expected.tobytes()
    assert (answer["texts"], answer["meta"]["api_version"]) == (TEXTS, {"version": "1"})
    forms = ["int8", "float"]
    typed = post(http, "/v1/embed", model="tiny", texts=TEXTS, embedding_types=forms)
    assert typed["response_type"] == "embeddings_by_type"
    newer = post(http, "/v2/embed", model="tiny", texts=TEXTS, embedding_types=forms)
    assert typed["embeddings"] == newer["embeddings"]
    for wrong in (
        {},
        {"texts": []},
        {"texts": ["x"], "input_type": "image"},
        {"texts": ["x"], "images": ["data:"]},
        {"texts": ["x"], "embedding_types": []},
    ):
        assert http.post("/v1/embed", json=wrong).status_code == 422
    unknown = http.post("/v1/embed", json={"texts": ["x"], "model": "other"})
    assert unknown.status_code == 404


def test_quantized_zeros_and_odd_lengths() -> None:
    zeros = np.zeros((2, 9), np.float32)
    assert not np.any(quantized(zeros, "int8"))
    assert np.asarray(quantized(zeros, "uint8")).min() == 128
    assert np.asarray(quantized(zeros, "ubinary")).shape == (2, 2)
    assert np.asarray(quantized(zeros[:0], "int8")).shape == (0, 9)


def test_cohere_dimensions_inputs_and_truncation(http: httpx.Client, encoder: Encoder) -> None:
    body = {"model": "tiny", "texts": TEXTS, "output_dimension": 8}
    assert http.post("/v2/embed", json=body).status_code == 422
    answer = http.post("/v2/embed?any_dimensions=1", json=body).json()
    with np.errstate(all="ignore"):
        prefixes = encoder.encode(TEXTS)[:, :8]
    expected = prefixes / np.linalg.norm(prefixes, axis=1, keepdims=True)
    np.testing.assert_allclose(answer["embeddings"]["float"], expected, rtol=1e-5)
    inputs = [{"content": [{"type": "text", "text": "cat"}, {"type": "text", "text": "dog"}]}]
    got = post(http, "/v2/embed", model="tiny", inputs=inputs)
    assert got["texts"] == ["cat\ndog"]
    if encoder.max_length:
        long = ["cat " * (encoder.max_length + 5)]
        assert post(http, "/v2/embed", model="tiny", texts=long)["embeddings"]["float"]
        for truncate in ("NONE", "START"):
            refused = {"model": "tiny", "texts": long, "truncate": truncate}
            assert http.post("/v2/embed", json=refused).status_code == 422


@pytest.mark.parametrize(
    "body",
    [
        {"model": "tiny"},
        {"model": "tiny", "texts": []},
        {"model": "tiny", "texts": [""]},
        {"model": "tiny", "images": ["data:"]},
        {"model": "tiny", "inputs": [{"content": [{"type": "image_url"}]}]},
        {"model": "tiny", "inputs": [{}]},
        {"model": "tiny", "texts": ["x"], "embedding_types": ["float16"]},
        {"model": "tiny", "texts": ["x"], "embedding_types": []},
        {"model": "tiny", "texts": ["x"], "input_type": "image"},
    ],
)
def test_wrong_embed_requests_are_refused(http: httpx.Client, body: dict[str, Any]) -> None:
    assert http.post("/v2/embed", json=body).status_code == 422


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank"])
def test_cohere_ranking_is_by_cosines(http: httpx.Client, encoder: Encoder, path: str) -> None:
    answer = post(http, path, model="tiny", query="cat dog", documents=TEXTS)
    cosines = encoder.encode(TEXTS) @ encoder.encode_queries("cat dog")
    order = np.argsort(-np.clip(cosines, 0, 1), kind="stable")
    assert [one["index"] for one in answer["results"]] == order.tolist()
    assert answer["results"][0]["relevance_score"] == pytest.approx(1, abs=1e-5)
    assert all(0 <= one["relevance_score"] <= 1 for one in answer["results"])
    assert "document" not in answer["results"][0]
    best = post(http, path, query="cat dog", texts=TEXTS, top_n=1, return_documents=True)
    assert best["results"][0]["document"] == {"text": "cat dog"}
    assert len(best["results"]) == 1
    objects = [{"text": text} for text in TEXTS]
    again = post(http, path, model="tiny", query="cat dog", documents=objects)
    assert again["results"] == answer["results"]


def test_tei_spellings(http: httpx.Client, encoder: Encoder) -> None:
    ranked = post(http, "/rerank", query="cat dog", texts=TEXTS, raw_scores=True, return_text=True)
    cosines = encoder.encode(TEXTS) @ encoder.encode_queries("cat dog")
    assert [one["index"] for one in ranked] == np.argsort(-cosines, kind="stable").tolist()
    np.testing.assert_allclose([one["score"] for one in ranked], sorted(cosines)[::-1], atol=1e-6)
    assert ranked[0]["text"] == "cat dog"
    vectors = np.array(post(http, "/embed", inputs=TEXTS, prompt_name="query"), np.float32)
    assert vectors.tobytes() == encoder.encode_queries(TEXTS).tobytes()
    assert len(post(http, "/embed", inputs="cat")) == 1
    assert http.post("/embed", json={"inputs": "cat", "normalize": False}).status_code == 422
    info = http.get("/info").json()
    assert (info["model_id"], info["max_client_batch_size"]) == ("tiny", 2048)
    assert http.get("/health").status_code == 200


def test_wrong_rankings_are_refused(http: httpx.Client) -> None:
    for body in (
        {"query": "x"},
        {"query": "x", "documents": []},
        {"query": "", "documents": ["a"]},
        {"query": "x", "documents": [{"title": "a"}]},
        {"query": "x", "documents": ["a"], "top_n": 0},
    ):
        assert http.post("/v2/rerank", json=body).status_code == 422, body
    unknown = {"query": "x", "documents": ["a"], "model": "other"}
    assert http.post("/v2/rerank", json=unknown).status_code == 404


def test_without_encoders(tmp_path_factory: pytest.TempPathFactory) -> None:
    with serving(tmp_path_factory.mktemp("none")) as running, running.http() as http:
        assert http.get("/info").status_code == 404
        assert http.post("/embed", json={"inputs": "x"}).status_code == 404
        assert http.get("/health").status_code == 200
