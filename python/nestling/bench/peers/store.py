"""The files that all workers map: unit rows, unit queries and the true hits."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nestling.bench.peers.measure import TOP
from nestling.bench.rows import Rows
from nestling.bench.truth import exact_top
from nestling.errors import StorageError, VectorError

__all__ = ["Store", "available_memory"]

_CHUNK: Final = 65_536  # rows normalised at a time
_MEMORY: Final = Path("/proc/meminfo")


@dataclass(frozen=True, slots=True)
class Store:
    """Files in one folder.

    Attributes:
        folder: The folder.
        rows: Number of rows.
        dim: Their dimensions.
    """

    folder: Path
    rows: int
    dim: int

    @classmethod
    def write(cls, rows: Rows, folder: Path) -> Store:
        """Writes rows and queries at unit length, and the true hits where they are known.

        Raises:
            VectorError: A row is zero or not finite and has no direction.
            StorageError: The system refused to write.
        """
        store = cls(folder, *rows.vectors.shape)
        try:
            _write_units(rows.vectors, store.vectors)
            _write_units(rows.queries, store.queries)
            if rows.truth is not None and rows.truth.shape[1] >= TOP:
                np.save(store._truth(store.rows), rows.truth[:, :TOP])
        except OSError as error:
            raise StorageError(f"{folder}: cannot write: {error.strerror or error}") from error
        return store

    @property
    def vectors(self) -> Path:
        """The file of the rows: (rows, dim) float32."""
        return self.folder / "rows.npy"

    @property
    def queries(self) -> Path:
        """The file of the queries: (m, dim) float32."""
        return self.folder / "queries.npy"

    def truth(self, rows: int) -> Path:
        """Returns the file of the exact top of every query among the first `rows`: (m, k) int64."""
        path = self._truth(rows)
        if not path.exists():
            vectors = np.load(self.vectors, mmap_mode="r")[:rows]
            np.save(path, exact_top(vectors, np.load(self.queries), min(TOP, rows)))
        return path

    def digest(self, rows: int) -> str:
        """Returns a name of the first `rows` rows, which other rows do not have."""
        digest = hashlib.blake2b(str((rows, self.dim)).encode(), digest_size=8)
        vectors = np.load(self.vectors, mmap_mode="r")
        for start in range(0, rows, _CHUNK):
            digest.update(np.asarray(vectors[start : min(rows, start + _CHUNK)]).data)
        return digest.hexdigest()

    def _truth(self, rows: int) -> Path:
        return self.folder / f"truth-{rows}.npy"


def available_memory() -> int | None:
    """Returns the bytes that can be allocated without swapping; None where that is unknown."""
    try:
        for line in _MEMORY.read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def _write_units(vectors: NDArray[np.float32], path: Path) -> None:
    file = np.lib.format.open_memmap(path, "w+", np.dtype(np.float32), vectors.shape)
    for start in range(0, len(vectors), _CHUNK):
        chunk = np.asarray(vectors[start : start + _CHUNK])
        norms = np.linalg.norm(chunk.astype(np.float64), axis=1, keepdims=True)
        if not (np.isfinite(norms) & (norms > 0)).all():
            raise VectorError("every row must be finite and nonzero to have a direction")
        file[start : start + _CHUNK] = chunk / norms
    file.flush()
