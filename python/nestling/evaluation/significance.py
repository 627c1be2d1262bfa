"""Whether two systems differ by more than the choice of queries explains.

Both tests use the differences query by query, because the systems answered the same queries:

* the interval is that of the paired bootstrap: queries are drawn again, with replacement, and the
  middle 95 % of the mean differences are the interval (Efron and Tibshirani 1993, "An Introduction
  to the Bootstrap");
* p is that of the paired randomisation test: if the systems were equal, the two values of a query
  could be swapped; p is the share of random swaps whose mean difference is at least as large, in
  either direction (Smucker, Allan and Carterette 2007, "A comparison of statistical significance
  tests for information retrieval evaluation").

Each p is for one comparison: of twenty at 0.05, one is expected to be small by chance.

Home-made because one draw serves all systems in one matrix product: ten systems, 2,000 queries and
10,000 resamples take 1.8 s here and 83 s with `permutation_test` and `bootstrap` of scipy.stats.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestling._util.progress import ProgressBar
from nestling.errors import ArgumentError

__all__ = ["Comparison", "compare"]

_BLOCK: Final = 2**21  # random draws in memory at once: 16 MB per array; smaller blocks take longer


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a system differs from a reference over the same queries.

    Attributes:
        difference: Mean of its values minus the mean of the reference's.
        low: Lower end of the confidence interval of the difference.
        high: Upper end.
        p: The two-sided p of the randomisation test; never 0, because the observed case counts.

    Example:
        >>> (comparison,) = compare([[1.0, 1.0, 1.0, 0.5]], [0.5, 0.5, 0.5, 0.5])
        >>> comparison.low <= comparison.difference <= comparison.high
        True
    """

    difference: float
    low: float
    high: float
    p: float


def compare(
    values: ArrayLike,
    reference: ArrayLike,
    *,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Comparison]:
    """Compares systems with one reference, with the same random draws for all of them.

    Args:
        values: (s, m) values of s systems for m queries; (m,) for one system.
        reference: (m,) values of the system to compare with.
        resamples: Random draws of each test.
        confidence: Confidence of the interval.
        seed: Seed of the draws.

    Returns:
        s comparisons.

    Raises:
        ArgumentError: The shapes do not fit, or there is no query.

    Example:
        >>> compare([[1.0, 1.0, 1.0, 0.5]], [0.5, 0.5, 0.5, 0.5])[0].difference
        0.375
    """
    base = np.asarray(reference, np.float64)
    rows = np.atleast_2d(np.asarray(values, np.float64))
    if base.ndim != 1 or not base.size or rows.ndim != 2 or rows.shape[1:] != base.shape:
        raise ArgumentError(f"values {np.shape(values)} and reference {base.shape} do not fit")
    differences = rows - base
    count = len(base)
    rng = np.random.default_rng(seed)
    columns = np.ascontiguousarray(differences.T)
    observed = columns.sum(axis=0)
    # A swap of the same queries is as large as what was observed, up to rounding.
    least = np.abs(observed) - 1e-12 * np.abs(columns).sum(axis=0)
    as_large = np.zeros(len(differences), np.int64)
    means = np.empty((resamples, len(differences)))
    step = max(1, _BLOCK // count)
    with ProgressBar("Comparing", total=resamples) as bar:
        for start in range(0, resamples, step):
            draws = min(step, resamples - start)
            swapped = _coins(rng, draws, count) @ columns
            as_large += (np.abs(observed - 2 * swapped) >= least).sum(axis=0)
            means[start : start + draws] = _draws(rng, draws, count) @ columns / count
            bar.advance(draws)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return [
        Comparison(float(total) / count, float(a), float(b), (1 + int(n)) / (1 + resamples))
        for total, a, b, n in zip(observed, low, high, as_large, strict=True)
    ]


def _coins(rng: np.random.Generator, draws: int, count: int) -> NDArray[np.float64]:
    """Returns (draws, count) of 0 or 1."""
    bits = np.frombuffer(rng.bytes(draws * -(-count // 8)), np.uint8).reshape(draws, -1)
    return np.unpackbits(bits, axis=1, count=count).astype(np.float64)


def _draws(rng: np.random.Generator, draws: int, count: int) -> NDArray[np.float64]:
    """Returns how often each of `count` is drawn in `count` draws: (draws, count)."""
    drawn = rng.integers(0, count, (draws, count)) + np.arange(draws)[:, None] * count
    times = np.bincount(drawn.ravel(), minlength=draws * count)
    return times.reshape(draws, count).astype(np.float64)
