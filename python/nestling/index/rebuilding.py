"""Storing the rows of an index anew: as the user says, or as measurements do."""

from __future__ import annotations

import copy
import sys
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from numpy.typing import ArrayLike

from nestling import _core
from nestling.errors import FunnelError
from nestling.index.arguments import cell_tuple, matrix, positive, stage_tuples
from nestling.index.cells import Cells
from nestling.index.funnel import Funnel
from nestling.index.header import Metric
from nestling.index.transform import learn

if TYPE_CHECKING:
    from typing_extensions import Self

    from nestling.index import Index
    from nestling.tuning import Prefer, TuneReport

__all__ = ["Rebuildable", "State"]


@dataclass(frozen=True, slots=True)
class State:
    """What a search reads together, replaced as a whole by a rebuild."""

    core: _core.Index
    funnel: Funnel
    cells: Cells | None


class Rebuildable:
    """The part of an `Index` that stores its rows for another funnel."""

    _dim: int
    _metric: Metric
    _threads: int
    _writing: threading.Lock
    _state: State

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

    def _rebuilt(
        self,
        funnel: str | Funnel | None,
        rotate: bool | None,
        centre: bool | None,
        cells: Cells | int | None,
    ) -> State:
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
            stage_tuples(chosen), rotation, offset, cell_tuple(partition), self._threads
        )
        return State(core, chosen, partition)

    def tune(
        self,
        recall: float = 0.98,
        *,
        k: int = 10,
        queries: ArrayLike | None = None,
        budget_seconds: float = 60.0,
        prefer: Prefer = "batch",
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
            prefer: What must be fast: "batch" for many queries a call, "lone" for one.
            cells: Whether to try cells: False never, True always, None from 50,000 rows on.
            seed: Chooses rows to ask with.
            verbose: Whether to tell the choice, in one line on stderr.

        Returns:
            All that was measured, and the choice: print it, or `plot` it.

        Raises:
            VectorError: Queries have a wrong shape or dtype, or are not finite.
            ValueError: Another argument is out of range.
        """
        from nestling.tuning import Aim, tune

        aim = Aim(recall, positive("k", k), budget_seconds, prefer, cells, seed)
        asked = None if queries is None else matrix(queries, self._dim, "queries")
        with self._writing:
            tuned, report = tune(cast("Index", self), asked, aim)
            self._state = tuned._state
        if verbose and sys.stderr is not None:
            print(report.line(), file=sys.stderr)
        return report

    def _with(self, state: State) -> Self:
        """Returns an index like this one, but of another state."""
        other = copy.copy(self)
        other._writing = threading.Lock()
        other._state = state
        return other

    def _variant(
        self,
        funnel: Funnel,
        *,
        rotate: bool = False,
        centre: bool = False,
        cells: Cells | int = 0,
    ) -> Self:
        """Returns another index of the same rows, stored otherwise."""
        return self._with(self._rebuilt(funnel, rotate, centre, cells))

    def _searching(self, funnel: Funnel, cells: Cells | None) -> Self:
        """Returns an index that shares these rows, with other keeps, margins and probes."""
        return self._with(replace(self._state, funnel=funnel, cells=cells))
