"""Vectors: (n, dim) float32, from whatever holds numbers without loss of meaning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestling.errors import VectorError
from nestling.inputs.columns import listed
from nestling.inputs.texts import quote

__all__ = ["check_finite", "matrix", "vector_or_matrix", "vector_rows"]

_KINDS: Final = {"b": "booleans", "M": "dates", "m": "durations", "S": "bytes", "U": "strings"}
_FLOAT32: Final = np.dtype(np.float32)
_TENSOR: Final = "give tensor.detach().cpu().float().numpy()"


def matrix(values: ArrayLike, dim: int, name: str) -> NDArray[np.float32]:
    """Returns `values` as a C-contiguous float32 matrix of `dim` columns; errors call it `name`.

    Raises:
        VectorError: They are not numbers, are masked or ragged, or have another shape.

    Example:
        >>> matrix([1, 2], 2, "vectors")
        array([[1., 2.]], dtype=float32)
    """
    array = values if type(values) is np.ndarray else _array(values, name)
    if array.dtype.kind not in "fiu" or (array.dtype.kind in "iu" and array.dtype.itemsize > 8):
        raise _not_numbers(array, name)
    if array.ndim == 1:
        array = array[np.newaxis]
    if array.ndim != 2 or array.shape[1] != dim:
        raise VectorError(f"{name} have shape {np.shape(values)}; expected (n, {dim}) or ({dim},)")
    if array.dtype == np.float32 and array.flags.c_contiguous and array.flags.aligned:
        return array  # the common case, which a search must not pay microseconds for
    with np.errstate(over="ignore"):  # what overflows float32 becomes infinite, and is then refused
        return np.require(array, np.float32, ("C_CONTIGUOUS", "ALIGNED"))


def vector_or_matrix(values: ArrayLike, dim: int, name: str) -> NDArray[np.float32]:
    """Returns `values` as `matrix` does, but one vector as (dim,).

    Raises:
        VectorError: As for `matrix`.

    Example:
        >>> vector_or_matrix([1, 2], 2, "queries")
        array([1., 2.], dtype=float32)
    """
    if type(values) is np.ndarray and values.dtype is _FLOAT32 and values.shape == (dim,):
        flags = values.flags
        if flags.c_contiguous and flags.aligned:
            return values  # nothing to do, in a microsecond less
    rows = matrix(values, dim, name)
    return rows[0] if np.ndim(values) == 1 else rows


def vector_rows(values: Any, name: str) -> Iterable[Any]:
    """Returns the vectors of several documents one by one, for `matrix` to check.

    Raises:
        VectorError: They are neither an array of numbers nor an iterable.

    Example:
        >>> len(list(vector_rows(np.eye(3), "vectors")))
        3
    """
    if isinstance(values, (str, bytes, Mapping, Set)) or not (
        isinstance(values, Iterable) or hasattr(values, "__array__")
    ):
        raise VectorError(f"{name} must be floats, (n, dim), not {type(values).__name__}")
    if not hasattr(values, "__array__"):
        found: Iterable[Any] = values
        return found
    array = values if isinstance(values, np.ndarray) else _array(values, name)
    if array.dtype.kind not in "fiuO":
        raise _not_numbers(array, name)
    if array.ndim == 0:
        raise VectorError(f"{name} have shape (); expected one vector per document")
    return array


def check_finite(rows: NDArray[np.float32], name: str) -> None:
    """Raises an error unless every value is finite; it calls a row `name` and its number.

    Raises:
        VectorError: One is NaN or infinity.

    Example:
        >>> check_finite(np.eye(2, dtype=np.float32), "vector")
    """
    if not np.isfinite(rows).all():
        row, column = np.argwhere(~np.isfinite(rows))[0]
        raise VectorError(
            f"{name} {row} has {rows[row, column]} at dimension {column}; every value must be "
            "finite"
        )


def _array(values: Any, name: str) -> NDArray[Any]:
    parts = values if isinstance(values, (list, tuple)) else [values]
    if any(isinstance(part, np.ma.MaskedArray) and np.ma.is_masked(part) for part in parts):
        raise VectorError(f"{name} have masked values: fill them, or leave these vectors out")
    if isinstance(values, (list, tuple)) and _has_booleans(values):
        raise VectorError(f"{name} must be floats, not booleans")
    try:
        return np.asarray(values)
    except Exception as error:  # an array of another library raises what it likes
        if any(type(part).__module__.partition(".")[0] == "torch" for part in parts):
            raise VectorError(f"{name} cannot be read as an array: {error}; {_TENSOR}") from error
        if isinstance(values, (list, tuple)) and (ragged := _ragged(values)) is not None:
            raise VectorError(
                f"{name} are ragged: element {ragged} is of shape {np.shape(values[ragged])}, the "
                f"first of {np.shape(values[0])}"
            ) from error
        raise VectorError(f"{name} are not an array: {error}") from error


def _has_booleans(values: list[Any] | tuple[Any, ...]) -> bool:
    """Returns whether there is a boolean in a list, or a list of lists: numbers are made of it."""
    return any(
        type(value) is bool
        or (isinstance(value, (list, tuple)) and any(type(item) is bool for item in value))
        for value in values
    )


def _ragged(values: list[Any] | tuple[Any, ...]) -> int | None:
    """Returns the position of the first element whose shape is not that of the first."""
    try:
        shapes = [np.shape(value) for value in values]
    except ValueError:  # an element is ragged itself
        return None
    return next((i for i, shape in enumerate(shapes) if shape != shapes[0]), None)


def _not_numbers(array: NDArray[Any], name: str) -> VectorError:
    kind, dtype = array.dtype.kind, array.dtype
    if kind in _KINDS:
        return VectorError(f"{name} must be floats, not {_KINDS[kind]} ({dtype})")
    if kind != "O":
        return VectorError(f"{name} must be floats, not {dtype}; .astype('float32') converts them")
    values = listed(array)
    if values is None:
        what = type(array.item()).__name__ if array.ndim == 0 else f"objects of shape {array.shape}"
        return VectorError(f"{name} must be floats, not {what}")
    for position, value in enumerate(values):
        is_scalar = isinstance(value, (str, bytes)) or not hasattr(value, "__len__")
        is_number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        if is_scalar and not is_number:
            return VectorError(f"{name} must be floats, but element {position} is {quote(value)}")
    return VectorError(
        f"{name} must be floats, not a column of objects ({dtype}): give np.stack(list(…)) of it "
        "where each element is a vector, .astype('float32') where each is a number"
    )
