"""One way to store and search the rows: measured, and made safer until it reaches the target."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from nestling.index.funnel import LARGEST_MARGIN, Funnel, Stage
from nestling.tuning.confidence import lower_bound
from nestling.tuning.curve import round_up
from nestling.tuning.queries import QuerySet
from nestling.tuning.report import Trial
from nestling.tuning.speed import Speed
from nestling.tuning.target import Prefer

if TYPE_CHECKING:
    from nestling.index import Index
    from nestling.index.cells import Cells

__all__ = ["TrialIndex", "exact_funnel", "safe"]

_SAFER: Final = 1.1  # factor of the rows kept and the cells probed after a miss
_ATTEMPTS: Final = 12
_AS_BEFORE: Final = Speed(1.0, 1.0)


@dataclass(slots=True, eq=False)
class TrialIndex:
    """A candidate for the tuned index, and its measurements.

    Attributes:
        index: The candidate, with the funnel, cells and probes of its searches.
        recalls: (m,) float64 recalls of the confirming queries.
        k: Rows that each of them should find.
        speed: Its speed relative to the original index, timed in turn with it.

    Example:
        >>> index = nestling.Index(2, funnel="2@32")
        >>> _ = index.add(np.eye(2))
        >>> queries = QuerySet(np.eye(2, dtype=np.float32), np.array([[0], [1]]), None, 1)
        >>> TrialIndex.of(index, queries).reaches(1.0)
        True
    """

    index: Index
    recalls: NDArray[np.float64]
    k: int
    speed: Speed = _AS_BEFORE

    @classmethod
    def of(cls, index: Index, query_set: QuerySet) -> TrialIndex:
        """Searches with the queries of a set and measures their recalls."""
        return cls(index, query_set.recalls_of(index), query_set.k)

    @property
    def is_exact(self) -> bool:
        """Whether all dimensions of all rows are scored at full precision."""
        return len(self.index.funnel.stages) == 1 and self.index.cells is None

    @property
    def settings(self) -> tuple[Funnel, Cells | None, bool, bool]:
        """The funnel, the cells, whether centred, whether rotated: what tells it from others."""
        return self.index.funnel, self.index.cells, self.index.centred, self.index.rotated

    def reaches(self, target: float) -> bool:
        """Returns whether the recall reaches the target with confidence.

        An exact search needs no confidence: its measured recall is enough.
        """
        if self.is_exact and self.recalls.mean() >= target:
            return True
        return lower_bound(self.recalls, self.k) >= target

    def relative(self, prefer: Prefer) -> float:
        """Returns the time of a query, relative to that of the original index."""
        return self.speed.batch if prefer == "throughput" else self.speed.latency

    def trial(self, before: Speed, target: float) -> Trial:
        """Returns the measurements; `before` is the speed of the original index."""
        index = self.index
        return Trial(
            funnel=str(index.funnel),
            cells=index.cells,
            centred=index.centred,
            rotated=index.rotated,
            recall=float(self.recalls.mean()),
            at_least=lower_bound(self.recalls, self.k),
            queries_per_second=1 / (before.batch * self.speed.batch),
            latency_ms=1000 * before.latency * self.speed.latency,
            bytes_per_row=sum(index.memory.values()) / max(1, len(index)),
            reaches=self.reaches(target),
        )


def safe(index: Index, query_set: QuerySet, target: float) -> TrialIndex | None:
    """Keeps more rows and probes more cells until the target is confirmed.

    Returns:
        The first trial index that reaches the target; None if none does.

    Example:
        >>> index = nestling.Index(2, funnel="2@32")
        >>> _ = index.add(np.eye(2))
        >>> queries = QuerySet(np.eye(2, dtype=np.float32), np.array([[0], [1]]), None, 1)
        >>> safe(index, queries, 0.5).recalls
        array([1., 1.])
    """
    for _ in range(_ATTEMPTS):
        trial_index = TrialIndex.of(index, query_set)
        if trial_index.reaches(target):
            return trial_index
        index = index.with_search_settings(_safer(index.funnel, len(index)), _more(index.cells))
    return None


def exact_funnel(funnel: Funnel) -> Funnel:
    """Returns the funnel that scores every row by the last stage.

    Example:
        >>> print(exact_funnel(Funnel.parse("2@8:1 > 2@32")))
        2@32
    """
    return Funnel((funnel.stages[-1],))


def _safer(funnel: Funnel, rows: int) -> Funnel:
    return Funnel(tuple(_kept_more(funnel.stages, rows)))


def _kept_more(stages: Iterable[Stage], rows: int) -> Iterable[Stage]:
    for stage in stages:
        if stage.keep is None:
            yield stage
            continue
        margin = stage.margin
        if margin is not None:
            margin = min(LARGEST_MARGIN, round(1 + _SAFER * (margin - 1), 3))
        yield replace(
            stage, keep=min(round_up(_SAFER * stage.keep), max(rows, stage.keep)), margin=margin
        )


def _more(cells: Cells | None) -> Cells | None:
    if cells is None:
        return None
    return replace(cells, probes=min(cells.count, round_up(_SAFER * cells.probes)))
