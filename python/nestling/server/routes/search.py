"""Searches of a collection."""

from __future__ import annotations

import struct
from dataclasses import asdict
from functools import cached_property, lru_cache
from operator import attrgetter
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
from msgspec import Meta

from nestling.collection import Collection, DocumentHit, DocumentHits, Synonyms
from nestling.errors import VectorError
from nestling.runtime.embedder import Floats
from nestling.server.call import Call
from nestling.server.errors import RequestError
from nestling.server.http import (
    BINARY,
    Response,
    content_type,
    decode,
    flag,
    floats_of_base64,
    floats_of_bytes,
    json_answer,
    parameters,
    whole_number,
)
from nestling.server.routing import Endpoint
from nestling.server.schedule.search import Searches
from nestling.server.searchable import Searchable

__all__ = ["ENDPOINTS", "SearchRequest", "embed", "hit_as_json", "read_search", "search_hits"]

Vector = list[float] | str
Include = Literal["text", "metadata", "highlight", "snippet", "document", "vector"]

_OF_CLUSTERS: Final = ("deadline_ms", "min_coverage", "shard_probes")
_SHORT: Final = 256  # bytes of a query string whose options are remembered
_IF_INCLUDED: Final = ("text", "title", "metadata", "start", "end", "document", "vector")
_values_of: Final = attrgetter(*_IF_INCLUDED)


class SearchRequest(msgspec.Struct, forbid_unknown_fields=True, frozen=True, dict=True):
    """The body of `POST /collections/{name}/search`.

    Attributes:
        query: A text, or several.
        vector: A vector instead: numbers, or base64 of little-endian float32.
        vectors: Several of them. With `query`, the embeddings of its texts.
        k: Hits per query.
        where: A filter of the metadata.
        mode: By meaning, by words, or by both.
        funnel: Stages with other keeps than the collection's.
        probes: Cells to search.
        include: What hits hold.
        explain: Whether to explain how they were found.
        fusion: How "hybrid" joins both rankings.
        weight: Share of the ranking by meaning; "auto" for the collection's.
        synonyms: Lines such as "car, automobile".
        fuzzy: Whether unknown words are searched for by similar ones.
        prefix: Whether the last word is searched for by those that begin so.
        refine: When the collection's encoder is used beside a query encoder, if the server has one.
        deadline_ms: Of a cluster: after this time the hits found so far are answered.
        min_coverage: Of a cluster: the share of the rows that must be searched, else an error is
            answered.
        shard_probes: Of a cluster built by cells: search the shards of the so many nearest
            centroids only.
    """

    query: str | list[str] | None = None
    vector: Vector | None = None
    vectors: list[Vector] | None = None
    k: Annotated[int, Meta(ge=1)] = 10
    where: dict[str, Any] | None = None
    mode: Literal["dense", "lexical", "hybrid"] = "dense"
    funnel: str | None = None
    probes: Annotated[int, Meta(ge=1)] | None = None
    include: tuple[Include, ...] = ("text", "metadata")
    explain: bool = False
    fusion: Literal["weighted", "rrf"] = "weighted"
    weight: Annotated[float, Meta(ge=0, le=1)] | Literal["auto"] = "auto"
    synonyms: list[str] | None = None
    fuzzy: bool = False
    prefix: bool = False
    refine: Literal["never", "auto", "always"] = "never"
    deadline_ms: Annotated[float, Meta(gt=0)] | None = None
    min_coverage: Annotated[float, Meta(ge=0, le=1)] | None = None
    shard_probes: Annotated[int, Meta(ge=1)] | None = None

    @cached_property
    def options(self) -> dict[str, Any]:
        """The keyword arguments of `Collection.search`, or of `Cluster.search`."""
        return {
            "k": self.k,
            "where": self.where,
            "funnel": self.funnel,
            "mode": self.mode,
            "include": self.include,
            "explain": self.explain,
            "fusion": self.fusion,
            "weight": self.weight,
            "synonyms": None if self.synonyms is None else Synonyms(self.synonyms),
            "fuzzy": self.fuzzy,
            "prefix": self.prefix,
            "refine": self.refine,
            "probes": self.probes,
            **self.of_clusters,
        }

    @cached_property
    def of_clusters(self) -> dict[str, Any]:
        """The options that only `Cluster.search` has, those that are given."""
        given = ((name, getattr(self, name)) for name in _OF_CLUSTERS)
        return {name: value for name, value in given if value is not None}

    @cached_property
    def form(self) -> bytes:
        """What requests have in common that can be one call of one collection."""
        alike = msgspec.structs.replace(self, query=None, vector=None, vectors=None)
        return msgspec.json.encode((isinstance(self.query, str) or bool(self.query), alike))


async def _search(call: Call) -> Response:
    """Finds documents."""
    collection = await call.searchable()
    if content_type(call.request) == BINARY:
        body = _binary_options(call.request.scope.get("query_string", b""))
        vectors = floats_of_bytes(await call.body(), collection.dim, "the body")
    else:
        body = await call.json(SearchRequest)
        vectors = None
    hits = await search_hits(call, collection, body, vectors)
    if body.explain:
        for one in hits:
            if one.explanation is not None:
                call.service.metrics.explanation(one.explanation, body.k)
    whole = isinstance(collection, Collection)  # whose hits never miss a shard
    if BINARY in (call.request.header(b"accept") or ""):
        return Response(_as_bytes(hits, whole=whole), media_type=BINARY)
    return json_answer({"results": [_result(one, body, whole=whole) for one in hits]})


async def search_hits(
    call: Call, collection: Searchable, body: SearchRequest, vectors: Floats | None = None
) -> list[DocumentHits]:
    """Encodes what is to be encoded, and searches; one `DocumentHits` a query.

    Raises:
        RequestError: The request asks for too much, or for nothing.
    """
    searches = read_search(call, collection, body, vectors)
    if not searches.count:
        return []
    if searches.vectors is None:
        await embed(call, body, searches)
    hits = await call.search(searches)
    if not body.explain:
        call.service.recall.offer(searches)
    return hits


def read_search(
    call: Call, collection: Searchable, body: SearchRequest, vectors: Floats | None = None
) -> Searches:
    """Returns the queries of a request.

    Raises:
        RequestError: The request asks for too much, or for nothing.
    """
    settings = call.service.settings
    if body.k > settings.max_k:
        raise RequestError(422, f"k may be at most {settings.max_k:,}", param="k", code="argument")
    if body.of_clusters and isinstance(collection, Collection):
        param = next(iter(body.of_clusters))
        instead = ": say X-Timeout-Ms" if param == "deadline_ms" else ""
        raise RequestError(422, f"{param} is for clusters{instead}", param=param, code="argument")
    texts = [body.query] if isinstance(body.query, str) else body.query
    if vectors is None:
        vectors = _vectors(body, collection.dim)
    if texts is None and vectors is None:
        raise RequestError(422, "give query, vector or vectors", param="query", code="argument")
    queries = len(texts) if texts is not None else len(vectors if vectors is not None else ())
    if queries > settings.max_queries:
        raise RequestError(
            422,
            f"{queries:,} queries, but a request may have at most {settings.max_queries:,}",
            param="query",
            code="argument",
        )
    if texts is not None and vectors is not None and len(vectors) != len(texts):
        raise VectorError(f"{len(vectors)} vectors for {len(texts)} texts; give one per text")
    return Searches(collection, (id(collection), body.form), body.options, texts, vectors)


async def embed(call: Call, body: SearchRequest, searches: Searches) -> None:
    """Encodes texts by the model of the collection, where the search itself would do it.

    Raises:
        RequestError: The model cannot be used.
    """
    texts = searches.texts
    if not texts or searches.vectors is not None or body.mode == "lexical":
        return
    catalog = call.service.catalog
    if body.refine == "always" or catalog.queries_of(searches.collection) is None:
        encoder = catalog.encoder_of(searches.collection)
        searches.vectors = (await call.encode(encoder, texts, encoder.query_prompt)).vectors


def hit_as_json(hit: DocumentHit, included: frozenset[str]) -> dict[str, Any]:
    """Returns a hit as JSON values; what was not included is left out."""
    found: dict[str, Any] = {"id": hit.id, "score": hit.score, "passage": hit.passage}
    if hit.dense is not None:
        found["dense"] = hit.dense._asdict()
    if hit.lexical is not None:
        found["lexical"] = hit.lexical._asdict()
    if not included:
        return found
    values = zip(_IF_INCLUDED, _values_of(hit), strict=True)
    found |= {name: value for name, value in values if value is not None}
    if "highlight" in included:
        found["highlights"] = hit.highlights
    if hit.snippet is not None:
        found["snippet"] = asdict(hit.snippet)
    return found


def _result(hits: DocumentHits, body: SearchRequest, *, whole: bool) -> dict[str, Any]:
    result: dict[str, Any] = {}
    if body.include or body.mode == "hybrid":
        included = frozenset(body.include)
        result["hits"] = [hit_as_json(hit, included) for hit in hits]
    else:  # without an object for each hit
        result["hits"] = [
            {"id": id, "score": score, "passage": passage}
            for id, score, passage in zip(hits.ids, hits.scores, hits.passages, strict=True)
        ]
    if not whole:
        result |= _coverage(hits)
    if hits.refined:
        result["refined"] = True
    if hits.explanation is not None:
        result["explanation"] = asdict(hits.explanation)
    return result


def _vectors(body: SearchRequest, dim: int) -> Floats | None:
    given = body.vectors
    if given is None:
        if body.vector is None:
            return None
        given = [body.vector]
    if not given:
        raise RequestError(422, "vectors is empty", param="vectors", code="vector")
    rows = [floats_of_base64(row, "vector") if isinstance(row, str) else row for row in given]
    for row in rows:
        if len(row) != dim:
            raise RequestError(
                422,
                f"a vector has {len(row)} dimensions, but the collection has {dim}",
                param="vector",
                code="vector",
            )
    with np.errstate(over="ignore"):  # what overflows becomes infinite, and is then refused
        return np.array(rows, np.float32)


def _binary_options(query: bytes) -> SearchRequest:
    """Returns the options of a request whose body is vectors: those of its query string."""
    return _options_of(query) if len(query) <= _SHORT else _options_of.__wrapped__(query)


@lru_cache(maxsize=256)  # most clients send the same ones all the time
def _options_of(query: bytes) -> SearchRequest:
    given = parameters(query)
    where = given.get("where")
    return SearchRequest(
        k=whole_number(given, "k", 10) or 0,
        where=None if where is None else decode(dict[str, Any], where.encode()),
        funnel=given.get("funnel"),
        probes=whole_number(given, "probes"),
        include=("text", "metadata") if flag(given, "documents") else (),
    )


def _coverage(hits: DocumentHits) -> dict[str, Any]:
    return {"coverage": hits.coverage, "late": list(hits.late)}


def _as_bytes(hits: list[DocumentHits], *, whole: bool) -> bytes:
    """Returns ids and scores, little-endian.

    Five arrays: uint32 of hits for each query; the scores of all hits as float32; their passages
    as uint32; the lengths of their ids as uint32; the ids in UTF-8. Those of a cluster are followed
    by JSON: a list with what was searched for each query.
    """
    if len(hits) == 1:
        ids, scores, passages = hits[0].ids, hits[0].scores, hits[0].passages
    else:
        ids = [id for one in hits for id in one.ids]
        scores = [score for one in hits for score in one.scores]
        passages = [passage for one in hits for passage in one.passages]
    text = "".join(ids)
    lengths = map(len, ids if text.isascii() else (id.encode() for id in ids))
    count = len(ids)
    columns = struct.pack(
        f"<{len(hits)}I{count}f{count}I{count}I", *map(len, hits), *scores, *passages, *lengths
    )
    searched = b"" if whole else msgspec.json.encode([_coverage(one) for one in hits])
    return columns + text.encode() + searched


ENDPOINTS = (Endpoint("POST", "/collections/{name}/search", _search, queue="search"),)
