"""The evaluation itself: encode, build, search, measure, compare."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from nestling.errors import VectorError
from nestling.evaluation.datasets import Dataset
from nestling.evaluation.metrics import DEFAULT_METRICS, measure, parse_metric
from nestling.evaluation.runs import Run
from nestling.evaluation.significance import compare
from nestling.evaluation.systems import (
    DEFAULT_BITS,
    EXACT_BITS,
    System,
    build_systems,
    default_dims,
    plan_systems,
    time_systems,
)
from nestling.evaluation.table import Row, Speed, Table
from nestling.index.funnel import Funnel

__all__ = ["Embeddings", "TextEncoder", "evaluate", "evaluate_runs"]

CONFIDENCE: Final = 0.95
_BATCH: Final = 1000  # queries of a timed batch

Floats = NDArray[np.float32]


class TextEncoder(Protocol):
    """What evaluations need of an encoder; `nestling.Encoder` has it."""

    @property
    def name(self) -> str:
        """What tables call it."""

    @property
    def dim(self) -> int:
        """Dimensions of an embedding."""

    @property
    def nesting(self) -> Sequence[int]:
        """Prefix lengths that it was trained for."""

    def encode(self, texts: Sequence[str]) -> Floats:
        """Encodes documents: (n, dim)."""

    def encode_queries(self, texts: Sequence[str]) -> Floats:
        """Encodes questions: (m, dim)."""


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """A dataset's texts as vectors of one's own.

    Attributes:
        documents: (n, dim) float32, in the order of the dataset's documents.
        queries: (m, dim) float32, in the order of its questions.
        name: What tables call them.
        nesting: Prefix lengths that they were trained for; empty when unknown.
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

    run: str
    kind: str
    values: dict[str, NDArray[np.float64]]
    system: System | None = None


def evaluate(
    model: TextEncoder | Embeddings,
    dataset: Dataset,
    *,
    dims: Iterable[int] | None = None,
    bits: Iterable[int] = DEFAULT_BITS,
    funnels: Iterable[str | Funnel] | None = None,
    metrics: Sequence[str] = DEFAULT_METRICS,
    depth: int = 100,
    rounds: int = 5,
    threads: int | None = None,
    seed: int = 0,
    runs: Sequence[Run] = (),
    on_run: Callable[[Run], object] | None = None,
) -> Table:
    """Measures a model's prefixes, their codes, and funnels on a dataset.

    Args:
        model: An encoder, or what one made of the dataset.
        dataset: What is asked.
        dims: Prefix lengths. Default: those that the model was trained for, else halves.
        bits: Precisions of every prefix: 32 is exact, 1, 2, 4 and 8 are codes.
        funnels: Whole funnels. Default: the one that an index of this dimension has.
        metrics: Measures (`nestling.evaluation.metrics`); systems are compared by the first.
        depth: Documents that a system is asked for. Every stage of a funnel keeps at least as many.
        rounds: Rounds of timing; 0 leaves the speeds out.
        threads: Threads of the searches. Default: those of `nestling.Index`.
        seed: Of the random draws of the comparisons.
        runs: Rankings of other systems to compare.
        on_run: Called with the ranking of each system measured.

    Returns:
        A row a system; the first is the exact search of all dimensions.

    Raises:
        FunnelError: A system is malformed or reads more dimensions than there are.
        VectorError: The embeddings are not those of the dataset.
        ValueError: There is no such measure, or it looks further than `depth`.

    Example:
        >>> table = evaluate(Encoder("minilm"), read_dataset("cranfield"))  # doctest: +SKIP
        >>> table.rows[0].metrics["ndcg@10"]  # doctest: +SKIP
        0.513
    """
    lengths = default_dims(model.dim, model.nesting) if dims is None else dims
    # What is wrong with the systems is told before the texts are encoded.
    plan = plan_systems(model.dim, dims=lengths, bits=bits, funnels=funnels)
    _check(metrics, depth)
    vectors = model if isinstance(model, Embeddings) else _encode(model, dataset)
    documents, queries = vectors.documents, vectors.queries
    wanted = [(len(texts), model.dim) for texts in (dataset.documents, dataset.queries)]
    if [documents.shape, queries.shape] != wanted:
        raise VectorError(
            f"{dataset.name} needs documents of shape {wanted[0]} and questions of {wanted[1]}, "
            f"not {documents.shape} and {queries.shape}"
        )
    measured, systems = [], []
    for system in build_systems(plan, documents, threads=threads):
        hits = system.search(queries, depth)
        run = Run.of(str(system.funnel), hits.ids, hits.scores, dataset)
        if on_run is not None:
            on_run(run)
        values = measure(run.ranking, dataset.judgements, metrics)
        measured.append(_Measured(run.name, _kind(system.funnel), values, system))
        systems.append(system)
    batch = queries[:_BATCH]
    times = time_systems(systems, batch, depth, rounds=rounds) if rounds else []
    speeds = [_speed(rounds_of_one, len(batch)) for rounds_of_one in times]
    return _table(
        measured + _measure_runs(runs, dataset, metrics),
        speeds,
        dataset,
        model=model.name,
        depth=depth,
        threads=systems[0].index.threads,
        rounds=rounds,
        batch=len(batch),
        seed=seed,
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
        dataset: What was asked.
        metrics: Measures.
        seed: Of the random draws.

    Raises:
        ValueError: There is no run, or no such measure.
    """
    if not runs:
        raise ValueError("there is no run to measure")
    _check(metrics, math.inf)  # a ranking may well end before k
    measured = _measure_runs(runs, dataset, metrics)
    depth = max(run.ranking.shape[1] for run in runs)
    return _table(
        measured, [], dataset, model=None, depth=depth, threads=None, rounds=0, batch=0, seed=seed
    )


def _check(metrics: Sequence[str], depth: float) -> None:
    if not metrics:
        raise ValueError("there is no measure")
    for name in metrics:
        _, k = parse_metric(name)
        if k > depth:
            raise ValueError(f"{name} needs a depth of at least {k}, not {depth}")


def _encode(encoder: TextEncoder, dataset: Dataset) -> Embeddings:
    documents = encoder.encode(dataset.documents)
    return Embeddings(documents, encoder.encode_queries(dataset.queries), encoder.name)


def _kind(funnel: Funnel) -> str:
    if len(funnel.stages) > 1:
        return "funnel"
    return "exact" if funnel.stages[0].bits == EXACT_BITS else "codes"


def _measure_runs(runs: Iterable[Run], dataset: Dataset, metrics: Sequence[str]) -> list[_Measured]:
    return [
        _Measured(run.name, "run", measure(run.ranking, dataset.judgements, metrics))
        for run in runs
    ]


def _speed(rounds: Sequence[NDArray[np.float64]], queries: int) -> Speed:
    from nestling._util.timing import Spread

    rate = Spread.of(rounds).rate(queries)
    return Speed(rate.median, rate.low, rate.high)


def _table(
    measured: Sequence[_Measured],
    speeds: Sequence[Speed],
    dataset: Dataset,
    *,
    model: str | None,
    depth: int,
    threads: int | None,
    rounds: int,
    batch: int,
    seed: int,
) -> Table:
    main = next(iter(measured[0].values))
    first = measured[0].values[main]
    others = [one.values[main] for one in measured[1:]]
    comparisons = compare(others, first, confidence=CONFIDENCE, seed=seed) if others else []
    full = float(first.mean())
    rows = []
    for place, one in enumerate(measured):
        last = one.system.funnel.stages[-1] if one.system else None
        rows.append(
            Row(
                system=one.run,
                kind=one.kind,
                dims=last.dims if last else None,
                bits=one.system.funnel.stages[0].bits if one.system else None,
                bytes_per_row=one.system.bytes_per_row if one.system else None,
                speed=speeds[place] if place < len(speeds) else None,
                metrics={name: float(values.mean()) for name, values in one.values.items()},
                kept=float(one.values[main].mean()) / full if full else None,
                comparison=comparisons[place - 1] if place else None,
                values=one.values,
            )
        )
    return Table(
        dataset=dataset.name,
        model=model,
        documents=len(dataset.documents),
        queries=len(dataset.queries),
        left_out=len(dataset.left_out),
        depth=depth,
        threads=threads,
        rounds=rounds,
        batch=batch,
        confidence=CONFIDENCE,
        rows=tuple(rows),
    )
