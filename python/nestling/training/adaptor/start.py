"""Orthogonal maps: the one from which training starts, and a parametrisation of all."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["cayley", "principal_axes"]

Floats = NDArray[np.float32]


def principal_axes(vectors: Floats) -> Floats:
    """Finds the rotation whose first dimensions carry most of the differences between vectors.

    The direction of the mean comes last: all vectors share it (it is most of e5's length), so it
    distinguishes none of them and only flattens the cosines of a prefix. The others are the
    principal axes of the rest. Nothing is subtracted, so whole embeddings keep their scores.

    Args:
        vectors: (n, dim) float32 at unit length.

    Returns:
        (dim, dim) float32, orthogonal: `vectors @ rotation.T` are the rotated vectors.

    Example:
        >>> vectors = np.eye(4, dtype=np.float32)
        >>> principal_axes(vectors).shape
        (4, 4)
    """
    rows = vectors.astype(np.float64)
    mean = rows.mean(axis=0)
    length = np.linalg.norm(mean)
    # Not rowvar=False: numpy 1 does not transpose a single row.
    covariance = np.atleast_2d(np.cov(rows.T, bias=True))
    if length > 0:
        shared = mean / length
        outside = np.eye(len(shared)) - np.outer(shared, shared)
        # Below every variance, so that the shared direction is the last axis.
        covariance = outside @ covariance @ outside - np.outer(shared, shared)
    _, axes = np.linalg.eigh(covariance)
    rotation = axes.T[::-1]
    # The sign of an axis is arbitrary: the largest component is made positive.
    largest = np.take_along_axis(rotation, np.abs(rotation).argmax(axis=1)[:, None], axis=1)
    return np.ascontiguousarray(rotation * np.where(largest < 0, -1.0, 1.0), dtype=np.float32)


def cayley(free: Any) -> Any:
    """Returns the rotation that a square torch matrix of free parameters stands for.

    (I + S/2)^-1 (I - S/2) with S = free - free^T is orthogonal for any parameters, and the identity
    for zeros. So a descent over the parameters never leaves the rotations.
    """
    import torch

    skew = (free - free.T) / 2
    identity = torch.eye(len(free), dtype=free.dtype)
    return torch.linalg.solve(identity + skew, identity - skew)
