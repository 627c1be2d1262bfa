"""What an evaluation measures, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nestling._util.value import Value
from nestling.errors import ArgumentError
from nestling.evaluation.metrics import DEFAULT_METRICS, parse_metric
from nestling.evaluation.systems import DEFAULT_BITS
from nestling.index.funnel import Funnel

__all__ = ["EvaluationSettings"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class EvaluationSettings(Value):
    """The settings of `nestling.evaluation.evaluate`, checked.

    Attributes:
        dims: Prefix lengths to measure. Default: those that the model was trained for, or halves of
            the whole embedding if they are unknown.
        bits: Precisions of every prefix: 32 is exact, 1, 2, 4 and 8 are codes.
        funnels: Whole funnels to measure. Default: the one that an index of this dimension has.
        metrics: Names of metrics (`nestling.evaluation.metrics`); systems are compared by the
            first.
        depth: Documents that each system retrieves per query. Every stage of a funnel keeps at
            least as many.
        rounds: Rounds of timing; 0 leaves the speeds out.
        threads: Threads of the searches. Default: those of `nestling.Index`.
        seed: Seed of the random draws of the comparisons.

    Raises:
        ArgumentError: There is no metric, a metric is unknown or looks further than `depth`, or a
            number is out of range.

    Example:
        >>> EvaluationSettings(metrics=["ndcg@20"], depth=50).metrics
        ('ndcg@20',)
        >>> EvaluationSettings(metrics=["ndcg@20"], depth=10)
        Traceback (most recent call last):
        nestling.errors.ArgumentError: ndcg@20 needs a depth of at least 20, not 10
    """

    dims: Sequence[int] | None = None
    bits: Sequence[int] = DEFAULT_BITS
    funnels: Sequence[str | Funnel] | None = None
    metrics: Sequence[str] = DEFAULT_METRICS
    depth: int = 100
    rounds: int = 5
    threads: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("dims", "bits", "funnels", "metrics"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, tuple(value))
        if not self.metrics:
            raise ArgumentError("metrics is empty: give at least one, such as 'ndcg@10'")
        for metric in self.metrics:
            _, k = parse_metric(metric)
            if k > self.depth:
                raise ArgumentError(f"{metric} needs a depth of at least {k}, not {self.depth}")
        for name, value, least in (("depth", self.depth, 1), ("rounds", self.rounds, 0)):
            if value < least:
                raise ArgumentError(f"{name} must be at least {least}, not {value}")
        if self.seed < 0:
            raise ArgumentError(f"seed must be at least 0, not {self.seed}")
