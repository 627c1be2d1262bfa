"""What an evaluation found: a row a system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestling._util.timing import Spread
from nestling.evaluation.significance import Comparison

__all__ = ["Row", "Table"]


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One system.

    Attributes:
        system: Its funnel, or the name of a run.
        kind: "exact", "codes", "funnel", or "run" for rankings that came from a file.
        dims: Dimensions that it reads at most; None for a run.
        bits: Of its first stage; None for a run.
        bytes_per_row: Memory; None for a run.
        speed: Queries a second in a batch, over the rounds; None for a run, and where it was
            not measured.
        metrics: Means over the questions, by the name of the measure.
        kept: Share of the first row's value that it has in the table's first measure; None where
            that is 0.
        comparison: With the first row, in the table's first measure; None for that row itself.
        values: (m,) values of the questions, by the name of the measure.
    """

    system: str
    kind: str
    dims: int | None
    bits: int | None
    bytes_per_row: float | None
    speed: Spread | None
    metrics: Mapping[str, float]
    kept: float | None
    comparison: Comparison | None
    values: Mapping[str, NDArray[np.float64]] = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Returns all but the questions' values as plain values, ready for JSON."""
        return {
            "system": self.system,
            "kind": self.kind,
            "dims": self.dims,
            "bits": self.bits,
            "bytes_per_row": self.bytes_per_row,
            "queries_per_second": None if self.speed is None else asdict(self.speed),
            "metrics": dict(self.metrics),
            "kept": self.kept,
            "comparison": None if self.comparison is None else asdict(self.comparison),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Systems compared on one dataset.

    Attributes:
        dataset: Its name.
        model: What encoded it; None where only runs were measured.
        documents: How many.
        queries: How many, each with a relevant document.
        left_out: Questions without one, or beyond a limit.
        depth: Documents that each system was asked for.
        threads: Threads of the searches; None where only runs were measured.
        rounds: Rounds of the speeds.
        batch: Queries of a timed batch.
        confidence: Of the intervals.
        rows: The first one is what the others are compared with.
    """

    dataset: str
    model: str | None
    documents: int
    queries: int
    left_out: int
    depth: int
    threads: int | None
    rounds: int
    batch: int
    confidence: float
    rows: tuple[Row, ...]

    @property
    def main_metric(self) -> str:
        """The measure that systems are compared by: the first."""
        return next(iter(self.rows[0].metrics))

    def as_dict(self) -> dict[str, Any]:
        """Returns everything as plain values, ready for JSON."""
        facts = {name: getattr(self, name) for name in self.__slots__ if name != "rows"}
        return {**facts, "main_metric": self.main_metric, "rows": [r.as_dict() for r in self.rows]}
