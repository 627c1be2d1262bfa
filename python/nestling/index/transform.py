"""What an index learns from its rows, so that few bits and short prefixes distinguish them."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nestling import _core
from nestling._util.interruptible import interruptible
from nestling.index.funnel import Stage

__all__ = ["learn", "learn_centre", "learn_rotation"]

_MOST_ROWS: Final = 65_536  # a sample of the rows to learn from
_STEP: Final = 1_000_000_000  # multiply-adds: some tens of milliseconds
_QUICK_DIM: Final = 384  # whose eigenvectors take less than that

Floats = NDArray[np.float32]


def learn_rotation(rows: Floats) -> Floats:
    """Finds the orthogonal rotation after which the first dimensions carry most variance.

    The axes are the principal components of the rows about their mean. Rows are only rotated, not
    centred, so that scores of whole embeddings stay as they are, while those of prefixes become
    better. Embeddings that were not trained for Matryoshka search gain from it, others do not.

    Args:
        rows: (n, dim) float32.

    Returns:
        (dim, dim) float32: a row is rotated by multiplying it with the transpose.

    Example:
        >>> rows = np.array([[0, 2], [0, -2], [1, 0], [-1, 0]], np.float32)
        >>> np.abs(learn_rotation(rows)).round(3)
        array([[0., 1.],
               [1., 0.]], dtype=float32)
    """
    rotation = _principal_axes(rows)
    # The sign of an axis is arbitrary: the largest component is made positive.
    largest = np.take_along_axis(rotation, np.abs(rotation).argmax(axis=1)[:, None], axis=1)
    return np.ascontiguousarray(rotation * np.where(largest < 0, -1.0, 1.0), dtype=np.float32)


def _principal_axes(rows: Floats) -> NDArray[np.float64]:
    """Returns (dim, dim): the principal components, the one of most variance first."""
    dim = rows.shape[1]
    mean = rows.mean(axis=0, dtype=np.float64)
    scatter = np.zeros((dim, dim))
    # Ctrl-C takes effect between two steps.
    step = max(1, _STEP // dim**2)
    for first in range(0, len(rows), step):
        centred = rows[first : first + step] - mean
        scatter += centred.T @ centred
    if dim <= _QUICK_DIM:
        _, axes = np.linalg.eigh(scatter)
    else:
        _, axes = interruptible(lambda: np.linalg.eigh(scatter))
    axes_by_variance: NDArray[np.float64] = axes.T[::-1]
    return axes_by_variance


def learn_centre(rows: Floats, dims: int, rotation: Floats | None) -> Floats:
    """Returns the mean of the rows' normalised prefixes.

    Args:
        rows: (n, dim) float32.
        dims: Length of the prefix.
        rotation: (dim, dim) float32 of `learn_rotation`, applied to the rows first; None for no
            rotation.

    Returns:
        (dims,) float32.

    Example:
        >>> learn_centre(np.array([[1, 0, 5], [0, 1, 5]], np.float32), 2, None)
        array([0.5, 0.5], dtype=float32)
    """
    rotated = rows if rotation is None else rows @ rotation.T
    prefixes = rotated[:, :dims].astype(np.float64)
    norms = np.linalg.norm(prefixes, axis=1, keepdims=True)
    mean = (prefixes / np.maximum(norms, np.finfo(np.float32).tiny)).mean(axis=0)
    return np.ascontiguousarray(mean, dtype=np.float32)


def learn(core: _core.Index, first: Stage, *, rotate: bool, centre: bool) -> tuple[Floats, Floats]:
    """Learns the transform of an index from a sample of its rows.

    Args:
        core: The index; the sample is spread evenly over its rows.
        first: The first stage of the new storage, whose prefixes are centred.
        rotate: Whether to learn a rotation.
        centre: Whether to learn a centre.

    Returns:
        The rotation, (dim, dim), and the centre, (first.dims,), both float32; empty if they are not
        to be learned, or if there is no row.
    """
    nothing = np.empty(0, np.float32)
    ids = core.ids()
    if not (rotate or centre) or not len(ids):
        return nothing, nothing
    every = -(-len(ids) // _MOST_ROWS)
    rows = core.reconstruct(np.ascontiguousarray(ids[::every]))
    rotation = learn_rotation(rows) if rotate else None
    offset = learn_centre(rows, first.dims, rotation) if centre else nothing
    return nothing if rotation is None else rotation, offset
