"""Intel's SVS: a flat scan, and the Vamana graph, over float32.

Its compressed forms, LVQ and LeanVec, are closed source and abort on CPUs that are not Intel's.
They are left out everywhere, so that reports from different machines can be compared.
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

_DEGREE, _WINDOW = 64, 128  # of the graph while it is built
_ALPHA = 0.95  # its documentation's, for inner products


def configurations(shape: Shape) -> list[Configuration]:
    """Returns the flat scan and the graph."""
    return [
        Configuration("Flat", partial(_Svs, shape.threads, graph=False), [{}]),
        Configuration(
            f"Vamana {_DEGREE}",
            partial(_Svs, shape.threads, graph=True),
            sweep(window=(10, 15, 20, 30, 40, 60, 80, 120, 160, 320, 640, 1280)),
        ),
    ]


class _Svs(Engine):
    def __init__(self, threads: int, *, graph: bool) -> None:
        import svs

        self._svs: Any = svs
        self._threads = threads
        self._graph = graph
        self._index: Any = None

    def build(self, rows: Floats) -> None:
        svs = self._svs
        if not self._graph:
            self._index = svs.Flat(rows, svs.DistanceType.MIP, num_threads=self._threads)
            return
        parameters = svs.VamanaBuildParameters(
            alpha=_ALPHA, graph_max_degree=_DEGREE, window_size=_WINDOW, prune_to=_DEGREE - 4
        )
        self._index = svs.Vamana.build(
            parameters, rows, svs.DistanceType.MIP, num_threads=self._threads
        )

    def use(self, setting: Setting) -> None:
        if self._graph:
            self._index.search_window_size = setting["window"]

    def search(self, queries: Floats, k: int) -> Ids:
        ids: Ids = self._index.search(queries, k)[0]
        return ids

    def size(self) -> int:
        if not self._graph:
            return int(self._index.size) * int(self._index.dimensions) * 4
        with tempfile.TemporaryDirectory() as folder:
            self._index.save(*(f"{folder}/{part}" for part in ("config", "graph", "vectors")))
            return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
