"""Metrics of rankings, one value per query, equal to those of trec_eval.

| name | what it is |
|---|---|
| `ndcg@k` | gains of the first k, each divided by log2(rank + 1), over the highest possible sum |
| `mrr@k` | 1 / the rank of the first relevant document among the first k, otherwise 0 |
| `map@k` | sum of the precisions at the relevant ones among the first k, over all relevant |
| `recall@k` | relevant ones among the first k, over all relevant |
| `precision@k` | relevant ones among the first k, over k |
| `success@k` | 1 if a relevant one is among the first k, otherwise 0 |

Conventions, which are those of trec_eval and so of MTEB and BEIR:

* The gain of a document is its grade, not 2^grade - 1; log2 discounts from rank 2 on (Järvelin and
  Kekäläinen 2002, "Cumulated gain-based evaluation of IR techniques").
* Unjudged documents, and grades of 0 and below, have no gain.
* A query without a relevant document has 0 in every metric, and counts if it is judged.
* A query that a system did not answer has 0, and counts.
* Rankings are ordered by falling score, equal scores by document id, the higher first, as
  `nestling.evaluation.runs` orders them: a ranking has the same value here and in trec_eval.

Home-made because it is faster and takes arrays: five metrics of 5,000 queries with 100 documents
each take 0.13 s here and 0.39 s in pytrec-eval-terrier, after its dictionaries of strings were
built.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nestling.errors import ArgumentError
from nestling.evaluation.judgements import Judgements

__all__ = ["DEFAULT_METRICS", "measure", "parse_metric"]

DEFAULT_METRICS: Final = ("ndcg@10", "mrr@10", "map@100", "recall@10", "recall@100")

Grades = NDArray[np.int64]
Values = NDArray[np.float64]
_NAME = re.compile(r"([a-z]+)@([1-9]\d{0,5})")


def parse_metric(name: str) -> tuple[str, int]:
    """Splits the name of a metric into its kind and its k.

    Raises:
        ArgumentError: There is no such metric.

    Example:
        >>> parse_metric("ndcg@10")
        ('ndcg', 10)
    """
    match = _NAME.fullmatch(name.strip().lower())
    if match is None or match[1] not in _MEASURES:
        names = ", ".join(f"{measure}@k" for measure in _MEASURES)
        raise ArgumentError(
            f"unknown metric {name!r}; choose from {names}, for instance with k = 10"
        )
    return match[1], int(match[2])


def measure(
    ranking: NDArray[np.int64], judgements: Judgements, metrics: Iterable[str] = DEFAULT_METRICS
) -> dict[str, Values]:
    """Measures a ranking, query by query.

    Args:
        ranking: (m, depth) int64 positions of documents, best first; -1 for no document. Those
            beyond `depth` count as not found.
        judgements: Judgements of the same m queries.
        metrics: Names from the module's table.

    Returns:
        (m,) float64 for each name.

    Raises:
        ArgumentError: There is no such metric, or the two differ in queries.

    Example:
        >>> judgements = Judgements([0, 0], [3, 5], [1, 1], count=1)
        >>> measure(np.array([[9, 3, 5]]), judgements, ["mrr@10", "recall@2"])
        {'mrr@10': array([0.5]), 'recall@2': array([0.5])}
    """
    if ranking.ndim != 2 or len(ranking) != judgements.count:
        raise ArgumentError(f"a ranking of shape {ranking.shape} for {judgements.count} queries")
    grades = judgements.grades_of(ranking)
    found = {}
    for name in metrics:
        kind, k = parse_metric(name)
        found[name] = _MEASURES[kind](grades[:, :k], judgements, k)
    return found


def _ndcg(grades: Grades, judgements: Judgements, k: int) -> Values:
    # A ranking shorter than k lacks gains, but the highest possible sum is that of k.
    return _over(_dcg(grades), _dcg(judgements.ideal(k)))


def _dcg(grades: Grades) -> Values:
    gains: Values = grades @ (1 / np.log2(np.arange(2, grades.shape[1] + 2)))
    return gains


def _mrr(grades: Grades, judgements: Judgements, k: int) -> Values:
    hits = grades > 0
    first = hits.argmax(axis=1) if hits.shape[1] else np.zeros(len(hits), np.int64)
    values: Values = hits.any(axis=1) / (first + 1)
    return values


def _map(grades: Grades, judgements: Judgements, k: int) -> Values:
    hits = grades > 0
    precisions: Values = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    return _over((precisions * hits).sum(axis=1), judgements.relevant)


def _recall(grades: Grades, judgements: Judgements, k: int) -> Values:
    return _over((grades > 0).sum(axis=1), judgements.relevant)


def _precision(grades: Grades, judgements: Judgements, k: int) -> Values:
    return np.asarray((grades > 0).sum(axis=1) / k, np.float64)


def _success(grades: Grades, judgements: Judgements, k: int) -> Values:
    return np.asarray((grades > 0).any(axis=1), np.float64)


def _over(values: Grades | Values, most: Grades | Values) -> Values:
    shares: Values = values / np.where(most > 0, most, 1)
    return shares


_MEASURES: Final[dict[str, Callable[[Grades, Judgements, int], Values]]] = {
    "ndcg": _ndcg,
    "mrr": _mrr,
    "map": _map,
    "recall": _recall,
    "precision": _precision,
    "success": _success,
}
