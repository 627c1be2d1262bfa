"""The server's description of itself: an OpenAPI 3.1 document made of its types and endpoints.

Source: the OpenAPI Specification 3.1.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any, Final

import msgspec

from nestling.server import answers
from nestling.server.call import Call
from nestling.server.http import BINARY, JSON, NDJSON, Response, json_answer
from nestling.server.metrics import CONTENT_TYPE
from nestling.server.routes import (
    ENDPOINTS,
    cohere,
    collections,
    documents,
    funnel,
    openai,
    search,
    vector_stores,
)
from nestling.server.routing import Endpoint

__all__ = ["DESCRIPTION", "OPERATIONS", "Operation", "Query", "document"]

_FORM: Final = "multipart/form-data"
_SCHEMA: Final = "#/components/schemas/{name}"
_PARAMETER: Final = re.compile(r"\{(\w+)(?::\w+)?\}")
_DOCSTRING_ATTRIBUTE: Final = re.compile(r"^ {8}(\w+): ((?:.+\n?(?: {12}.+\n?)*))", re.MULTILINE)

_BYTES: Final[dict[str, Any]] = {"type": "string", "format": "binary"}
_TEXT: Final[dict[str, Any]] = {"type": "string"}


@dataclass(frozen=True, slots=True)
class Query:
    """A parameter of the query string.

    Attributes:
        name: Its name.
        about: What it does.
        schema: Its type, as JSON Schema.
    """

    name: str
    about: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Operation:
    """What an endpoint takes and answers.

    Attributes:
        answer: The type of its JSON answer; None where it is not JSON.
        body: The type of its JSON body; None where it takes none.
        query: Its parameters.
        status: The statuses of its answer.
        bodies: Bodies of other media types, as JSON Schema.
        answers: Answers of other media types, likewise.
    """

    answer: Any = None
    body: Any = None
    query: Sequence[Query] = ()
    status: Sequence[int] = (200,)
    bodies: Mapping[str, Any] | None = None
    answers: Mapping[str, Any] | None = None


def _number(name: str, about: str, **limits: Any) -> Query:
    return Query(name, about, {"type": "integer", **limits})


def _flag(name: str, about: str) -> Query:
    return Query(name, about, {"type": "string", "enum": ["0", "1", "true", "false"]})


def _word(name: str, about: str, words: Iterable[str]) -> Query:
    return Query(name, about, {"type": "string", "enum": list(words)})


_WHERE: Final = Query("where", "A filter of the metadata, as JSON.", {"type": "string"})
_ANY_DIMENSIONS: Final = _flag(
    "any_dimensions", "Whether prefixes may have a length that the model was not trained for."
)
_AFTER: Final = Query("after", "The id of the object before the first one.", {"type": "string"})
_LIMIT: Final = _number("limit", "The most objects.", minimum=1, maximum=100, default=20)
_BY_STATUS: Final = _word(
    "filter", "By status.", ("in_progress", "completed", "failed", "cancelled")
)
_BODY_IS_ROWS: Final = (
    _number("k", "Of a binary body: hits per query.", minimum=1, default=10),
    _WHERE,
    Query("funnel", "Of a binary body: stages with other keeps.", {"type": "string"}),
    _number("probes", "Of a binary body: cells to search.", minimum=1),
    _flag("documents", "Of a binary body: whether hits hold texts and metadata."),
)
_COLLECTION: Final = "/collections/{name}"
_STORE: Final = "/v1/vector_stores/{name}"
_STORE_FILE: Final = f"{_STORE}/files/{{file_id:path}}"
_UPLOAD: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"file": _BYTES, "purpose": {"type": "string"}},
    "required": ["file", "purpose"],
}

OPERATIONS: Final[Mapping[str, Operation]] = {
    f"POST {_COLLECTION}/search": Operation(
        answers.SearchResults,
        search.SearchRequest,
        _BODY_IS_ROWS,
        bodies={BINARY: _BYTES},
        answers={BINARY: _BYTES},
    ),
    "POST /v1/embeddings": Operation(
        answers.Embeddings, openai.EmbeddingsRequest, (_ANY_DIMENSIONS,)
    ),
    "GET /v1/models": Operation(answers.Models),
    "GET /v1/models/{model:path}": Operation(answers.Model),
    "GET /collections": Operation(answers.Collections),
    f"PUT {_COLLECTION}": Operation(
        answers.CollectionInfo, collections.CreateRequest, status=(200, 201)
    ),
    f"GET {_COLLECTION}": Operation(answers.CollectionInfo),
    f"DELETE {_COLLECTION}": Operation(answers.Removed),
    f"POST {_COLLECTION}/tune": Operation(answers.TuneReport, collections.TuneRequest),
    f"POST {_COLLECTION}/check": Operation(answers.CheckReport),
    f"POST {_COLLECTION}/compact": Operation(answers.CompactResult),
    f"POST {_COLLECTION}/backup": Operation(
        answers.Backup, collections.BackupRequest, status=(201,)
    ),
    f"POST {_COLLECTION}/documents": Operation(
        answers.AddResult,
        documents.AddRequest,
        (
            _word("on_conflict", "Of a stream: as in JSON.", ("replace", "skip", "error")),
            _word("on_bad_record", "Of a stream: as in JSON.", ("error", "skip")),
        ),
        bodies={NDJSON: _TEXT},
        answers={NDJSON: _TEXT},
    ),
    f"GET {_COLLECTION}/documents": Operation(
        answers.DocumentPage,
        query=(
            _number("limit", "The most documents.", minimum=1, maximum=1_000, default=100),
            Query("after", "The `next` of the page before.", {"type": "string"}),
            _WHERE,
        ),
    ),
    f"POST {_COLLECTION}/documents/get": Operation(answers.FoundDocuments, documents.GetRequest),
    f"POST {_COLLECTION}/documents/delete": Operation(answers.Deleted, documents.DeleteRequest),
    f"GET {_COLLECTION}/documents/{{id:path}}": Operation(answers.Document),
    f"DELETE {_COLLECTION}/documents/{{id:path}}": Operation(answers.Deleted),
    f"POST {_COLLECTION}/count": Operation(answers.Count, documents.CountRequest),
    f"POST {_COLLECTION}/funnel": Operation(answers.FunnelReport, funnel.FunnelRequest),
    f"GET {_COLLECTION}/fields": Operation(answers.Fields),
    f"POST {_STORE}/search": Operation(answers.StoreHits, vector_stores.StoreSearchRequest),
    "GET /v1/vector_stores": Operation(
        answers.VectorStores,
        query=(_LIMIT, _AFTER, _word("order", "By name.", ("asc", "desc"))),
    ),
    "POST /v1/vector_stores": Operation(answers.VectorStore, vector_stores.StoreRequest),
    f"GET {_STORE}": Operation(answers.VectorStore),
    f"DELETE {_STORE}": Operation(answers.DeletedObject),
    f"GET {_STORE}/files": Operation(
        answers.StoreFiles,
        query=(
            _LIMIT,
            _AFTER,
            _BY_STATUS,
        ),
    ),
    f"POST {_STORE}/files": Operation(answers.StoreFile, vector_stores.StoreFileRequest),
    f"GET {_STORE}/files/{{file_id}}/content": Operation(answers.StoreFileContent),
    f"GET {_STORE_FILE}": Operation(answers.StoreFile),
    f"POST {_STORE_FILE}": Operation(answers.StoreFile, vector_stores.AttributesRequest),
    f"DELETE {_STORE_FILE}": Operation(answers.DeletedObject),
    f"POST {_STORE}/file_batches": Operation(answers.FileBatch, vector_stores.FileBatchRequest),
    f"GET {_STORE}/file_batches/{{batch_id}}": Operation(answers.FileBatch),
    f"POST {_STORE}/file_batches/{{batch_id}}/cancel": Operation(answers.FileBatch),
    f"GET {_STORE}/file_batches/{{batch_id}}/files": Operation(
        answers.StoreFiles,
        query=(
            _LIMIT,
            _AFTER,
            _BY_STATUS,
            _word("order", "By the order of the request.", ("asc", "desc")),
        ),
    ),
    "GET /v1/files": Operation(
        answers.Files,
        query=(_number("limit", "The most files.", minimum=1, maximum=10_000), _AFTER),
    ),
    "POST /v1/files": Operation(answers.File, bodies={_FORM: _UPLOAD}),
    "GET /v1/files/{file_id}/content": Operation(answers={BINARY: _BYTES}),
    "GET /v1/files/{file_id}": Operation(answers.File),
    "DELETE /v1/files/{file_id}": Operation(answers.DeletedObject),
    "POST /v2/embed": Operation(answers.EmbedAnswer, cohere.EmbedRequest, (_ANY_DIMENSIONS,)),
    "POST /v1/embed": Operation(
        answers.OlderEmbedAnswer, cohere.OlderEmbedRequest, (_ANY_DIMENSIONS,)
    ),
    "POST /v2/rerank": Operation(answers.RerankAnswer, cohere.RerankRequest),
    "POST /v1/rerank": Operation(answers.RerankAnswer, cohere.RerankRequest),
    "POST /rerank": Operation(list[answers.Score], cohere.RerankRequest),
    "POST /embed": Operation(list[list[float]], cohere.TextsRequest, (_ANY_DIMENSIONS,)),
    "GET /info": Operation(answers.Info),
    "GET /health": Operation(answers.State, status=(200, 503)),
    "GET /livez": Operation(answers.State),
    "GET /readyz": Operation(answers.State, status=(200, 503)),
    "GET /status": Operation(answers.Status),
    "GET /metrics": Operation(answers={CONTENT_TYPE.partition(";")[0]: _TEXT}),
    "GET /": Operation(answers={"text/html": _TEXT}),
    "GET /page/{file}": Operation(answers={"*/*": _BYTES}),
    "GET /openapi.json": Operation(dict[str, Any]),
}


@cache
def document() -> dict[str, Any]:
    """Returns the document, as JSON values.

    Example:
        >>> document()["openapi"]
        '3.1.0'
    """
    types = [answers.Error]
    for operation in OPERATIONS.values():
        types += [kind for kind in (operation.answer, operation.body) if kind is not None]
    references, schemas = msgspec.json.schema_components(types, ref_template=_SCHEMA)
    found = dict(zip(map(str, types), references, strict=True))
    known = {kind.__name__: kind for kind in _structs(types)}
    for name, schema in schemas.items():
        _describe(schema, known[name].__doc__ or "")
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in (*ENDPOINTS, DESCRIPTION):
        operation = OPERATIONS[f"{endpoint.method} {endpoint.path}"]
        path = _PARAMETER.sub(r"{\1}", endpoint.path)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint, operation, found)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "nestling",
            "version": version("nestling"),
            "description": "Embeddings, collections of documents, and searches of them.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(
    endpoint: Endpoint, operation: Operation, schemas: Mapping[str, Any]
) -> dict[str, Any]:
    lines = (endpoint.handler.__doc__ or "").strip().splitlines()
    described: dict[str, Any] = {
        "summary": lines[0].rstrip("."),
        "operationId": _identifier(endpoint),
        "parameters": [*_parameters(endpoint), *map(_query, operation.query)],
        "responses": _responses(operation, schemas),
    }
    content = dict(operation.bodies or {})
    if operation.body is not None:
        content = {JSON: schemas[str(operation.body)], **content}
    if content:
        described["requestBody"] = {"required": True, "content": _content(content)}
    if endpoint.role is not None:
        described["security"] = [{"key": []}]
        described["description"] = f"Needs a key that may {endpoint.role}, if the server has keys."
    return described


def _responses(operation: Operation, schemas: Mapping[str, Any]) -> dict[str, Any]:
    content = dict(operation.answers or {})
    if operation.answer is not None:
        content = {JSON: schemas[str(operation.answer)], **content}
    error = {"description": "An error.", "content": _content({JSON: schemas[str(answers.Error)]})}
    responses: dict[str, Any] = {
        str(status): {"description": "The answer.", "content": _content(content)}
        for status in operation.status
    }
    return {**responses, "default": error}


def _content(schemas: Mapping[str, Any]) -> dict[str, Any]:
    return {kind: {"schema": schema} for kind, schema in schemas.items()}


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PARAMETER.findall(endpoint.path)
    ]


def _query(query: Query) -> dict[str, Any]:
    about = {"name": query.name, "in": "query", "description": query.about}
    return {**about, "schema": dict(query.schema)}


def _identifier(endpoint: Endpoint) -> str:
    words = re.findall(r"[a-z0-9]+", _PARAMETER.sub(r"\1", endpoint.path))
    return "_".join((endpoint.method.lower(), *words))


def _structs(types: Iterable[Any]) -> Iterable[type]:
    """Yields the structs that types are made of."""
    seen: set[type] = set()
    for info in msgspec.inspect.multi_type_info(types):
        waiting = [info]
        while waiting:
            one = waiting.pop()
            if isinstance(one, msgspec.inspect.StructType):
                if one.cls in seen:
                    continue
                seen.add(one.cls)
                waiting += [field.type for field in one.fields]
            for name in ("types", "item_types"):
                waiting += getattr(one, name, ())
            for name in ("item_type", "type", "value_type", "key_type"):
                inner = getattr(one, name, None)
                waiting += [inner] if isinstance(inner, msgspec.inspect.Type) else []
    return seen


def _describe(schema: dict[str, Any], docstring: str) -> None:
    """Puts a docstring into a schema: its summary, and what it says of each attribute."""
    summary, _, rest = docstring.partition("Attributes:\n")
    schema["description"] = " ".join(summary.split())
    for name, text in _DOCSTRING_ATTRIBUTE.findall(rest):
        if name in schema.get("properties", {}):
            schema["properties"][name]["description"] = " ".join(text.split())


async def _openapi(_: Call) -> Response:
    """Describes the server, as an OpenAPI document."""
    return json_answer(document())


DESCRIPTION: Final = Endpoint("GET", "/openapi.json", _openapi, role=None, waits=False)
