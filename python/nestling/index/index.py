"""The index: vectors in, hits out."""

from __future__ import annotations

import copy
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestling import _core
from nestling._util.threads import thread_count
from nestling.errors import ArgumentError, FormatError, FunnelError, IdError
from nestling.index.arguments import (
    NO_IDS,
    cell_spec,
    filter_arrays,
    id_array,
    matrix,
    positive,
    probed_cells,
    stage_specs,
)
from nestling.index.cells import Cells
from nestling.index.funnel import MAX_DIM, Funnel, default_funnel
from nestling.index.header import METRICS, Metric, read_metadata, write_metadata
from nestling.index.hits import Hits, StageStats
from nestling.index.transform import learn

if TYPE_CHECKING:
    from typing_extensions import Self

    from nestling.tuning import Prefer, TuneReport

__all__ = ["Index", "Metric", "default_funnel"]

_MOST_THREADS: Final = 1024


@dataclass(frozen=True, slots=True)
class _State:
    """What a search reads together, replaced as a whole by a rebuild."""

    core: _core.Index
    funnel: Funnel
    cells: Cells | None


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

    Safe from any number of threads. A search sees a snapshot: all of an `add`, a `remove`, a
    `compact` or a `rebuild`, or nothing of it. These take turns among themselves; searches wait for
    none of them, and the GIL is released.

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
        ArgumentError: `dim`, `metric` or `threads` is out of range.
        SettingError: NESTLING_THREADS is to be used and is no number.
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
        """The funnel that rows are stored for and that a search runs unless told otherwise."""
        return self._state.funnel

    @property
    def cells(self) -> Cells | None:
        """How the rows are partitioned, and how many cells a search probes; None if not at all."""
        return self._state.cells

    @property
    def rotated(self) -> bool:
        """Whether rows and queries are rotated, as `rebuild` learned it."""
        return self._state.core.rotated

    @property
    def centred(self) -> bool:
        """Whether the coarse codes are of differences from the rows' mean, as `rebuild` says."""
        return self._state.core.centred

    @property
    def ids(self) -> NDArray[np.int64]:
        """The ids of all rows, (n,) int64, in the order of their storage."""
        return self._state.core.ids()

    @property
    def threads(self) -> int:
        """Threads that a call may use."""
        return self._threads

    @property
    def memory(self) -> dict[str, int]:
        """Bytes that the rows take, by part: the coarse matrix, each shell, ids, cells."""
        return dict(self._state.core.memory())

    def __len__(self) -> int:
        return len(self._state.core)

    def __repr__(self) -> str:
        state = self._state
        cells = "" if state.cells is None else f", {state.cells.count:,} cells"
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
            ids: (n,) integers, 0 or more, unique in the index. Default: those after the largest
                that a row of the index has, from 0.
            replace: Whether a row with an id that is already present takes the old row's place. A
                search sees the one or the other, never both.

        Returns:
            The ids, (n,) int64.

        Raises:
            VectorError: A wrong shape or dtype, or a value that is not finite. Nothing is added.
            IdError: An id is negative, repeated or, without `replace`, already present. Nothing is
                added.
        """
        rows = matrix(vectors, self._dim, "vectors")
        given = NO_IDS if ids is None else id_array(ids)
        if ids is not None and len(given) != len(rows):
            raise IdError(f"{len(given)} ids for {len(rows)} vectors: give one id a vector")
        with self._writing:
            return self._state.core.add(rows, given, replace=replace, threads=self._threads)

    def remove(self, ids: ArrayLike) -> None:
        """Removes rows: no search finds them any more.

        What they took is free for use after `compact`.

        Args:
            ids: (n,) integers.

        Raises:
            IdError: An id is not in the index, or is given twice. Nothing is removed.
        """
        given = id_array(ids)
        with self._writing:
            self._state.core.remove(given)

    def compact(self) -> None:
        """Frees what removed rows take, and puts rows added since into the cells.

        Hits stay the same to the last bit, but where rows change cells. Until it is done, both the
        old rows and the new take memory; searches go on meanwhile.
        """
        with self._writing:
            state = self._state
            state.core.compact(threads=self._threads)
            if state.cells is not None:  # fewer rows than cells leave fewer cells
                cells = state.cells.stored(state.core.cells.count)
                self._state = replace(state, cells=cells)

    def search(
        self,
        queries: ArrayLike,
        k: int = 10,
        *,
        funnel: str | Funnel | None = None,
        where: ArrayLike | None = None,
        probes: int | None = None,
    ) -> Hits:
        """Finds the rows that score best.

        Args:
            queries: (m, dim) floats, or (dim,) for one query.
            k: Hits wanted a query. Every stage keeps at least so many rows.
            funnel: Any of the index's own stages, in order, with keeps and margins of your choice.
                Default: all of them.
            where: Which rows may be hits: a boolean array whose element i tells of the row with id
                i (ids beyond its end may not), or an array of ids (those of no row match nothing).
                k hits are found wherever k rows match. Default: all.
            probes: Cells to score; 0 to score all rows. Default: as `cells` says. With a `where`
                that less than an eighth of the rows match, all of these are scored.

        Returns:
            Hits of shape (m, k), or (k,) for one query.

        Raises:
            VectorError: A wrong shape or dtype, or a value that is not finite.
            FunnelError: The funnel has a stage that the index does not store.
            IdError: `where` is neither booleans nor ids.
            ArgumentError: `k` is less than 1, or `probes` less than 0.

        Example:
            >>> index = Index(2, funnel="2@32")
            >>> ids, scores = index.search(np.ones(2, np.float32), k=3)
            >>> ids
            array([-1, -1, -1])
        """
        asked = matrix(queries, self._dim, "queries")
        state = self._state
        chosen = state.funnel if funnel is None else Funnel.of(funnel)
        k = positive("k", k)
        mask, only = filter_arrays(where)
        probed, adaptive = probed_cells(state.cells, probes)
        ids, scores, did = state.core.search(
            asked,
            k=k,
            stages=stage_specs(chosen),
            threads=self._threads,
            probes=probed,
            adaptive=adaptive,
            mask=mask,
            only=only,
        )
        stages = tuple(
            StageStats(stage.dims, stage.bits, seen, kept, read, nanoseconds / 1000)
            for stage, seen, kept, read, nanoseconds in zip(
                chosen.stages,
                did.rows_seen,
                did.rows_kept,
                did.bytes_read,
                did.nanoseconds,
                strict=True,
            )
        )
        if np.ndim(queries) == 1:
            return Hits(ids[0], scores[0], stages, 1)
        return Hits(ids, scores, stages, len(asked))

    def reconstruct(self, ids: ArrayLike) -> NDArray[np.float32]:
        """Returns the stored rows, at the precision of the last stage that holds each dimension.

        Args:
            ids: (n,) integers.

        Returns:
            (n, dim) float32; of unit length where the metric is cosine.

        Raises:
            IdError: An id is not in the index.
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
        """Stores the rows anew: for another funnel, rotated, centred, or partitioned into cells.

        Rows are read back at the precision of the last stage. Removed rows are gone for good. Until
        it is done, both the old rows and the new take memory; searches go on meanwhile, and adds
        wait.

        Args:
            funnel: The new funnel. Default: the one there is.
            rotate: Whether to learn an orthogonal rotation from the rows (principal components), so
                that their first dimensions carry most. It raises recall of prefixes on embeddings
                that were not trained for Matryoshka search. Default: as it is now.
            centre: Whether the first stage, of 1 to 8 bits, codes differences from the rows' mean.
                It raises recall at 1 and 2 bits, most of all on embeddings of transformers, which
                crowd about their mean, and takes 2 bytes a row. Default: as it is now.
            cells: How to partition the rows; a number of cells; 0 for no cells. Default: as it is
                now. The first stage must be of 1, 2, 4 or 8 bits.

        Raises:
            FunnelError: The funnel does not fit, or cannot be centred or partitioned.

        Example:
            >>> index = Index(2, funnel="2@8:10 > 2@32")
            >>> _ = index.add(np.eye(2, dtype=np.float32))
            >>> index.rebuild(cells=Cells(2, probes=1))
            >>> index
            Index(2 rows, dim=2, funnel='2@8:10 > 2@32', metric='cosine', 2 cells)
        """
        if centre and self._metric != "cosine":
            raise FunnelError("only the codes of cosines can be centred")
        with self._writing:
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
        """Measures on this machine which funnel is the fastest that finds enough, and sets it.

        The rows are stored anew for it, as by `rebuild`: centred, rotated or in cells where that is
        faster. Half of the queries choose; on the other half, the one-sided 95 % lower bound of
        the recall must reach the target. If no funnel does, the most exact one is set, and the
        report says so. Up to three copies of the rows take memory until it is done; searches go on
        meanwhile, and adds wait. After a failure the index is as it was.

        Args:
            recall: The share of the exact top k, over 0 and at most 1, that searches must find.
            k: Hits of a search.
            queries: (m, dim) floats like those that will be asked: a few hundred at least. Default:
                rows of the index, each of which must find others.
            budget_seconds: About how long to measure. A rebuild that has begun is finished.
            prefer: What must be fast: "throughput" of many queries a call, or "latency" of one.
            cells: Whether to try cells: False never, True always, None from 50,000 rows on.
            seed: Chooses rows to ask with.
            verbose: Whether to tell the choice, in one line on stderr.

        Returns:
            All that was measured, and the choice: print it, or `plot` it.

        Raises:
            VectorError: Queries have a wrong shape or dtype, or are not finite.
            ArgumentError: Another argument is out of range.
        """
        from nestling.tuning import TuningTarget, tune

        target = TuningTarget(recall, positive("k", k), budget_seconds, prefer, cells, seed)
        asked = None if queries is None else matrix(queries, self._dim, "queries")
        with self._writing:
            tuned, report = tune(self, asked, target)
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
        """Returns another index of the same rows, stored as `rebuild` would; this one is unchanged.

        Example:
            >>> index = Index(2, funnel="2@8:10 > 2@32")
            >>> _ = index.add(np.eye(2, dtype=np.float32))
            >>> print(index.rebuilt(funnel="2@32").funnel, "|", index.funnel)
            2@32 | 2@8:10 > 2@32
        """
        return self._with(self._rebuilt(funnel, rotate, centre, cells))

    def with_search_settings(self, funnel: str | Funnel, cells: Cells | None) -> Self:
        """Returns an index that shares these rows, with other keeps, margins and probes.

        Args:
            funnel: Stages that this index stores, in order.
            cells: As they are stored, with another number of probes; None to score all rows.

        Example:
            >>> index = Index(2, funnel="2@8:10 > 2@32")
            >>> print(index.with_search_settings("2@8:5 > 2@32", None).funnel)
            2@8:5 > 2@32
        """
        return self._with(replace(self._state, funnel=Funnel.of(funnel), cells=cells))

    def copy(self) -> Self:
        """Returns an index of its own that shares the rows there are, at no cost.

        Changes to the one are not seen by the other; the first rows added to it copy up to 262,144
        of those before.
        """
        with self._writing:
            return self._with(replace(self._state, core=self._state.core.copy()))

    def empty(self) -> Self:
        """Returns an index without rows that stores what is added to it as this one does.

        It has this one's funnel, rotation and centre, so that the two can be merged; but no cells.
        """
        state = self._state
        return self._with(_State(state.core.empty(), state.funnel, None))

    @classmethod
    def merge(cls, indexes: Sequence[Index], *, shifts: Sequence[int] | None = None) -> Index:
        """Returns one index of the rows of several, bit for bit as they are stored, without cells.

        Args:
            indexes: At least one; all of the same dim, metric, stages and transform.
            shifts: What is added to the ids of each. Default: nothing.

        Raises:
            FunnelError: They do not store the same.
            IdError: An id is in several of them, or is shifted out of range.
            ArgumentError: There is no index, or not one shift an index.

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

        The file is written beside `path`, synced and renamed: a crash leaves the old file or the
        new one, whole. Rows added meanwhile by other threads are not in it.

        Raises:
            StorageError: The system refused: no space, no permission, no such folder.
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
        index._threads = min(thread_count(threads), _MOST_THREADS)
        index._writing = threading.Lock()
        try:
            file = _core.File(os.fsencode(path), verify=verify)
            stored = read_metadata(file.metadata)
            index._dim = stored.dim
            index._metric = stored.metric
            core = _core.Index.open(
                file,
                dim=stored.dim,
                cosine=stored.metric == "cosine",
                stages=stage_specs(stored.funnel),
                metadata=_core.FileMetadata(
                    rows=stored.rows, cell_rows=stored.cell_rows, cells=cell_spec(stored.cells)
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
        """Returns the same rows stored anew, as `rebuild` says."""
        state = self._state
        chosen = state.funnel if funnel is None else Funnel.of(funnel)
        partition = Cells.of(state.cells if cells is None else cells, self._dim)
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

    def _with(self, state: _State) -> Self:
        """Returns an index like this one with another state."""
        other = copy.copy(self)
        other._writing = threading.Lock()
        other._state = state
        return other
