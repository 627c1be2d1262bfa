"""nestling for ann-benchmarks and for VIBE, whose interface is the same.

Copy this folder to `ann_benchmarks/algorithms/nestling` or `vibe/algorithms/nestling` of a
checkout; there, `vibe.yml` takes the place of `config.yml`.
"""

import math
import os
from multiprocessing.pool import ThreadPool

import numpy as np

from nestling import Cells, Index
from nestling.bench.angles import Angles

from ..base.module import BaseANN


class Nestling(BaseANN):
    """A funnel of two stages over cells: short codes of prefixes first, then whole rows in float16.

    Args:
        metric: The data set's distance.
        share: The first stage's dimensions as a share of all.
        bits: Bits of a dimension in the first stage.
        cells: Cells, as a multiple of the square root of the rows.
    """

    def __init__(self, metric, share, bits, cells):
        self._metric = metric
        self._share = share
        self._bits = bits
        self._cells = cells
        self._probes = self._count = 0
        self._funnel = self._index = None
        self.name = f"nestling({share}, {bits}, {cells})"

    def fit(self, X):  # noqa: N803 - the name that the harnesses use
        rows = np.ascontiguousarray(X, np.float32)
        self._angles = Angles.of(rows, self._metric)
        rows = self._angles.rows(rows)
        dim = rows.shape[1]
        self._coarse = f"{max(1, round(self._share * dim))}@{self._bits}"
        self._last = f"{dim}@16"
        index = Index(dim, funnel=f"{self._coarse}:1000 > {self._last}", threads=1)
        index.add(rows)
        self._count = max(1, round(self._cells * math.sqrt(len(rows))))
        # One bit and two need codes of what differs from the mean.
        index.rebuild(centre=self._bits <= 2, cells=Cells(self._count))
        self._index = index

    def set_query_arguments(self, probes, keep):
        self._probes = min(probes, self._count)
        self._funnel = f"{self._coarse}:{keep} > {self._last}"
        self.name = f"nestling({self._coarse}, {self._cells}, probes={probes}, keep={keep})"

    def query(self, v, n):
        return self._search(v, n)

    def batch_query(self, X, n):  # noqa: N803
        # Searches leave the interpreter, so that threads run side by side.
        with ThreadPool() as pool:
            parts = np.array_split(X, min(len(X), os.cpu_count() or 1))
            self._found = np.concatenate(pool.map(lambda part: self._search(part, n), parts))

    def get_batch_results(self):
        return self._found

    def get_additional(self):
        return {"index_bytes": sum(self._index.memory.values())}

    def done(self):
        self._index = None

    def _search(self, queries, n):
        queries = self._angles.queries(np.asarray(queries, np.float32))
        return self._index.search(queries, n, funnel=self._funnel, probes=self._probes).ids
