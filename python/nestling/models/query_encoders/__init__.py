"""The query encoders of the built-in models, for documents of any subject.

NAME.npz holds rows in four bits, and what goes with them:

```
codes         (rows, dim / 2) uint8   two codes a byte, the first one in the low bits, 8 added
scales        (rows,) float16         what a code of 1 stands for
tokens        (n,) int32              the ids of the tokens of the first n rows
pairs         (rows - n, 2) int32     the ids of the pairs of the others, rising
vocabulary    () int32                ids that the tokenizer has
offset        (dim,) float32          what is added to a sum at unit length
refine_below  () float64              the margin below which a search should use the teacher
```

A token without a row adds nothing to the sum of a query; that of a query without any row is zero,
and the offset, the mean of all queries, is what is left.

NAME.json beside it is its card: texts, settings and measurements. The rows are made by
`benchmarks/make_query_encoder.py`, from the embeddings of the model with its adaptor, at int8;
those at float32 differ by less than the rows do.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nestling._util.value import Value
from nestling.runtime.token_rows import save_token_rows

__all__ = ["BundledRows", "bundled_rows", "pack_rows", "unpack_rows"]

_ZERO: Final = 8  # what a code of 0 is stored as
_MOST: Final = 7  # the largest code
_CLIPPED: Final = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # shares of the largest value that are tried

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class BundledRows(Value):
    """The rows of a query encoder.

    Attributes:
        rows: (n + m, dim) float32, those of tokens, then those of pairs.
        tokens: (n,) int32, the ids of the tokens.
        pairs: (m, 2) int32, the ids of the pairs.
        vocabulary: Ids that the tokenizer has.
        offset: (dim,) float32, what is added to a sum at unit length.
        refine_below: The margin below which a search should use the teacher.
        digest: 8 hexadecimal digits that identify the file.
    """

    rows: Floats
    tokens: NDArray[np.int32]
    pairs: NDArray[np.int32]
    vocabulary: int
    offset: Floats
    refine_below: float
    digest: str

    def save(self, path: Path) -> None:
        """Writes them as `nestling.runtime.token_rows` reads them.

        Example:
            >>> bundled_rows("minilm-fast").save(Path("token_rows.safetensors"))  # doctest: +SKIP
        """
        zero = np.zeros((1, self.rows.shape[1]), np.float32)
        index = np.zeros(self.vocabulary, np.int32)
        index[self.tokens] = np.arange(1, len(self.tokens) + 1)
        pairs = self.pairs if len(self.pairs) else None
        save_token_rows(path, np.concatenate([zero, self.rows]), index, pairs, self.offset)


def bundled_rows(name: str) -> BundledRows:
    """Returns the rows of a query encoder that comes with nestling.

    Args:
        name: One of `nestling.models.QUERY_ENCODERS`.

    Example:
        >>> bundled_rows("minilm-fast").rows.shape[1]
        384
    """
    content = resources.files(__name__).joinpath(f"{name}.npz").read_bytes()
    with np.load(BytesIO(content), allow_pickle=False) as arrays:
        return BundledRows(
            unpack_rows(arrays["codes"], arrays["scales"]),
            arrays["tokens"],
            arrays["pairs"],
            int(arrays["vocabulary"]),
            arrays["offset"],
            float(arrays["refine_below"]),
            hashlib.sha256(content).hexdigest()[:8],
        )


def pack_rows(rows: Floats) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Returns rows as codes of four bits, two a byte, and the scale of each row.

    The largest values of a row are clipped where that brings the others nearer.

    Args:
        rows: (n, dim) float32; dim is even.

    Example:
        >>> codes, scales = pack_rows(np.array([[7, -7, 3, 0]], np.float32))
        >>> unpack_rows(codes, scales).round(1)
        array([[ 7., -7.,  3.,  0.]], dtype=float32)
    """
    largest = np.abs(rows).max(axis=1, initial=0)
    best = np.full(len(rows), np.inf, np.float32)
    codes = np.zeros(rows.shape, np.int8)
    scales = np.zeros(len(rows), np.float16)
    for share in _CLIPPED:
        scale = (largest * share / _MOST).astype(np.float16)
        divisor = np.where(scale == 0, 1, scale).astype(np.float32)[:, np.newaxis]
        tried = np.clip(np.rint(rows / divisor), -_MOST, _MOST).astype(np.int8)
        error = np.square(tried * divisor - rows).sum(axis=1)
        better = error < best
        best[better], codes[better], scales[better] = error[better], tried[better], scale[better]
    shifted: NDArray[np.uint8] = (codes + _ZERO).astype(np.uint8)
    packed: NDArray[np.uint8] = shifted[:, ::2] + np.uint8(16) * shifted[:, 1::2]
    return packed, scales


def unpack_rows(codes: NDArray[np.uint8], scales: NDArray[np.float16]) -> Floats:
    """Returns the rows of codes that `pack_rows` made.

    Args:
        codes: (n, dim / 2) uint8.
        scales: (n,) float16.

    Returns:
        (n, dim) float32.

    Example:
        >>> unpack_rows(np.array([[0xF8]], np.uint8), np.array([0.5], np.float16))
        array([[0. , 3.5]], dtype=float32)
    """
    rows = np.empty((len(codes), 2 * codes.shape[1]), np.float32)
    rows[:, ::2] = codes & 15
    rows[:, 1::2] = codes >> 4
    rows -= _ZERO
    rows *= scales.astype(np.float32)[:, np.newaxis]
    return rows
