"""A query encoder without a graph: a text is the sum of the rows of its tokens.

Pairs of neighbouring tokens can have rows as well: a name or a phrase is more than its words; and
so can runs of letters inside words (`nestling.runtime.word_grams`), whose ids follow those of the
tokenizer. The file holds an int8 row and its scale for each token, run and pair that has one, and
for each id the number of its row. A weighted mean needs no weights at run time: they are part of
the rows, and whoever takes an embedding brings it to unit length. Optionally an offset is added to
the sum at unit length:

```
codes     (rows, dim) int8         row 0 is zero: that of ids without one; those of pairs come last
scales    (rows,) float32          what a code of 1 stands for
index     (vocabulary + n,) int32  the row of each token id, then that of each run of letters
grams     (bytes,) uint8           the n runs of letters in UTF-8, with a line break between two
pairs     (pairs, 2) int32         the ids of each pair, rising
offset    (dim,) float32
```
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nestling import _core
from nestling.errors import ModelError
from nestling.runtime.modules import Module
from nestling.runtime.word_grams import WordGrams

__all__ = ["FILE", "TokenRows", "save_token_rows"]

FILE: Final = "token_rows.safetensors"
"""Its name in a model folder."""

_LEVELS: Final = 127
_NAMES: Final = ("codes", "scales", "index")
_PAIRS: Final = "pairs"
_GRAMS: Final = "grams"
_OFFSET: Final = "offset"
_TYPES: Final = {"codes": np.int8, "index": np.int32, _PAIRS: np.int32, _GRAMS: np.uint8}

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]


class TokenRows:
    """Sums rows of tokens, in place of a model's graph (`nestling.runtime.session.Graph`).

    The bits of a sum do not depend on the other texts of a call.

    Args:
        path: The file.

    Attributes:
        dim: Dimensions of a row.
        grams: The runs of letters that have a row; None where there are none.
        weights: Size of the file in bytes.
        one_by_one, padding, inputs, output, pooled, modules: As of `Graph`.

    Raises:
        ModelError: The file is absent, malformed, or its parts do not fit together.
    """

    one_by_one = False
    padding = True
    inputs = ("input_ids",)
    output = "sentence_embedding"
    pooled = True
    modules: tuple[Module, ...] = ()

    def __init__(self, path: Path) -> None:
        tensors = _read(path)
        self._table = _core.TokenTable(
            tensors["codes"],
            tensors["scales"],
            tensors["index"],
            tensors.get(_PAIRS, np.empty((0, 2), np.int32)),
            tensors.get(_OFFSET, np.empty(0, np.float32)),
        )
        # Ids beyond the table are those of tokens that were added later: they have no row either.
        self._unknown = np.append(tensors["index"] == 0, True)
        grams = _grams(tensors)
        self.grams = WordGrams(grams, len(tensors["index"]) - len(grams)) if grams else None
        self.dim = tensors["codes"].shape[1]
        self.weights = path.stat().st_size

    def run(self, texts: Sequence[Ids], dim: int | None = None) -> Floats:
        """Returns the sums of the rows of each text's ids.

        Args:
            texts: The ids of each text.
            dim: Length of the prefix to return at unit length; None for whole sums of any length.

        Returns:
            (texts, dim) float32.
        """
        ids = texts[0] if len(texts) == 1 else np.concatenate(texts)
        lengths = [len(text) for text in texts]
        if dim is None:
            return self._table.sums(ids, lengths)
        return self._table.units(ids, lengths, dim)

    def unknown_share(self, ids: Ids) -> float:
        """Returns the share of a text's tokens that have no row; 0 where there are none."""
        return float(self._unknown.take(ids, mode="clip").mean()) if len(ids) else 0.0


def save_token_rows(
    path: Path,
    rows: Floats,
    index: NDArray[np.int32],
    pairs: NDArray[np.int32] | None = None,
    offset: Floats | None = None,
    grams: Sequence[str] = (),
) -> None:
    """Writes rows as int8 with a scale each, which keeps cosines within about 1e-4.

    Args:
        path: The file.
        rows: (n, dim) float32; the first one is zero, those of pairs come last.
        index: (vocabulary + m,) the row of each token id, then that of each run of letters.
        pairs: (pairs, 2) the ids of each pair, rising; None for none.
        offset: (dim,), or None.
        grams: The m runs of letters, as `grams_of` gives them.

    Example:
        >>> rows = np.array([[0, 0], [3, -4]], np.float32)
        >>> save_token_rows(Path(FILE), rows, np.array([0, 1], np.int32))
        >>> table = TokenRows(Path(FILE))
        >>> table.run([np.array([1])]).round(2), table.run([np.array([1])], dim=2).round(2)
        (array([[ 2.99, -4.  ]], dtype=float32), array([[ 0.6, -0.8]], dtype=float32))
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
    if grams:
        tensors[_GRAMS] = np.frombuffer("\n".join(grams).encode(), np.uint8)
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


def _grams(tensors: Mapping[str, NDArray[Any]]) -> list[str]:
    found = tensors.get(_GRAMS)
    return [] if found is None else found.tobytes().decode().split("\n")


def _problem(tensors: Mapping[str, NDArray[Any]]) -> str:
    """Returns what is wrong with the tensors of a file; "" if nothing is."""
    if set(tensors) - {_OFFSET, _PAIRS, _GRAMS} != set(_NAMES):
        return f"it holds {', '.join(sorted(tensors)) or 'nothing'}"
    for name, tensor in tensors.items():
        if tensor.dtype != _TYPES.get(name, np.float32):
            return f"{name} is {tensor.dtype}"
        if tensor.ndim != (2 if name in ("codes", _PAIRS) else 1):
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
    if _PAIRS in tensors and (problem := _problem_of_pairs(tensors[_PAIRS], rows)):
        return problem
    return _problem_of_grams(tensors)


def _problem_of_grams(tensors: Mapping[str, NDArray[Any]]) -> str:
    try:
        grams = _grams(tensors)
    except UnicodeDecodeError as error:
        return f"grams is not UTF-8: {error}"
    if len(grams) > len(tensors["index"]):
        return f"{len(grams)} runs of letters have {len(tensors['index'])} rows"
    return "" if len(set(grams)) == len(grams) else "a run of letters is there twice"


def _problem_of_pairs(pairs: NDArray[np.int32], rows: int) -> str:
    if pairs.shape[1] != 2 or len(pairs) >= rows:
        return f"pairs has the shape {pairs.shape} beside {rows} rows"
    if pairs.min(initial=0) < 0:
        return "a pair has a negative id"
    wide = pairs.astype(np.int64)
    keys = (wide[:, 0] << 32) | wide[:, 1]
    return "" if (keys[1:] > keys[:-1]).all() else "the pairs do not rise"
