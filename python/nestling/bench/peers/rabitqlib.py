"""rabitqlib: SymphonyQG, a graph whose nodes hold their neighbours' codes, and inverted lists.

A node of the graph holds its float32 row and the 1-bit codes of its neighbours in one block, which
a search reads at once (Gou, Gao, Xu, Long 2025, "SymphonyQG"). The inverted lists hold RaBitQ codes
of a few bits, or of 1 bit and the rows themselves for a re-rank (32 bits).
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

_DEGREES = (32, 64)
_EF_CONSTRUCTION = 200
_BEAMS = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
_BITS = (5, 8, 32)
_PROBES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024)
_POINTS_A_LIST = 39  # as for FAISS
_FEWEST_DIMS = 64  # its rotations have no smaller ones
_INDEX = "index"


def configurations(shape: Shape) -> list[Configuration]:
    """Returns the graph of two degrees, and lists of three precisions."""
    if shape.dim < _FEWEST_DIMS:
        return []
    lists = 1 << int(np.log2(4 * np.sqrt(shape.rows)))
    lists = max(1, min(lists, shape.rows // _POINTS_A_LIST))
    probes = [count for count in _PROBES if count <= lists]
    graphs = [
        Configuration(
            f"SymQG degree {degree}, ef_construction {_EF_CONSTRUCTION}",
            partial(_Graph, shape, degree),
            sweep(ef=_BEAMS),
            kept=True,
        )
        for degree in _DEGREES
    ]
    return graphs + [
        Configuration(
            f"IVF{lists}, {bits} bit", partial(_Lists, shape, lists, bits), sweep(nprobe=probes)
        )
        for bits in _BITS
    ]


class _Rabitq(Engine):
    def __init__(self, shape: Shape) -> None:
        import rabitqlib

        self._library: Any = rabitqlib
        self._shape = shape
        self._index: Any = None

    def size(self) -> int:
        with tempfile.TemporaryDirectory() as folder:
            self.save(Path(folder))
            return (Path(folder) / _INDEX).stat().st_size

    def save(self, folder: Path) -> None:
        self._index.save(str(folder / _INDEX))


class _Graph(_Rabitq):
    def __init__(self, shape: Shape, degree: int) -> None:
        super().__init__(shape)
        self._degree = degree
        self._ef = 0

    def build(self, rows: Floats) -> None:
        self._index = self._library.SymqgIndex(self._shape.dim, self._degree, metric="ip")
        self._index.build(rows, _EF_CONSTRUCTION, num_threads=self._shape.threads)

    def load(self, folder: Path, rows: Floats) -> None:
        del rows  # the index has them
        self._index = self._library.SymqgIndex.load(str(folder / _INDEX))

    def use(self, setting: Setting) -> None:
        self._ef = setting["ef"]

    def search(self, queries: Floats, k: int) -> Ids:
        ids: Ids = self._index.search_batch(queries, k, self._ef, self._shape.threads)[0]
        return ids

    def search_one(self, query: Floats, k: int) -> Ids:
        ids: Ids = self._index.search(query[np.newaxis], k, self._ef)[0][0]
        return ids


class _Lists(_Rabitq):
    def __init__(self, shape: Shape, lists: int, bits: int) -> None:
        super().__init__(shape)
        self._lists = lists
        self._bits = bits
        self._probes = 0

    def build(self, rows: Floats) -> None:
        threads = self._shape.threads
        means = self._library.RaBitQKMeans(
            self._shape.dim, self._lists, spherical=True, num_threads=threads
        )
        means.train(rows)
        self._index = self._library.IvfIndex(
            self._shape.dim, len(rows), self._lists, self._bits, metric="ip"
        )
        assigned = np.asarray(means.assignments, np.uint32)
        self._index.build(rows, means.centroids, assigned, num_threads=threads)

    def use(self, setting: Setting) -> None:
        self._probes = setting["nprobe"]

    def search(self, queries: Floats, k: int) -> Ids:
        threads = self._shape.threads
        ids: Ids = self._index.search(queries, k, self._probes, num_threads=threads)[0]
        return ids
