"""LoRANN: inverted lists whose scores are 8-bit reduced-rank regressions, with a float32 re-rank.

About twice the square root of the rows as lists, and its defaults otherwise (Jääsaari, Hyvönen,
Roos 2024, "LoRANN: Low-Rank Matrix Factorization for Approximate Nearest Neighbor Search").
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

_FEWEST_DIMS = 64  # fewer are refused
_POINTS_A_LIST = 39  # as for FAISS
_PROBES = (4, 8, 16, 32, 64, 128, 256, 512)
_RERANKED = (50, 100, 200, 400, 800, 1600, 3200)
_INDEX = "index"


def configurations(shape: Shape) -> list[Configuration]:
    """Returns one configuration."""
    if shape.dim < _FEWEST_DIMS:
        return []
    lists = 1 << int(np.log2(2 * np.sqrt(shape.rows)))
    lists = max(1, min(lists, shape.rows // _POINTS_A_LIST))
    probes = [count for count in _PROBES if count <= lists]
    return [
        Configuration(
            f"{lists} clusters, 8 bit",
            partial(_Lists, shape, lists),
            sweep(clusters=probes, rerank=_RERANKED),
            kept=True,
        )
    ]


class _Lists(Engine):
    def __init__(self, shape: Shape, lists: int) -> None:
        import lorann

        self._library: Any = lorann
        self._shape = shape
        self._lists = lists
        self._clusters = self._reranked = 0
        self._index: Any = None

    def build(self, rows: Floats) -> None:
        self._index = self._library.LorannIndex(
            data=np.array(rows),
            n_clusters=self._lists,
            global_dim=None,
            distance=self._library.IP,
            copy=True,
        )
        self._index.build(n_threads=self._shape.threads)

    def save(self, folder: Path) -> None:
        self._index.save(str(folder / _INDEX))

    def load(self, folder: Path, rows: Floats) -> None:
        del rows  # the index has them
        self._index = self._library.LorannIndex.load(str(folder / _INDEX))

    def use(self, setting: Setting) -> None:
        self._clusters, self._reranked = setting["clusters"], setting["rerank"]

    def search(self, queries: Floats, k: int) -> Ids:
        ids: Ids = self._index.search(
            queries, k, self._clusters, self._reranked, n_threads=self._shape.threads
        )
        return ids

    def search_one(self, query: Floats, k: int) -> Ids:
        ids: Ids = self._index.search(query, k, self._clusters, self._reranked, n_threads=1)
        return ids

    def size(self) -> int:
        with tempfile.TemporaryDirectory() as folder:
            self.save(Path(folder))
            return (Path(folder) / _INDEX).stat().st_size
