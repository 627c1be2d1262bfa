"""Embeddings that survive a killed training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nestling._util.atomic import new_file
from nestling._util.progress import ProgressBar

__all__ = ["embed"]

_CHUNK: Final = 2048  # at most so many texts are encoded again after a kill

Floats = NDArray[np.float32]


def embed(
    folder: Path,
    name: str,
    texts: Sequence[str],
    encode: Callable[..., Any],
    *,
    progress: bool | None = None,
) -> Floats:
    """Encodes texts into one file per chunk, except the chunks whose files exist.

    Args:
        folder: The folder of the files. The caller makes sure that it is used for one encoder and
            one list of texts only.
        name: Prefix of the file names.
        texts: The texts.
        encode: `Encoder.encode` or `Encoder.encode_queries`.
        progress: Whether to show a bar. None: when it takes long, on a terminal.

    Returns:
        (n, dim) float32.

    Example:
        >>> def encode(texts, progress):
        ...     return np.ones((len(texts), 2), np.float32)
        >>> embed(Path(), "texts", ["a", "b"], encode).shape
        (2, 2)
    """
    parts = []
    with ProgressBar(f"Encoding {name}", total=len(texts), show=progress) as bar:
        for start in range(0, len(texts), _CHUNK):
            chunk = texts[start : start + _CHUNK]
            path = folder / f"{name}-{start:08}.npy"
            if path.exists():
                part = np.load(path, allow_pickle=False)
            else:
                part = encode(chunk, progress=False)
                with new_file(path) as staged, staged.open("wb") as stream:
                    np.save(stream, part)
            parts.append(part)
            bar.advance(len(chunk))
    return np.concatenate(parts)
