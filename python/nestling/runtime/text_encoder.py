"""What the package needs of an encoder: the one protocol that collections and evaluations take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

__all__ = ["TextEncoder", "encoder_name"]


@runtime_checkable
class TextEncoder(Protocol):
    """What turns texts into embeddings: `nestling.Encoder`, or any object with these members.

    Optional attributes are used where they exist: `name` (str) in tables and errors, `nesting`
    (the prefix lengths that it was trained for) in evaluations, and `fingerprint` (str) by
    collections, which then refuse an encoder with another one.

    Example:
        >>> class Lengths:
        ...     dim = 2
        ...     def encode(self, texts):
        ...         return np.array([[len(text), 1] for text in texts], np.float32)
        ...     encode_queries = encode
        >>> isinstance(Lengths(), TextEncoder)
        True
    """

    @property
    def dim(self) -> int:
        """Dimensions of an embedding."""

    def encode(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """Returns the embeddings of documents, (n, dim) float32."""

    def encode_queries(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """Returns the embeddings of queries, (n, dim) float32."""


def encoder_name(encoder: TextEncoder) -> str:
    """Returns an encoder's `name`, or that of its class if it has none.

    Example:
        >>> class Lengths:
        ...     dim = 2
        >>> encoder_name(Lengths())
        'Lengths'
    """
    name = getattr(encoder, "name", None)
    return name if isinstance(name, str) else type(encoder).__qualname__
