"""The adaptors of the built-in models: orthogonal maps after which prefixes are embeddings.

Beside each NAME.npz, with the `matrix` (dim, dim) float16 and the `nesting` lengths that it was
trained for, is NAME.json, its card: the texts, the settings, the command and what was measured.
Both are made by `nestling train adaptor` (`nestling.training.adaptor`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

__all__ = ["Adaptor", "shipped"]


@dataclass(frozen=True, slots=True, eq=False)
class Adaptor:
    """A map that makes an encoder's prefixes good embeddings.

    Attributes:
        matrix: (dim, dim) float32; an embedding is mapped by multiplying it with the transpose.
        nesting: Prefix lengths that it was trained for, rising.
        digest: 8 hexadecimal digits that tell it from others.
    """

    matrix: NDArray[np.float32]
    nesting: tuple[int, ...]
    digest: str


def shipped(name: str) -> Adaptor | None:
    """Returns the adaptor of a built-in model; None where it has none, being nested already.

    Example:
        >>> shipped("minilm").matrix.shape
        (384, 384)
    """
    path = resources.files(__name__).joinpath(f"{name}.npz")
    if not path.is_file():
        return None
    content = path.read_bytes()
    with np.load(BytesIO(content), allow_pickle=False) as arrays:
        return Adaptor(
            arrays["matrix"].astype(np.float32),
            tuple(int(dim) for dim in arrays["nesting"]),
            hashlib.sha256(content).hexdigest()[:8],
        )
