"""Collections as OpenAI's vector stores, and documents as their files.

A vector store is a collection, its id the collection's name. A file of it is a document: the id of
the file is that of the document, its name the title, its attributes the metadata.

Source: the `vector_stores` and `files` parts of OpenAI's OpenAPI document.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from nestling.collection import Collection, DocumentHit, StoredDocument
from nestling.server.batches import FileBatch, FileBatches
from nestling.server.call import Call
from nestling.server.catalog import check_name
from nestling.server.errors import RequestError
from nestling.server.forms import read_form
from nestling.server.http import Response, json_answer, whole_number
from nestling.server.keys import ApiKey
from nestling.server.routes.documents import page_of_documents
from nestling.server.routes.search import SearchRequest, search_hits
from nestling.server.routing import Endpoint
from nestling.server.uploads import Upload, Uploads

__all__ = [
    "ENDPOINTS",
    "AttributesRequest",
    "FileBatchRequest",
    "Filter",
    "RankingOptions",
    "StoreFileRequest",
    "StoreRequest",
    "StoreSearchRequest",
    "where_of",
]

_CREATED: Final = 0  # the time at which a collection or document was made is not stored
_PAGE: Final = 20
_LARGEST_PAGE: Final = 100
_MOST_ATTRIBUTES: Final = 16
_MOST_FILES: Final = 2_000  # of a request
_DEPTH: Final = 20  # of filters

Scalar = str | int | float | bool


class Filter(msgspec.Struct, forbid_unknown_fields=True):
    """A comparison of an attribute, or several filters joined.

    Attributes:
        type: The comparison, or how to join.
        key: The attribute.
        value: What it is compared with.
        filters: What is joined.
    """

    type: Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "nin", "and", "or"]
    key: str | UnsetType = UNSET
    value: Scalar | list[Scalar] | UnsetType = UNSET
    filters: list[Filter] | UnsetType = UNSET


class RankingOptions(msgspec.Struct):
    """How hits are ranked.

    Attributes:
        ranker: Not used.
        score_threshold: The least score of a hit.
    """

    ranker: str | None = None
    score_threshold: Annotated[float, Meta(ge=0, le=1)] | None = None


class StoreSearchRequest(msgspec.Struct):
    """The body of `POST /v1/vector_stores/{name}/search`.

    Attributes:
        query: A text, or several: a document's score is its best one.
        max_num_results: The most hits.
        filters: Which attributes documents must have.
        ranking_options: The least score.
        rewrite_query: Queries are never rewritten.
        mode: By meaning or by both. An addition.
    """

    query: str | list[str]
    max_num_results: Annotated[int, Meta(ge=1, le=50)] = 10
    filters: Filter | None = None
    ranking_options: RankingOptions | None = None
    rewrite_query: bool | None = None
    mode: Literal["dense", "hybrid"] = "dense"


class StoreRequest(msgspec.Struct):
    """The body of `POST /v1/vector_stores`.

    Attributes:
        name: Name of the collection. Default: a random one.
        file_ids: Uploaded files that become its documents.
        encoder: An encoder that is served. An addition. Default: the first one.
        metadata: Not supported; empty.
        expires_after: Not supported; null.
        chunking_strategy: Not supported; "auto".
    """

    name: str | None = None
    file_ids: Annotated[list[str], Meta(max_length=_MOST_FILES)] | None = None
    encoder: str | None = None
    metadata: dict[str, Any] | None = None
    expires_after: dict[str, Any] | None = None
    chunking_strategy: dict[str, Any] | None = None


Attributes = Annotated[dict[str, Scalar], Meta(max_length=_MOST_ATTRIBUTES)]


class StoreFileRequest(msgspec.Struct):
    """The body of `POST /v1/vector_stores/{name}/files`.

    Attributes:
        file_id: An uploaded file.
        attributes: The document's metadata.
        chunking_strategy: Not supported; "auto".
    """

    file_id: str
    attributes: Attributes | None = None
    chunking_strategy: dict[str, Any] | None = None


class FileBatchRequest(msgspec.Struct):
    """The body of `POST /v1/vector_stores/{name}/file_batches`.

    Attributes:
        file_ids: Uploaded files.
        attributes: The metadata of each of `file_ids`.
        chunking_strategy: Not supported; "auto".
        files: Uploaded files with metadata of their own, instead of `file_ids`.
    """

    file_ids: Annotated[list[str], Meta(min_length=1, max_length=_MOST_FILES)] | None = None
    attributes: Attributes | None = None
    chunking_strategy: dict[str, Any] | None = None
    files: Annotated[list[StoreFileRequest], Meta(min_length=1, max_length=_MOST_FILES)] | None = (
        None
    )


class AttributesRequest(msgspec.Struct):
    """The body of `POST /v1/vector_stores/{name}/files/{file_id}`.

    Attributes:
        attributes: The document's new metadata.
    """

    attributes: Attributes | None


def where_of(filter: Filter, depth: int = 0) -> dict[str, Any]:
    """Returns a filter in the dialect of `Collection.search`.

    Raises:
        RequestError: 422; it lacks a part, or is nested too deeply.

    Example:
        >>> where_of(Filter(type="gte", key="year", value=2020))
        {'year': {'$gte': 2020}}
    """
    if depth > _DEPTH:
        raise _wrong("filters", "filters are nested too deeply")
    if filter.type in ("and", "or"):
        if filter.filters is UNSET:
            raise _wrong("filters", f"a filter of type {filter.type!r} needs filters")
        return {f"${filter.type}": [where_of(one, depth + 1) for one in filter.filters]}
    if filter.key is UNSET or filter.value is UNSET:
        raise _wrong("filters", f"a filter of type {filter.type!r} needs key and value")
    return {filter.key: {f"${filter.type}": filter.value}}


async def _search(call: Call) -> Response:
    """Finds documents, as files of a vector store."""
    collection = await call.collection()
    body = await call.json(StoreSearchRequest)
    queries = [body.query] if isinstance(body.query, str) else body.query
    if not queries:
        raise _wrong("query", "query is empty")
    request = SearchRequest(
        query=queries,
        k=body.max_num_results,
        where=None if body.filters is None else where_of(body.filters),
        mode=body.mode,
    )
    best: dict[str, tuple[float, DocumentHit]] = {}
    for hits in await search_hits(call, collection, request):
        for hit in hits:
            score = _share(hit.score, collection)
            if hit.id not in best or best[hit.id][0] < score:
                best[hit.id] = score, hit
    options = body.ranking_options
    threshold = 0.0 if options is None else options.score_threshold or 0.0
    found = sorted(best.values(), key=lambda item: (-item[0], item[1].id))
    data = [
        {
            "file_id": hit.id,
            "filename": hit.title or hit.id,
            "score": score,
            "attributes": _attributes(hit.metadata or {}),
            "content": [{"type": "text", "text": hit.text}],
        }
        for score, hit in found[: body.max_num_results]
        if score >= threshold
    ]
    return json_answer(
        {
            "object": "vector_store.search_results.page",
            "search_query": queries,
            "data": data,
            "has_more": False,
            "next_page": None,
        }
    )


async def _stores(call: Call) -> Response:
    """Lists the vector stores."""
    catalog = call.service.catalog
    names = call.readable(catalog.names(clusters=False))
    limit, after = _page(call)
    if call.request.query.get("order", "asc") == "desc":
        names.reverse()
    if after is not None:
        names = names[names.index(after) + 1 :] if after in names else []

    def work() -> list[dict[str, Any]]:
        return [_store(name, catalog.collection(name)) for name in names[:limit]]

    return _listing(await call.service.in_thread(work), more=len(names) > limit)


async def _create(call: Call) -> Response:
    """Creates a collection; one that exists with the same settings stays as it is."""
    body = await call.json(StoreRequest)
    _refuse_chunking(body.chunking_strategy)
    if body.metadata or body.expires_after:
        which = "metadata" if body.metadata else "expires_after"
        raise _wrong(which, f"{which} of a vector store is not supported: leave it out")
    name = check_name(body.name or f"vs_{uuid.uuid4().hex}")
    call.key.require("admin", name)
    encoder = body.encoder or next(iter(call.service.catalog.models()), None)
    if encoder is None:
        raise _wrong("encoder", "no encoder is served: start the server with --models")
    uploads = Uploads(call.service.catalog)

    def work() -> dict[str, Any]:
        files = dict.fromkeys(body.file_ids or ())
        _check_uploads(uploads, files, call.key)
        collection, _ = call.service.catalog.create(name, {"encoder": encoder})
        _add_uploads(collection, uploads, files, call.key)
        return _store(name, collection)

    return json_answer(await call.service.write(work))


async def _retrieve(call: Call) -> Response:
    """Describes a vector store."""
    collection = await call.collection()
    name = call.request.params["name"]
    return json_answer(await call.service.in_thread(_store, name, collection))


async def _delete(call: Call) -> Response:
    """Removes a collection and all that it holds."""
    name = call.request.params["name"]
    call.key.require("admin", name)
    await call.service.in_thread(call.service.catalog.delete, name)
    return json_answer({"id": name, "object": "vector_store.deleted", "deleted": True})


async def _attach(call: Call) -> Response:
    """Makes a document of an uploaded file."""
    collection = await call.collection("write")
    body = await call.json(StoreFileRequest)
    _refuse_chunking(body.chunking_strategy)
    uploads = Uploads(call.service.catalog)
    name = call.request.params["name"]

    def work() -> dict[str, Any]:
        file = uploads.get(body.file_id, call.key)
        collection.add(_document(file, body.attributes), progress=False)
        return _store_file(name, _known(collection, body.file_id))

    return json_answer(await call.service.write(work))


async def _files_of_store(call: Call) -> Response:
    """Lists documents as files, in the order of storage."""
    collection = await call.collection()
    limit, after = _page(call)
    name = call.request.params["name"]
    status = call.request.query.get("filter", "completed")

    def work() -> tuple[list[dict[str, Any]], bool]:
        row = -1 if after is None else _known(collection, after).row
        page, more = page_of_documents(collection, None, row, limit)
        return [_store_file(name, document) for document in page], more

    if status != "completed":
        return _listing([], more=False)
    data, more = await call.service.in_thread(work)
    return _listing(data, more=more)


async def _file_of_store(call: Call) -> Response:
    """Describes a document as a file."""
    collection = await call.collection()
    name, id = call.request.params["name"], call.request.params["file_id"]
    document = await call.service.in_thread(_known, collection, id)
    return json_answer(_store_file(name, document))


async def _content_of_store(call: Call) -> Response:
    """Answers the text of a document."""
    collection = await call.collection()
    document = await call.service.in_thread(_known, collection, call.request.params["file_id"])
    return json_answer(
        {
            "object": "vector_store.file_content.page",
            "data": [{"type": "text", "text": document.text}],
            "has_more": False,
            "next_page": None,
        }
    )


async def _change(call: Call) -> Response:
    """Replaces the attributes of a document."""
    collection = await call.collection("write")
    body = await call.json(AttributesRequest)
    name, id = call.request.params["name"], call.request.params["file_id"]

    def work() -> dict[str, Any]:
        stored = _known(collection, id)
        changed = {
            "id": stored.id,
            "text": stored.text,
            "title": stored.title,
            "metadata": body.attributes or {},
            "spans": stored.spans,
        }
        collection.add(changed, progress=False)
        return _store_file(name, _known(collection, id))

    return json_answer(await call.service.write(work))


async def _detach(call: Call) -> Response:
    """Removes a document."""
    collection = await call.collection("write")
    id = call.request.params["file_id"]
    if not await call.service.write(collection.delete, id):
        raise _unknown(id)
    return json_answer({"id": id, "object": "vector_store.file.deleted", "deleted": True})


async def _create_batch(call: Call) -> Response:
    """Makes documents of uploaded files; they are stored when the answer comes."""
    collection = await call.collection("write")
    body = await call.json(FileBatchRequest)
    if (body.files is None) == (body.file_ids is None):
        raise _wrong("file_ids", "give either file_ids or files")
    for one in (body, *(body.files or ())):
        _refuse_chunking(one.chunking_strategy)
    if body.files is not None:
        files = {file.file_id: file.attributes for file in body.files}
    else:
        files = dict.fromkeys(body.file_ids or (), body.attributes)
    uploads, batches = Uploads(call.service.catalog), FileBatches(call.service.catalog)
    name = call.request.params["name"]

    def work() -> dict[str, Any]:
        _check_uploads(uploads, files, call.key)
        _add_uploads(collection, uploads, files, call.key)
        return _batch(batches.add(name, tuple(files)))

    return json_answer(await call.service.write(work))


async def _batch_of_store(call: Call) -> Response:
    """Describes a batch of files."""
    await call.collection()
    return json_answer(_batch(await _known_batch(call)))


async def _cancel_batch(call: Call) -> Response:
    """Describes a batch of files: it is complete already, so there is nothing to cancel."""
    await call.collection("write")
    return json_answer(_batch(await _known_batch(call)))


async def _files_of_batch(call: Call) -> Response:
    """Lists the documents of a batch that are still stored, in the order of its files."""
    collection = await call.collection()
    limit, after = _page(call)
    name = call.request.params["name"]
    ids = (await _known_batch(call)).files
    if call.request.query.get("order", "asc") == "desc":
        ids = ids[::-1]
    if after is not None:
        ids = ids[ids.index(after) + 1 :] if after in ids else ()
    if call.request.query.get("filter", "completed") != "completed":
        ids = ()

    def work() -> list[dict[str, Any]]:
        found = (collection.get(id) for id in ids)
        stored = (document for document in found if document is not None)
        return [_store_file(name, document) for document in islice(stored, limit + 1)]

    data = await call.service.in_thread(work)
    return _listing(data[:limit], more=len(data) > limit)


async def _upload(call: Call) -> Response:
    """Stores a text, for `POST /v1/vector_stores/{name}/files` to make a document of it."""
    uploads = Uploads(call.service.catalog)
    form = read_form(call.request.header(b"content-type") or "", await call.body())
    file, purpose = form.get("file"), form.get("purpose")
    if file is None or file.filename is None:
        raise _wrong("file", "the form has no file")
    if purpose is None:
        raise _wrong("purpose", "the form has no purpose")
    filename = (file.filename or "file")[:255]
    words = purpose.content.decode("utf-8", "replace")[:64]
    upload = await call.service.in_thread(uploads.add, filename, words, file.content, call.key)
    return json_answer(_file(upload))


async def _uploads(call: Call) -> Response:
    """Lists the uploaded texts, the newest first."""
    limit, after = _page(call, largest=10_000)
    files = await call.service.in_thread(Uploads(call.service.catalog).all, call.key)
    ids = [file.id for file in files]
    if after is not None:
        files = files[ids.index(after) + 1 :] if after in ids else []
    return _listing([_file(file) for file in files[:limit]], more=len(files) > limit)


async def _uploaded(call: Call) -> Response:
    """Describes an uploaded text."""
    return json_answer(_file(await _upload_of(call)))


async def _uploaded_content(call: Call) -> Response:
    """Answers an uploaded text."""
    return Response((await _upload_of(call)).text.encode(), media_type="application/octet-stream")


async def _delete_upload(call: Call) -> Response:
    """Removes an uploaded text; documents that were made of it stay."""
    id = call.request.params["file_id"]
    await call.service.in_thread(Uploads(call.service.catalog).delete, id, call.key)
    return json_answer({"id": id, "object": "file", "deleted": True})


async def _upload_of(call: Call) -> Upload:
    uploads, id = Uploads(call.service.catalog), call.request.params["file_id"]
    return await call.service.in_thread(uploads.get, id, call.key)


async def _known_batch(call: Call) -> FileBatch:
    batches, params = FileBatches(call.service.catalog), call.request.params
    return await call.service.in_thread(batches.get, params["name"], params["batch_id"])


def _check_uploads(uploads: Uploads, ids: Iterable[str], key: ApiKey) -> None:
    """Raises an error unless the key may see all of some uploads."""
    for id in ids:
        uploads.get(id, key)


def _add_uploads(
    collection: Collection,
    uploads: Uploads,
    files: Mapping[str, dict[str, Scalar] | None],
    key: ApiKey,
) -> None:
    """Makes documents of uploads, with their attributes; not all texts are in memory at a time."""
    if files:
        texts = (_document(uploads.get(id, key), attributes) for id, attributes in files.items())
        collection.add(texts, progress=False)


def _document(upload: Upload, attributes: dict[str, Scalar] | None) -> dict[str, Any]:
    return {
        "id": upload.id,
        "text": upload.text,
        "title": upload.filename,
        "metadata": attributes or {},
    }


def _known(collection: Collection, id: str) -> StoredDocument:
    document = collection.get(id)
    if document is None:
        raise _unknown(id)
    return document


def _share(score: float, collection: Collection) -> float:
    """Returns a score as a number from 0 to 1: a cosine as it is, an inner product squeezed."""
    if collection.metric == "ip":
        score = 1 / (1 + math.exp(-min(max(score, -500.0), 500.0)))
    return min(max(score, 0.0), 1.0)


def _attributes(metadata: dict[str, Any]) -> dict[str, Scalar]:
    """Returns what of a document's metadata can be an attribute."""
    return {name: value for name, value in metadata.items() if isinstance(value, (str, int, float))}


def _store(name: str, collection: Collection) -> dict[str, Any]:
    info = collection.info()
    return {
        "id": name,
        "object": "vector_store",
        "created_at": _CREATED,
        "name": name,
        "usage_bytes": info.disk,
        "file_counts": _counts(info.documents),
        "status": "completed",
        "expires_after": None,
        "expires_at": None,
        "last_active_at": None,
        "metadata": {},
    }


def _store_file(name: str, document: StoredDocument) -> dict[str, Any]:
    return {
        "id": document.id,
        "object": "vector_store.file",
        "created_at": _CREATED,
        "vector_store_id": name,
        "status": "completed",
        "usage_bytes": len(document.text.encode()),
        "last_error": None,
        "attributes": _attributes(document.metadata),
    }


def _batch(batch: FileBatch) -> dict[str, Any]:
    count = len(batch.files)
    return {
        "id": batch.id,
        "object": "vector_store.files_batch",
        "created_at": batch.created_at,
        "vector_store_id": batch.store,
        "status": "completed",
        "file_counts": _counts(count),
    }


def _counts(documents: int) -> dict[str, int]:
    """Returns the numbers of files by status: what is stored is complete."""
    return {
        "in_progress": 0,
        "completed": documents,
        "failed": 0,
        "cancelled": 0,
        "total": documents,
    }


def _file(upload: Upload) -> dict[str, Any]:
    return {
        "id": upload.id,
        "object": "file",
        "bytes": upload.size,
        "created_at": upload.created_at,
        "filename": upload.filename,
        "purpose": upload.purpose,
        "status": "processed",
    }


def _listing(data: list[dict[str, Any]], *, more: bool) -> Response:
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return json_answer(
        {"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": more}
    )


def _page(call: Call, largest: int = _LARGEST_PAGE) -> tuple[int, str | None]:
    """Returns how many to list, and behind which."""
    limit = whole_number(call.request.query, "limit", _PAGE) or 0
    if not 1 <= limit <= largest:
        raise _wrong("limit", f"limit must be 1 to {largest:,}")
    if "before" in call.request.query:
        raise _wrong("before", "before is not supported: use after")
    return limit, call.request.query.get("after")


def _refuse_chunking(strategy: dict[str, Any] | None) -> None:
    if strategy is not None and strategy.get("type") != "auto":
        raise _wrong(
            "chunking_strategy",
            "documents are split as the collection was made to: leave chunking_strategy out",
        )


def _unknown(id: str) -> RequestError:
    return RequestError(
        404, f"there is no file {id[:100]!r}", param="file_id", code="file_not_found"
    )


def _wrong(param: str, message: str) -> RequestError:
    return RequestError(422, message, param=param, code="argument")


_STORE: Final = "/v1/vector_stores/{name}"

ENDPOINTS = (
    Endpoint("POST", f"{_STORE}/search", _search),
    Endpoint("GET", "/v1/vector_stores", _stores),
    Endpoint("POST", "/v1/vector_stores", _create, role="admin"),
    Endpoint("GET", _STORE, _retrieve),
    Endpoint("DELETE", _STORE, _delete, role="admin"),
    Endpoint("GET", f"{_STORE}/files", _files_of_store),
    Endpoint("POST", f"{_STORE}/files", _attach, role="write"),
    Endpoint("GET", f"{_STORE}/files/{{file_id}}/content", _content_of_store),
    Endpoint("GET", f"{_STORE}/files/{{file_id:path}}", _file_of_store),
    Endpoint("POST", f"{_STORE}/files/{{file_id:path}}", _change, role="write"),
    Endpoint("DELETE", f"{_STORE}/files/{{file_id:path}}", _detach, role="write"),
    Endpoint("POST", f"{_STORE}/file_batches", _create_batch, role="write"),
    Endpoint("GET", f"{_STORE}/file_batches/{{batch_id}}", _batch_of_store),
    Endpoint("POST", f"{_STORE}/file_batches/{{batch_id}}/cancel", _cancel_batch, role="write"),
    Endpoint("GET", f"{_STORE}/file_batches/{{batch_id}}/files", _files_of_batch),
    Endpoint("GET", "/v1/files", _uploads, role="write"),
    Endpoint("POST", "/v1/files", _upload, role="write"),
    Endpoint("GET", "/v1/files/{file_id}/content", _uploaded_content, role="write"),
    Endpoint("GET", "/v1/files/{file_id}", _uploaded, role="write"),
    Endpoint("DELETE", "/v1/files/{file_id}", _delete_upload, role="write"),
)
