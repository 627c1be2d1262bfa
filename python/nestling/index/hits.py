"""What a search returns: ids, scores, and what every stage did to find them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Hits", "StageStats"]


@dataclass(frozen=True, slots=True)
class StageStats:
    """What one stage did, summed over the queries of the search.

    Attributes:
        dims: Length of the prefix scored.
        bits: Precision of the values read.
        rows_seen: Rows scored.
        rows_kept: Rows handed to the next stage, or returned by the last.
        bytes_read: Bytes of codes, scales and norms that the stage read from the index.
        microseconds: Time in the stage, summed over the threads that worked on it.
    """

    dims: int
    bits: int
    rows_seen: int
    rows_kept: int
    bytes_read: int
    microseconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """The result of a search; unpacks as `ids, scores = hits`.

    Attributes:
        ids: (m, k) int64, best first; (k,) for a single query. -1 where fewer than k rows exist.
        scores: float32 of the same shape, the last stage's scores; NaN where the id is -1.
        stages: One `StageStats` a stage, in order.
        queries: How many queries the search had.
    """

    ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    stages: tuple[StageStats, ...]
    queries: int

    def __iter__(self) -> Iterator[NDArray[np.int64] | NDArray[np.float32]]:
        yield self.ids
        yield self.scores

    def __repr__(self) -> str:
        funnel = " > ".join(f"{stage.dims}@{stage.bits}" for stage in self.stages)
        return f"Hits(queries={self.queries}, k={self.ids.shape[-1]}, funnel='{funnel}')"

    def explain(self) -> str:
        """Returns a table of rows, bytes and microseconds per query and stage, ready to print."""
        header = ("stage", "rows seen", "rows kept", "bytes read", "µs")
        per = max(self.queries, 1)
        rows = [
            (
                f"{s.dims}@{s.bits}",
                f"{s.rows_seen / per:,.0f}",
                f"{s.rows_kept / per:,.0f}",
                f"{s.bytes_read / per:,.0f}",
                f"{s.microseconds / per:,.1f}",
            )
            for s in self.stages
        ]
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in (header, *rows)
        ]
        title = "per query" if self.queries == 1 else f"per query, mean of {self.queries:,}"
        return "\n".join([f"{lines[0]}   ({title})", *lines[1:]])
