"""hnswlib: HNSW over float32."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nestling.bench.peers.engine import Configuration, Engine, Setting, Shape, sweep

__all__ = ["configurations"]

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]

_M, _EF_CONSTRUCTION = 16, 200
_INDEX = "index"


def configurations(shape: Shape) -> list[Configuration]:
    """Returns the configuration with which its documentation recommends to start."""
    settings = sweep(ef=(10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048))
    name = f"M{_M}, ef_construction {_EF_CONSTRUCTION}"
    open_ = partial(_Graph, shape.dim, threads=shape.threads)
    return [Configuration(name, open_, settings, kept=True)]


class _Graph(Engine):
    def __init__(self, dim: int, *, threads: int) -> None:
        import hnswlib

        self._index = hnswlib.Index("ip", dim)
        self._threads = threads

    def build(self, rows: Floats) -> None:
        self._index.init_index(len(rows), M=_M, ef_construction=_EF_CONSTRUCTION)
        self._index.set_num_threads(self._threads)
        self._index.add_items(rows)

    def save(self, folder: Path) -> None:
        self._index.save_index(str(folder / _INDEX))

    def load(self, folder: Path, rows: Floats) -> None:
        self._index.load_index(str(folder / _INDEX), max_elements=len(rows))
        self._index.set_num_threads(self._threads)

    def use(self, setting: Setting) -> None:
        self._index.set_ef(setting["ef"])

    def search(self, queries: Floats, k: int) -> Ids:
        ids: Ids = self._index.knn_query(queries, k)[0]
        return ids

    def size(self) -> int:
        return int(self._index.index_file_size())
