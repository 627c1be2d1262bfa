"""The index: vectors in, hits out."""

from __future__ import annotations

import json
import operator
import os
from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestling import _core
from nestling.errors import FormatError, IdError, VectorError
from nestling.funnel import Funnel, Stage
from nestling.hits import Hits, StageStats

__all__ = ["Index", "Metric", "default_funnel"]

Metric = Literal["cosine", "ip"]
_METRICS: Final = ("cosine", "ip")
_KIND: Final = "index"
_MOST: Final = 2**32  # rows, and so hits, that an index can have
_MOST_THREADS: Final = 1024


def default_funnel(dim: int) -> Funnel:
    """Returns the funnel that an index of this dimension has where none is given.

    A quarter of the dimensions at 4 bits finds 1,000 rows, half of them at 16 bits keeps 200, all
    of them order those. 4 bits, because codes of 1 and 2 bits, faster where they serve, lose much
    on embeddings whose mean is far from zero.

    Example:
        >>> print(default_funnel(384))
        96@4:1000 > 192@16:200 > 384@16
    """
    if dim <= 64:
        return Funnel((Stage(dim, 8, 1000), Stage(dim, 16)))
    if dim <= 128:
        return Funnel((Stage(64, 4, 1000), Stage(dim, 16)))
    coarse = max(64, -(-dim // 32) * 8)
    return Funnel((Stage(coarse, 4, 1000), Stage(2 * coarse, 16, 200), Stage(dim, 16)))


class Index:
    """Embeddings stored for one funnel, searched by it.

    Args:
        dim: Dimensions of an embedding, 1 to 32,768.
        funnel: What to store and how to search, as a `Funnel` or `"64@4:1000 > 384@16"`; the last
            stage must read all `dim` dimensions. Default: `default_funnel(dim)`.
        metric: "cosine" normalises rows and queries, and every prefix of them; "ip" takes inner
            products of the prefixes as they are.
        threads: Threads that a call may use. Default: NESTLING_THREADS, else the cores granted to
            the process.

    Safe from any number of threads. A search sees a snapshot: all of an `add` or nothing of it.
    Adds take turns among themselves; searches wait for nobody, and the GIL is released.

    Equal scores are ordered by id, the lower first. Results depend neither on the batch, nor on
    `threads`, nor on the CPU. A zero vector, and a zero prefix, score 0 against everything.

    Example:
        >>> import numpy as np
        >>> index = Index(2, funnel="2@32")
        >>> index.add(np.array([[1, 0], [0, 1]], np.float32))
        array([0, 1])
        >>> index.search(np.array([2, 1], np.float32), k=1).ids
        array([0])

    Raises:
        FunnelError: The funnel is malformed or does not fit `dim`.
        ValueError: `dim`, `metric` or `threads` is out of range.
    """

    def __init__(
        self,
        dim: int,
        *,
        funnel: str | Funnel | None = None,
        metric: Metric = "cosine",
        threads: int | None = None,
    ) -> None:
        dim = _positive("dim", dim)
        if metric not in _METRICS:
            raise ValueError(f"metric must be one of {_METRICS}, not {metric!r}")
        self._dim = dim
        self._metric: Metric = metric
        self._funnel = default_funnel(dim) if funnel is None else Funnel.of(funnel)
        self._threads = _thread_count(threads)
        self._core = _core.Index(dim, metric == "cosine", _stage_tuples(self._funnel))

    @property
    def dim(self) -> int:
        """Dimensions of an embedding."""
        return self._dim

    @property
    def metric(self) -> Metric:
        """Either "cosine" or "ip"."""
        return self._metric

    @property
    def funnel(self) -> Funnel:
        """The funnel that rows are stored for and that a search runs unless told otherwise."""
        return self._funnel

    @property
    def threads(self) -> int:
        """Threads that a call may use."""
        return self._threads

    @property
    def memory(self) -> dict[str, int]:
        """Bytes that the rows take, by part: the coarse matrix, each shell, ids."""
        return dict(self._core.memory())

    def __len__(self) -> int:
        return len(self._core)

    def __repr__(self) -> str:
        return (
            f"Index({len(self):,} rows, dim={self._dim}, funnel='{self._funnel}', "
            f"metric='{self._metric}')"
        )

    def add(self, vectors: ArrayLike, ids: ArrayLike | None = None) -> NDArray[np.int64]:
        """Adds rows.

        Args:
            vectors: (n, dim) floats, or (dim,) for one row. float32 in C order is read in place.
            ids: (n,) integers, 0 or more, unique in the index. Default: the next free ones, from 0.

        Returns:
            The ids, (n,) int64.

        Raises:
            VectorError: A wrong shape or dtype, or a value that is not finite. Nothing is added.
            IdError: An id is negative, repeated or already present. Nothing is added.
        """
        rows = self._matrix(vectors, "vectors")
        given = _no_ids if ids is None else _id_array(ids)
        if ids is not None and len(given) != len(rows):
            raise IdError(f"{len(given)} ids for {len(rows)} vectors: give one id a vector")
        return self._core.add(rows, given, self._threads)

    def search(
        self, queries: ArrayLike, k: int = 10, *, funnel: str | Funnel | None = None
    ) -> Hits:
        """Finds the rows that score best.

        Args:
            queries: (m, dim) floats, or (dim,) for one query.
            k: Hits wanted a query. Every stage keeps at least so many rows.
            funnel: Any of the index's own stages, in order, with keeps of your choice. Default: all
                of them.

        Returns:
            Hits of shape (m, k), or (k,) for one query.

        Raises:
            VectorError: A wrong shape or dtype, or a value that is not finite.
            FunnelError: The funnel has a stage that the index does not store.
            ValueError: `k` is less than 1.

        Example:
            >>> index = Index(2, funnel="2@32")
            >>> ids, scores = index.search(np.ones(2, np.float32), k=3)
            >>> ids
            array([-1, -1, -1])
        """
        matrix = self._matrix(queries, "queries")
        chosen = self._funnel if funnel is None else Funnel.of(funnel)
        k = _positive("k", k)
        ids, scores, counts = self._core.search(matrix, k, _stage_tuples(chosen), self._threads)
        stages = tuple(
            StageStats(stage.dims, stage.bits, seen, kept, read, nanoseconds / 1000)
            for stage, (seen, kept, read, nanoseconds) in zip(chosen.stages, counts, strict=True)
        )
        if np.ndim(queries) == 1:
            return Hits(ids[0], scores[0], stages, 1)
        return Hits(ids, scores, stages, len(matrix))

    def reconstruct(self, ids: ArrayLike) -> NDArray[np.float32]:
        """Returns the stored rows, at the precision of the last stage that holds each dimension.

        Args:
            ids: (n,) integers.

        Returns:
            (n, dim) float32; of unit length where the metric is cosine.

        Raises:
            IdError: An id is not in the index.
        """
        return self._core.reconstruct(_id_array(ids))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the index to a file.

        The file is written beside `path`, synced and renamed: a crash leaves the old file or the
        new one, whole. Rows added meanwhile by other threads are not in it.

        Raises:
            StorageError: The system refused: no space, no permission, no such folder.
        """

        def metadata(rows: int) -> str:
            fields = {
                "kind": _KIND,
                "dim": self._dim,
                "metric": self._metric,
                "funnel": str(self._funnel),
                "rows": rows,
                "nestling": _core.__version__,
            }
            return json.dumps(fields)

        self._core.save(os.fsencode(path), metadata)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, verify: bool = True, threads: int | None = None
    ) -> Index:
        """Opens a file by mapping it: no copy, and processes that open it share its memory.

        Rows can be added; they live in memory until the next `save`. Replace a file that is open by
        saving over it, never by writing into it.

        Args:
            path: The file.
            verify: Check every checksum, which reads the file once. With False only header and
                metadata are checked, and a file of any size opens at once.
            threads: As for the constructor.

        Raises:
            FormatError: The file is foreign, truncated, altered, or of another version.
            StorageError: The system refused to read it.
        """
        index = cls.__new__(cls)
        index._threads = _thread_count(threads)
        try:
            file = _core.File(os.fsencode(path), verify=verify)
            index._restore(json.loads(file.metadata), file)
        except FormatError as error:
            raise FormatError(f"{os.fsdecode(path)}: {error}") from None
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise FormatError(f"{os.fsdecode(path)}: metadata of no index: {error}") from error
        return index

    def _restore(self, fields: dict[str, Any], file: _core.File) -> None:
        if fields["kind"] != _KIND or fields["metric"] not in _METRICS:
            raise FormatError("a nestling file, but of no index")
        self._dim = _positive("dim", fields["dim"])
        self._metric = fields["metric"]
        self._funnel = Funnel.of(fields["funnel"])
        self._core = _core.Index(
            self._dim, self._metric == "cosine", _stage_tuples(self._funnel), file, fields["rows"]
        )

    def _matrix(self, values: ArrayLike, name: str) -> NDArray[np.float32]:
        """Returns `values` as a C-contiguous float32 matrix of `dim` columns."""
        try:
            array = np.asarray(values)
        except ValueError as error:
            raise VectorError(f"{name} are no array: {error}") from error
        if array.dtype.kind not in "fiu" or (array.dtype.kind in "iu" and array.dtype.itemsize > 8):
            raise VectorError(f"{name} must be floats, not {array.dtype}")
        if array.ndim == 1:
            array = array[np.newaxis]
        if array.ndim != 2 or array.shape[1] != self._dim:
            raise VectorError(
                f"{name} have shape {np.shape(values)}; expected (n, {self._dim}) or ({self._dim},)"
            )
        with np.errstate(over="ignore"):  # what overflows float32 is infinite, and so refused
            return np.require(array, np.float32, ("C_CONTIGUOUS", "ALIGNED"))


_no_ids: Final[NDArray[np.int64]] = np.empty(0, np.int64)


def _id_array(ids: ArrayLike) -> NDArray[np.int64]:
    try:
        array = np.asarray(ids)
    except (ValueError, OverflowError) as error:
        raise IdError(f"ids are no array: {error}") from error
    if array.size == 0:
        return _no_ids
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise IdError(f"ids must be a list of integers, not {array.dtype} of shape {array.shape}")
    if array.dtype.kind == "u" and array.max() > np.iinfo(np.int64).max:
        raise IdError(f"id {array.max()} does not fit 64 signed bits")
    return np.ascontiguousarray(array, dtype=np.int64)


def _stage_tuples(funnel: Funnel) -> Sequence[tuple[int, int, int]]:
    return [(stage.dims, stage.bits, stage.keep or 0) for stage in funnel.stages]


def _positive(name: str, value: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be a whole number, not {value!r}") from None
    if not 1 <= number <= _MOST:
        raise ValueError(f"{name} must be 1 to {_MOST:,}, not {number}")
    return number


def _thread_count(threads: int | None) -> int:
    wanted = _core.default_threads() if threads is None else _positive("threads", threads)
    return min(wanted, _MOST_THREADS)
