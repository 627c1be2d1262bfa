"""Orthogonal maps: the one that training starts from, and a way to move among them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["cayley", "principal_axes"]

Floats = NDArray[np.float32]


def principal_axes(vectors: Floats) -> Floats:
    """Finds the rotation whose first dimensions carry most of what tells the vectors apart.

    The direction of the mean comes last: it is what all vectors share (most of e5's length), so it
    tells none of them from another and only flattens the cosines of a prefix. The others are the
    principal axes of what is left. Nothing is subtracted, so whole embeddings keep their scores.

    Args:
        vectors: (n, dim) float32 at unit length.

    Returns:
        (dim, dim) float32, orthogonal: a vector is rotated by multiplying it with the transpose.
    """
    rows = vectors.astype(np.float64)
    mean = rows.mean(axis=0)
    length = np.linalg.norm(mean)
    covariance = np.atleast_2d(np.cov(rows, rowvar=False, bias=True))
    if length > 0:
        shared = mean / length
        outside = np.eye(len(shared)) - np.outer(shared, shared)
        # Below every variance, so that the shared direction is the last axis.
        covariance = outside @ covariance @ outside - np.outer(shared, shared)
    _, axes = np.linalg.eigh(covariance)
    rotation = axes.T[::-1]
    # An axis has no sign of its own: the largest component is made positive.
    largest = np.take_along_axis(rotation, np.abs(rotation).argmax(axis=1)[:, None], axis=1)
    return np.ascontiguousarray(rotation * np.where(largest < 0, -1.0, 1.0), dtype=np.float32)


def cayley(free: Any) -> Any:
    """Returns the rotation that a square torch matrix of free numbers stands for.

    (I + S/2)^-1 (I - S/2) with S = free - free^T is orthogonal whatever the numbers are; zeros give
    the identity. So a descent over the free numbers never leaves the rotations.
    """
    import torch

    skew = (free - free.T) / 2
    identity = torch.eye(len(free), dtype=free.dtype)
    return torch.linalg.solve(identity + skew, identity - skew)
