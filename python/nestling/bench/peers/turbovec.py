"""turbovec: a flat scan of 4- or 2-bit codes, and a re-rank in float32 outside it."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from nestling.bench.peers.engine import Configuration, Engine, Setting, Shape, rerank, sweep

__all__ = ["configurations"]

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]

_SAMPLE = 2048  # rows to calibrate with; its documentation says about 1024, well mixed


def configurations(shape: Shape) -> list[Configuration]:
    """Returns both widths; `keep` rows are re-ranked, and none at 10."""
    return [
        Configuration(
            "4 bit + re-rank", partial(_Scan, 4), sweep(keep=(10, 15, 20, 30, 50, 100, 200))
        ),
        Configuration(
            "2 bit + re-rank", partial(_Scan, 2), sweep(keep=(10, 20, 50, 100, 200, 400, 1000))
        ),
    ]


class _Scan(Engine):
    """Its threads are those of rayon's pool, whose number the worker's environment sets."""

    def __init__(self, bits: int) -> None:
        from turbovec import TurboQuantIndex

        self._open = TurboQuantIndex
        self._bits = bits
        self._keep = 0

    def build(self, rows: Floats) -> None:
        self._rows = np.array(rows)
        self._index = self._open(rows.shape[1], self._bits)
        drawn = np.random.default_rng(0).permutation(len(rows))[:_SAMPLE]
        self._index.calibrate(self._rows[drawn])
        self._index.add(self._rows)
        self._index.prepare()

    def use(self, setting: Setting) -> None:
        self._keep = setting["keep"]

    def search(self, queries: Floats, k: int) -> Ids:
        found: Ids = self._index.search(queries, self._keep)[1]
        return found if self._keep == k else rerank(self._rows, queries, found, k)

    def size(self) -> int:
        return len(self._index.to_bytes()) + self._rows.nbytes
