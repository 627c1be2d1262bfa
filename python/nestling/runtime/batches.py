"""Which texts share a run of the model, and how their tokens are laid out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["pad", "plan"]


def plan(lengths: Sequence[int], *, batch_size: int, max_tokens: int) -> Iterator[NDArray[np.intp]]:
    """Yields the places of texts of like length, the longest first.

    Args:
        lengths: Tokens of each text. Texts of none belong to no batch.
        batch_size: Most texts of a batch.
        max_tokens: Most tokens of a batch, padding included; a longer text has one for itself.
    """
    counts = np.asarray(lengths, np.int64)
    order = np.argsort(-counts, kind="stable")
    order = order[: np.count_nonzero(counts)]
    start = 0
    while start < len(order):
        longest = int(counts[order[start]])
        stop = start + max(1, min(batch_size, max_tokens // longest))
        yield order[start:stop]
        start = stop


def pad(
    rows: Sequence[NDArray[np.int64]], pad_id: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns ids and mask, both (len(rows), longest row) int64; the mask is 1 where a token is."""
    if len(rows) == 1:
        ids = rows[0][np.newaxis]
        return ids, np.ones_like(ids)
    lengths = np.array([len(row) for row in rows])
    mask = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
    ids = np.full(mask.shape, pad_id, np.int64)
    ids[mask.astype(bool)] = np.concatenate(rows)
    return ids, mask
