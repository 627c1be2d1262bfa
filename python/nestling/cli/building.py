"""Encoders, vectors, and .nest files of them: what several commands need."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nestling._util.atomic import new_file
from nestling._util.console import TOO_LONG, tell
from nestling._util.progress import ProgressBar
from nestling.errors import ModelError, TruncationWarning, VectorError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nestling.encoder import Encoder
    from nestling.index import Metric
    from nestling.runtime.folder import Precision

__all__ = ["index_vectors", "open_encoder", "query_vector", "read_vectors"]

CHUNK_ROWS: Final = 65_536


def open_encoder(
    name: str,
    *,
    precision: Precision = "int8",
    threads: int | None = None,
    nested: bool = True,
) -> Encoder:
    """Opens an encoder that keeps still about long texts: the commands tell of them themselves.

    Raises:
        ModelError: There is no such model, or it cannot be fetched or used.
    """
    from nestling.encoder import Encoder

    warnings.simplefilter("ignore", TruncationWarning)
    return Encoder(name, precision=precision, threads=threads, nested=nested)


def index_vectors(
    vectors: NDArray[np.float32],
    out: Path,
    *,
    funnel: str | None = None,
    metric: Metric = "cosine",
    threads: int | None = None,
    tune: float | None = None,
) -> None:
    """Indexes the rows of `vectors` as the file `out`; with `tune`, tuned to that recall.

    Raises:
        VectorError: The vectors hold NaN or infinity.
        StorageError: The system refused to write.
    """
    from nestling.index import Index

    index = Index(dim=vectors.shape[1], funnel=funnel, metric=metric, threads=threads)
    with ProgressBar("Indexing", total=len(vectors)) as bar:
        for start in range(0, len(vectors), CHUNK_ROWS):
            bar.advance(len(index.add(vectors[start : start + CHUNK_ROWS])))
    if tune is not None:
        index.tune(tune)
    with new_file(out) as path:
        index.save(path)


def read_vectors(path: Path) -> NDArray[np.floating[Any]]:
    """Maps the (n, dim) rows of a .npy file, unread until used; (dim,) counts as one row.

    Raises:
        VectorError: The file is missing, or holds no such array.
    """
    import numpy as np

    try:
        vectors: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise VectorError(f"{path}: cannot read: {error.strerror or error}") from error
    except (ValueError, EOFError) as error:
        raise VectorError(f"{path}: not a .npy array: {error}") from error
    rows = vectors[None] if vectors.ndim == 1 else vectors
    if rows.ndim != 2 or not np.issubdtype(rows.dtype, np.floating) or not rows.size:
        raise VectorError(
            f"{path}: expected an array of floats of shape (rows, dim), "
            f"not {vectors.dtype} {vectors.shape}"
        )
    return rows


def query_vector(encoder: Encoder, question: str, dim: int) -> NDArray[np.float32]:
    """Encodes one question, and takes its prefix where the index holds prefixes of `dim`.

    Raises:
        ModelError: The encoder's embeddings are shorter than that.
    """
    if encoder.dim < dim:
        raise ModelError(
            f"the index holds vectors of {dim} dimensions, but {encoder.name} makes {encoder.dim}; "
            "ask with the model that made them: --model"
        )
    truncated = encoder.truncated
    vector: NDArray[np.float32] = encoder.encode_queries([question], dim=dim)[0]
    if encoder.truncated > truncated:
        tell(TOO_LONG)
    return vector
