"""An adapter for the tests of the benchmark: numpy, and the ways in which a library can fail."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from nestling.bench.peers.engine import Configuration, Engine, Setting, Shape, rerank, sweep


def configurations(shape: Shape) -> list[Configuration]:
    """Exact, exact among some of the rows, and failures at each of the steps."""
    every = sweep(share=(2, 1))
    return [
        Configuration("exact", _Numpy, every),
        Configuration("grid", _Share, sweep(share=(1, 500, 1000))),
        Configuration("idle", _Share, sweep(share=(200, 500), idle=(1, 2, 3, 4))),
        Configuration("kept", _Numpy, every, kept=True),
        Configuration("crashes", lambda: _Numpy(at_build=_crash), every),
        Configuration("hangs", lambda: _Numpy(at_build=lambda: time.sleep(600)), every),
        Configuration("raises late", lambda: _Numpy(at_second=_refuse), every),
        Configuration("wrong shape", _Wrong, every),
    ]


class _Numpy(Engine):
    def __init__(
        self,
        at_build: Callable[[], None] = lambda: None,
        at_second: Callable[[], None] = lambda: None,
    ) -> None:
        self._at_build = at_build
        self._at_second = at_second

    def build(self, rows: np.ndarray) -> None:
        self._at_build()
        self._rows = np.array(rows)

    def use(self, setting: Setting) -> None:
        if setting["share"] == 1:
            self._at_second()
        self._among = np.arange(0, len(self._rows), setting["share"])

    def search(self, queries: np.ndarray, k: int) -> np.ndarray:
        candidates = np.broadcast_to(self._among, (len(queries), len(self._among)))
        return rerank(self._rows, queries, candidates, k)

    def size(self) -> int:
        return self._rows.nbytes

    def save(self, folder: Path) -> None:
        np.save(folder / "rows.npy", self._rows)

    def load(self, folder: Path, rows: np.ndarray) -> None:
        self._rows = np.load(folder / "rows.npy")


class _Share(_Numpy):
    """Exact among so many thousandths of the rows, and the slower the more they are."""

    def use(self, setting: Setting) -> None:
        self._share = setting["share"]
        self._among = np.arange(max(10, len(self._rows) * self._share // 1000))

    def search(self, queries: np.ndarray, k: int) -> np.ndarray:
        time.sleep(self._share * 4e-6)
        return super().search(queries, k)


class _Wrong(_Numpy):
    def search_one(self, query: np.ndarray, k: int) -> np.ndarray:
        return self.search(query[None], k)


def _crash() -> None:
    print("a last word", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)


def _refuse() -> None:
    raise RuntimeError("no such setting")
