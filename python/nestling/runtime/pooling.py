"""From the output of a model to unit vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["POOLINGS", "layer_norm", "normalise"]

Floats = NDArray[np.float32]
Mask = NDArray[np.int64]


def _mean(tokens: Floats, mask: Mask) -> Floats:
    shown = mask.astype(np.float32)
    total: Floats = np.einsum("btd,bt->bd", tokens, shown)
    total /= shown.sum(axis=1, keepdims=True)
    return total


def _cls(tokens: Floats, mask: Mask) -> Floats:
    return tokens[:, 0]


def _last(tokens: Floats, mask: Mask) -> Floats:
    last: Floats = tokens[np.arange(len(tokens)), mask.sum(axis=1) - 1]
    return last


#: Functions from token embeddings (batch, tokens, dim) and a mask (batch, tokens) to (batch, dim),
#: by the names of sentence-transformers. Padding is on the right.
POOLINGS: Final[Mapping[str, Callable[[Floats, Mask], Floats]]] = MappingProxyType(
    {"mean": _mean, "cls": _cls, "lasttoken": _last}
)


def layer_norm(vectors: Floats, epsilon: float = 1e-5) -> Floats:
    """Returns each row with mean 0 and variance 1, over all its dimensions.

    Example:
        >>> layer_norm(np.array([[1, 3]], np.float32)).round(3)
        array([[-1.,  1.]], dtype=float32)
    """
    centred = vectors - vectors.mean(axis=1, keepdims=True)
    result: Floats = centred / np.sqrt(np.square(centred).mean(axis=1, keepdims=True) + epsilon)
    return result


def normalise(vectors: Floats) -> Floats:
    """Returns each row at unit length; a zero row stays zero.

    Example:
        >>> normalise(np.array([[3, 4], [0, 0]], np.float32))
        array([[0.6, 0.8],
               [0. , 0. ]], dtype=float32)
    """
    norms: Floats = np.sqrt(np.add.reduce(vectors * vectors, axis=1, keepdims=True))
    norms[norms == 0] = np.inf  # so that zero rows stay zero
    result: Floats = vectors / norms
    return result
