"""Bare vectors: .npy files in, .nest files out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nestling._util.atomic import new_file
from nestling._util.progress import ProgressBar
from nestling.errors import VectorError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nestling.index import Metric

__all__ = ["index_vectors", "read_vectors"]

CHUNK_ROWS: Final = 65_536


def index_vectors(
    vectors: NDArray[np.floating[Any]],
    out: Path,
    *,
    funnel: str | None = None,
    metric: Metric = "cosine",
    threads: int | None = None,
    tune: float | None = None,
) -> None:
    """Writes an index of the rows of `vectors` to a file.

    Args:
        vectors: (n, dim) floats.
        out: The .nest file.
        funnel: Its funnel; None for the default.
        metric: How rows are scored.
        threads: Threads to use; None for all cores.
        tune: The recall to tune the index to; None leaves its funnel as it is.

    Raises:
        VectorError: The vectors hold NaN or infinity.
        StorageError: The system refused to write.

    Example:
        >>> import numpy as np
        >>> index_vectors(np.eye(5, 8, dtype=np.float32), Path("rows.nest"))
        >>> Path("rows.nest").is_file()
        True
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
    """Maps the rows of a .npy file into memory; pages are read when they are used.

    Returns:
        (n, dim) floats; a file of shape (dim,) counts as one row.

    Raises:
        VectorError: The file is missing, or does not hold such an array.

    Example:
        >>> import numpy as np
        >>> np.save("rows.npy", np.eye(5, 8))
        >>> read_vectors(Path("rows.npy")).shape
        (5, 8)
    """
    import numpy as np

    try:
        vectors: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise VectorError(f"{path}: cannot read: {error.strerror or error}") from error
    except (ValueError, EOFError) as error:
        raise VectorError(f"{path}: not a .npy array: {error}") from error
    rows = vectors[None] if vectors.ndim == 1 else vectors
    if rows.ndim != 2 or rows.dtype.kind not in "fiu" or not rows.size:
        raise VectorError(
            f"{path}: expected an array of numbers of shape (rows, dim), "
            f"not {vectors.dtype} {vectors.shape}"
        )
    return rows
