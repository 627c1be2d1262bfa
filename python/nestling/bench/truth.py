"""The exact hits of a benchmark's queries, with a progress bar."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from nestling._util.progress import ProgressBar
from nestling.index import exact

__all__ = ["exact_top"]

Floats = NDArray[np.float32]


def exact_top(vectors: Floats, queries: Floats, k: int) -> NDArray[np.int64]:
    """Finds the nearest rows by the cosine of all dimensions; see `nestling.index.exact`.

    Args:
        vectors: (n, dim) float32.
        queries: (m, dim) float32.
        k: Number of rows, at most n.

    Returns:
        (m, k) row numbers, best first.

    Example:
        >>> exact_top(np.eye(4, dtype=np.float32), np.eye(4, dtype=np.float32)[:2], 1).tolist()
        [[0], [1]]
    """
    with ProgressBar("Exact search", total=len(vectors)) as bar:

        def counted() -> Iterator[Floats]:
            for chunk in exact.chunks(vectors):
                yield chunk
                bar.advance(len(chunk))

        return exact.exact_top(counted(), queries, k).rows
