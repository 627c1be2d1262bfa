"""What the benchmark needs of a library: configurations, each of which opens an engine."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["Configuration", "Engine", "Setting", "Shape", "rerank", "sweep"]

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]
Setting = Mapping[str, int]

_CHUNK_BYTES = 2**19  # of rows that a re-rank gathers at a time: they fit the L2 cache


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of a benchmark.

    Attributes:
        rows: Number of rows.
        dim: Their dimensions.
        threads: Threads that a build, and a batch, may use.
    """

    rows: int
    dim: int
    threads: int


class Engine(ABC):
    """One index of one library, in a worker's process.

    `build` is called first, then `use` and the two kinds of search any number of times. Rows have
    unit length; ids are their numbers.
    """

    @abstractmethod
    def build(self, rows: Floats) -> None:
        """Builds the index of (n, dim) float32, until searches run at full speed.

        The rows are mapped from a file: what searches read must be copied.
        """

    @abstractmethod
    def use(self, setting: Setting) -> None:
        """Applies one of the configuration's settings to the following searches; not timed."""

    @abstractmethod
    def search(self, queries: Floats, k: int) -> Ids:
        """Answers a batch: (m, dim) float32 queries give (m, k) ids, best first.

        The library may answer in another integer type; `-1` stands for no row.
        """

    def search_one(self, query: Floats, k: int) -> Ids:
        """Answers one query, (dim,), in the cheapest way of this library: (k,) ids."""
        ids: Ids = self.search(query[np.newaxis], k)[0]
        return ids

    @abstractmethod
    def size(self) -> int:
        """Returns the bytes of all that searches read: codes, graphs, vectors of a re-rank."""

    def save(self, folder: Path) -> None:
        """Writes the built index into an empty folder; for configurations that are kept."""
        raise NotImplementedError(f"{type(self).__name__} cannot be saved")

    def load(self, folder: Path, rows: Floats) -> None:
        """Does what `build` does with the same rows, from what `save` wrote."""
        raise NotImplementedError(f"{type(self).__name__} cannot be loaded")


@dataclass(frozen=True, slots=True)
class Configuration:
    """One way to build an index with a library, and the settings to search it with.

    Attributes:
        name: The library's own name for it, if there is one.
        open: Makes an empty engine; imports the library.
        settings: Settings of a search, each value rising, the last one fastest. A setting is left
            out if it cannot find more than one before it.
        kept: Whether a built index is kept between runs, because it takes long to build. The name
            then holds all that the build depends on.
    """

    name: str
    open: Callable[[], Engine]
    settings: Sequence[Setting]
    kept: bool = False


def sweep(**choices: Sequence[int]) -> list[Setting]:
    """Returns all combinations, the last name varying fastest.

    Example:
        >>> sweep(nprobe=[8, 16], k_factor=[4])
        [{'nprobe': 8, 'k_factor': 4}, {'nprobe': 16, 'k_factor': 4}]
    """
    return [
        dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())
    ]


def rerank(rows: Floats, queries: Floats, candidates: Ids, k: int) -> Ids:
    """Orders candidates by their inner products, for libraries without a re-rank.

    Args:
        rows: (n, dim).
        queries: (m, dim).
        candidates: (m, c) row numbers, c at least k.
        k: Number of ids to return.

    Returns:
        (m, k), best first.

    Example:
        >>> rows = np.eye(3, dtype=np.float32)
        >>> rerank(rows, rows[:1], np.array([[2, 0, 1]]), 1).tolist()
        [[0]]
    """
    count, width = candidates.shape
    step = max(1, _CHUNK_BYTES // (width * rows.shape[1] * rows.itemsize))
    best = np.empty((count, k), np.int64)
    for start in range(0, count, step):
        chosen = candidates[start : start + step]
        gathered = rows.take(chosen, axis=0, mode="clip")  # faster than rows[chosen]
        scores = (gathered @ queries[start : start + step, :, np.newaxis])[:, :, 0]
        order = np.argsort(-scores, axis=1)[:, :k]
        best[start : start + step] = np.take_along_axis(chosen, order, axis=1)
    return best
