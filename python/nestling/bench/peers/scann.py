"""ScaNN: 4-bit product codes with a re-rank, scanned entirely or by the leaves of a tree.

As its documentation advises: two dimensions per block, an anisotropic threshold of 0.2, about the
square root of the rows as leaves. Spilling to a second leaf (SOAR) and spherical k-means find more
at equal speed on unit vectors.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestling.bench.peers.engine import Configuration, Engine, Setting, Shape, sweep

__all__ = ["configurations"]

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]

_REORDER = 100  # of the builder; every search passes its own
_SOAR = {"soar_lambda": 1.5, "overretrieve_factor": 1.8}


def configurations(shape: Shape) -> list[Configuration]:
    """Returns the whole scan and two trees."""
    leaves = max(2, round(shape.rows**0.5))
    shares = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.6)
    searched = sorted({max(1, round(share * leaves)) for share in shares})
    trees = sweep(leaves=searched, reorder=(20, 40, 100, 200, 400))
    return [
        Configuration(
            "AH + reorder",
            partial(_Scann, shape.threads, tree=None),
            sweep(reorder=(10, 20, 50, 100, 200, 400, 1000)),
        ),
        Configuration(
            f"tree {leaves}, AH + reorder",
            partial(_Scann, shape.threads, tree={"num_leaves": leaves, "spherical": True}),
            trees,
        ),
        Configuration(
            f"tree {leaves} SOAR, AH + reorder",
            partial(_Scann, shape.threads, tree={"num_leaves": leaves, "spherical": True, **_SOAR}),
            trees,
        ),
    ]


class _Scann(Engine):
    def __init__(self, threads: int, *, tree: dict[str, Any] | None) -> None:
        import scann

        self._builder = scann.scann_ops_pybind.builder
        self._threads = threads
        self._tree = tree
        self._reorder = self._leaves = 0

    def build(self, rows: Floats) -> None:
        builder = self._builder(np.array(rows), 10, "dot_product")
        builder.set_n_training_threads(self._threads)
        if self._tree is not None:
            builder.tree(num_leaves_to_search=1, **self._tree)
        builder.score_ah(2, anisotropic_quantization_threshold=0.2).reorder(_REORDER)
        self._searcher = builder.build()
        self._searcher.set_num_threads(self._threads)

    def use(self, setting: Setting) -> None:
        self._reorder = setting["reorder"]
        self._leaves = setting.get("leaves", -1)

    def search(self, queries: Floats, k: int) -> Ids:
        search = self._searcher.search_batched
        if self._threads > 1:
            search = self._searcher.search_batched_parallel
        ids: Ids = search(queries, k, self._reorder, self._leaves)[0]
        return ids

    def search_one(self, query: Floats, k: int) -> Ids:
        ids: Ids = self._searcher.search(query, k, self._reorder, self._leaves)[0]
        return ids

    def size(self) -> int:
        with tempfile.TemporaryDirectory() as folder:
            self._searcher.serialize(folder)
            return sum(path.stat().st_size for path in Path(folder).iterdir())
