"""Embeddings as OpenAI's API has them.

Source: the `embeddings` and `models` parts of OpenAI's OpenAPI document.
"""

from __future__ import annotations

import base64
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
from msgspec import Meta

from nestling.encoder import Encoder
from nestling.runtime.embedder import TokenIds
from nestling.server.call import Call
from nestling.server.errors import RequestError
from nestling.server.http import Response, flag, json_answer
from nestling.server.routing import Endpoint

__all__ = ["ENDPOINTS", "EmbeddingsRequest", "as_base64", "check_dimensions", "texts_or_tokens"]

_CREATED: Final = 0  # the time at which a model was made is not known

Token = Annotated[int, Meta(ge=0)]


class EmbeddingsRequest(msgspec.Struct):
    """The body of `POST /v1/embeddings`.

    Attributes:
        input: A text, several, the token ids of one, or of several.
        model: Name of an encoder that is served.
        dimensions: Length of the prefix to return.
        encoding_format: Lists of numbers, or base64 of little-endian float32.
        user: Not used.
        input_type: Whether the texts are queries or documents, which some models are told apart by
            prompts. An addition; without it they are queries.
    """

    input: str | list[str | Token | list[Token]]
    model: str
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    encoding_format: Literal["float", "base64"] = "float"
    user: str | None = None
    input_type: Literal["query", "document"] = "query"


async def _embeddings(call: Call) -> Response:
    """Encodes texts."""
    body = await call.json(EmbeddingsRequest)
    encoder = call.service.catalog.model(body.model)
    texts = texts_or_tokens(body.input, encoder, call.service.settings.max_inputs)
    check_dimensions(encoder, body.dimensions, anything=flag(call.request.query, "any_dimensions"))
    prompt = encoder.query_prompt if body.input_type == "query" else encoder.document_prompt
    encoded = await call.encode(encoder, texts, prompt, body.dimensions)
    vectors: list[Any] | np.ndarray = encoded.vectors
    if body.encoding_format == "base64":
        vectors = [as_base64(vector) for vector in encoded.vectors]
    data = [
        {"object": "embedding", "index": index, "embedding": vector}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": encoded.tokens, "total_tokens": encoded.tokens}
    return json_answer({"object": "list", "data": data, "model": body.model, "usage": usage})


async def _models(call: Call) -> Response:
    """Lists the encoders."""
    data = [_card(name, encoder) for name, encoder in call.service.catalog.models().items()]
    return json_answer({"object": "list", "data": data})


async def _model(call: Call) -> Response:
    """Describes an encoder."""
    name = call.request.params["model"]
    return json_answer(_card(name, call.service.catalog.model(name)))


def _card(name: str, encoder: Encoder) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": _CREATED,
        "owned_by": "nestling",
        "dimensions": encoder.dim,
        "nesting": encoder.nesting,
        "max_tokens": encoder.max_length,
    }


def texts_or_tokens(
    given: str | list[Any], encoder: Encoder, most: int
) -> list[str] | list[TokenIds]:
    """Returns an `input` as texts, or as the token ids of texts.

    Raises:
        RequestError: It is empty, too long, mixed, or has a token that the model does not know.
    """
    if isinstance(given, str):
        return [_text(given, 0)]
    if not given:
        raise _input_error("input is empty")
    if isinstance(given[0], int):
        given = [given]
    if len(given) > most:
        raise _input_error(f"input has {len(given):,} texts, but at most {most:,} are allowed", 413)
    if all(isinstance(one, str) for one in given):
        return [_text(text, position) for position, text in enumerate(given)]
    if not all(isinstance(one, list) for one in given):
        raise _input_error("input mixes texts and tokens")
    size = encoder.embedder.tokenizer.vocabulary_size
    for position, tokens in enumerate(given):
        if not tokens:
            raise _input_error(f"input[{position}] has no tokens")
        if not all(isinstance(token, int) and 0 <= token < size for token in tokens):
            raise _input_error(f"input[{position}] has a token outside of 0 to {size - 1}")
    return [np.array(tokens, np.int64) for tokens in given]


def check_dimensions(encoder: Encoder, dimensions: int | None, *, anything: bool) -> None:
    """Raises an error unless a model can give prefixes of this length.

    Raises:
        RequestError: 422; the prefix is too long, or the model was not trained for it.
    """
    if dimensions is None or dimensions == encoder.dim:
        return
    if dimensions > encoder.dim:
        reason = f"{encoder.name} has {encoder.dim} dimensions, not {dimensions}"
    elif anything or dimensions in encoder.nesting:
        return
    elif encoder.nesting:
        trained = ", ".join(map(str, encoder.nesting))
        reason = (
            f"{encoder.name} was trained for prefixes of {trained} dimensions, not {dimensions}; "
            "add ?any_dimensions=1 to get it nevertheless"
        )
    else:
        reason = (
            f"{encoder.name} was not trained for prefixes: its first {dimensions} dimensions say "
            "little; add ?any_dimensions=1 to get them nevertheless"
        )
    raise RequestError(422, reason, param="dimensions", code="dimensions")


def as_base64(vector: np.ndarray) -> str:
    """Returns float32 in base64, little-endian."""
    return base64.b64encode(vector.astype("<f4", copy=False).tobytes()).decode()


def _text(text: str, position: int) -> str:
    if not text:
        raise _input_error(f"input[{position}] is an empty text")
    return text


def _input_error(message: str, status: int = 422) -> RequestError:
    return RequestError(status, message, param="input", code="input")


ENDPOINTS = (
    Endpoint("POST", "/v1/embeddings", _embeddings, queue="encode"),
    Endpoint("GET", "/v1/models", _models),
    Endpoint("GET", "/v1/models/{model:path}", _model),
)
