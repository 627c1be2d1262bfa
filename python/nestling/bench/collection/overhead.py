"""What a collection adds to a search of its index: one vector at a time, and many per call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nestling._util.timing import Rounds, Task, interleave, latencies, seconds
from nestling.collection import Collection

__all__ = ["BASELINE", "Overhead", "overhead"]

BASELINE: Final = "the index alone"

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Overhead:
    """Searches of one kind by vectors.

    Attributes:
        p50_us: Median microseconds of one search.
        over_index_us: Of these, what the index alone does not take.
        per_second: Queries per second of one call with all of a batch.
        share: Of the index's queries per second.
    """

    p50_us: float
    over_index_us: float
    per_second: float
    share: float


def overhead(
    collection: Collection, queries: Vectors, batch: Vectors, *, k: int, rounds: int
) -> dict[str, Overhead]:
    """Compacts a collection, and compares its searches with those of the index inside.

    Args:
        collection: The collection, of at least one document.
        queries: (m, dim) vectors that are searched for one by one.
        batch: (n, dim) vectors that are searched for by one call.
        k: Hits per query.
        rounds: Measured rounds, after a warm-up round.
    """
    collection.compact()
    (part,) = collection._store.view().segments
    searches: dict[str, Callable[[Vectors], Any]] = {
        BASELINE: lambda vectors: part.index.search(vectors, k),
        "ids alone": lambda vectors: collection.search(vectors, k, include=()),
        "texts and metadata": lambda vectors: collection.search(vectors, k),
    }
    single: dict[str, Task] = {
        name: partial(latencies, search, queries) for name, search in searches.items()
    }
    together: dict[str, Task] = {
        name: partial(seconds, partial(search, batch)) for name, search in searches.items()
    }
    p50 = _medians(interleave(single, rounds=rounds, title="One vector at a time"))
    batches = _medians(interleave(together, rounds=rounds, title="Many vectors per call"))
    return {
        name: Overhead(
            p50_us=p50[name] * 1e6,
            over_index_us=(p50[name] - p50[BASELINE]) * 1e6,
            per_second=len(batch) / batches[name],
            share=batches[BASELINE] / batches[name],
        )
        for name in searches
    }


def _medians(results: dict[str, Rounds]) -> dict[str, float]:
    return {name: float(np.median(np.concatenate(times))) for name, times in results.items()}
