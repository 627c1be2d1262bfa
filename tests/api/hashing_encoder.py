"""An encoder without a model: hashed bags of words."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nestling.errors import TruncationWarning
from nestling.runtime.overrides import Overrides

__all__ = ["HashingEncoder"]


class HashingEncoder:
    """Has the methods of `nestling.Encoder`; texts that share words are near each other."""

    nesting: tuple[int, ...] = ()
    fingerprint = "0123456789abcdef"
    overrides = Overrides()
    teacher = queries = None

    def __init__(self, model: str = "minilm", *, dim: int = 256, **options: object) -> None:
        self.name = self.source = str(model)
        self.dim = dim
        self.precision = options.get("precision", "int8")
        self.nested = True
        self.max_words = self.max_length = 1000
        self.truncated = 0

    def encode(
        self,
        texts: Sequence[str],
        *,
        batch_size: int = 64,
        dim: int | None = None,
        progress: bool | None = None,
    ) -> NDArray[np.float32]:
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        truncated = 0
        for row, text in enumerate(texts):
            words = text.lower().replace("?", " ").replace(".", " ").replace("(", " ").split()
            truncated += len(words) > self.max_words
            for word in words[: self.max_words]:
                vectors[row, zlib.crc32(word.encode("utf-8", "backslashreplace")) % self.dim] += 1
        if truncated:
            self.truncated += truncated
            warnings.warn(f"{truncated} texts were longer", TruncationWarning, stacklevel=2)
        vectors = vectors[:, :dim]
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(lengths == 0, 1, lengths)

    encode_queries = encode
