"""Data sets of ann-benchmarks and VIBE: HDF5 files of rows, queries and their nearest rows.

A file holds `train` and `test`, (n, dim) and (m, dim) numbers; `neighbors`, (m, k) row numbers, the
nearest first, and `distances` to them; and the attribute `distance`, which says what is near.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nestling.bench.angles import Angles
from nestling.bench.rows import Rows
from nestling.errors import ArgumentError, VectorError

__all__ = ["read_hdf5"]

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]

_CHECKED: Final = 20  # queries whose first neighbour must be the nearest row
_CLOSE: Final = 1e-4  # cosines that differ by less are of equally near rows


def read_hdf5(path: Path, *, limit: int | None, query_count: int) -> Rows:
    """Reads a data set, with its distance as an angle; see `nestling.bench.angles`.

    Args:
        path: The file.
        limit: Read so many rows at most. The file's neighbours are then not those of the rows.
        query_count: Read so many queries at most.

    Raises:
        ArgumentError: h5py is not installed.
        VectorError: The file is missing, has another layout or distance, or its `neighbors` are not
            the nearest rows by its distance.
    """
    try:
        import h5py
    except ModuleNotFoundError:
        raise ArgumentError("HDF5 files need h5py: pip install h5py") from None
    try:
        with h5py.File(path, "r") as file:
            missing = [name for name in ("train", "test", "neighbors") if name not in file]
            if missing or "distance" not in file.attrs:
                absent = ", ".join(missing) or "attribute distance"
                raise VectorError(f"{path}: is not a data set of ann-benchmarks: it lacks {absent}")
            distance = _text(file.attrs["distance"])
            rows = _floats(path, file["train"], limit)
            queries = _floats(path, file["test"], query_count)
            neighbours = np.asarray(file["neighbors"][: len(queries)], np.int64)
            whole = len(rows) == len(file["train"])
    except OSError as error:
        raise VectorError(f"{path}: cannot read: {error}") from error
    if not len(rows) or not len(queries) or queries.shape[1] != rows.shape[1]:
        raise VectorError(f"{path}: rows {rows.shape} and queries {queries.shape} do not match")
    try:
        angles = Angles.of(rows, distance)
    except VectorError as error:
        raise VectorError(f"{path}: {error}") from None
    rows, queries = angles.rows(rows), angles.queries(queries)
    if whole:
        _check(path, rows, queries, neighbours)
    change = f" as {angles}" if str(angles) else ""
    return Rows(rows, queries, f"{path}, {distance}{change}", truth=neighbours if whole else None)


def _check(path: Path, rows: Floats, queries: Floats, neighbours: Ids) -> None:
    """Raises VectorError if the first neighbours of some queries are not their nearest rows."""
    if neighbours.shape[:1] != (len(queries),) or neighbours.ndim != 2:
        raise VectorError(f"{path}: neighbors are not one line of row numbers for each query")
    if neighbours.min(initial=0) < 0 or neighbours.max(initial=0) >= len(rows):
        raise VectorError(f"{path}: neighbors are not numbers of its {len(rows):,} rows")
    some = queries[:_CHECKED] / np.linalg.norm(queries[:_CHECKED], axis=1, keepdims=True)
    cosines = rows @ some.T
    cosines /= np.linalg.norm(rows, axis=1, keepdims=True)
    first = cosines[neighbours[: len(some), 0], np.arange(len(some))]
    wrong = int(np.sum(cosines.max(axis=0) - first > _CLOSE))
    if wrong:
        raise VectorError(
            f"{path}: {wrong} of {len(some)} queries have a nearer row than the first of their "
            "neighbors; expected the nearest rows by the attribute distance"
        )


def _floats(path: Path, data: Any, limit: int | None) -> Floats:
    if data.ndim != 2 or data.dtype.kind not in "fiu":
        raise VectorError(f"{path}: {data.name} is not a matrix of numbers")
    return np.ascontiguousarray(data[:limit], np.float32)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
