"""Embeddings that a killed training need not make again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nestling._util.atomic import new_file
from nestling._util.progress import ProgressBar

__all__ = ["embed"]

_CHUNK: Final = 2048  # texts that are encoded again at most after a kill

Floats = NDArray[np.float32]


def embed(
    folder: Path,
    name: str,
    texts: Sequence[str],
    encode: Callable[..., Any],
    *,
    progress: bool | None = None,
) -> Floats:
    """Encodes texts, a chunk a file of `folder`, and leaves out the chunks that are there.

    Args:
        folder: Where to keep them; its owner sees to it that the texts and the encoder are the same
            whenever it is opened.
        name: Of the files.
        texts: The texts.
        encode: `Encoder.encode` or `Encoder.encode_queries`.
        progress: Whether to show a bar; None when it takes long, on a terminal.

    Returns:
        (n, dim) float32.
    """
    parts = []
    with ProgressBar(f"encoding {name}", total=len(texts), show=progress) as bar:
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
