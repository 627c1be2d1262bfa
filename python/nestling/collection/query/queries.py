"""The queries of one call: read, checked and encoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestling.collection.ingest.encoder import EncoderSlot
from nestling.collection.query.clock import Clock
from nestling.collection.query.options import SearchOptions
from nestling.collection.query.refine import Refiner
from nestling.errors import ArgumentError, ArgumentTypeError, VectorError
from nestling.inputs.texts import query_texts
from nestling.inputs.vectors import matrix

__all__ = ["PreparedQueries", "Queries", "prepared", "prepared_together"]


@dataclass(slots=True)  # not frozen, as `SearchOptions`
class Queries:
    """Queries of one call: texts, vectors, or texts with their embeddings.

    Attributes:
        texts: The texts; None where queries are vectors.
        vectors: (m, dim) float32; None where there are none yet.
        refiner: How to refine them; None where the vectors are final.
    """

    texts: list[str] | None
    vectors: NDArray[np.float32] | None
    refiner: Refiner | None = None

    def __len__(self) -> int:
        if self.texts is not None:
            return len(self.texts)
        return 0 if self.vectors is None else len(self.vectors)

    def part(self, chosen: slice) -> Queries:
        """Returns some of the queries."""
        return Queries(
            None if self.texts is None else self.texts[chosen],
            None if self.vectors is None else self.vectors[chosen],
        )

    def one_by_one(self) -> list[Queries]:
        """Returns each query on its own."""
        return [self.part(slice(i, i + 1)) for i in range(len(self))]


class PreparedQueries(NamedTuple):
    """The queries of one call, encoded.

    Attributes:
        batches: Queries that are searched together, each batch with its clock.
        single: Whether the caller gave one query rather than a list.
    """

    batches: list[tuple[Queries, Clock]]
    single: bool


def prepared(
    query: str | Sequence[str] | ArrayLike,
    options: SearchOptions,
    embedded: ArrayLike | None,
    encoder: EncoderSlot,
    dim: int,
) -> PreparedQueries:
    """Reads and encodes the queries of one call.

    Args:
        query: A text or several, a vector or several.
        options: How to search.
        embedded: The embeddings of texts, if they are known.
        encoder: What encodes texts.
        dim: Dimensions of an embedding.

    Raises:
        ArgumentError: A query that is a vector needs words, or comes with an embedding.
        VectorError: A vector does not fit, or there is no encoder.
    """
    queries = _read(query, options, embedded, dim)
    single = isinstance(query, str) or (queries.texts is None and np.ndim(query) == 1)
    if queries.texts is not None and not queries.texts:
        return PreparedQueries([], single)
    # An explanation is of one query: its stages and times are measured on their own.
    batches = queries.one_by_one() if options.explain else [queries]
    found = []
    for batch in batches:
        clock = Clock(runs=options.explain)
        found.append((_encoded(batch, options, encoder, clock), clock))
    return PreparedQueries(found, single)


def prepared_together(
    query: str | Sequence[str] | ArrayLike,
    options: SearchOptions,
    embedded: ArrayLike | None,
    encoder: EncoderSlot,
    dim: int,
    clock: Clock,
) -> Queries:
    """Reads and encodes the queries of one call as one batch.

    Args:
        query: As for `prepared`.
        options: As for `prepared`.
        embedded: As for `prepared`.
        encoder: As for `prepared`.
        dim: As for `prepared`.
        clock: What measures the encoder.

    Raises:
        ArgumentError: As for `prepared`.
        VectorError: As for `prepared`.
    """
    return _encoded(_read(query, options, embedded, dim), options, encoder, clock)


def _read(
    query: str | Sequence[str] | ArrayLike,
    options: SearchOptions,
    embedded: ArrayLike | None,
    dim: int,
) -> Queries:
    if query is None:
        raise ArgumentTypeError("a query must be a text or a vector, or several; it is None")
    texts = query_texts(query)
    if texts is None:
        if options.mode != "dense":
            raise ArgumentError(
                f"mode {options.mode!r} searches for words: give a text instead of a vector"
            )
        if embedded is not None:
            raise ArgumentError(
                "vectors are the embeddings of texts, but the query is a vector itself"
            )
        return Queries(None, matrix(query, dim, "queries"))
    vectors = None
    if embedded is not None and texts:
        vectors = matrix(embedded, dim, "vectors")
        if len(vectors) != len(texts):
            raise VectorError(f"{len(vectors)} vectors for {len(texts)} texts; give one per text")
    return Queries(texts, vectors)


def _encoded(queries: Queries, options: SearchOptions, slot: EncoderSlot, clock: Clock) -> Queries:
    if queries.vectors is not None or queries.texts is None or options.mode == "lexical":
        return queries
    exact = options.refine == "always" or slot.queries is None
    refiner = None
    if options.refine == "auto" and slot.queries is not None:
        if slot.queries.refine_below is None:
            raise ArgumentError(
                f"refine='auto' needs a query encoder that knows the margin below which its "
                f"order is in doubt; {slot.queries.source} has no refine_below"
            )
        refiner = Refiner(
            partial(slot.encode_queries, exact=True),
            slot.queries.refine_below,
            slot.queries.unknown_share,
        )
    if exact:
        slot.get()  # which loads the model at its first use: that is not part of encoding
    with clock.step("encode"):
        vectors = slot.encode_queries(queries.texts, exact=exact)
    return Queries(queries.texts, vectors, refiner)
