"""Documents of a collection: in, out, and away."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Final, TypeVar, get_args

import msgspec
from msgspec import Meta
from starlette.types import ASGIApp

from nestling.collection import AddResult, Collection, StoredDocument
from nestling.server.call import Call
from nestling.server.errors import RequestError
from nestling.server.http import (
    NDJSON,
    Response,
    content_type,
    decode,
    json_answer,
    whole_number,
)
from nestling.server.ingest import Ingest, IngestResponse, OnBadRecord, OnConflict, with_vectors
from nestling.server.routing import Endpoint

__all__ = [
    "ENDPOINTS",
    "AddRequest",
    "CountRequest",
    "DeleteRequest",
    "GetRequest",
    "document_as_json",
    "page_of_documents",
]

_PAGE: Final = 100
_LARGEST_PAGE: Final = 1_000
_PAGE_CHARACTERS: Final = 8_000_000  # after which a page ends, however few documents it has
_MOST_IDS: Final = 10_000

# What a document may be: `Collection.add` checks it, and says which one is wrong.
_DOCUMENT: Final[dict[str, Any]] = {
    "type": ["string", "object"],
    "description": "A text, or an object with a text; filters compare what is under `metadata`.",
    "properties": {
        "text": {"type": "string"},
        "id": {"type": ["string", "integer", "null"]},
        "title": {"type": ["string", "null"]},
        "metadata": {"type": ["object", "null"]},
        "vectors": {
            "type": ["array", "string", "null"],
            "description": "A vector, one for each of `spans`, or base64 of little-endian float32.",
        },
        "spans": {"type": ["array", "null"]},
    },
    "required": ["text"],
}

T = TypeVar("T")


class AddRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /collections/{name}/documents`.

    Attributes:
        documents: Texts, or objects with text, and optionally id, title, metadata and vectors.
        on_conflict: What to do if an id is stored with other contents.
        on_bad_record: What to do with a document that cannot be stored.
    """

    documents: list[Annotated[Any, Meta(extra_json_schema=_DOCUMENT)]]
    on_conflict: OnConflict = "replace"
    on_bad_record: OnBadRecord = "error"


class GetRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /collections/{name}/documents/get`.

    Attributes:
        ids: The ids.
    """

    ids: Annotated[list[str | int], Meta(max_length=_MOST_IDS)]


class DeleteRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /collections/{name}/documents/delete`.

    Attributes:
        ids: The ids; unknown ones are ignored.
        where: A filter; with ids, documents must match both. `{}` is every document.
    """

    ids: list[str | int] | None = None
    where: dict[str, Any] | None = None


class CountRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /collections/{name}/count`.

    Attributes:
        where: A filter; without one, all documents are counted.
    """

    where: dict[str, Any] | None = None


def document_as_json(document: StoredDocument) -> dict[str, Any]:
    """Returns a document as JSON values."""
    return {
        "id": document.id,
        "text": document.text,
        "title": document.title,
        "metadata": document.metadata,
        "spans": document.spans,
        "row": document.row,
    }


def page_of_documents(
    collection: Collection, where: dict[str, Any] | None, after: int, limit: int
) -> tuple[list[StoredDocument], bool]:
    """Returns documents behind a row, and whether there may be more.

    A page ends after `limit` documents, or after so many that their texts get too long.
    """
    page: list[StoredDocument] = []
    characters = 0
    for document in collection.documents(where, after=after, limit=limit + 1):
        if page and (len(page) == limit or characters + len(document.text) > _PAGE_CHARACTERS):
            return page, True
        page.append(document)
        characters += len(document.text)
    return page, False


async def _add(call: Call) -> ASGIApp:
    """Adds documents: those of a JSON body, or a stream of them, one JSON value a line."""
    collection = await call.collection("write")
    if content_type(call.request) == NDJSON:
        on_conflict = _choice(call, "on_conflict", "replace", get_args(OnConflict))
        on_bad_record = _choice(call, "on_bad_record", "error", get_args(OnBadRecord))
        return IngestResponse(call, Ingest(collection, on_conflict, on_bad_record))
    data = await call.body()

    def work() -> AddResult:
        body = decode(AddRequest, data)
        return collection.add(
            [with_vectors(document) for document in body.documents],
            on_conflict=body.on_conflict,
            on_bad_record=body.on_bad_record,
            progress=False,
        )

    with call.service.ingesting.admitted(len(data)):
        result = await call.service.write(work)
    found = asdict(result)
    found["rejected"] = [{"line": one.line, "reason": one.reason} for one in result.rejected]
    return json_answer(found)


async def _listed(call: Call) -> Response:
    """Lists documents, in the order of storage."""
    collection = await call.collection()
    limit = whole_number(call.request.query, "limit", _PAGE) or 0
    after = whole_number(call.request.query, "after", -1)
    where = call.request.query.get("where")
    if not 1 <= limit <= _LARGEST_PAGE:
        raise RequestError(
            422,
            f"limit must be 1 to {_LARGEST_PAGE:,}, not {limit}",
            param="limit",
            code="argument",
        )
    filter_ = None if where is None else decode(dict[str, Any], where.encode())

    def work() -> dict[str, Any]:
        page, more = page_of_documents(collection, filter_, -1 if after is None else after, limit)
        return {
            "documents": [document_as_json(document) for document in page],
            "next": str(page[-1].row) if more else None,
        }

    return json_answer(await call.service.in_thread(work))


async def _document(call: Call) -> Response:
    """Answers a document."""
    collection = await call.collection()
    id = call.request.params["id"]
    document = await call.service.in_thread(collection.get, id)
    if document is None:
        raise _unknown(id)
    return json_answer(document_as_json(document))


async def _delete_one(call: Call) -> Response:
    """Removes a document."""
    collection = await call.collection("write")
    id = call.request.params["id"]
    if not await call.service.write(collection.delete, id):
        raise _unknown(id)
    return json_answer({"deleted": 1})


async def _get(call: Call) -> Response:
    """Answers the documents of ids, null for unknown ones."""
    collection = await call.collection()
    body = await call.json(GetRequest)

    def work() -> list[dict[str, Any] | None]:
        found = collection.get([str(id) for id in body.ids])
        return [None if one is None else document_as_json(one) for one in found]

    return json_answer({"documents": await call.service.in_thread(work)})


async def _delete(call: Call) -> Response:
    """Removes documents by their ids, by a filter, or by both."""
    collection = await call.collection("write")
    body = await call.json(DeleteRequest)
    deleted = await call.service.write(lambda: collection.delete(body.ids, where=body.where))
    return json_answer({"deleted": deleted})


async def _count(call: Call) -> Response:
    """Counts the documents, or those that match a filter."""
    collection = await call.collection()
    body = await call.json(CountRequest)
    return json_answer({"count": await call.service.in_thread(collection.count, body.where)})


def _choice(call: Call, name: str, default: T, choices: tuple[T, ...]) -> T:
    """Returns a word from the query string."""
    value = call.request.query.get(name)
    if value is None:
        return default
    for choice in choices:
        if value == choice:
            return choice
    raise RequestError(422, f"{name} must be one of {choices}", param=name, code="argument")


def _unknown(id: str) -> RequestError:
    return RequestError(
        404, f"there is no document {id[:100]!r}", param="id", code="document_not_found"
    )


ENDPOINTS = (
    Endpoint("POST", "/collections/{name}/documents", _add, role="write"),
    Endpoint("GET", "/collections/{name}/documents", _listed),
    Endpoint("POST", "/collections/{name}/documents/get", _get),
    Endpoint("POST", "/collections/{name}/documents/delete", _delete, role="write"),
    Endpoint("GET", "/collections/{name}/documents/{id:path}", _document),
    Endpoint("DELETE", "/collections/{name}/documents/{id:path}", _delete_one, role="write"),
    Endpoint("POST", "/collections/{name}/count", _count),
)
