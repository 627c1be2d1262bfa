"""Hypothesis strategies: realistic embeddings, degenerate rows included, and valid funnels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from nestling.index.funnel import COARSE_BITS, RERANK_BITS, Funnel, Stage
from oracle import Ids, Metric

Floats32 = NDArray[np.float32]

DIMS = st.one_of(
    st.integers(1, 300), st.sampled_from([1, 7, 8, 16, 31, 32, 33, 64, 100, 128, 255, 256])
)
ROWS = st.one_of(st.integers(0, 400), st.sampled_from([0, 1, 15, 16, 17, 31, 32, 33, 64]))
METRICS: st.SearchStrategy[Metric] = st.sampled_from(["cosine", "ip"])
SEEDS = st.integers(0, 2**32 - 1)


def embeddings(rng: np.random.Generator, n: int, dim: int, decay: float = 1.0) -> Floats32:
    """Makes rows whose variance decreases with the dimension, as after Matryoshka training."""
    spectrum = 1.0 / np.arange(1, dim + 1) ** (decay / 2)
    return np.asarray(rng.standard_normal((n, dim)) * spectrum, dtype=np.float32)


@dataclass(frozen=True)
class Problem:
    """Everything that a search needs; `ids` is None where the index numbers the rows."""

    rows: Floats32
    queries: Floats32
    ids: Ids | None
    funnel: Funnel
    metric: Metric
    k: int

    @property
    def dim(self) -> int:
        return int(self.rows.shape[1])

    @property
    def known_ids(self) -> Ids:
        return np.arange(len(self.rows), dtype=np.int64) if self.ids is None else self.ids


@st.composite
def funnels(
    draw: st.DrawFn,
    dim: int,
    keeps: st.SearchStrategy[int] | None = None,
    bits: tuple[int, ...] = COARSE_BITS,
    max_stages: int = 4,
) -> Funnel:
    """Draws a funnel of 1 to `max_stages` stages that ends at `dim`."""
    count = draw(st.integers(1, max_stages))
    prefixes = draw(st.lists(st.integers(1, dim), min_size=count - 1, max_size=count - 1))
    width = st.sampled_from([b for b in bits if b in RERANK_BITS])
    widths = draw(st.lists(width, min_size=count, max_size=count))
    stages = sorted(set(zip([*sorted(prefixes), dim], sorted(widths), strict=True)))
    coarse_only = [b for b in bits if b not in RERANK_BITS]
    if draw(st.booleans()) and coarse_only:
        stages[0] = (stages[0][0], draw(st.sampled_from(coarse_only)))
    cut = st.integers(1, 64) if keeps is None else keeps
    cuts = draw(st.lists(cut, min_size=len(stages) - 1, max_size=len(stages) - 1))
    keep = [*sorted(cuts, reverse=True), None]
    return Funnel(tuple(Stage(*stage, k) for stage, k in zip(stages, keep, strict=True)))


@st.composite
def unique_ids(draw: st.DrawFn, n: int) -> Ids | None:
    """Draws None, or n different ids from the whole range of non-negative int64, in any order."""
    if not draw(st.booleans()):
        return None
    rng = np.random.default_rng(draw(SEEDS))
    high = draw(st.sampled_from([2 * n + 1, 2**40, 2**63 - 1]))
    ids = np.unique(rng.integers(0, high, size=4 * n + 8, dtype=np.int64, endpoint=True))
    return rng.permutation(ids)[:n] if len(ids) >= n else rng.permutation(n).astype(np.int64)


@st.composite
def rows_of(draw: st.DrawFn, n: int, dim: int) -> Floats32:
    """Draws rows with duplicates, zero rows, zero prefixes, and norms that span decades."""
    rng = np.random.default_rng(draw(SEEDS))
    rows = embeddings(rng, n, dim, draw(st.sampled_from([0.0, 1.0, 2.0])))
    if n == 0:
        return rows
    if draw(st.booleans()):  # duplicates
        rows = rows[rng.integers(0, max(1, n // draw(st.sampled_from([2, 10, 1000]))), size=n)]
    if draw(st.booleans()):  # zero rows and zero prefixes
        rows[rng.random(n) < 0.1] = 0
        rows[rng.random(n) < 0.1, : int(rng.integers(1, dim + 1))] = 0
    if draw(st.booleans()):  # norms; the products of two rows stay far within float32
        rows *= (10.0 ** rng.uniform(-12, 12, size=(n, 1))).astype(np.float32)
    return rows


@st.composite
def problems(
    draw: st.DrawFn,
    make_funnel: Callable[[int], st.SearchStrategy[Funnel]] = funnels,
    metric: st.SearchStrategy[Metric] = METRICS,
) -> Problem:
    """Draws a whole search: up to 400 rows and 5 queries, k up to more than the number of rows."""
    chosen = draw(metric)
    dim, n = draw(DIMS), draw(ROWS)
    funnel = draw(make_funnel(dim))
    rows = draw(rows_of(n, dim))
    queries = draw(rows_of(draw(st.integers(1, 5)), dim))
    k = draw(st.one_of(st.integers(1, 20), st.sampled_from([n + 1, 2 * n + 3])))
    return Problem(rows, queries, draw(unique_ids(n)), funnel, chosen, k)


@st.composite
def integer_problems(draw: st.DrawFn, metric: Metric = "ip") -> Problem:
    """Draws small whole numbers, whose inner products are exact in float32.

    There are many ties at every cut, and the result must equal the oracle's bit for bit.
    """
    dim, n = draw(DIMS), draw(ROWS)
    rng = np.random.default_rng(draw(SEEDS))
    high = draw(st.sampled_from([1, 3, 50]))
    rows = rng.integers(-high, high, size=(n, dim), endpoint=True).astype(np.float32)
    queries = rng.integers(-high, high, size=(3, dim), endpoint=True).astype(np.float32)
    funnel = draw(funnels(dim, bits=(32,)))
    return Problem(rows, queries, draw(unique_ids(n)), funnel, metric, draw(st.integers(1, 20)))


POWERS_OF_4 = (1, 4, 16, 64, 256)


@st.composite
def sign_problems(draw: st.DrawFn) -> Problem:
    """Draws rows of ones and minus ones, whose cosines at these prefixes are exact in float32.

    So margins of a few bits match the oracle bit for bit, and there are many ties. Some rows are
    zero.
    """
    dim, n = draw(st.sampled_from(POWERS_OF_4)), draw(ROWS)
    rng = np.random.default_rng(draw(SEEDS))
    rows = rng.choice(np.array([-1, 1], np.float32), size=(n, dim))
    rows[rng.random(n) < draw(st.sampled_from([0, 0.2]))] = 0
    queries = rng.choice(np.array([-1, 1], np.float32), size=(3, dim))
    prefixes = [d for d in POWERS_OF_4 if d < dim and draw(st.booleans())]
    bits = sorted(draw(st.sampled_from([16, 32])) for _ in range(len(prefixes) + 1))
    keeps = sorted((draw(st.integers(1, 400)) for _ in prefixes), reverse=True)
    margins = st.sampled_from([None, 1.0, 1.125, 1.5, 2.0, 4.0, 1000.0])
    stages = [Stage(d, b, c, draw(margins)) for d, b, c in zip(prefixes, bits, keeps, strict=False)]
    funnel = Funnel((*stages, Stage(dim, bits[-1])))
    return Problem(rows, queries, draw(unique_ids(n)), funnel, "cosine", draw(st.integers(1, 20)))


@dataclass(frozen=True)
class Where:
    """A filter as a search accepts it, and the rows that pass it: (n,) bool."""

    value: object
    rows: NDArray[np.bool_]


@st.composite
def filters(draw: st.DrawFn, ids: Ids) -> Where:
    """Draws a mask or a list of ids for rows with these ids, from none of them to all.

    Masks are shorter or longer than the ids; lists are out of order, and name some ids twice, and
    some of no row.
    """
    n = len(ids)
    rng = np.random.default_rng(draw(SEEDS))
    chosen = rng.random(n) < draw(st.sampled_from([0.0, 0.01, 0.1, 0.5, 0.9, 1.0]))
    highest = int(ids.max(initial=-1))
    if highest < 10_000 and draw(st.booleans()):
        length = draw(st.sampled_from([highest + 1, highest + 40, highest // 2 + 1, 0]))
        mask = rng.random(length) < 0.5
        within = ids < length
        mask[ids[within]] = chosen[within]
        return Where(mask, chosen & within)
    strangers = np.setdiff1d([-5, -1, 3, highest // 2, 2**62, 2**63 - 1], ids)
    listed = np.concatenate([ids[chosen], ids[chosen][:3], strangers])
    return Where(rng.permutation(listed), chosen)


# A float32 matrix in the other forms in which callers pass it.
GUISES: dict[str, Callable[[Floats32], object]] = {
    "float64": lambda x: x.astype(np.float64),
    "lists": lambda x: x.tolist(),
    "Fortran order": np.asfortranarray,
    "every second row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "every second column": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "reversed": lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
    "read-only": lambda x: np.frombuffer(x.tobytes(), np.float32).reshape(x.shape),
    "big-endian": lambda x: x.astype(">f4"),
    "unaligned": lambda x: (
        np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape)
    ),
}
