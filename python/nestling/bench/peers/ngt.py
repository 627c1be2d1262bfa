"""NGT: QG, a graph whose nodes hold the 4-bit codes of their neighbours.

Its Python package can search such a graph, and make the graph beneath it, but not the codes: the
program `qbg`, which NGT installs when it is built from source, makes these. Degrees are those that
NGT's authors gave to ann-benchmarks.
"""

from __future__ import annotations

import shutil
import subprocess
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

_EDGES, _OUTGOING, _INCOMING = 100, 64, 120  # of the graph while it is built, then of its nodes
_MOST_EDGES = 96  # that are quantised
_SAMPLE = 20_000  # rows from which the codes are learnt
# Hundredths of the radius in which a search goes on, and tenths of the hits that it re-ranks.
_RADII = (60, 80, 90, 95, 98, 100, 102, 104, 107, 110, 115, 120, 130)
_EXPANSIONS = (10, 20, 30, 50, 100)
_INDEX = "index"


def configurations(shape: Shape) -> list[Configuration]:
    """Returns the graph with codes."""
    return [
        Configuration(
            f"QG {_OUTGOING} out, {_INCOMING} in, {_MOST_EDGES} coded",
            partial(_Graph, shape),
            sweep(expansion=_EXPANSIONS, radius=_RADII),
            kept=True,
        )
    ]


class _Graph(Engine):
    def __init__(self, shape: Shape) -> None:
        import ngtpy

        self._library: Any = ngtpy
        self._shape = shape
        self._folder = tempfile.TemporaryDirectory()
        self._index: Any = None

    def build(self, rows: Floats) -> None:
        program = shutil.which("qbg")
        if program is None:
            raise FileNotFoundError("the program qbg, of an NGT that is built from source")
        first, built = (str(Path(self._folder.name) / name) for name in ("edges", _INDEX))
        self._library.create(first, self._shape.dim, _EDGES, distance_type="L2")
        graph = self._library.Index(first)
        graph.batch_insert(rows, num_threads=self._shape.threads)
        graph.save()
        graph.close()
        adjust = self._library.Optimizer(num_of_outgoings=_OUTGOING, num_of_incomings=_INCOMING)
        # Its tuning of the plain graph's searches, which are not measured, fails on some rows.
        adjust.set_processing_modes(
            search_parameter_optimization=False,
            prefetch_parameter_optimization=False,
            accuracy_table_generation=False,
        )
        adjust.execute(first, built)
        shutil.rmtree(first)
        subprocess.run([program, "create-qg", built], check=True)
        coding = [f"-o{min(_SAMPLE, len(rows))}", "-M6", "-ib", "-I400", "-Gz", "-Pn"]
        subprocess.run([program, "build-qg", *coding, f"-E{_MOST_EDGES}", built], check=True)
        self._open(built)

    def save(self, folder: Path) -> None:
        shutil.copytree(Path(self._folder.name) / _INDEX, folder / _INDEX)

    def load(self, folder: Path, rows: Floats) -> None:
        del rows  # the index has them
        self._open(str(folder / _INDEX))

    def use(self, setting: Setting) -> None:
        self._index.set(
            epsilon=setting["radius"] / 100 - 1, result_expansion=setting["expansion"] / 10
        )

    def search(self, queries: Floats, k: int) -> Ids:
        return np.array([self.search_one(query, k) for query in queries])

    def search_one(self, query: Floats, k: int) -> Ids:
        found = self._index.search(query, k)
        ids = np.full(k, -1)
        ids[: len(found)] = found
        return ids

    def size(self) -> int:
        built = Path(self._folder.name) / _INDEX
        return sum(path.stat().st_size for path in built.rglob("*") if path.is_file())

    def _open(self, built: str) -> None:
        self._index = self._library.QuantizedIndex(built, _MOST_EDGES, log_disabled=True)
        self._index.set_with_distance(False)
