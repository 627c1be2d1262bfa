"""From documents or vectors to an index folder: the work behind `index` and `demo`."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nestling.atomic import new_file, new_folder
from nestling.cli.folder import VECTORS_FILE, Corpus, Texts
from nestling.cli.screen import tell
from nestling.corpus import Document
from nestling.errors import ModelError, TruncationWarning, VectorError
from nestling.progress import ProgressBar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nestling.encoder import Encoder
    from nestling.index import Index, Metric
    from nestling.models.cards import Precision

__all__ = ["index_documents", "index_vectors", "open_encoder", "query_vector", "read_vectors"]

CHUNK_TEXTS: Final = 512
"""Documents encoded at once: enough for batches of like length, few enough to see progress."""
CHUNK_ROWS: Final = 65_536


def open_encoder(
    name: str, *, precision: Precision = "int8", threads: int | None = None
) -> Encoder:
    """Opens an encoder that keeps still about long texts: the commands tell of them themselves.

    Raises:
        ModelError: There is no such model, or it cannot be fetched or used.
    """
    from nestling.encoder import Encoder

    warnings.simplefilter("ignore", TruncationWarning)
    return Encoder(name, precision=precision, threads=threads)


def index_documents(
    documents: Iterable[Document],
    out: Path,
    *,
    encoder: Encoder,
    name: str,
    funnel: str | None = None,
    metric: Metric = "cosine",
    batch_size: int = 64,
    threads: int | None = None,
    tune: float | None = None,
) -> Corpus:
    """Encodes the documents and writes them, with their index, as the folder `out`.

    The corpus is read to its end before the first text is encoded, so that a bad line of it is
    known in seconds. With `tune`, the index is tuned to that recall.

    Returns:
        What the folder's corpus.json says.

    Raises:
        CorpusError: The documents cannot be read.
        StorageError: The system refused to write.
    """
    with new_folder(out) as folder:
        texts = Texts.write(folder, documents)
        index = _new_index(encoder.dim, funnel=funnel, metric=metric, threads=threads)
        truncated = encoder.truncated
        with ProgressBar("Encoding", total=len(texts)) as bar:
            passages = (document.passage for document in texts.read(range(len(texts))))
            while chunk := list(islice(passages, CHUNK_TEXTS)):
                index.add(encoder.encode(chunk, batch_size=batch_size, progress=False))
                bar.advance(len(chunk))
        if tune is not None:
            index.tune(tune)
        index.save(folder / VECTORS_FILE)
        corpus = Corpus(
            rows=len(index),
            encoder=name,
            precision=encoder.precision,
            fingerprint=encoder.fingerprint,
            truncated=encoder.truncated - truncated,
        )
        corpus.save(folder)
    return corpus


def index_vectors(
    vectors: NDArray[np.float32],
    out: Path,
    *,
    funnel: str | None = None,
    metric: Metric = "cosine",
    threads: int | None = None,
    tune: float | None = None,
) -> Corpus:
    """Indexes the rows of `vectors` as the folder `out`, or as one file where `out` ends in .nest.

    With `tune`, the index is tuned to that recall.

    Raises:
        VectorError: The vectors hold NaN or infinity.
        StorageError: The system refused to write.
    """
    index = _new_index(vectors.shape[1], funnel=funnel, metric=metric, threads=threads)
    corpus = Corpus(rows=len(vectors))
    with ProgressBar("Indexing", total=len(vectors)) as bar:
        for start in range(0, len(vectors), CHUNK_ROWS):
            bar.advance(len(index.add(vectors[start : start + CHUNK_ROWS])))
    if tune is not None:
        index.tune(tune)
    if out.suffix == ".nest":
        with new_file(out) as path:
            index.save(path)
    else:
        with new_folder(out) as folder:
            index.save(folder / VECTORS_FILE)
            corpus.save(folder)
    return corpus


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
        tell("The question is longer than the encoder reads; only its start was asked.")
    return vector


def _new_index(dim: int, *, funnel: str | None, metric: Metric, threads: int | None) -> Index:
    from nestling.index import Index

    return Index(dim=dim, funnel=funnel, metric=metric, threads=threads)
