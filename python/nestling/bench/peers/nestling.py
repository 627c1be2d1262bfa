"""nestling itself: a few funnels, scaled to the dimension, over all rows and over cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestling.bench.peers.engine import Configuration, Engine, Setting, Shape, sweep
from nestling.index import Index
from nestling.index.cells import Cells
from nestling.index.funnel import Funnel, Stage

__all__ = ["configurations"]

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]

_KEEPS = (20, 50, 100, 200, 400, 1000, 2000, 4000)
_MARGINS = (115, 120, 125, 130, 140, 150)  # hundredths
_MARGIN_KEEP = 2000
_CELL_ROWS = 20_000  # cells do not pay for fewer rows
_PROBES = (4, 8, 16, 32, 64, 128, 256, 512, 1024)
_CELL_KEEPS = (20, 50, 100, 200, 400, 1000, 2000)


def configurations(shape: Shape) -> list[Configuration]:
    """Returns the configurations; `_Nestling.use` reads their settings.

    Codes of 1 and 2 bits are centred, which a rebuild learns. There are eight times the square root
    of the rows as many cells.
    """
    dim = shape.dim
    half, quarter = max(1, dim // 2), max(1, dim // 4)
    last = Stage(dim, 16)
    celled = [
        Funnel((Stage(dim, 1, _KEEPS[-1]), last)),
        Funnel((Stage(half, 2, _KEEPS[-1]), last)),
        Funnel((Stage(half, 4, _KEEPS[-1]), last)),
    ]
    linked = [
        Funnel((Stage(dim, 1, _KEEPS[-1]), Stage(dim, 4, _KEEPS[-1]), end))
        for end in (last, Stage(dim, 8))
    ]
    funnels = [
        *celled,
        Funnel((Stage(half, 1, _KEEPS[-1]), last)),
        Funnel((Stage(dim, 4, _KEEPS[-1]), last)),
        Funnel((Stage(half * 3 // 4 or 1, 4, _KEEPS[-1]), last)),
        Funnel((Stage(quarter, 4, _KEEPS[-1]), last)),
        Funnel((Stage(quarter, 4, _KEEPS[-1]), Stage(half, 16, _KEEPS[-1]), last)),
    ]
    distinct = [
        funnel
        for funnel in funnels
        if len({(stage.dims, stage.bits) for stage in funnel.stages}) == len(funnel.stages)
    ]
    flat = [
        Configuration(
            _name(funnel),
            partial(_Nestling, dim, threads=shape.threads, funnel=funnel),
            [
                setting
                for setting in sweep(keep=_KEEPS) + sweep(keep=[_MARGIN_KEEP], margin=_MARGINS)
                if setting["keep"] < shape.rows
            ],
        )
        for funnel in distinct
    ]
    if shape.rows < _CELL_ROWS:
        return flat
    count = round(8 * math.sqrt(shape.rows))
    return flat + [
        Configuration(
            f"{_name(funnel)}, {count} cells",
            partial(_Nestling, dim, threads=shape.threads, funnel=funnel, cells=count),
            [
                setting
                for setting in sweep(probes=_PROBES, keep=_CELL_KEEPS)
                if setting["probes"] <= count
            ],
        )
        for funnel in [*celled, *linked]
    ]


def _name(funnel: Funnel) -> str:
    return " > ".join(f"{stage.dims}@{stage.bits}" for stage in funnel.stages)


class _Nestling(Engine):
    def __init__(self, dim: int, *, threads: int, funnel: Funnel, cells: int = 0) -> None:
        self._index = Index(dim, funnel=funnel, threads=threads)
        self._cells = cells
        self._options: dict[str, Any] = {}  # of every search

    def build(self, rows: Floats) -> None:
        self._index.add(rows)
        centre = self._index.funnel.stages[0].bits <= 2
        if centre or self._cells:
            cells = Cells(self._cells) if self._cells else None
            self._index.rebuild(centre=centre, cells=cells)

    def use(self, setting: Setting) -> None:
        self._options = {"funnel": _keeping(self._index.funnel, **setting)}
        if "probes" in setting:
            self._options["probes"] = setting["probes"]

    def search(self, queries: Floats, k: int) -> Ids:
        return self._index.search(queries, k, **self._options).ids

    def search_one(self, query: Floats, k: int) -> Ids:
        return self._index.search(query, k, **self._options).ids

    def size(self) -> int:
        return sum(self._index.memory.values())


def _keeping(funnel: Funnel, *, keep: int, margin: int = 0, **_: int) -> Funnel:
    """Returns the funnel with `keep` rows after the first stage, and fewer after another.

    After one of 4 bits, whose rows are short and whose links are followed, half of them, else a
    fifth. A margin, in hundredths, is the first stage's.
    """
    first, *middle, last = funnel.stages
    stages: Sequence[Stage] = (
        Stage(first.dims, first.bits, keep, margin / 100 if margin else None),
        *(
            Stage(stage.dims, stage.bits, max(20, keep // (2 if stage.bits == 4 else 5)))
            for stage in middle
        ),
        last,
    )
    return Funnel(tuple(stages))
