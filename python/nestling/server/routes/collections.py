"""Collections: list, create, describe, delete, and their upkeep."""

from __future__ import annotations

import errno
from dataclasses import asdict
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from nestling._util.paths import absolute
from nestling.collection import Passages
from nestling.errors import StorageError
from nestling.server.call import Call
from nestling.server.catalog import check_name
from nestling.server.errors import RequestError
from nestling.server.http import Response, json_answer
from nestling.server.routing import Endpoint
from nestling.server.searchable import Searchable

__all__ = ["ENDPOINTS", "BackupRequest", "CreateRequest", "TuneRequest", "info_as_json"]


class CreateRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `PUT /collections/{name}`.

    Attributes:
        encoder: Name of an encoder that is served; or give `dim`.
        dim: Dimensions of the vectors that come with documents.
        metric: Either "cosine" or "ip".
        funnel: How to store and search.
        passages: How to split documents, or null to store each as one passage.
        title_weight: How many times the words of a title count in searches for words.
        fields: Metadata fields that filters often use.
    """

    encoder: str | None = None
    dim: Annotated[int, Meta(ge=1)] | None = None
    metric: Literal["cosine", "ip"] | None = None
    funnel: str | None = None
    passages: dict[str, int] | msgspec.UnsetType | None = msgspec.UNSET
    title_weight: Annotated[int, Meta(ge=1, le=16)] | None = None
    fields: list[str] = []

    def options(self) -> dict[str, Any]:
        """Returns the keyword arguments of `Collection`."""
        options: dict[str, Any] = {
            "encoder": self.encoder,
            "dim": self.dim,
            "metric": self.metric,
            "funnel": self.funnel,
            "title_weight": self.title_weight,
            "fields": self.fields,
        }
        if self.passages is not msgspec.UNSET:
            try:
                options["passages"] = None if self.passages is None else Passages(**self.passages)
            except TypeError as error:
                raise RequestError(422, f"passages: {error}", param="passages") from None
        return options


class TuneRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /collections/{name}/tune`: arguments of `Collection.tune`."""

    recall: Annotated[float, Meta(gt=0, le=1)] = 0.98
    k: Annotated[int, Meta(ge=1)] = 10
    queries: list[str] | None = None
    budget_seconds: Annotated[float, Meta(gt=0, le=3600)] = 60.0
    prefer: Literal["throughput", "latency"] = "throughput"
    cells: bool | None = None


class BackupRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /collections/{name}/backup`.

    Attributes:
        name: Name of the new folder, among the server's backups.
    """

    name: str


def info_as_json(name: str, collection: Searchable) -> dict[str, Any]:
    """Returns the facts about a collection as JSON values."""
    info = asdict(collection.info())
    funnel = str(collection.funnel)
    return {"name": name, **info, "funnel": funnel}


async def _listed(call: Call) -> Response:
    """Lists the collections that the key is for."""
    catalog = call.service.catalog
    names = call.readable(catalog.names())

    def read() -> list[dict[str, Any]]:
        return [info_as_json(name, catalog.searchable(name)) for name in names]

    return json_answer({"collections": await call.service.in_thread(read)})


async def _create(call: Call) -> Response:
    """Creates a collection; one that exists with the same settings stays as it is."""
    name = check_name(call.request.params["name"])
    call.key.require("admin", name)
    body = await call.json(CreateRequest)

    def work() -> tuple[dict[str, Any], bool]:
        collection, new = call.service.catalog.create(name, body.options())
        return info_as_json(name, collection), new

    info, new = await call.service.in_thread(work)
    return json_answer(info, 201 if new else 200)


async def _describe(call: Call) -> Response:
    """Describes a collection."""
    collection = await call.searchable()
    name = call.request.params["name"]
    return json_answer(await call.service.in_thread(info_as_json, name, collection))


async def _delete(call: Call) -> Response:
    """Removes a collection and all that it holds."""
    name = call.request.params["name"]
    call.key.require("admin", name)
    await call.service.in_thread(call.service.catalog.delete, name)
    return json_answer({"deleted": True})


async def _tune(call: Call) -> Response:
    """Chooses the fastest funnel for a recall, and stores the collection for it."""
    collection = await call.collection("admin")
    body = await call.json(TuneRequest)

    def work() -> dict[str, Any]:
        report = collection.tune(
            body.recall,
            k=body.k,
            queries=body.queries,
            budget_seconds=body.budget_seconds,
            prefer=body.prefer,
            cells=body.cells,
            verbose=False,
        )
        return report.as_dict()

    return json_answer(await call.service.in_thread(work))


async def _check(call: Call) -> Response:
    """Reads everything, and reports what is inconsistent."""
    report = await call.service.in_thread((await call.collection("write")).check)
    return json_answer(asdict(report))


async def _compact(call: Call) -> Response:
    """Merges the segments."""
    collection = await call.collection("write")
    result = await call.service.in_thread(lambda: collection.compact().result())
    return json_answer(asdict(result))


async def _backup(call: Call) -> Response:
    """Copies the collection to a new folder among the server's backups."""
    collection = await call.collection("admin")
    body = await call.json(BackupRequest)
    folder = call.service.settings.backups
    if folder is None:
        raise RequestError(409, "the server has no folder for backups: start it with --backups")
    target = absolute(folder) / check_name(body.name)
    try:
        await call.service.in_thread(collection.backup, target)
    except StorageError as error:
        if error.errno != errno.EEXIST:
            raise
        raise RequestError(
            409, f"there is a backup {body.name!r} already", param="name", code="exists"
        ) from None
    return json_answer({"backup": body.name}, 201)


ENDPOINTS = (
    Endpoint("GET", "/collections", _listed),
    Endpoint("PUT", "/collections/{name}", _create, role="admin"),
    Endpoint("GET", "/collections/{name}", _describe),
    Endpoint("DELETE", "/collections/{name}", _delete, role="admin"),
    Endpoint("POST", "/collections/{name}/tune", _tune, role="admin"),
    Endpoint("POST", "/collections/{name}/check", _check, role="write"),
    Endpoint("POST", "/collections/{name}/compact", _compact, role="write"),
    Endpoint("POST", "/collections/{name}/backup", _backup, role="admin"),
)
