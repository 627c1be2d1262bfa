"""A plain NumPy oracle: what every search must return, computed in float64 in the simplest way.

Approximate codes are not simulated here. Instead `score_error` bounds, pair by pair, how far the
score of a coded stage may differ from the exact score of the same prefix.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestling import Hits
from nestling.index.funnel import Funnel, Stage

Metric = Literal["cosine", "ip"]
Floats = NDArray[np.float64]
Ids = NDArray[np.int64]

# Float32 sums of hundreds of products in 32 lanes are off by a few ulps of the sum of magnitudes.
FLOAT_NOISE = 1e-6
# float16: half an ulp of the 11-bit significand, and half the smallest subnormal.
FLOAT16_RELATIVE, FLOAT16_ABSOLUTE = 2.0**-11, 2.0**-25
# Row scales may be stored as bfloat16, with 8 bits of significand.
SCALE_RELATIVE = 2.0**-8


def normalised(vectors: Floats) -> Floats:
    """Scales every row to unit length; zero rows stay zero."""
    peaks = np.abs(vectors).max(axis=-1, keepdims=True, initial=0.0)
    vectors = vectors / np.where(peaks > 0, peaks, 1.0)  # so that no square overflows or underflows
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: Floats = vectors / np.where(norms > 0, norms, 1.0)
    return unit


def as_stored(vectors: ArrayLike, metric: Metric) -> Floats:
    """Returns rows or queries as an index sees them: float32 values, of unit length for cosine."""
    exact = np.asarray(vectors, dtype=np.float32).astype(np.float64)
    return normalised(exact).astype(np.float32).astype(np.float64) if metric == "cosine" else exact


def prefix_scores(queries: ArrayLike, rows: ArrayLike, dims: int, metric: Metric) -> Floats:
    """Scores every row for every query by the first `dims` dimensions: (m, n) float64."""
    q = as_stored(queries, metric)[:, :dims]
    x = as_stored(rows, metric)[:, :dims]
    if metric == "cosine":
        q, x = normalised(q), normalised(x)
    scores: Floats = q @ x.T
    return scores


def best(scores: Floats, ids: Ids, keep: int) -> NDArray[np.intp]:
    """Returns the positions of the `keep` best scores, best first; ties go to the lower id."""
    return np.lexsort((ids, -scores))[:keep]


def within_margin(scores: Floats, k: int, margin: float | None) -> NDArray[np.bool_]:
    """Whether a stage keeps each of these scores (best first), by its margin over the k-th best."""
    if margin is None or len(scores) <= k:
        return np.ones(len(scores), bool)
    near: NDArray[np.bool_] = 1 - scores <= margin * (1 - scores[k - 1])
    return near


def padded(ids: Ids, scores: Floats, k: int) -> tuple[Ids, Floats]:
    """Fills up to k with id -1 and score NaN."""
    missing = k - len(ids)
    return np.pad(ids, (0, missing), constant_values=-1), np.pad(
        scores, (0, missing), constant_values=np.nan
    )


def funnel_search(
    queries: ArrayLike, rows: ArrayLike, ids: Ids, funnel: Funnel, k: int, metric: Metric
) -> tuple[Ids, Floats]:
    """Runs every stage with exact arithmetic: (m, k) int64 ids and (m, k) float64 scores."""
    queries, rows = np.asarray(queries), np.asarray(rows)
    found = [_one_query(query[None, :], rows, ids, funnel, k, metric) for query in queries]
    if not found:
        return np.empty((0, k), np.int64), np.empty((0, k))
    return np.stack([i for i, _ in found]), np.stack([s for _, s in found])


def _one_query(
    query: NDArray[np.generic],
    rows: NDArray[np.generic],
    ids: Ids,
    funnel: Funnel,
    k: int,
    metric: Metric,
) -> tuple[Ids, Floats]:
    alive = np.arange(len(rows))
    for stage in funnel.stages:
        scores = prefix_scores(query, rows[alive], stage.dims, metric)[0]
        order = best(scores, ids[alive], max(stage.keep or k, k))  # k rows must come through
        order = order[within_margin(scores[order], k, stage.margin)]
        alive, scores = alive[order], scores[order]
    return padded(ids[alive], scores, k)


def exact_search(
    queries: ArrayLike, rows: ArrayLike, ids: Ids, k: int, metric: Metric
) -> tuple[Ids, Floats]:
    """Searches all rows by their full embeddings."""
    whole = Funnel((Stage(np.asarray(rows).shape[1], 32),))
    return funnel_search(queries, rows, ids, whole, k, metric)


def score_error(queries: ArrayLike, rows: ArrayLike, stage: Stage, metric: Metric) -> Floats:
    """Bounds |stored score - exact score| of every query and row at this stage: (m, n) float64.

    * 32 bits: the noise of float32 sums, relative to |x| |q|.
    * 16 bits: a value v is off by at most 2^-11 |v|, or 2^-25 where it is subnormal (times max|x|
      for inner products, which are stored with one scale per row). By Cauchy-Schwarz, the sum is
      off by 2^-11 |x| |q| + 2^-25 |q|₁. The bound is twice that, because the prefix norm of the
      stored values may be used instead of the exact one.
    * 1 to 8 bits: a row's value is off by at most a step of 2 max|x| / (2^bits - 1), so the
      sum is off by step * sqrt(dims) * |q|. The query has 8 bits in the coarse stage and is off in
      the same way. Rounding accounts for half of it; the other half allows for the choice of step.
    """
    q = as_stored(queries, metric)[:, : stage.dims]
    x = as_stored(rows, metric)[:, : stage.dims]
    q_norm = np.linalg.norm(q, axis=1)[:, None]
    x_norm = np.linalg.norm(x, axis=1)[None, :]
    error: Floats = FLOAT_NOISE * q_norm * x_norm
    if stage.bits == 16:
        error = error + 2 * FLOAT16_RELATIVE * q_norm * x_norm
        largest = 1.0 if metric == "cosine" else np.abs(x).max(axis=1)[None, :]
        error = error + 2 * FLOAT16_ABSOLUTE * largest * np.abs(q).sum(axis=1)[:, None]
    elif stage.bits < 16:
        q_step = np.abs(q).max(axis=1)[:, None] / 127
        x_step = np.abs(x).max(axis=1)[None, :] * 2 / (2**stage.bits - 1)
        root = np.sqrt(stage.dims)
        error = error + SCALE_RELATIVE * q_norm * x_norm
        error = error + root * (q_step * x_norm + x_step * q_norm + root * q_step * x_step)
    if metric == "cosine":
        error = error / np.where(q_norm * x_norm > 0, q_norm * x_norm, np.inf)
    return error


def same(one: Hits, other: Hits) -> None:
    """Asserts that two searches returned the same hits, bit for bit."""
    np.testing.assert_array_equal(one.ids, other.ids)
    np.testing.assert_array_equal(one.scores, other.scores)
