"""Which texts share a run of the model, and the layout of their tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["pad", "plan"]


def plan(
    lengths: Sequence[int], *, batch_size: int, max_tokens: int, padding: bool = True
) -> Iterator[NDArray[np.intp]]:
    """Yields the positions of texts of similar length, the longest first.

    Args:
        lengths: Tokens of each text. Texts without tokens are in no batch.
        batch_size: The most texts in a batch.
        max_tokens: The most tokens in a batch, padding included; a longer text is a batch of one.
        padding: Whether texts of other lengths may share a batch.

    Example:
        >>> [batch.tolist() for batch in plan([2, 9, 0, 3], batch_size=2, max_tokens=16)]
        [[1], [3, 0]]
        >>> equal = plan([2, 9, 2, 3], batch_size=2, max_tokens=16, padding=False)
        >>> [batch.tolist() for batch in equal]
        [[1], [3], [0, 2]]
    """
    counts = np.asarray(lengths, np.int64)
    order = np.argsort(-counts, kind="stable")
    order = order[: np.count_nonzero(counts)]
    start = 0
    while start < len(order):
        longest = int(counts[order[start]])
        stop = start + max(1, min(batch_size, max_tokens // longest))
        if not padding:
            stop = start + int(np.count_nonzero(counts[order[start:stop]] == longest))
        yield order[start:stop]
        start = stop


def pad(
    rows: Sequence[NDArray[np.int64]], pad_id: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns ids and mask, both (len(rows), longest row) int64; the mask is 1 for tokens.

    Example:
        >>> ids, mask = pad([np.array([5, 6]), np.array([7])], pad_id=0)
        >>> ids.tolist(), mask.tolist()
        ([[5, 6], [7, 0]], [[1, 1], [1, 0]])
    """
    if len(rows) == 1:
        ids = rows[0][np.newaxis]
        return ids, np.ones_like(ids)
    lengths = np.array([len(row) for row in rows])
    mask = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
    ids = np.full(mask.shape, pad_id, np.int64)
    ids[mask.astype(bool)] = np.concatenate(rows)
    return ids, mask
