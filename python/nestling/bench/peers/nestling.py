"""nestling itself: a few funnels, scaled to the dimension, with keeps that rise."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestling.bench.peers.engine import Configuration, Engine, Setting, Shape, sweep
from nestling.funnel import Funnel, Stage
from nestling.index import Index

__all__ = ["configurations"]

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]

_KEEPS = (20, 50, 100, 200, 400, 1000, 2000, 4000)


def configurations(shape: Shape) -> list[Configuration]:
    """Returns one configuration a funnel; what a setting holds is what `_Nestling.use` reads."""
    dim = shape.dim
    half, quarter = max(1, dim // 2), max(1, dim // 4)
    last = Stage(dim, 16)
    funnels = [
        Funnel((Stage(dim, 1, _KEEPS[-1]), last)),
        Funnel((Stage(half, 1, _KEEPS[-1]), last)),
        Funnel((Stage(dim, 4, _KEEPS[-1]), last)),
        Funnel((Stage(half, 4, _KEEPS[-1]), last)),
        Funnel((Stage(quarter, 4, _KEEPS[-1]), Stage(half, 16, _KEEPS[-1]), last)),
    ]
    return [
        Configuration(
            _name(funnel),
            partial(_Nestling, dim, threads=shape.threads, funnel=funnel),
            [setting for setting in sweep(keep=_KEEPS) if setting["keep"] < shape.rows],
        )
        for funnel in funnels
        if len({(stage.dims, stage.bits) for stage in funnel.stages}) == len(funnel.stages)
    ]


def _name(funnel: Funnel) -> str:
    return " > ".join(f"{stage.dims}@{stage.bits}" for stage in funnel.stages)


class _Nestling(Engine):
    def __init__(self, dim: int, *, threads: int, funnel: Funnel) -> None:
        self._index = Index(dim, funnel=funnel, threads=threads)
        self._options: dict[str, Any] = {}  # of every search

    def build(self, rows: Floats) -> None:
        self._index.add(rows)

    def use(self, setting: Setting) -> None:
        self._options = {"funnel": _keeping(self._index.funnel, setting["keep"])}

    def search(self, queries: Floats, k: int) -> Ids:
        return self._index.search(queries, k, **self._options).ids

    def ask(self, query: Floats, k: int) -> Ids:
        return self._index.search(query, k, **self._options).ids

    def size(self) -> int:
        return sum(self._index.memory.values())


def _keeping(funnel: Funnel, keep: int) -> Funnel:
    """Returns the funnel with `keep` rows after the first stage, a fifth of them after another."""
    first, *middle, last = funnel.stages
    stages: Sequence[Stage] = (
        Stage(first.dims, first.bits, keep),
        *(Stage(stage.dims, stage.bits, max(20, keep // 5)) for stage in middle),
        last,
    )
    return Funnel(tuple(stages))
