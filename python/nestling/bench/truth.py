"""The exact result of a benchmark's queries, with a progress bar."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from nestling._util.progress import ProgressBar
from nestling.index import exact

__all__ = ["exact_top"]

Floats = NDArray[np.float32]


def exact_top(vectors: Floats, queries: Floats, k: int) -> NDArray[np.int64]:
    """Finds the rows nearest by cosine of all dimensions: see `nestling.index.exact`.

    Args:
        vectors: (n, dim) float32.
        queries: (m, dim) float32.
        k: How many; at most n.

    Returns:
        (m, k) row numbers, best first.
    """
    with ProgressBar("Exact search", total=len(vectors)) as bar:

        def told() -> Iterator[Floats]:
            for chunk in exact.chunks(vectors):
                yield chunk
                bar.advance(len(chunk))

        return exact.exact_top(told(), queries, k).rows
