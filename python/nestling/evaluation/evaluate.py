"""The evaluation itself: encode, build, search, measure, compare."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nestling._util.timing import Spread
from nestling._util.value import Value
from nestling.errors import ArgumentError, VectorError
from nestling.evaluation.datasets import Dataset
from nestling.evaluation.metrics import DEFAULT_METRICS, measure, parse_metric
from nestling.evaluation.runs import Run
from nestling.evaluation.settings import EvaluationSettings
from nestling.evaluation.significance import compare
from nestling.evaluation.systems import (
    EXACT_BITS,
    System,
    build_systems,
    default_dims,
    plan_systems,
    time_systems,
)
from nestling.evaluation.table import Row, Table
from nestling.index.funnel import Funnel
from nestling.runtime.text_encoder import TextEncoder, encoder_name

__all__ = ["Embeddings", "evaluate", "evaluate_runs"]

CONFIDENCE: Final = 0.95
_BATCH: Final = 1000  # queries of a timed batch

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Embeddings(Value):
    """The texts of a dataset as embeddings that were made elsewhere.

    Attributes:
        documents: (n, dim) float32, in the order of the dataset's documents.
        queries: (m, dim) float32, in the order of the dataset's queries.
        name: Their name in tables.
        nesting: Prefix lengths that they were trained for; empty when unknown.

    Example:
        >>> Embeddings(np.eye(3, 8, dtype=np.float32), np.ones((1, 8), np.float32)).dim
        8
    """

    documents: Floats
    queries: Floats
    name: str = "vectors"
    nesting: Sequence[int] = ()

    @property
    def dim(self) -> int:
        """Dimensions of an embedding."""
        return int(np.shape(self.documents)[-1])


@dataclass(frozen=True, slots=True)
class _Measured:
    """What is known of a system before it is compared."""

    name: str
    kind: str
    values: dict[str, NDArray[np.float64]]
    system: System | None = None
    speed: Spread | None = None


def evaluate(
    model: TextEncoder | Embeddings,
    dataset: Dataset,
    settings: EvaluationSettings | None = None,
    *,
    query_encoders: Sequence[TextEncoder] = (),
    runs: Sequence[Run] = (),
    on_run: Callable[[Run], object] | None = None,
) -> Table:
    """Measures a model's prefixes, their codes, and funnels on a dataset.

    Args:
        model: An encoder, or the embeddings of the dataset.
        dataset: Documents, queries and judgements.
        settings: What to measure, and how. Default: `EvaluationSettings()`.
        query_encoders: Encoders of queries that imitate the model. Each gets further rows: the
            exact prefixes and the funnels, searched with its embeddings of the queries.
        runs: Rankings of other systems to compare.
        on_run: Called with the ranking of each system measured.

    Returns:
        One row per system; the first is the exact search of all dimensions.

    Raises:
        FunnelError: A system is malformed or reads more dimensions than there are. It is raised
            before the texts are encoded.
        VectorError: The embeddings do not fit the dataset.

    Example:
        >>> dataset = Dataset.of(
        ...     "tiny", {"d1": "one", "d2": "two"}, {"q": "2?"}, [("q", "d2", 1)]
        ... )
        >>> rows = np.eye(2, 8, dtype=np.float32)
        >>> settings = EvaluationSettings(dims=[8], bits=[4], metrics=["mrr@2"], rounds=0)
        >>> table = evaluate(Embeddings(rows, rows[1:]), dataset, settings)
        >>> [(row.system, row.metrics["mrr@2"]) for row in table.rows]
        [('8@32', 1.0), ('8@4', 1.0), ('8@8:1000 > 8@16', 1.0)]
    """
    chosen = EvaluationSettings() if settings is None else settings
    nesting = getattr(model, "nesting", ())
    plan = plan_systems(
        model.dim,
        dims=default_dims(model.dim, nesting) if chosen.dims is None else chosen.dims,
        bits=chosen.bits,
        funnels=chosen.funnels,
        nesting=nesting,
    )
    vectors = model if isinstance(model, Embeddings) else _encode(model, dataset)
    documents, queries = vectors.documents, vectors.queries
    expected = [(len(texts), model.dim) for texts in (dataset.documents, dataset.queries)]
    if [documents.shape, queries.shape] != expected:
        raise VectorError(
            f"{dataset.name} needs documents of shape {expected[0]} and queries of {expected[1]}, "
            f"not {documents.shape} and {queries.shape}"
        )
    imitations = [
        (encoder_name(one), one.encode_queries(dataset.queries)) for one in query_encoders
    ]
    for name, rows in imitations:
        if rows.shape != queries.shape:
            raise VectorError(
                f"{name} gives queries of shape {rows.shape}, but the model's are {queries.shape}"
            )
    systems: list[System] = []
    found: list[tuple[str, dict[str, NDArray[np.float64]]]] = []
    others: list[tuple[str, dict[str, NDArray[np.float64]], int]] = []
    # One more where a document is not a result: as many are left.
    k = chosen.depth + bool((dataset.excluded >= 0).any())
    for system in build_systems(plan, documents, threads=chosen.threads):
        named = [(str(system.funnel), queries)]
        if _kind(system.funnel) != "codes":
            named += [(f"{system.funnel}, {name}", rows) for name, rows in imitations]
        for position, (name, rows) in enumerate(named):
            hits = system.search(rows, k)
            run = Run.of(name, hits.ids, hits.scores, dataset, depth=chosen.depth)
            if on_run is not None:
                on_run(run)
            values = measure(run.ranking, dataset.judgements, chosen.metrics)
            if position:
                others.append((name, values, len(systems)))
            else:
                found.append((name, values))
        systems.append(system)
    batch = queries[:_BATCH]
    speeds: list[Spread | None] = [None] * len(systems)
    if chosen.rounds:
        times = time_systems(systems, batch, k, rounds=chosen.rounds)
        speeds = [Spread.of(rounds).rate(len(batch)) for rounds in times]
    measured = [
        _Measured(name, _kind(system.funnel), values, system, speed)
        for (name, values), system, speed in zip(found, systems, speeds, strict=True)
    ]
    measured += [
        _Measured(name, _kind(systems[i].funnel), values, systems[i], speeds[i])
        for name, values, i in others
    ]
    measured += _measure_runs(runs, dataset, chosen.metrics)
    return Table(
        dataset=dataset.name,
        model=vectors.name,
        documents=len(dataset.documents),
        queries=len(dataset.queries),
        left_out=len(dataset.left_out),
        depth=chosen.depth,
        threads=systems[0].index.threads,
        rounds=chosen.rounds,
        batch=len(batch),
        confidence=CONFIDENCE,
        rows=_compared(measured, seed=chosen.seed),
    )


def evaluate_runs(
    runs: Sequence[Run],
    dataset: Dataset,
    *,
    metrics: Sequence[str] = DEFAULT_METRICS,
    seed: int = 0,
) -> Table:
    """Measures rankings, and compares them with the first of them.

    Args:
        runs: At least one.
        dataset: What they were retrieved for.
        metrics: Names of metrics; the rankings are compared by the first. A ranking may well be
            shorter than a metric looks.
        seed: Seed of the random draws of the comparisons.

    Raises:
        ArgumentError: There is no run, no metric, or an unknown one.

    Example:
        >>> dataset = Dataset.of("d", {"a": "x", "b": "y"}, {"q": "?"}, [("q", "b", 1)])
        >>> run = Run.of("other", [[0, 1]], [[0.9, 0.5]], dataset)
        >>> evaluate_runs([run], dataset, metrics=["mrr@10"]).rows[0].metrics
        {'mrr@10': 0.5}
    """
    if not runs:
        raise ArgumentError("there is no run to measure: give at least one")
    if not metrics:
        raise ArgumentError("metrics is empty: give at least one, such as 'ndcg@10'")
    for name in metrics:
        parse_metric(name)
    return Table(
        dataset=dataset.name,
        model=None,
        documents=len(dataset.documents),
        queries=len(dataset.queries),
        left_out=len(dataset.left_out),
        depth=max(run.ranking.shape[1] for run in runs),
        threads=None,
        rounds=0,
        batch=0,
        confidence=CONFIDENCE,
        rows=_compared(_measure_runs(runs, dataset, metrics), seed=seed),
    )


def _encode(encoder: TextEncoder, dataset: Dataset) -> Embeddings:
    documents = encoder.encode(dataset.documents)
    return Embeddings(documents, encoder.encode_queries(dataset.queries), encoder_name(encoder))


def _kind(funnel: Funnel) -> str:
    if len(funnel.stages) > 1:
        return "funnel"
    return "exact" if funnel.stages[0].bits == EXACT_BITS else "codes"


def _measure_runs(runs: Iterable[Run], dataset: Dataset, metrics: Sequence[str]) -> list[_Measured]:
    return [
        _Measured(run.name, "run", measure(run.ranking, dataset.judgements, metrics))
        for run in runs
    ]


def _compared(measured: Sequence[_Measured], *, seed: int) -> tuple[Row, ...]:
    """Returns a row for each system, compared with the first of them."""
    main = next(iter(measured[0].values))
    first = measured[0].values[main]
    others = [one.values[main] for one in measured[1:]]
    comparisons = compare(others, first, confidence=CONFIDENCE, seed=seed) if others else []
    full = float(first.mean())
    rows = []
    for one, comparison in zip(measured, [None, *comparisons], strict=True):
        stages = one.system.funnel.stages if one.system else None
        rows.append(
            Row(
                system=one.name,
                kind=one.kind,
                dims=stages[-1].dims if stages else None,
                bits=stages[0].bits if stages else None,
                bytes_per_row=one.system.bytes_per_row if one.system else None,
                speed=one.speed,
                metrics={name: float(values.mean()) for name, values in one.values.items()},
                kept=float(one.values[main].mean()) / full if full else None,
                comparison=comparison,
                values=one.values,
            )
        )
    return tuple(rows)
