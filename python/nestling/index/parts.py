"""Several indexes that are searched as one, such as the segments of a collection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestling import _core
from nestling._util.value import Value
from nestling.errors import ArgumentError
from nestling.index.arguments import Probing, positive, probed_cells, stage_specs
from nestling.index.funnel import Funnel
from nestling.index.hits import Hits, found_hits
from nestling.index.index import Index
from nestling.inputs.ids import filter_arrays
from nestling.inputs.vectors import matrix

__all__ = ["IndexPart", "search_parts"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class IndexPart(Value):
    """One of the indexes.

    Attributes:
        index: The index.
        first: What is added to its ids.
        where: Those of its own ids that may be hits, as for `Index.search`; None for all.
    """

    index: Index
    first: int = 0
    where: NDArray[np.int64] | NDArray[np.bool_] | None = None


def search_parts(
    parts: Sequence[IndexPart],
    queries: ArrayLike,
    k: int,
    *,
    funnel: Funnel | None = None,
    probes: int | None = None,
    clip: bool = True,
) -> Hits:
    """Finds the rows of several indexes that score best.

    Each index is searched on its own, with the same funnel, and the hits are merged by score; equal
    scores are in the order of the parts.

    Args:
        parts: At least one. They store their rows for the same dimensions, metric and stages.
        queries: (m, dim) floats.
        k: Hits per query.
        funnel: As for `Index.search`. Default: that of the first index.
        probes: As for `Index.search`; by default each index probes as many cells as it would alone.
        clip: As for `Index.search`. What is not clipped can be merged with other hits.

    Returns:
        Hits of shape (m, k); their stages add up what was done in all indexes.

    Raises:
        VectorError: As for `Index.search`.
        FunnelError: An index does not store a stage of the funnel.
        ArgumentError: There is no index, their dimensions or metrics differ, or as for
            `Index.search`.

    Example:
        >>> from nestling import Index
        >>> from nestling.index.parts import IndexPart, search_parts
        >>> near, far = Index(2, funnel="2@32"), Index(2, funnel="2@32")
        >>> _ = near.add([[1.0, 0.0]]), far.add([[0.0, 1.0], [1.0, 1.0]])
        >>> parts = [IndexPart(near), IndexPart(far, first=1)]
        >>> search_parts(parts, [[2.0, 1.0]], k=3).ids
        array([[2, 0, 1]])
    """
    if not parts:
        raise ArgumentError("there is no index to search: give at least one part")
    first = parts[0].index
    for part in parts:
        if (part.index.dim, part.index.metric) != (first.dim, first.metric):
            raise ArgumentError(
                f"parts of one search must store rows alike, not {part.index} and {first}"
            )
    rows = matrix(queries, first.dim, "queries")
    chosen = first.funnel if funnel is None else funnel
    k = positive("k", k)
    ids, scores, counts = _core.search_parts(
        [_arguments(part, probes) for part in parts],
        rows,
        k=k,
        stages=stage_specs(chosen),
        threads=first._threads,
        clip=clip,
    )
    return found_hits(ids, scores, len(rows), chosen, counts)


def _arguments(
    part: IndexPart, probes: int | None
) -> tuple[_core.Index, int, Probing, NDArray[np.uint8] | None, NDArray[np.int64] | None]:
    state = part.index._state
    mask, only = filter_arrays(part.where)
    return (state.core, part.first, probed_cells(state.chosen_cells, probes), mask, only)
