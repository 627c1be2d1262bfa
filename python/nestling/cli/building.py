"""From documents or vectors to an index folder: the work behind `index` and `demo`."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nestling.cli.atomic import new_file, new_folder
from nestling.cli.folder import VECTORS_FILE, Corpus, Texts
from nestling.cli.screen import progress
from nestling.corpus import Document
from nestling.errors import ModelError, VectorError

if TYPE_CHECKING:
    import numpy as np
    from nestling.encoder import Encoder
    from nestling.index import Index
    from numpy.typing import NDArray

__all__ = ["index_documents", "index_vectors", "open_encoder", "read_vectors"]

CHUNK_TEXTS: Final = 8192
"""Documents held at once: enough for batches of like length, little beside the index."""


def open_encoder(name: str, *, precision: str | None = None, threads: int | None = None) -> Encoder:
    """Opens an encoder, with the arguments that were given on the command line.

    Raises:
        ModelError: There is no such model, or it cannot be fetched or used.
    """
    from nestling.encoder import Encoder

    given: dict[str, Any] = {} if precision is None else {"precision": precision}
    return Encoder(name, threads=threads, **given)


def index_documents(
    documents: Iterable[Document],
    out: Path,
    *,
    encoder: Encoder,
    name: str,
    precision: str | None = None,
    funnel: str | None = None,
    metric: str = "cosine",
    batch_size: int = 32,
    threads: int | None = None,
) -> Corpus:
    """Encodes the documents and writes them, with their index, as the folder `out`.

    The corpus is read to its end before the first text is encoded, so that a bad line of it is
    known in seconds.

    Returns:
        What the folder's corpus.json says.

    Raises:
        CorpusError: The documents cannot be read.
        StorageError: The system refused to write.
    """
    with new_folder(out) as folder:
        texts = Texts.write(folder, documents)
        index = _new_index(encoder.dim, funnel=funnel, metric=metric, threads=threads)
        truncated = 0
        with progress("Encoding") as advance:
            passages = (document.passage for document in texts.read(range(len(texts))))
            while chunk := list(islice(passages, CHUNK_TEXTS)):
                before = len(index)
                vectors = encoder.encode(
                    chunk,
                    batch_size=batch_size,
                    progress=lambda done, _, before=before: advance(before + done, len(texts)),
                )
                index.add(vectors)
        index.save(folder / VECTORS_FILE)
        corpus = Corpus(len(index), encoder=name, precision=precision, truncated=truncated)
        corpus.save(folder)
    return corpus


def index_vectors(
    vectors: NDArray[np.float32],
    out: Path,
    *,
    funnel: str | None = None,
    metric: str = "cosine",
    threads: int | None = None,
) -> Corpus:
    """Indexes the rows of `vectors` as the folder `out`, or as one file where `out` ends in .nest.

    Raises:
        VectorError: The vectors hold NaN or infinity.
        StorageError: The system refused to write.
    """
    index = _new_index(vectors.shape[1], funnel=funnel, metric=metric, threads=threads)
    corpus = Corpus(rows=len(vectors))
    with progress("Indexing", unit="rows") as advance:
        for start in range(0, len(vectors), CHUNK_TEXTS):
            index.add(vectors[start : start + CHUNK_TEXTS])
            advance(len(index), len(vectors))
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
    """Encodes one question for an index of `dim` dimensions.

    Raises:
        ModelError: The encoder's embeddings are shorter than that.
    """
    if encoder.dim != dim:
        raise ModelError(
            f"the index holds vectors of {dim} dimensions, but {encoder.name} makes {encoder.dim}"
        )
    vector: NDArray[np.float32] = encoder.encode_queries([question])[0]
    return vector


def _new_index(dim: int, *, funnel: str | None, metric: str, threads: int | None) -> Index:
    from nestling.index import Index

    return Index(dim=dim, funnel=funnel, metric=metric, threads=threads)
