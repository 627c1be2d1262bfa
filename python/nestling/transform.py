"""What an index learns from its own rows, so that few bits and short prefixes tell them apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["learn_centre", "learn_rotation"]

Floats = NDArray[np.float32]


def learn_rotation(rows: Floats) -> Floats:
    """Finds the orthogonal rotation after which the first dimensions carry most variance.

    The axes are the principal components of the rows about their mean. Rows are only rotated, not
    centred, so that scores of whole embeddings stay as they are, while those of prefixes become
    better. Embeddings that were not trained for Matryoshka search gain by it, others do not.

    Args:
        rows: (n, dim) float32.

    Returns:
        (dim, dim) float32: a row is rotated by multiplying it with the transpose.
    """
    covariance = np.cov(rows.astype(np.float64), rowvar=False, bias=True)
    _, axes = np.linalg.eigh(np.atleast_2d(covariance))
    rotation = axes.T[::-1]
    # An axis has no sign of its own: the largest component is made positive.
    largest = np.take_along_axis(rotation, np.abs(rotation).argmax(axis=1)[:, None], axis=1)
    return np.ascontiguousarray(rotation * np.where(largest < 0, -1.0, 1.0), dtype=np.float32)


def learn_centre(rows: Floats, dims: int, rotation: Floats | None) -> Floats:
    """Returns the mean of the rows' normalised prefixes.

    Args:
        rows: (n, dim) float32.
        dims: Length of the prefix.
        rotation: What rows are rotated by first, as `learn_rotation` gives it; None for nothing.

    Returns:
        (dims,) float32.
    """
    rotated = rows if rotation is None else rows @ rotation.T
    prefixes = rotated[:, :dims].astype(np.float64)
    norms = np.linalg.norm(prefixes, axis=1, keepdims=True)
    mean = (prefixes / np.maximum(norms, np.finfo(np.float32).tiny)).mean(axis=0)
    return np.ascontiguousarray(mean, dtype=np.float32)
