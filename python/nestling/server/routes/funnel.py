"""What the funnel of a collection does with one query: for the page that shows it."""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict
from typing import Annotated, Any, Final

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from nestling.collection import Collection, Explanation, Survivors
from nestling.index.funnel import Funnel
from nestling.index.transform import learn_rotation
from nestling.runtime.embedder import Floats
from nestling.runtime.modules import normalise
from nestling.server.call import Call
from nestling.server.errors import RequestError
from nestling.server.http import Response, json_answer
from nestling.server.routes.search import SearchRequest, embed, read_search
from nestling.server.routing import Endpoint

__all__ = ["ENDPOINTS", "FunnelRequest", "funnel_report"]

_TIMED: Final = 5  # searches whose median is the latency
_WORK: Final = 16  # queries that a report counts for in the queue: it searches about as often
_MOST_POINTS: Final = 5_000


class FunnelRequest(SearchRequest, forbid_unknown_fields=True, frozen=True, dict=True):
    """The body of `POST /collections/{name}/funnel`: a search of one query by meaning.

    Attributes:
        points: Passages to return of those that the first stage kept; 0 for none.
        probes: Cells to search; 0 for all rows.
    """

    points: Annotated[int, Meta(ge=0, le=_MOST_POINTS)] = 1_000
    probes: Annotated[int, Meta(ge=0)] | None = None


def funnel_report(
    collection: Collection, vector: NDArray[np.float32], body: FunnelRequest
) -> dict[str, Any]:
    """Returns what the stages of a funnel read, kept and dropped, as JSON values.

    Args:
        collection: Where to search.
        vector: (dim,) float32.
        body: The request.
    """
    options: dict[str, Any] = {
        "k": body.k,
        "where": body.where,
        "funnel": body.funnel,
        "probes": body.probes,
        "include": (),
    }
    survivors = None
    if body.points:
        survivors = collection.survivors(vector, limit=body.points, **options)
        hits = survivors.hits
    else:
        hits = collection.search(vector, explain=True, **options)  # type: ignore[assignment]
    explanation = hits.explanation
    assert explanation is not None
    times = []
    for _ in range(_TIMED):
        started = time.perf_counter()
        collection.search(vector, **options)
        times.append((time.perf_counter() - started) * 1000)
    info = collection.info()
    funnel = collection.funnel if body.funnel is None else Funnel.of(body.funnel)
    titles = _titles(collection, explanation, survivors)
    return {
        "stages": [asdict(stage) for stage in explanation.stages],
        "recall": _recall(explanation, body.k, info.passages),
        "dropped": [{**asdict(one), "title": titles[one.id]} for one in explanation.dropped],
        "latency_ms": statistics.median(times),
        "cells": 0 if info.cells is None else info.cells.count,
        **_points(survivors, funnel, titles, collection.metric),
    }


def _recall(explanation: Explanation, k: int, passages: int) -> float:
    """Returns the share of the exact top k that the funnel kept."""
    exact = min(k, passages if explanation.allowed is None else explanation.allowed)
    return 1.0 - len(explanation.dropped) / exact if exact else 1.0


def _titles(
    collection: Collection, explanation: Explanation, survivors: Survivors | None
) -> dict[str, str]:
    """Returns the titles of all documents in a report, by id; "" for those deleted meanwhile."""
    ids = dict.fromkeys(one.id for one in explanation.dropped)
    if survivors is not None:
        ids |= dict.fromkeys(survivors.ids)
    found = collection.get(list(ids))
    return {
        id: "" if document is None else document.title
        for id, document in zip(ids, found, strict=True)
    }


def _points(
    survivors: Survivors | None, funnel: Funnel, titles: dict[str, str], metric: str
) -> dict[str, Any]:
    """Returns the survivors along the first two principal axes of the first stage's prefix."""
    if survivors is None:
        empty: list[Any] = []
        return {
            "points": {"x": empty, "y": empty, "stage": empty, "id": empty, "title": empty},
            "query": {"x": 0.0, "y": 0.0},
        }
    dims = funnel.stages[0].dims
    rows = _prefixes(survivors.vectors, dims, metric)
    query = _prefixes(survivors.query[None], dims, metric)
    at, of_query = _plane(rows, query)
    return {
        "points": {
            "x": np.ascontiguousarray(at[:, 0]),
            "y": np.ascontiguousarray(at[:, 1]),
            "stage": survivors.stages,
            "id": survivors.ids,
            "title": [titles[id] for id in survivors.ids],
        },
        "query": {"x": float(of_query[0, 0]), "y": float(of_query[0, 1])},
    }


def _prefixes(rows: Floats, dims: int, metric: str) -> Floats:
    return normalise(rows[:, :dims]) if metric == "cosine" else rows[:, :dims]


def _plane(rows: Floats, query: Floats) -> tuple[Floats, Floats]:
    """Returns rows and query, (n, 2), along the principal axes of the rows about their mean."""
    if len(rows) < 2 or rows.shape[1] < 2:
        pad = np.zeros((1, 2), np.float32)
        return np.repeat(pad, len(rows), axis=0), pad
    mean = rows.mean(axis=0)
    axes = learn_rotation(rows)[:2]
    return (rows - mean) @ axes.T, (query - mean) @ axes.T


async def _funnel(call: Call) -> Response:
    """Shows what each stage of the funnel read, kept and dropped for one query."""
    collection = await call.collection()
    body = await call.json(FunnelRequest)
    if body.mode != "dense":
        raise RequestError(422, "a funnel is of a search by meaning", param="mode", code="argument")
    searches = read_search(call, collection, body)
    await embed(call, body, searches)
    if searches.count != 1:
        raise RequestError(
            422, f"a funnel is shown for one query, not for {searches.count}", param="query"
        )
    if searches.vectors is not None:
        (vector,) = searches.vectors
    else:  # left to a query encoder, which takes microseconds
        queries = call.service.catalog.queries_of(collection)
        assert queries is not None
        assert searches.texts is not None
        (vector,) = queries.encode_queries(searches.texts)
    with call.service.searches.admission.admitted(_WORK), call.while_connected():
        return json_answer(await call.service.in_thread(funnel_report, collection, vector, body))


ENDPOINTS = (Endpoint("POST", "/collections/{name}/funnel", _funnel),)
