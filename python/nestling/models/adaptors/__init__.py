"""The adaptors of the built-in models: orthogonal maps that make prefixes good embeddings.

NAME.npz holds the `matrix`, (dim, dim) float16, and the `nesting` lengths it was trained for.
NAME.json beside it is its card: texts, settings, command and measurements. Both come from
`nestling train adaptor` (`nestling.training.adaptor`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from nestling._util.value import Value

__all__ = ["Adaptor", "bundled_adaptor"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Adaptor(Value):
    """A linear map that makes the prefixes of an encoder good embeddings.

    Attributes:
        matrix: (dim, dim) float32; an embedding is mapped by multiplying it with the transpose.
        nesting: Prefix lengths that it was trained for, rising.
        digest: 8 hexadecimal digits that identify it.
    """

    matrix: NDArray[np.float32]
    nesting: tuple[int, ...]
    digest: str


def bundled_adaptor(name: str) -> Adaptor | None:
    """Returns the adaptor of a built-in model; None where the model nests without one.

    Example:
        >>> bundled_adaptor("minilm").matrix.shape
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
