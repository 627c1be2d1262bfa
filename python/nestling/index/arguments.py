"""Arguments of an index, checked and converted to what the core takes."""

from __future__ import annotations

import operator
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestling import _core
from nestling.errors import ArgumentError, IdError, VectorError
from nestling.index.cells import Cells
from nestling.index.funnel import Funnel

__all__ = [
    "MAX_ROWS",
    "NO_IDS",
    "cell_spec",
    "filter_arrays",
    "id_array",
    "matrix",
    "positive",
    "probed_cells",
    "stage_specs",
]

MAX_ROWS: Final = _core.MAX_ROWS  # rows, and so hits, that an index can have

NO_IDS: Final[NDArray[np.int64]] = np.empty(0, np.int64)


def id_array(ids: ArrayLike) -> NDArray[np.int64]:
    """Returns ids as int64."""
    try:
        array = np.asarray(ids)
    except (ValueError, OverflowError) as error:
        raise IdError(f"ids are not an array: {error}") from error
    if array.size == 0:
        return NO_IDS
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise IdError(f"ids must be a list of integers, not {array.dtype} of shape {array.shape}")
    if array.dtype.kind == "u" and array.max() > np.iinfo(np.int64).max:
        raise IdError(f"id {array.max()} is too large; ids are 0 to 2^63 - 1")
    return np.ascontiguousarray(array, dtype=np.int64)


def filter_arrays(
    where: ArrayLike | None,
) -> tuple[NDArray[np.uint8] | None, NDArray[np.int64] | None]:
    """Returns a filter as a mask or as ids, the other being None; both are None for no filter."""
    if where is None:
        return None, None
    try:
        array = np.asarray(where)
        if array.dtype == np.bool_ and array.ndim == 1:
            return np.ascontiguousarray(array).view(np.uint8), None
        return None, id_array(array)
    except ValueError as error:
        raise IdError(f"where must be an array of booleans or of ids: {error}") from None


def probed_cells(cells: Cells | None, probes: int | None) -> tuple[int, bool]:
    """Returns how many cells to probe, and whether to probe more while that changes the hits."""
    if probes is None:
        return (0, False) if cells is None else (cells.probes, cells.adaptive)
    return (0, False) if probes == 0 else (positive("probes", probes), False)


def cell_spec(cells: Cells | None) -> _core.CellSpec:
    """Returns cells as the core takes them; a count of 0 for none."""
    if cells is None:
        return _core.CellSpec(count=0, dims=0, spill=False)
    return _core.CellSpec(count=cells.count, dims=cells.dims, spill=cells.spill)


@lru_cache(maxsize=256)  # every search calls it, nearly always with a funnel that it has seen
def stage_specs(funnel: Funnel) -> tuple[_core.StageSpec, ...]:
    """Returns stages as the core takes them, with 0 for what is not given."""
    return tuple(
        _core.StageSpec(
            dims=stage.dims,
            bits=stage.bits,
            keep=min(stage.keep or 0, MAX_ROWS),
            margin=stage.margin or 0.0,
        )
        for stage in funnel.stages
    )


def positive(name: str, value: int, at_most: int = MAX_ROWS) -> int:
    """Returns a whole number from 1 to `at_most`; errors call it `name`."""
    try:
        number = operator.index(value)
    except TypeError:
        raise ArgumentError(f"{name} must be a whole number, not {value!r}") from None
    if not 1 <= number <= at_most:
        raise ArgumentError(f"{name} must be 1 to {at_most:,}, not {number}")
    return number


def matrix(values: ArrayLike, dim: int, name: str) -> NDArray[np.float32]:
    """Returns `values` as a C-contiguous float32 matrix of `dim` columns; errors call it `name`."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise VectorError(f"{name} are not an array: {error}") from error
    if array.dtype.kind not in "fiu" or (array.dtype.kind in "iu" and array.dtype.itemsize > 8):
        raise VectorError(f"{name} must be floats, not {array.dtype}")
    if array.ndim == 1:
        array = array[np.newaxis]
    if array.ndim != 2 or array.shape[1] != dim:
        raise VectorError(f"{name} have shape {np.shape(values)}; expected (n, {dim}) or ({dim},)")
    if array.dtype == np.float32 and array.flags.c_contiguous and array.flags.aligned:
        return array  # the common case, which a search must not pay microseconds for
    with np.errstate(over="ignore"):  # what overflows float32 becomes infinite, and is then refused
        return np.require(array, np.float32, ("C_CONTIGUOUS", "ALIGNED"))
