"""A query encoder without a graph: a text is the sum of the rows of its tokens.

Pairs of neighbouring tokens can have rows as well: a name or a phrase is more than its words. The
file holds an int8 row and its scale for each token and each pair that has one, and for each id of
the tokenizer the number of its row. A weighted mean needs no weights at run time: they are part of
the rows, and whoever takes an embedding brings it to unit length. Optionally an offset is added to
the sum at unit length:

```
codes     (rows, dim) int8     row 0 is zero: that of tokens without one; those of pairs come last
scales    (rows,) float32      what a code of 1 stands for
index     (vocabulary,) int32  the row of each token id
pairs     (pairs, 2) int32     the ids of each pair, rising
offset    (dim,) float32
```
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from nestling.errors import ModelError
from nestling.runtime.modules import Module, normalise

if TYPE_CHECKING:
    from nestling.runtime.session import Cancellation

__all__ = ["FILE", "Pairs", "TokenRows", "save_token_rows"]

FILE: Final = "token_rows.safetensors"
"""Its name in a model folder."""

_LEVELS: Final = 127
_NAMES: Final = ("codes", "scales", "index")
_PAIRS: Final = "pairs"
_OFFSET: Final = "offset"
_TYPES: Final = {"codes": np.int8, "index": np.int32, _PAIRS: np.int32}
_LAST_KEY: Final = np.iinfo(np.int64).max  # that of no pair

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]


class Pairs:
    """Pairs of neighbouring tokens, and the rows that they have.

    Args:
        pairs: (n, 2) int32, the ids of each pair, rising.
        first: The row of the first pair; the others follow.

    Example:
        >>> pairs = Pairs(np.array([[3, 5], [5, 3]], np.int32), first=10)
        >>> pairs.rows_of(np.array([3, 5, 3, 3])), len(pairs)
        (array([10, 11,  0]), 2)
    """

    def __init__(self, pairs: NDArray[np.int32], first: int) -> None:
        self._count = len(pairs)
        keys = _keys(pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.int64))
        self._keys = np.append(keys, _LAST_KEY)
        self._rows = np.append(np.arange(first, first + len(pairs)), 0)

    def __len__(self) -> int:
        return self._count

    def rows_of(self, ids: Ids) -> Ids:
        """Returns the row of each two neighbours of (n,) ids, (n - 1,); 0 where they have none."""
        keys = _keys(ids[:-1], ids[1:])
        places = self._keys.searchsorted(keys)
        rows: Ids = self._rows[places]
        rows[self._keys[places] != keys] = 0
        return rows


def _keys(lefts: Ids, rights: Ids) -> Ids:
    keys: Ids = (lefts << 32) | rights
    return keys


class TokenRows:
    """Sums rows of tokens; runs where a model's graph would (`nestling.runtime.session.Graph`).

    Args:
        path: The file.

    Attributes:
        dim: Dimensions of a row.
        weights: Size of the file in bytes.
        one_by_one, padding, inputs, output, pooled, modules: As of `Graph`.

    Raises:
        ModelError: The file is absent, malformed, or its parts do not fit together.
    """

    one_by_one = False
    padding = True
    inputs = ("input_ids", "attention_mask")
    output = "sentence_embedding"
    pooled = True
    modules: tuple[Module, ...] = ()

    def __init__(self, path: Path) -> None:
        tensors = _read(path)
        self._codes = tensors["codes"]
        self._scales = tensors["scales"]
        # Ids beyond the table are those of tokens that were added later: they have no row either.
        self._index = np.append(tensors["index"], np.int32(0))
        self._pairs: Pairs | None = None
        if _PAIRS in tensors:
            pairs = tensors[_PAIRS]
            self._pairs = Pairs(pairs, len(self._codes) - len(pairs))
        self._offset = tensors.get(_OFFSET)
        self.dim = self._codes.shape[1]
        self.weights = path.stat().st_size

    def run(self, ids: Ids, mask: Ids, cancellation: Cancellation | None = None) -> Floats:
        """Returns (batch, dim) float32, of any length, for (batch, tokens) ids."""
        if len(ids) == 1:
            rows: NDArray[Any] = self._index.take(ids[0], mode="clip")
            if self._pairs is not None:
                rows = np.concatenate((rows, self._pairs.rows_of(ids[0])))
            total: Floats = self._scales[rows] @ self._codes[rows].astype(np.float32)
            if self._offset is not None:
                total = _unit(total) + self._offset
            return total[np.newaxis]
        ends = mask.sum(axis=1).cumsum()
        tokens = ids[mask.astype(np.bool_)]
        values = self._values(self._index.take(tokens, mode="clip"))
        if self._pairs is not None:
            rows = self._pairs.rows_of(tokens)
            rows[ends[:-1] - 1] = 0  # the last token of a text and the first one of the next
            left = np.flatnonzero(rows)
            values[left] += self._values(rows[left])
        total = np.add.reduceat(values, np.append(0, ends[:-1]), axis=0)
        return total if self._offset is None else normalise(total) + self._offset

    def _values(self, rows: NDArray[Any]) -> Floats:
        values: Floats = self._codes[rows].astype(np.float32)
        values *= self._scales[rows, np.newaxis]
        return values


def _unit(vector: Floats) -> Floats:
    """Returns one vector at unit length, in a third of the time that `normalise` takes."""
    unit: Floats = vector / (math.sqrt(vector @ vector) or 1.0)
    return unit


def save_token_rows(
    path: Path,
    rows: Floats,
    index: NDArray[np.int32],
    pairs: NDArray[np.int32] | None = None,
    offset: Floats | None = None,
) -> None:
    """Writes rows as int8 with a scale each, which keeps cosines within about 1e-4.

    Args:
        path: The file.
        rows: (n, dim) float32; the first one is zero, those of pairs come last.
        index: (vocabulary,) the row of each token id.
        pairs: (pairs, 2) the ids of each pair, rising; None for none.
        offset: (dim,), or None.

    Example:
        >>> rows = np.array([[0, 0], [3, -4]], np.float32)
        >>> save_token_rows(Path(FILE), rows, np.array([0, 1], np.int32))
        >>> TokenRows(Path(FILE)).run(np.array([[1]]), np.array([[1]])).round(2)
        array([[ 2.99, -4.  ]], dtype=float32)
    """
    from safetensors.numpy import save_file

    scales = np.abs(rows).max(axis=1, initial=0) / np.float32(_LEVELS)
    divisors = np.where(scales == 0, np.float32(1), scales)[:, np.newaxis]
    tensors: dict[str, NDArray[Any]] = {
        "codes": np.rint(rows / divisors).astype(np.int8),
        "scales": scales.astype(np.float32),
        "index": index.astype(np.int32),
    }
    if pairs is not None:
        tensors[_PAIRS] = np.ascontiguousarray(pairs, np.int32)
    if offset is not None:
        tensors[_OFFSET] = offset
    save_file(tensors, str(path))


def _read(path: Path) -> dict[str, NDArray[Any]]:
    import safetensors
    from safetensors.numpy import load_file

    try:
        tensors: dict[str, NDArray[Any]] = load_file(str(path))
    except (OSError, safetensors.SafetensorError, KeyError, ValueError) as error:
        raise ModelError(f"cannot read {path}: {error}") from error
    problem = _problem(tensors)
    if problem:
        raise ModelError(f"{path} is not a table of token rows: {problem}")
    return tensors


def _problem(tensors: Mapping[str, NDArray[Any]]) -> str:
    """Returns what is wrong with the tensors of a file; "" if nothing is."""
    if set(tensors) - {_OFFSET, _PAIRS} != set(_NAMES):
        return f"it holds {', '.join(sorted(tensors)) or 'nothing'}"
    for name, tensor in tensors.items():
        if tensor.dtype != _TYPES.get(name, np.float32):
            return f"{name} is {tensor.dtype}"
        if tensor.ndim != (1 if name in ("scales", "index", _OFFSET) else 2):
            return f"{name} has the shape {tensor.shape}"
        if tensor.dtype == np.float32 and not np.isfinite(tensor).all():
            return f"{name} holds NaN or infinity"
    rows, dim = tensors["codes"].shape
    index = tensors["index"]
    if not rows or not dim or len(tensors["scales"]) != rows:
        return f"{rows} rows of {dim} dimensions have {len(tensors['scales'])} scales"
    if len(index) and not 0 <= index.min() <= index.max() < rows:
        return f"a token has a row beyond the {rows} that there are"
    if len(tensors.get(_OFFSET, tensors["codes"][0])) != dim:
        return f"the offset has {len(tensors[_OFFSET])} dimensions, the rows have {dim}"
    if _PAIRS in tensors:
        return _problem_of_pairs(tensors[_PAIRS], rows)
    return ""


def _problem_of_pairs(pairs: NDArray[np.int32], rows: int) -> str:
    if pairs.shape[1] != 2 or len(pairs) >= rows:
        return f"pairs has the shape {pairs.shape} beside {rows} rows"
    if pairs.min(initial=0) < 0:
        return "a pair has a negative id"
    keys = _keys(pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.int64))
    return "" if (keys[1:] > keys[:-1]).all() else "the pairs do not rise"
