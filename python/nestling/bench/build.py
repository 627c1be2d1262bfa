"""Measurements of adding, saving and loading rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nestling._util.timing import Rounds, Spread, Task, Values, seconds
from nestling.index import Index

__all__ = ["Build", "build_tasks"]

_ADD, _SAVE, _LOAD, _OPEN = "add", "save", "load", "load unverified"


@dataclass(frozen=True, slots=True)
class Build:
    """How fast an index of all rows is built, saved and loaded.

    Attributes:
        rows_per_second: Rate of one `add` of all rows to an empty index.
        memory: Bytes by part: `Index.memory`.
        file_bytes: Size of the file.
        save: Seconds until the file is on the disk.
        load: Seconds to map the file and verify every checksum; its pages are already in memory.
        load_unverified: Seconds to map the file only.
    """

    rows_per_second: Spread
    memory: dict[str, int]
    file_bytes: int
    save: Spread
    load: Spread
    load_unverified: Spread

    @classmethod
    def of(cls, results: Mapping[str, Rounds], index: Index, path: Path) -> Build:
        """Summarises the results of `build_tasks`, while the file exists."""
        return cls(
            rows_per_second=Spread.of(results[_ADD]).rate(len(index)),
            memory=index.memory,
            file_bytes=path.stat().st_size,
            save=Spread.of(results[_SAVE]),
            load=Spread.of(results[_LOAD]),
            load_unverified=Spread.of(results[_OPEN]),
        )


def build_tasks(
    empty: Callable[[], Index], vectors: NDArray[np.float32], index: Index, path: Path
) -> dict[str, Task]:
    """Returns the measurements, for `interleave`.

    Args:
        empty: Makes an index without rows.
        vectors: The rows to add.
        index: An index of these rows, which is saved.
        path: The file to write.
    """

    def add() -> Values:
        fresh = empty()
        return seconds(partial(fresh.add, vectors))

    return {
        _ADD: add,
        _SAVE: lambda: seconds(partial(index.save, path)),
        _LOAD: lambda: seconds(partial(Index.load, path)),
        _OPEN: lambda: seconds(partial(Index.load, path, verify=False)),
    }
