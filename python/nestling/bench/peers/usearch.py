"""USearch: HNSW over signed bytes, and its exact search, both with a re-rank in float32.

By default, USearch multiplies rows of unit length by 127, which leaves most of a byte's range
unused in many dimensions. Here the rows are scaled by their largest value and passed as bytes.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestling.bench.peers.engine import Configuration, Engine, Setting, Shape, rerank, sweep

__all__ = ["configurations"]

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]
Bytes = NDArray[np.int8]

_INDEX = "index"


def configurations(shape: Shape) -> list[Configuration]:
    """Returns the graph and the exact search."""
    return [
        Configuration(
            "i8 + re-rank",
            partial(_Graph, shape.threads),
            [
                *sweep(ef=(16, 32, 64, 96), keep=(10, 20)),
                *sweep(ef=(128, 256, 512, 1024, 2048), keep=(20,)),
            ],
            kept=True,
        ),
        Configuration("exact f32", partial(_Exact, shape.threads), [{}]),
        Configuration(
            "exact i8 + re-rank", partial(_ExactBytes, shape.threads), sweep(keep=(10, 20, 50))
        ),
    ]


class _Coded(Engine):
    """Both byte forms: rows as bytes for the search, as float32 for the re-rank."""

    def __init__(self, threads: int) -> None:
        import usearch.index

        self._usearch: Any = usearch.index
        self._threads = threads
        self._keep = 0

    def use(self, setting: Setting) -> None:
        self._keep = setting["keep"]

    def search(self, queries: Floats, k: int) -> Ids:
        keys = self._find(self._coded(queries), self._keep).keys
        found: Ids = keys.reshape(len(queries), -1).astype(np.int64)  # one query has one axis
        return found if self._keep == k else rerank(self._rows, queries, found, k)

    def _keep_rows(self, rows: Floats) -> Bytes:
        self._rows = np.array(rows)
        self._scale = np.float32(127 / np.abs(self._rows).max())
        return self._coded(self._rows)

    def _coded(self, values: Floats) -> Bytes:
        rounded: Floats = np.rint(values * self._scale)
        return np.clip(rounded, -127, 127).astype(np.int8)

    def _find(self, queries: Bytes, k: int) -> Any:
        raise NotImplementedError


class _Graph(_Coded):
    def build(self, rows: Floats) -> None:
        codes = self._keep_rows(rows)
        self._open(rows)
        self._index.add(np.arange(len(rows)), codes, threads=self._threads)

    def save(self, folder: Path) -> None:
        self._index.save(str(folder / _INDEX))

    def load(self, folder: Path, rows: Floats) -> None:
        self._keep_rows(rows)
        self._open(rows)
        self._index.load(str(folder / _INDEX))

    def use(self, setting: Setting) -> None:
        super().use(setting)
        self._index.expansion_search = setting["ef"]

    def size(self) -> int:
        return int(self._index.serialized_length) + self._rows.nbytes

    def _open(self, rows: Floats) -> None:
        self._index = self._usearch.Index(ndim=rows.shape[1], metric="ip", dtype="i8")

    def _find(self, queries: Bytes, k: int) -> Any:
        return self._index.search(queries, k, threads=self._threads)


class _ExactBytes(_Coded):
    def build(self, rows: Floats) -> None:
        self._codes = self._keep_rows(rows)

    def size(self) -> int:
        return self._codes.nbytes + self._rows.nbytes

    def _find(self, queries: Bytes, k: int) -> Any:
        return _exact(self._usearch, self._codes, queries, k, self._threads)


class _Exact(Engine):
    def __init__(self, threads: int) -> None:
        import usearch.index

        self._usearch: Any = usearch.index
        self._threads = threads

    def build(self, rows: Floats) -> None:
        self._rows = np.array(rows)

    def use(self, setting: Setting) -> None:
        del setting

    def search(self, queries: Floats, k: int) -> Ids:
        ids: Ids = _exact(self._usearch, self._rows, queries, k, self._threads).keys
        return ids.reshape(len(queries), -1)

    def size(self) -> int:
        return self._rows.nbytes


def _exact(usearch: Any, rows: NDArray[Any], queries: NDArray[Any], k: int, threads: int) -> Any:
    metric = usearch.MetricKind.IP
    return usearch.search(rows, queries, k, metric, exact=True, threads=threads)
