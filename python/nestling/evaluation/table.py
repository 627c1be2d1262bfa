"""The result of an evaluation: one row per system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestling._util.timing import Spread
from nestling._util.value import Value
from nestling.evaluation.significance import Comparison

__all__ = ["Row", "Table"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Row(Value):
    """The result of one system.

    Attributes:
        system: Its funnel, or the name of a run.
        kind: "exact", "codes", "funnel", or "run" for a ranking from a file.
        dims: Most dimensions that it reads; None for a run.
        bits: Bits of its first stage; None for a run.
        bytes_per_row: Bytes of memory per row; None for a run.
        speed: Queries a second in a batch, over the rounds; None for a run, and where it was
            not measured.
        metrics: Means over the queries, by the name of the metric.
        kept: Its share of the first row's value in the main metric; None if that is 0.
        comparison: Comparison with the first row in the main metric; None for the first row.
        values: (m,) float64 values of the queries, by the name of the metric.

    Example:
        >>> row = Row("64@4", "codes", 64, 4, 40.0, None, {"ndcg@10": 0.5}, 0.9, None, {})
        >>> row.as_dict()["metrics"]
        {'ndcg@10': 0.5}
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
        """Returns everything except `values` as plain values, ready for JSON."""
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


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Table(Value):
    """Systems compared on one dataset.

    Attributes:
        dataset: Its name.
        model: The name of the encoder; None if only runs were measured.
        documents: Number of documents.
        queries: Number of judged queries.
        left_out: Number of queries without a judgement, or beyond a limit.
        depth: Documents that each system retrieved per query.
        threads: Threads of the searches; None if only runs were measured.
        rounds: Rounds of timing.
        batch: Queries of a timed batch.
        confidence: Confidence of the intervals.
        rows: The rows; the others are compared with the first.

    Example:
        >>> from nestling.evaluation import Dataset, Embeddings, EvaluationSettings, evaluate
        >>> dataset = Dataset.of("d", {"a": "x", "b": "y"}, {"q": "?"}, [("q", "b", 1)])
        >>> rows = np.eye(2, 8, dtype=np.float32)
        >>> settings = EvaluationSettings(dims=[8], bits=[4], metrics=["mrr@2"], rounds=0)
        >>> table = evaluate(Embeddings(rows, rows[1:]), dataset, settings)
        >>> table.main_metric, table.documents, table.queries, len(table.rows)
        ('mrr@2', 2, 1, 3)
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
        """The metric that systems are compared by: the first."""
        return next(iter(self.rows[0].metrics))

    def as_dict(self) -> dict[str, Any]:
        """Returns everything as plain values, ready for JSON.

        Example:
            >>> row = Row("64@4", "codes", 64, 4, 40.0, None, {"ndcg@10": 0.5}, 1.0, None, {})
            >>> Table("d", "m", 2, 1, 0, 10, 1, 0, 1, 0.95, (row,)).as_dict()["rows"][0]["system"]
            '64@4'
        """
        facts = {name: getattr(self, name) for name in self.__slots__ if name != "rows"}
        return {**facts, "main_metric": self.main_metric, "rows": [r.as_dict() for r in self.rows]}
