"""The index: vectors in, hits out."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestling import _core
from nestling._util.lease import locked
from nestling._util.threads import thread_count
from nestling.errors import ArgumentError, FormatError, FunnelError, IdError
from nestling.index.arguments import Probing, cell_spec, positive, probed_cells, stage_specs
from nestling.index.cells import Cells
from nestling.index.funnel import MAX_DIM, Funnel, default_funnel
from nestling.index.header import METRICS, Metric, read_metadata, write_metadata
from nestling.index.hits import Hits, found_hits
from nestling.index.transform import learn
from nestling.inputs.ids import NO_IDS, filter_arrays, id_array
from nestling.inputs.vectors import matrix, vector_or_matrix

if TYPE_CHECKING:
    from typing_extensions import Self

    from nestling.tuning import Prefer, TuneReport

__all__ = ["Index", "Metric", "default_funnel"]

_MOST_THREADS: Final = 1024


@dataclass(frozen=True, slots=True)
class _State:
    """What a search reads; a rebuild replaces it as a whole."""

    core: _core.Index
    funnel: Funnel
    chosen_cells: Cells | None
    probing: Probing = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "probing", probed_cells(self.chosen_cells, None))

    @property
    def cells(self) -> Cells | None:
        """The cells that exist: a compaction leaves no more of them than rows."""
        chosen = self.chosen_cells
        return None if chosen is None else chosen.stored(self.core.cells.count)


class Index:
    """Embeddings, stored for one funnel and searched by it.

    Args:
        dim: Dimensions of an embedding, 1 to 32,768.
        funnel: What to store and how to search, as a `Funnel` or `"64@4:1000 > 384@16"`; the last
            stage must read all `dim` dimensions. Default: `default_funnel(dim)`.
        metric: "cosine" normalises rows and queries, and every prefix of them; "ip" takes inner
            products of the prefixes as they are.
        threads: Threads that a call may use. Default: NESTLING_THREADS, or the cores granted to
            the process.

    An index can be used from any number of threads. A search sees a snapshot: all of an `add`, a
    `remove`, a `compact` or a `rebuild`, or none of it. Changes wait for each other; searches never
    wait, and they release the GIL.

    Equal scores are ordered by id, the lower first. Results depend neither on the batch, nor on
    `threads`, nor on the CPU. A zero vector or a zero prefix scores 0 against everything.

    Example:
        >>> import numpy as np
        >>> index = Index(2, funnel="2@32")
        >>> index.add(np.array([[1, 0], [0, 1]], np.float32))
        array([0, 1])
        >>> index.search(np.array([2, 1], np.float32), k=1).ids
        array([0])
        >>> index.dim, index.metric, index.ids, len(index)
        (2, 'cosine', array([0, 1]), 2)
        >>> print(index.funnel, index.cells, index.rotated, index.centred)
        2@32 None False False

    Raises:
        FunnelError: The funnel is malformed or does not fit `dim`.
        ArgumentError: `dim`, `metric` or `threads` is out of range.
        SettingError: NESTLING_THREADS is used and is not a number.
    """

    def __init__(
        self,
        dim: int,
        *,
        funnel: str | Funnel | None = None,
        metric: Metric = "cosine",
        threads: int | None = None,
    ) -> None:
        dim = positive("dim", dim, MAX_DIM)
        if metric not in METRICS:
            raise ArgumentError(f"metric must be one of {METRICS}, not {metric!r}")
        self._dim = dim
        self._metric: Metric = metric
        self._threads = min(thread_count(threads), _MOST_THREADS)
        self._writing = threading.Lock()
        chosen = default_funnel(dim) if funnel is None else Funnel.of(funnel)
        core = _core.Index(dim=dim, cosine=metric == "cosine", stages=stage_specs(chosen))
        self._state = _State(core, chosen, None)

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
        """The funnel that the rows are stored for, and that a search runs by default."""
        return self._state.funnel

    @property
    def cells(self) -> Cells | None:
        """The partition of the rows, and how many cells a search probes; None without cells."""
        return self._state.cells

    @property
    def rotated(self) -> bool:
        """Whether rows and queries are rotated; see `rebuild`."""
        return self._state.core.rotated

    @property
    def centred(self) -> bool:
        """Whether the coarse codes are of differences from the rows' mean; see `rebuild`."""
        return self._state.core.centred

    @property
    def ids(self) -> NDArray[np.int64]:
        """The ids of all rows, (n,) int64, in the order in which they are stored."""
        return self._state.core.ids()

    @property
    def threads(self) -> int:
        """Threads that a call may use."""
        return self._threads

    @property
    def memory(self) -> dict[str, int]:
        """Bytes of memory, by part: the coarse matrix, each shell, ids, cells."""
        return dict(self._state.core.memory())

    def __len__(self) -> int:
        return len(self._state.core)

    def __copy__(self) -> Self:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the index as the bytes of its file."""
        with tempfile.TemporaryDirectory(prefix="nestling-") as folder:
            path = Path(folder, "index.nest")
            self.save(path)
            return _unpickled, (type(self), path.read_bytes(), self._threads)

    def __repr__(self) -> str:
        state = self._state
        partition = state.cells
        cells = "" if partition is None else f", {partition.count:,} cells"
        learned = "".join(
            f", {word}"
            for word, holds in (("rotated", state.core.rotated), ("centred", state.core.centred))
            if holds
        )
        return (
            f"Index({len(self):,} rows, dim={self._dim}, funnel='{state.funnel}', "
            f"metric='{self._metric}'{cells}{learned})"
        )

    def add(
        self, vectors: ArrayLike, ids: ArrayLike | None = None, *, replace: bool = False
    ) -> NDArray[np.int64]:
        """Adds rows.

        Args:
            vectors: (n, dim) floats, or (dim,) for one row. float32 in C order is read in place.
            ids: (n,) integers, 0 or more, unique in the index. Default: the integers after the
                largest id in the index, or from 0.
            replace: Whether a row whose id is already present replaces the old row. A search sees
                the one or the other, never both.

        Returns:
            The ids, (n,) int64.

        Raises:
            VectorError: A wrong shape or dtype, or a value that is not finite. Nothing is added.
            IdError: An id is negative, repeated or, without `replace`, already present. Nothing is
                added.

        Example:
            >>> index = Index(2, funnel="2@32")
            >>> index.add(np.eye(2), ids=[7, 3])
            array([7, 3])
            >>> index.add([1.0, 1.0])
            array([8])
        """
        rows = matrix(vectors, self._dim, "vectors")
        given = NO_IDS if ids is None else id_array(ids)
        if ids is not None and len(given) != len(rows):
            raise IdError(f"{len(given)} ids for {len(rows)} vectors: give one id per vector")
        with locked(self._writing):
            return self._state.core.add(rows, given, replace=replace, threads=self._threads)

    def remove(self, ids: ArrayLike) -> None:
        """Removes rows: no search finds them any more.

        Their memory is freed by `compact`.

        Args:
            ids: (n,) integers.

        Raises:
            IdError: An id is not in the index, or is given twice. Nothing is removed.

        Example:
            >>> index = Index(2, funnel="2@32")
            >>> _ = index.add(np.eye(2))
            >>> index.remove([0])
            >>> index.ids
            array([1])
        """
        given = id_array(ids)
        with locked(self._writing):
            self._state.core.remove(given)

    def compact(self) -> None:
        """Frees the memory of removed rows, and puts rows that were added since into the cells.

        Hits stay the same to the last bit, except where rows move to another cell. Until it ends,
        the old rows and the new both take memory; searches continue.

        Example:
            >>> index = Index(2, funnel="2@32")
            >>> _ = index.add(np.eye(2))
            >>> index.remove([0])
            >>> before = sum(index.memory.values())
            >>> index.compact()
            >>> sum(index.memory.values()) < before
            True
        """
        with locked(self._writing):
            self._state.core.compact(threads=self._threads)

    def search(
        self,
        queries: ArrayLike,
        k: int = 10,
        *,
        funnel: str | Funnel | None = None,
        where: ArrayLike | None = None,
        probes: int | None = None,
        clip: bool = True,
    ) -> Hits:
        """Finds the rows that score best.

        Args:
            queries: (m, dim) floats, or (dim,) for one query.
            k: Hits per query. Every stage keeps at least as many rows.
            funnel: Some of the stages that the index stores, in order, with any keeps and margins.
                Default: the index's funnel.
            where: The rows that may be hits: a boolean array whose element i is for the row with
                id i (ids beyond its end do not match), or an array of ids (unknown ids match
                nothing). If k rows match, k hits are found. Default: all rows.
            probes: Cells to score; 0 to score all rows. Default: that of `cells`. The fewer rows
                match `where`, the more cells are scored, twice as many where half of the rows
                match, or all rows that match if these cells could be more than a quarter of all.
            clip: Whether cosines that rounding, or codes of few bits, put beyond 1 or -1 are
                returned as 1 or -1. The order of the hits does not depend on it.

        Returns:
            Hits of shape (m, k), or (k,) for one query; id -1 and score NaN where fewer rows match.

        Raises:
            VectorError: A wrong shape or dtype, or a value that is not finite.
            FunnelError: The funnel has a stage that the index does not store.
            IdError: `where` is neither booleans nor ids.
            ArgumentError: `k` is less than 1, or `probes` less than 0.

        Example:
            >>> index = Index(2, funnel="2@32")
            >>> _ = index.add(np.eye(2))
            >>> ids, scores = index.search(np.array([[1.0, 2.0], [2.0, 1.0]]), k=2)
            >>> ids
            array([[1, 0],
                   [0, 1]])
            >>> index.search(np.array([1.0, 2.0]), k=2, where=[0]).ids
            array([ 0, -1])
        """
        # This method takes microseconds, as long as a search of few rows: nothing is done twice.
        rows = vector_or_matrix(queries, self._dim, "queries")
        state = self._state
        chosen = state.funnel if funnel is None else Funnel.of(funnel)
        k = positive("k", k)
        mask, only = (None, None) if where is None else filter_arrays(where)
        probing = state.probing if probes is None else probed_cells(state.chosen_cells, probes)
        ids, scores, counts = state.core.search(
            rows, k, stage_specs(chosen), self._threads, probing, clip, mask, only
        )
        return found_hits(ids, scores, 1 if rows.ndim == 1 else len(rows), chosen, counts)

    def reconstruct(self, ids: ArrayLike) -> NDArray[np.float32]:
        """Returns the stored rows, at the precision of the last stage that holds each dimension.

        Args:
            ids: (n,) integers.

        Returns:
            (n, dim) float32; of unit length if the metric is cosine.

        Raises:
            IdError: An id is not in the index.

        Example:
            >>> index = Index(2, funnel="2@32")
            >>> _ = index.add([[3.0, 4.0]])
            >>> index.reconstruct([0])
            array([[0.6, 0.8]], dtype=float32)
        """
        return self._state.core.reconstruct(id_array(ids))

    def rebuild(
        self,
        *,
        funnel: str | Funnel | None = None,
        rotate: bool | None = None,
        centre: bool | None = None,
        cells: Cells | int | None = None,
    ) -> None:
        """Stores the rows again: for another funnel, rotated, centred, or partitioned into cells.

        Rows are read back at the precision of the last stage. Removed rows are gone for good. Until
        it ends, the old rows and the new both take memory; searches continue, and adds wait.

        Args:
            funnel: The new funnel. Default: the present one.
            rotate: Whether to learn an orthogonal rotation from the rows (principal components), so
                that the first dimensions carry most of the variance. It raises the recall of
                prefixes on embeddings that were not trained for Matryoshka search. Default: as now.
            centre: Whether the first stage, of 1 to 8 bits, codes differences from the rows' mean.
                It raises recall at 1 and 2 bits, most of all on embeddings of transformers, which
                cluster around their mean, and takes 2 bytes per row. Default: as now.
            cells: The partition, or a number of cells; 0 for none. Default: as now. The first stage
                must be of 1, 2, 4 or 8 bits.

        Raises:
            FunnelError: The funnel does not fit the index, or cannot be centred or partitioned.

        Example:
            >>> index = Index(2, funnel="2@8:10 > 2@32")
            >>> _ = index.add(np.eye(2, dtype=np.float32))
            >>> index.rebuild(cells=Cells(2, probes=1))
            >>> index
            Index(2 rows, dim=2, funnel='2@8:10 > 2@32', metric='cosine', 2 cells)
        """
        if centre and self._metric != "cosine":
            raise FunnelError("centre=True needs the metric cosine")
        with locked(self._writing):
            self._state = self._rebuilt(funnel, rotate, centre, cells)

    def tune(
        self,
        recall: float = 0.98,
        *,
        k: int = 10,
        queries: ArrayLike | None = None,
        budget_seconds: float = 60.0,
        prefer: Prefer = "throughput",
        cells: bool | None = None,
        seed: int = 0,
        verbose: bool = True,
    ) -> TuneReport:
        """Measures which funnel reaches a recall fastest on this machine, and sets it.

        The rows are stored for that funnel, as by `rebuild`: centred, rotated or in cells if that
        is faster. Half of the queries choose; on the other half, the one-sided 95 % lower bound of
        the recall must reach the target. If no funnel reaches it, the most exact one is set, and
        the report says so. Until it ends, up to three copies of the rows take memory; searches
        continue, and adds wait. After a failure the index is as it was.

        Args:
            recall: The share of the exact top k that searches must find, over 0 and at most 1.
            k: Hits of a search.
            queries: (m, dim) floats, a few hundred at least, like those to come. Default: rows of
                the index, each of which must find others.
            budget_seconds: Approximate duration. A rebuild that has begun is finished and measured.
            prefer: What must be fast: "throughput" of many queries per call, or "latency" of one.
            cells: Whether to try cells: False never, True always, None from 50,000 rows on.
            seed: Seed of the random choice of queries.
            verbose: Whether to print the choice, in one line on stderr.

        Returns:
            The choice and all that was measured: print it, or `plot` it.

        Raises:
            VectorError: Queries have a wrong shape or dtype, or are not finite.
            ArgumentError: Another argument is out of range.

        Example:
            >>> index = Index(16)
            >>> _ = index.add(np.random.default_rng(0).standard_normal((300, 16)))
            >>> report = index.tune(recall=0.9, budget_seconds=0.1, verbose=False)
            >>> report.chosen.recall >= 0.9, report.chosen.funnel == str(index.funnel)
            (True, True)
        """
        from nestling.tuning import TuningTarget, tune

        target = TuningTarget(recall, positive("k", k), budget_seconds, prefer, cells, seed)
        given = None if queries is None else matrix(queries, self._dim, "queries")
        with locked(self._writing):
            tuned, report = tune(self, given, target)
            self._state = tuned._state
        if verbose and sys.stderr is not None:
            print(report.line(), file=sys.stderr)
        return report

    def rebuilt(
        self,
        *,
        funnel: str | Funnel | None = None,
        rotate: bool | None = None,
        centre: bool | None = None,
        cells: Cells | int | None = None,
    ) -> Self:
        """Returns a new index of the same rows, stored as `rebuild` would; this one is unchanged.

        Args:
            funnel: As for `rebuild`, like the other arguments.
            rotate: See there.
            centre: See there.
            cells: See there.

        Raises:
            FunnelError: As for `rebuild`.

        Example:
            >>> index = Index(2, funnel="2@8:10 > 2@32")
            >>> _ = index.add(np.eye(2, dtype=np.float32))
            >>> print(index.rebuilt(funnel="2@32").funnel, "|", index.funnel)
            2@32 | 2@8:10 > 2@32
        """
        return self._with(self._rebuilt(funnel, rotate, centre, cells))

    def partitioned(self, cells: Cells | int | None = None, *, like: Index | None = None) -> Self:
        """Returns a new index of the same rows, bit for bit, in cells.

        Where none was removed, both indexes hold the rows in the same memory. Unlike after
        `rebuilt`, rotation and centre are those of this index, not learned again: so it can be
        merged and compared with others that share them.

        Args:
            cells: The partition, or a number of cells, whose centroids are learned from the rows.
            like: Instead, an index that stores rows as this one does, and whose cells to take as
                they are. A query then finds the same cells nearest in both; some may be empty.

        Raises:
            FunnelError: The first stage is not of 1, 2, 4 or 8 bits, or `like` stores its rows in
                another way.
            ArgumentError: Not one of `cells` and `like` is given, or `like` has no cells.

        Example:
            >>> index = Index(2, funnel="2@8:10 > 2@32")
            >>> _ = index.add(np.eye(2, dtype=np.float32))
            >>> index.partitioned(2).cells.count
            2
            >>> part = index.empty()
            >>> _ = part.add([3.0, 1.0])
            >>> part.partitioned(like=index.empty(2)).cells.count
            2
        """
        state = self._state
        if like is not None:
            chosen = like.cells
            if cells is not None or chosen is None:
                raise ArgumentError("give either cells, or like=, an index that has cells")
            core = state.core.partitioned_like(like._state.core, threads=self._threads)
            return self._with(_State(core, state.funnel, chosen))
        partition = self._partition(cells)
        core = state.core.partitioned(cells=cell_spec(partition), threads=self._threads)
        return self._with(_State(core, state.funnel, partition))

    def with_search_settings(self, funnel: str | Funnel, cells: Cells | None) -> Self:
        """Returns an index that shares these rows, with other keeps, margins and probes.

        Args:
            funnel: Some of the stages that this index stores, in order.
            cells: The index's cells with another number of probes; None to score all rows.

        Example:
            >>> index = Index(2, funnel="2@8:10 > 2@32")
            >>> print(index.with_search_settings("2@8:5 > 2@32", None).funnel)
            2@8:5 > 2@32
        """
        return self._with(replace(self._state, funnel=Funnel.of(funnel), chosen_cells=cells))

    def copy(self) -> Self:
        """Returns an independent index that shares the present rows, at no cost.

        Neither sees later changes of the other. The first `add` to the copy copies up to 262,144
        of the shared rows.

        Example:
            >>> index = Index(2, funnel="2@32")
            >>> _ = index.add(np.eye(2))
            >>> other = index.copy()
            >>> other.remove([0])
            >>> len(index), len(other)
            (2, 1)
        """
        with locked(self._writing):
            return self._with(replace(self._state, core=self._state.core.copy()))

    def empty(self, cells: Cells | int | None = None) -> Self:
        """Returns an index without rows that stores rows as this one does.

        It has this one's funnel, rotation and centre, so that the two can be merged.

        Args:
            cells: The cells that it has, or how many, without rows in them; the centroids are
                learned from this one's rows. Other indexes take them by `partitioned(like=…)`.
                Default: none.

        Raises:
            FunnelError: There are to be cells, and the first stage is not of 1, 2, 4 or 8 bits.

        Example:
            >>> index = Index(2, funnel="2@8:10 > 2@32")
            >>> _ = index.add(np.eye(2))
            >>> index.empty(cells=2)
            Index(0 rows, dim=2, funnel='2@8:10 > 2@32', metric='cosine', 2 cells)
        """
        state = self._state
        partition = None if cells is None else self._partition(cells)
        core = state.core.empty(cells=cell_spec(partition), threads=self._threads)
        return self._with(_State(core, state.funnel, partition))

    @classmethod
    def merge(cls, indexes: Sequence[Index], *, shifts: Sequence[int] | None = None) -> Index:
        """Returns one index with the rows of several, bit for bit as stored, without cells.

        Args:
            indexes: At least one; all with the same dim, metric, stages and transform.
            shifts: An integer for each index, added to its ids. Default: 0.

        Raises:
            FunnelError: The indexes store their rows in different ways.
            IdError: An id is in several of them, or is shifted out of range.
            ArgumentError: There is no index, or not one shift per index.

        Example:
            >>> halves = [Index(2, funnel="2@32"), Index(2, funnel="2@32")]
            >>> _ = [half.add(np.eye(2, dtype=np.float32)) for half in halves]
            >>> Index.merge(halves, shifts=[0, 2]).ids
            array([0, 1, 2, 3])
        """
        raised = [0] * len(indexes) if shifts is None else list(shifts)
        if not indexes or len(raised) != len(indexes):
            raise ArgumentError(
                f"{len(indexes)} indexes and {len(raised)} shifts: give one of each"
            )
        first = indexes[0]
        states = [index._state for index in indexes]
        core = _core.Index.merged(
            [state.core for state in states], shifts=raised, threads=first._threads
        )
        return first._with(_State(core, states[0].funnel, None))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the index to a file.

        The file is written beside `path`, flushed to the disk and renamed: a crash leaves the old
        file or the new one, complete. Rows that other threads add during the call are not in it.

        Args:
            path: The file; its folder must exist.

        Raises:
            StorageError: The system refused: no space, no permission, no such folder.

        Example:
            >>> index = Index(2, funnel="2@32")
            >>> _ = index.add(np.eye(2))
            >>> index.save("two.nest")
            >>> len(Index.load("two.nest"))
            2
        """
        state = self._state

        def metadata(stored: _core.FileMetadata) -> str:
            return write_metadata(
                stored,
                dim=self._dim,
                metric=self._metric,
                funnel=state.funnel,
                cells=state.cells,
            )

        state.core.save(os.fsencode(path), metadata=metadata)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        verify: bool = True,
        resident: bool = False,
        threads: int | None = None,
    ) -> Index:
        """Opens a file by mapping it: nothing is copied, and processes share its memory.

        Rows can be added; they are in memory only until the next `save`. To replace a file that is
        open, save over it; never write into it.

        Args:
            path: The file.
            verify: Whether to check every checksum, which reads the file once. Otherwise only the
                header, the metadata and the centroids of cells are checked, and a file of any size
                opens at once; a search of a corrupted part may raise FormatError.
            resident: Whether to read the file into memory instead of mapping it. Searches of cells
                are then faster, since memory has larger pages than a mapped file; opening takes as
                long as reading, and processes do not share the memory.
            threads: As for the constructor.

        Raises:
            FormatError: The file is not an index, truncated, corrupted, or of another version.
            StorageError: The system refused to read it.

        Example:
            >>> Index(4, funnel="4@32").save("empty.nest")
            >>> Index.load("empty.nest", threads=1)
            Index(0 rows, dim=4, funnel='4@32', metric='cosine')
        """
        index = cls.__new__(cls)
        index._threads = min(thread_count(threads), _MOST_THREADS)
        index._writing = threading.Lock()
        try:
            file = _core.File(os.fsencode(path), verify=verify, resident=resident)
            stored = read_metadata(file.metadata)
            index._dim = stored.dim
            index._metric = stored.metric
            core = _core.Index.open(
                file,
                dim=stored.dim,
                cosine=stored.metric == "cosine",
                stages=stage_specs(stored.funnel),
                metadata=_core.FileMetadata(
                    rows=stored.rows,
                    cell_rows=stored.cell_rows,
                    cells=cell_spec(stored.cells),
                    centroid_blocks=stored.centroid_blocks,
                ),
            )
            index._state = _State(core, stored.funnel, stored.cells)
        except FormatError as error:
            raise FormatError(f"{os.fsdecode(path)}: {error}") from None
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise FormatError(
                f"{os.fsdecode(path)}: not the metadata of an index: {error}"
            ) from error
        return index

    def _rebuilt(
        self,
        funnel: str | Funnel | None,
        rotate: bool | None,
        centre: bool | None,
        cells: Cells | int | None,
    ) -> _State:
        """Returns the state of the same rows after a `rebuild`."""
        state = self._state
        chosen = state.funnel if funnel is None else Funnel.of(funnel)
        partition = Cells.of(state.cells if cells is None else cells, self._dim)
        if partition is not None and cells is None:
            partition = partition.stored(min(partition.count, len(self)))
        if partition is not None and len(chosen.stages) == 1:
            partition = replace(partition, links=0)  # no stage could score the linked rows
        rotation, offset = learn(
            state.core,
            chosen.stages[0],
            rotate=state.core.rotated if rotate is None else rotate,
            centre=state.core.centred if centre is None else centre,
        )
        core = state.core.rebuilt(
            stages=stage_specs(chosen),
            rotation=rotation,
            centre=offset,
            cells=cell_spec(partition),
            threads=self._threads,
        )
        return _State(core, chosen, partition)

    def _partition(self, cells: Cells | int | None) -> Cells:
        """Returns cells as this index can have them.

        Raises:
            ArgumentError: They are none.
        """
        partition = Cells.of(cells, self._dim)
        if partition is None:
            raise ArgumentError("give at least one cell")
        if len(self._state.funnel.stages) == 1:
            partition = replace(partition, links=0)  # no stage could score the linked rows
        return partition

    def _with(self, state: _State) -> Self:
        """Returns an index like this one with another state."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._writing = threading.Lock()
        other._state = state
        return other


def _unpickled(kind: type[Index], file: bytes, threads: int) -> Index:
    with tempfile.TemporaryDirectory(prefix="nestling-") as folder:
        path = Path(folder, "index.nest")
        path.write_bytes(file)
        return kind.load(path, threads=threads)  # the map outlives the name of the file
