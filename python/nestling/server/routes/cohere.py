"""Embeddings and ranking as Cohere's and TEI's clients send them.

Documents are ranked by the cosines of their embeddings with the query's. A cross-encoder, which
reads both together, orders better and is slower.

Source: Cohere's API reference of `embed` and `rerank`; the OpenAPI document of Hugging Face's
text-embeddings-inference (TEI).
"""

from __future__ import annotations

import uuid
from importlib.metadata import version
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from nestling.encoder import Encoder
from nestling.runtime.embedder import Floats
from nestling.server.call import Call
from nestling.server.errors import RequestError
from nestling.server.http import Response, flag, json_answer
from nestling.server.routes.openai import as_base64, check_dimensions, texts_or_tokens
from nestling.server.routing import Endpoint
from nestling.server.schedule.encode import Encoded

__all__ = [
    "ENDPOINTS",
    "EmbedRequest",
    "OlderEmbedRequest",
    "RerankRequest",
    "TextsRequest",
    "quantized",
]

EmbeddingType = Literal["float", "int8", "uint8", "binary", "ubinary", "base64"]
Document = str | dict[str, Any]

_BITS: Final = 8  # of a byte
_INT8: Final = 127


InputType = Literal["search_document", "search_query", "classification", "clustering", "image"]
Forms = Annotated[list[EmbeddingType], Meta(min_length=1)]


class EmbedRequest(msgspec.Struct):
    """The body of `POST /v2/embed`, as Cohere has it.

    Attributes:
        model: Name of an encoder that is served.
        texts: The texts.
        input_type: "search_query" for queries; all others are documents.
        inputs: The texts instead, each as a list of contents.
        images: Not supported.
        output_dimension: Length of the prefix to return.
        embedding_types: Which forms to return.
        truncate: Whether texts that are too long are cut at their end, or are an error.
        max_tokens: Not used.
    """

    model: str
    texts: list[str] | None = None
    input_type: InputType = "search_document"
    inputs: list[dict[str, Any]] | None = None
    images: list[str] | None = None
    output_dimension: Annotated[int, Meta(ge=1)] | None = None
    embedding_types: Forms | None = None
    truncate: Literal["NONE", "START", "END"] = "END"
    max_tokens: int | None = None


class OlderEmbedRequest(msgspec.Struct):
    """The body of `POST /v1/embed`, as the first version of Cohere's API has it.

    Attributes:
        texts: The texts.
        model: Name of an encoder that is served. Default: the first one.
        input_type: "search_query" for queries; all others are documents.
        images: Not supported.
        output_dimension: Length of the prefix to return. An addition.
        embedding_types: Which forms to return. Default: lists of numbers.
        truncate: Whether texts that are too long are cut at their end, or are an error.
    """

    texts: list[str] | None = None
    model: str | None = None
    input_type: InputType = "search_document"
    images: list[str] | None = None
    output_dimension: Annotated[int, Meta(ge=1)] | None = None
    embedding_types: Forms | None = None
    truncate: Literal["NONE", "START", "END"] = "END"


class RerankRequest(msgspec.Struct):
    """The body of `POST /v2/rerank` as Cohere has it, and of `POST /rerank` as TEI has it.

    Attributes:
        query: What is searched for.
        documents: What is ranked: texts, or objects with a text.
        texts: The same, as TEI calls it.
        model: Name of an encoder that is served. Default: the first one.
        top_n: How many results to return; None for all.
        return_documents: Whether to return the documents' texts.
        return_text: The same, as TEI calls it.
        raw_scores: Whether scores are cosines instead of numbers from 0 to 1.
        truncate: Texts that are too long are always cut.
    """

    query: str
    documents: list[Document] | None = None
    texts: list[str] | None = None
    model: str | None = None
    top_n: Annotated[int, Meta(ge=1)] | None = None
    return_documents: bool = False
    return_text: bool = False
    raw_scores: bool = False
    truncate: bool | None = None


class TextsRequest(msgspec.Struct):
    """The body of `POST /embed`, as TEI has it.

    Attributes:
        inputs: A text, or several.
        normalize: Embeddings are always normalised.
        truncate: Whether texts that are too long are cut; otherwise they are an error.
        prompt_name: "query" or "document"; the prompt that the model puts before such texts.
        dimensions: Length of the prefix to return.
        model: Name of an encoder that is served. Default: the first one. An addition.
    """

    inputs: str | list[str]
    normalize: bool = True
    truncate: bool | None = True
    prompt_name: Literal["query", "document", "passage"] | None = None
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    model: str | None = None


def quantized(vectors: Floats, form: EmbeddingType) -> list[Any] | NDArray[Any]:
    """Returns embeddings in one of Cohere's forms.

    "int8" divides each vector by its largest magnitude first, which changes no cosine; "uint8" is
    that plus 128. "ubinary" is one bit for each dimension, whether it is above 0, eight to a byte,
    the first one the highest; "binary" is that minus 128. A rest of fewer than eight is filled up.

    Example:
        >>> quantized(np.array([[0.5, -1, 0, 1]], np.float32), "int8")
        array([[  64, -127,    0,  127]], dtype=int8)
        >>> quantized(np.array([[0.5, -1, 0, 1]], np.float32), "ubinary")
        array([[144]], dtype=uint8)
    """
    if form == "float":
        return vectors
    if form == "base64":
        return [as_base64(vector) for vector in vectors]
    if form in ("binary", "ubinary"):
        packed = np.packbits(vectors > 0, axis=1)
        return packed if form == "ubinary" else (packed.astype(np.int16) - 128).astype(np.int8)
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    scaled = np.rint(vectors / np.where(largest > 0, largest, 1) * _INT8)
    if form == "uint8":
        return (scaled + 128).astype(np.uint8)
    return scaled.astype(np.int8)


async def _embed(call: Call) -> Response:
    """Encodes texts, in several forms."""
    body = await call.json(EmbedRequest)
    encoder = call.service.catalog.model(body.model)
    texts = _texts_of(body)
    encoded = await _encode_as_asked(call, encoder, texts, body)
    forms = body.embedding_types or ["float"]
    return json_answer(
        {
            "id": str(uuid.uuid4()),
            "embeddings": {form: quantized(encoded.vectors, form) for form in forms},
            "texts": texts,
            "meta": _meta("2", encoded.tokens),
        }
    )


async def _embed_older(call: Call) -> Response:
    """Encodes texts; answers as the first version of Cohere's API does."""
    body = await call.json(OlderEmbedRequest)
    encoder = _encoder(call, body.model)
    _refuse_images(body)
    if body.texts is None:
        raise _without_texts()
    encoded = await _encode_as_asked(call, encoder, body.texts, body)
    forms = body.embedding_types
    return json_answer(
        {
            "id": str(uuid.uuid4()),
            "embeddings": (
                encoded.vectors
                if forms is None
                else {form: quantized(encoded.vectors, form) for form in forms}
            ),
            "texts": body.texts,
            "meta": _meta("1", encoded.tokens),
            "response_type": "embeddings_floats" if forms is None else "embeddings_by_type",
        }
    )


async def _rerank(call: Call) -> Response:
    """Ranks documents by the cosines of their embeddings with the query's."""
    body = await call.json(RerankRequest)
    texts, results, tokens = await _ranked(call, body)
    found = []
    for index, score in results:
        result: dict[str, Any] = {"index": index, "relevance_score": score}
        if body.return_documents or body.return_text:
            result["document"] = {"text": texts[index]}
        found.append(result)
    answer = {"id": str(uuid.uuid4()), "results": found, "meta": _meta("2", tokens)}
    return json_answer(answer)


async def _rerank_list(call: Call) -> Response:
    """Ranks documents by the cosines of their embeddings with the query's; answers as TEI does."""
    body = await call.json(RerankRequest)
    texts, results, _ = await _ranked(call, body)
    found = []
    for index, score in results:
        result: dict[str, Any] = {"index": index, "score": score}
        if body.return_documents or body.return_text:
            result["text"] = texts[index]
        found.append(result)
    return json_answer(found)


async def _embed_list(call: Call) -> Response:
    """Encodes texts; answers as TEI does."""
    body = await call.json(TextsRequest)
    encoder = _encoder(call, body.model)
    if not body.normalize:
        raise RequestError(
            422, "embeddings are always normalised: leave normalize out", param="normalize"
        )
    texts = [body.inputs] if isinstance(body.inputs, str) else body.inputs
    prompts = {"query": encoder.query_prompt, None: ""}
    prompt = prompts.get(body.prompt_name, encoder.document_prompt)
    encoded = await _encode(call, encoder, texts, prompt, body.dimensions)
    if encoded.truncated and not body.truncate:
        raise _too_long(encoded, encoder)
    return json_answer(encoded.vectors)


async def _info(call: Call) -> Response:
    """Describes the first encoder, as TEI does."""
    encoder, settings = _encoder(call, None), call.service.settings
    return json_answer(
        {
            "model_id": encoder.name,
            "model_sha": encoder.fingerprint,
            "model_dtype": encoder.precision,
            "model_type": {"embedding": {}},
            "max_input_length": encoder.max_length,
            "max_batch_tokens": settings.max_queued_tokens,
            "max_client_batch_size": settings.max_inputs,
            "auto_truncate": settings.max_input_tokens is None,
            "version": version("nestling"),
        }
    )


async def _encode(
    call: Call, encoder: Encoder, texts: list[str], prompt: str, dim: int | None
) -> Encoded:
    checked = texts_or_tokens(texts, encoder, call.service.settings.max_inputs)
    check_dimensions(encoder, dim, anything=flag(call.request.query, "any_dimensions"))
    return await call.encode(encoder, checked, prompt, dim)


async def _encode_as_asked(
    call: Call, encoder: Encoder, texts: list[str], body: EmbedRequest | OlderEmbedRequest
) -> Encoded:
    is_query = body.input_type == "search_query"
    prompt = encoder.query_prompt if is_query else encoder.document_prompt
    encoded = await _encode(call, encoder, texts, prompt, body.output_dimension)
    if encoded.truncated and body.truncate != "END":
        raise _too_long(encoded, encoder)
    return encoded


async def _ranked(
    call: Call, body: RerankRequest
) -> tuple[list[str], list[tuple[int, float]], int]:
    """Returns the texts, positions and scores of the best ones, and the number of tokens."""
    encoder = _encoder(call, body.model)
    given = body.documents if body.documents is not None else body.texts
    if given is None:
        raise RequestError(422, "give documents, or texts", param="documents", code="argument")
    texts = [_text_of(document, position) for position, document in enumerate(given)]
    query = await _encode(call, encoder, [body.query], encoder.query_prompt, None)
    documents = await _encode(call, encoder, texts, encoder.document_prompt, None)
    scores = documents.vectors @ query.vectors[0]
    if not body.raw_scores:
        scores = np.clip(scores, 0, 1)
    order = np.argsort(-scores, kind="stable")[: body.top_n]
    results = [(int(index), float(scores[index])) for index in order]
    return texts, results, query.tokens + documents.tokens


def _encoder(call: Call, name: str | None) -> Encoder:
    models = call.service.catalog.models()
    if name is None and not models:
        raise RequestError(404, "no encoder is served", param="model", code="model_not_found")
    return next(iter(models.values())) if name is None else call.service.catalog.model(name)


def _texts_of(body: EmbedRequest) -> list[str]:
    _refuse_images(body)
    if body.texts is not None:
        return body.texts
    if body.inputs is None:
        raise _without_texts()
    texts = []
    for position, entry in enumerate(body.inputs):
        contents = entry.get("content")
        parts = [
            part["text"]
            for part in (contents if isinstance(contents, list) else ())
            if isinstance(part, dict) and isinstance(part.get("text"), str)
        ]
        if not isinstance(contents, list) or len(parts) != len(contents):
            raise RequestError(
                422, f"inputs[{position}] is not a list of texts", param="inputs", code="argument"
            )
        texts.append("\n".join(parts))
    return texts


def _refuse_images(body: EmbedRequest | OlderEmbedRequest) -> None:
    if body.images or body.input_type == "image":
        raise RequestError(422, "images cannot be encoded", param="images", code="argument")


def _without_texts() -> RequestError:
    return RequestError(422, "give texts", param="texts", code="argument")


def _meta(version: str, tokens: int) -> dict[str, Any]:
    return {"api_version": {"version": version}, "billed_units": {"input_tokens": tokens}}


def _text_of(document: Document, position: int) -> str:
    text = document if isinstance(document, str) else document.get("text")
    if not isinstance(text, str):
        raise RequestError(
            422, f"documents[{position}] has no text", param="documents", code="argument"
        )
    return text


def _too_long(encoded: Encoded, encoder: Encoder) -> RequestError:
    return RequestError(
        422,
        f"{encoded.truncated:,} texts are longer than {encoder.max_length} tokens, and cannot be "
        "cut but at their end",
        param="truncate",
        code="too_many_tokens",
    )


ENDPOINTS = (
    Endpoint("POST", "/v2/embed", _embed),
    Endpoint("POST", "/v1/embed", _embed_older),
    Endpoint("POST", "/v2/rerank", _rerank),
    Endpoint("POST", "/v1/rerank", _rerank),
    Endpoint("POST", "/rerank", _rerank_list),
    Endpoint("POST", "/embed", _embed_list),
    Endpoint("GET", "/info", _info),
)
