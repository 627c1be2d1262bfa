"""hnswlib: HNSW over float32."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from nestling.bench.peers.engine import Configuration, Engine, Setting, Shape, sweep

__all__ = ["configurations"]

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]

_M, _EF_CONSTRUCTION = 16, 200


def configurations(shape: Shape) -> list[Configuration]:
    """Returns the configuration with which its documentation recommends to start."""
    settings = sweep(ef=(16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024))
    return [Configuration(f"M{_M}", partial(_Graph, shape.dim, threads=shape.threads), settings)]


class _Graph(Engine):
    def __init__(self, dim: int, *, threads: int) -> None:
        import hnswlib

        self._index = hnswlib.Index("ip", dim)
        self._threads = threads

    def build(self, rows: Floats) -> None:
        self._index.init_index(len(rows), M=_M, ef_construction=_EF_CONSTRUCTION)
        self._index.set_num_threads(self._threads)
        self._index.add_items(rows)

    def use(self, setting: Setting) -> None:
        self._index.set_ef(setting["ef"])

    def search(self, queries: Floats, k: int) -> Ids:
        ids: Ids = self._index.knn_query(queries, k)[0]
        return ids

    def size(self) -> int:
        return int(self._index.index_file_size())
