"""How a query encoder fares on pieces of texts that it was not trained on.

A piece should find the text that it was cut from. Where the query encoder's margin is small, a
search with `refine="auto"` embeds the query again, with the teacher; the margin below which it does
so is the least one that keeps nearly all of the teacher's quality, or the one that refines half of
the pieces: they are harder than most questions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nestling.collection.query.refine import margins
from nestling.index.exact import Top, chunks, exact_top

__all__ = ["HeldOut", "measure", "refine_below"]

K: Final = 10
KEPT: Final = 0.995
"""Share of the teacher's quality that a search with `refine="auto"` should keep."""

MOST: Final = 0.5
"""Share of the pieces that is refined at most."""

_TOGETHER: Final = 1024  # pieces whose similarities to a chunk of texts are held at once

Floats = NDArray[np.float32]
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Quality on held-out pieces.

    Attributes:
        teacher: nDCG@10 of the teacher.
        fast: nDCG@10 of the query encoder.
        refine_below: The margin below which the teacher is needed.
        refined: Share of the pieces that are below it.
    """

    teacher: float
    fast: float
    refine_below: float
    refined: float


def measure(fast: Floats, exact: Floats, texts: Floats, sources: NDArray[np.int64]) -> HeldOut:
    """Searches texts for the one that each piece was cut from.

    Args:
        fast: (m, dim) the query encoder's embeddings of the pieces.
        exact: (m, dim) the teacher's.
        texts: (n, dim) embeddings of the texts.
        sources: (m,) the text that each piece was cut from.
    """
    found = _search(texts, fast)
    values = _gains(found.rows, sources)
    best = _gains(_search(texts, exact).rows, sources)
    sizes = margins(found.scores)
    limit = refine_below(sizes, values, best)
    return HeldOut(float(best.mean()), float(values.mean()), limit, float((sizes < limit).mean()))


def refine_below(
    sizes: Values, fast: Values, exact: Values, *, kept: float = KEPT, most: float = MOST
) -> float:
    """Returns the least margin such that the teacher, below it, keeps a share of its quality.

    Args:
        sizes: (m,) margin of each query.
        fast: (m,) its value with the query encoder.
        exact: (m,) its value with the teacher.
        kept: The share of the mean of `exact` to reach.
        most: The share of the queries that may be below it, even if less is kept then.

    Example:
        >>> values = np.array([0.0, 1.0, 1.0]), np.array([1.0, 1.0, 1.0])
        >>> round(refine_below(np.array([0.1, 0.2, 0.3]), *values), 6)
        0.1
    """
    order = np.argsort(sizes, kind="stable")
    rising = sizes[order]
    # Queries of equal margins are refined together.
    last = np.append(rising[1:] > rising[:-1], True)
    kept_below = fast.sum() + np.cumsum((exact - fast)[order])[last]
    limits = np.concatenate([[0.0], np.nextafter(rising[last], np.inf)])
    enough = np.concatenate([[fast.sum()], kept_below]) >= kept * exact.sum()
    counts = np.concatenate([[0], np.flatnonzero(last) + 1])
    enough[np.flatnonzero(counts <= most * len(sizes))[-1] :] = True
    return float(limits[int(np.argmax(enough))])


def _search(texts: Floats, queries: Floats) -> Top:
    k = min(K, len(texts))
    parts = [
        exact_top(chunks(texts), queries[start : start + _TOGETHER], k)
        for start in range(0, len(queries), _TOGETHER)
    ]
    return Top(
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.scores for part in parts]),
    )


def _gains(rows: NDArray[np.int64], sources: NDArray[np.int64]) -> Values:
    """Returns the nDCG@10 of each ranking with a single right answer."""
    right = rows[:, :K] == sources[:, np.newaxis]
    discounts = 1 / np.log2(np.arange(2, right.shape[1] + 2))
    gains: Values = right @ discounts
    return gains
