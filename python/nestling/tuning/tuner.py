"""The search for the fastest funnel: screen coarse stages, store all rows for the best, measure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nestling._util.progress import ProgressBar
from nestling.errors import VectorError
from nestling.index import Index
from nestling.index.cells import Cells
from nestling.index.funnel import Funnel, Stage
from nestling.tuning.curve import Curve, round_up
from nestling.tuning.queries import QuerySet, choose_queries
from nestling.tuning.report import TuneReport
from nestling.tuning.screen import MOST_KEPT, CoarseCandidate, CoarseStage, screen
from nestling.tuning.speed import Speed, take_turns
from nestling.tuning.target import Clock, TuningTarget
from nestling.tuning.trial_index import TrialIndex, exact_funnel, safe

__all__ = ["funnel_in_cells", "tune"]

_FINALISTS: Final = 4  # most coarse stages that all rows are stored for
_AS_GOOD: Final = 1.1  # times the shortest predicted time: within the noise
_CLOSE: Final = 1.4  # times the shortest predicted time: worth trying
_FINALS_SHARE, _MIDDLE_SHARE, _CELLS_SHARE = 0.6, 0.7, 0.9  # of the budget: no step begins later
_BETTER: Final = 0.97  # of the time: what a less simple choice must save
_ALL_MEASURED: Final = 20_000  # up to so many rows, an exact search is measured like any other
_EXACT_QUERIES: Final = 16
_CELL_ROWS: Final = 50_000  # from so many rows on, cells are tried by default
_CELLS_PER_ROOT: Final = 8  # cells, for the square root of the rows
_SMALLEST_NORM: Final = 1e-18  # of a query: one that is shorter finds nothing
# Standard deviations of the k-th best scores: half as many probes. Which is better depends on the
# rows.
_HALVINGS: Final = (0.5, 1.5)
_LEAST_SHARE, _LEAST_SHARE_BY_SCORE = 512, 1024  # of the cells: no fewer are probed
_PROBES_TRIED: Final = 5  # numbers of probes that reach the target
# Rows that the coarse stage in cells keeps, and a stage of 4 bits after it, which follows links.
_KEEPS: Final = (
    (20, 15),
    (30, 20),
    (50, 20),
    (50, 30),
    (70, 30),
    (100, 30),
    (100, 40),
    (100, 60),
    (150, 50),
    (200, 50),
    (200, 60),
    (200, 100),
    (300, 100),
    (400, 100),
    (600, 150),
    (1000, 200),
    (2000, 300),
    (4000, 500),
)
_BETWEEN_BITS: Final = 4  # of that stage
_AROUND: Final = (0.25, 0.5, 2.0, 4.0)  # times the keep of the choice, to show the trade-off
_RERANKED: Final = 0.3  # of a search's time: beyond it, re-ranking in two steps may pay


def tune(
    index: Index, given: NDArray[np.float32] | None, target: TuningTarget
) -> tuple[Index, TuneReport]:
    """Finds the fastest way to store and search the rows of `index`, which is left unchanged.

    Args:
        index: The rows; nobody may write to it during the call.
        given: (m, dim) float32 queries; None to use rows.
        target: What to reach.

    Returns:
        The tuned index, which is `index` itself if nothing is better; and the measurements.

    Raises:
        VectorError: A query is not finite.

    Example:
        >>> index = nestling.Index(16, funnel="4@1:20 > 16@16")
        >>> _ = index.add(np.random.default_rng(0).standard_normal((300, 16)))
        >>> target = TuningTarget(0.9, 10, 0.1, "throughput", None, 0)
        >>> tuned, report = tune(index, None, target)
        >>> str(tuned.funnel) == report.chosen.funnel
        True
    """
    if given is not None and not np.isfinite(given).all():
        raise VectorError("queries hold a value that is not finite")
    with ProgressBar("Tuning", total=math.ceil(target.budget_seconds)) as bar:
        clock = Clock(target.budget_seconds, bar)
        others = len(index) - (given is None)
        if others < 1 or (given is not None and not given.any()):
            query_set = _nothing(index)
        else:
            query_set = choose_queries(index, given, target, clock)
        return _Tuner(index, query_set, target, clock).run()


def _nothing(index: Index) -> QuerySet:
    """Returns one query that every row answers, for an index without anything to find."""
    ids = index.ids[np.newaxis]
    return QuerySet(np.ones((1, index.dim), np.float32), ids, None, max(1, len(index)))


class _Tuner:
    """The trials measured so far."""

    def __init__(
        self, index: Index, query_set: QuerySet, target: TuningTarget, clock: Clock
    ) -> None:
        self._index = index
        self._target = target
        self._clock = clock
        self._query_set = query_set
        several = len(query_set) > 1
        self._choosing = query_set.every(2) if several else query_set
        self._confirming = query_set.every(2, 1) if several else query_set
        self._last = index.funnel.stages[-1]
        self._before = TrialIndex.of(index, self._confirming)
        self._speeds: list[Speed] = []  # of the original index, in each timed group
        self._measured: list[TrialIndex] = [self._before]
        self._best: TrialIndex | None = None
        self._exact: TrialIndex | None = None
        self._notes: list[str] = []

    def run(self) -> tuple[Index, TuneReport]:
        """Returns the choice and the report."""
        self._compare([])
        self._consider(self._before)
        if not len(self._index) or not self._query_set.truth.size:
            self._notes.append("No rows: nothing was measured, and the funnel is unchanged.")
            return self._end(self._before)
        self._measure_exact()
        if self._last.bits < 8:
            self._notes.append(
                f"Rows are stored at {self._last.bits} bits: they are too coarse to re-rank by."
            )
        elif len(self._index) > self._query_set.search_k:
            candidates = screen(self._index, self._choosing, self._target, self._clock)
            self._try_first_stages(candidates)
            self._try_middle()
            self._try_cells(candidates)
        if self._query_set.self_ids is not None:
            self._notes.append(
                "Rows served as queries. If real queries differ (another prompt), give some."
            )
        if self._best is None:
            self._notes.append("No funnel reached the target, so the most exact one was chosen.")
            return self._end(self._most_exact())
        self._trade_off(self._best)
        return self._end(self._best)

    def _stored_for(
        self, funnel: Funnel, *, rotate: bool = False, centre: bool = False, cells: int = 0
    ) -> Index:
        """Returns all rows stored for a funnel: by default plain and without cells."""
        return self._index.rebuilt(funnel=funnel, rotate=rotate, centre=centre, cells=cells)

    def _measure_exact(self) -> None:
        if len(self._index) <= _ALL_MEASURED:
            self._consider(self._most_exact())
        elif len(self._index.funnel.stages) > 1:
            # As the rows are stored now, with a few queries: it is slow and seldom chosen.
            few = self._confirming.every(max(1, len(self._confirming) // _EXACT_QUERIES))
            funnel = exact_funnel(self._index.funnel)
            exact = TrialIndex.of(self._index.with_search_settings(funnel, None), few)
            self._compare([exact], few)

    def _try_first_stages(self, candidates: Sequence[CoarseCandidate]) -> None:
        """Stores all rows for the best candidates, and considers keeps and margins."""
        found = False
        for candidate in candidates[:_FINALISTS]:
            if candidate.seconds > _CLOSE * candidates[0].seconds:
                break
            if found and self._clock.spent() > _FINALS_SHARE:
                self._notes.append("The budget ended before all good coarse stages were tried.")
                break
            first = candidate.first
            variant = self._stored_for(
                Funnel((first.stage(MOST_KEPT), self._last)),
                rotate=first.rotated,
                centre=first.centred,
            )
            found |= self._try_keeps(variant)

    def _try_keeps(self, variant: Index) -> bool:
        """Considers the smallest keep and the smallest margin; returns whether there is one."""
        first = variant.funnel.stages[0]
        curve = self._curve(variant, first)
        fixed = curve.smallest_keep(self._target.recall)
        if fixed is None:
            return False
        settings = [fixed]
        if variant.metric == "cosine":
            margin = curve.smallest_margin(self._target.recall, fixed.keep)
            settings += [] if margin is None else [margin]
        stages = [Stage(first.dims, first.bits, one.keep, one.margin) for one in settings]
        rest = variant.funnel.stages[1:]
        self._confirm(
            [variant.with_search_settings(Funnel((stage, *rest)), None) for stage in stages]
        )
        return True

    def _try_middle(self) -> None:
        """Tries a stage of half the dimensions if re-ranking takes much of the time."""
        best = self._best
        if best is None or len(best.index.funnel.stages) != 2 or best.index.cells is not None:
            return
        first = best.index.funnel.stages[0]
        middle = self._index.dim // 16 * 8
        if self._last.bits < 16 or middle < max(first.dims, 8):
            return
        hits = best.index.search(self._choosing.vectors, self._choosing.k)
        scan, rerank = (stage.microseconds for stage in hits.stages)
        if rerank < _RERANKED * (scan + rerank) or self._clock.spent() > _MIDDLE_SHARE:
            return
        stage = Stage(middle, self._last.bits, first.keep)
        variant = self._stored_for(
            Funnel((first, stage, self._last)),
            rotate=best.index.rotated,
            centre=best.index.centred,
        )
        wide = Stage(first.dims, first.bits, first.keep)
        hits = variant.search(
            self._choosing.vectors,
            min(first.keep or 0, len(variant)),
            funnel=Funnel((wide, Stage(middle, self._last.bits))),
            clip=False,
        )
        fixed = Curve.of(self._choosing, hits.ids, hits.scores).smallest_keep(self._target.recall)
        if fixed is None:
            return
        keep = min(fixed.keep, first.keep or 0)
        kept = Stage(middle, self._last.bits, keep)
        self._confirm([variant.with_search_settings(Funnel((first, kept, self._last)), None)])

    def _try_cells(self, candidates: Sequence[CoarseCandidate]) -> None:
        """Partitions the rows for the coarse stage that is best when few rows are scanned."""
        rows = len(self._index)
        tried = rows >= _CELL_ROWS if self._target.cells is None else self._target.cells
        if not tried or not candidates:
            return
        if self._clock.spent() > _CELLS_SHARE:
            self._notes.append("The budget ended before cells were tried.")
            return
        least = min(one.seconds_in_cells for one in candidates)
        near = [one for one in candidates if one.seconds_in_cells <= _AS_GOOD * least]
        # The most exact codes: they need fewer cells, which the prediction does not see.
        best = max(near, key=lambda one: one.first.dims * one.first.bits)
        count = min(rows, max(1, round(_CELLS_PER_ROOT * math.sqrt(rows))))
        variant = self._stored_for(
            funnel_in_cells(best.first.stage(MOST_KEPT), self._last),
            rotate=best.first.rotated,
            centre=best.first.centred,
            cells=count,
        )
        built = variant.cells
        assert built is not None
        # Whatever the budget: all this takes a small part of the time in which cells are built.
        found = self._least_probes(variant, best.first, built, _LEAST_SHARE)
        for by_score in self._by_score(variant, best.first, built):
            found += self._least_probes(variant, best.first, by_score, _LEAST_SHARE_BY_SCORE)
        if not found:
            self._notes.append(
                "A quarter of the cells held too few true rows: cells were left out."
            )
            return
        self._confirm(found)

    def _by_score(self, variant: Index, first: CoarseStage, cells: Cells) -> list[Cells]:
        """Returns cells of which queries probe the fewer, the better their hits are.

        There are none where the hits of all queries are equally good.
        """
        alone = Funnel((Stage(first.dims, first.bits),))
        probes = max(1, cells.count // _LEAST_SHARE)
        hits = variant.search(
            self._choosing.vectors,
            self._query_set.search_k,
            funnel=alone,
            probes=probes,
            clip=False,
        )
        kth = hits.scores[:, -1].astype(np.float64)
        if variant.metric == "ip":
            kth /= np.maximum(np.linalg.norm(self._choosing.vectors, axis=1), _SMALLEST_NORM)
        typical, spread = float(np.median(kth)), float(kth.std())
        if not spread > 0:
            return []
        return [replace(cells, typical=typical, halving=halving * spread) for halving in _HALVINGS]

    def _least_probes(
        self, variant: Index, first: CoarseStage, cells: Cells, share: int
    ) -> list[Index]:
        """Returns an index for each of the smallest numbers of probes that reach the target."""
        found: list[Index] = []
        for probes in _steps(max(1, cells.count // share), cells.count // 4):
            one = self._smallest_keep(variant, first, replace(cells, probes=probes))
            if one is None:
                continue
            found.append(one)
            # With the fewest cells, the coarse stage may miss little and must keep many rows.
            if len(found) == _PROBES_TRIED:
                break
        return found

    def _smallest_keep(self, variant: Index, first: CoarseStage, cells: Cells) -> Index | None:
        """Returns the index that keeps the fewest rows that reach the target; None if none does.

        It is searched for by whole searches, since links find what the coarse stage missed.
        """
        _, *middle, last = variant.funnel.stages

        def keeping(number: int) -> Index:
            rows, fewer = (max(keep, self._query_set.search_k) for keep in _KEEPS[number])
            stages = [replace(stage, keep=fewer) for stage in middle]
            funnel = Funnel((first.stage(rows), *stages, last))
            return variant.with_search_settings(funnel, cells)

        low, high = 0, len(_KEEPS)
        while low < high:
            number = (low + high) // 2
            if self._choosing.recalls_of(keeping(number)).mean() >= self._target.recall:
                high = number
            else:
                low = number + 1
        return keeping(low) if low < len(_KEEPS) else None

    def _trade_off(self, chosen: TrialIndex) -> None:
        """Measures the choice with other keeps, to show the cost of more or less recall."""
        first, *rest = chosen.index.funnel.stages
        if chosen is self._before or first.keep is None or len(rest) > 1:
            return
        if self._clock.spent() > 1:
            return
        others = []
        for factor in _AROUND:
            keep = max(self._query_set.search_k, round_up(factor * first.keep))
            margin = first.margin and round(1 + (first.margin - 1) * factor**0.5, 3)
            funnel = Funnel((replace(first, keep=keep, margin=margin), *rest))
            other = chosen.index.with_search_settings(funnel, chosen.index.cells)
            others.append(TrialIndex.of(other, self._confirming))
        self._compare(others)

    def _curve(self, variant: Index, first: Stage) -> Curve:
        alone = Funnel((Stage(first.dims, first.bits),))
        seen = min(MOST_KEPT, len(variant))
        hits = variant.search(self._choosing.vectors, seen, funnel=alone, probes=0, clip=False)
        return Curve.of(self._choosing, hits.ids, hits.scores)

    def _confirm(self, indexes: Sequence[Index]) -> None:
        """Considers the indexes that reach the target, after making them safer if necessary."""
        trial_indexes = [safe(index, self._confirming, self._target.recall) for index in indexes]
        confirmed = [trial_index for trial_index in trial_indexes if trial_index is not None]
        self._compare(confirmed)
        for trial_index in confirmed:
            self._consider(trial_index)

    def _compare(self, trial_indexes: Sequence[TrialIndex], few: QuerySet | None = None) -> None:
        """Times trial indexes in turn with the original; with `few` queries, in one round only."""
        query_set = self._confirming if few is None else few
        before, *speeds = take_turns(
            [self._index, *(trial_index.index for trial_index in trial_indexes)],
            query_set,
            once=few is not None,
        )
        if few is None:
            self._speeds.append(before)
        for trial_index, speed in zip(trial_indexes, speeds, strict=True):
            trial_index.speed = Speed(speed.batch / before.batch, speed.latency / before.latency)
            self._measured.append(trial_index)
        self._clock.spent()

    def _consider(self, trial_index: TrialIndex) -> None:
        if not trial_index.reaches(self._target.recall):
            return
        best, prefer = self._best, self._target.prefer
        if best is None or trial_index.relative(prefer) < _BETTER * best.relative(prefer):
            self._best = trial_index

    def _most_exact(self) -> TrialIndex:
        """Returns the exact search, with the rows stored for it; it is measured once."""
        if self._before.is_exact:
            return self._before
        if self._exact is None:
            funnel = exact_funnel(self._index.funnel)
            self._exact = TrialIndex.of(self._stored_for(funnel), self._confirming)
            self._compare([self._exact])
        return self._exact

    def _end(self, chosen: TrialIndex) -> tuple[Index, TuneReport]:
        if chosen.settings == self._before.settings:
            chosen = self._before
        medians = np.median([(speed.batch, speed.latency) for speed in self._speeds], axis=0)
        before = Speed(*map(float, medians))
        trials = {one: one.trial(before, self._target.recall) for one in self._measured}
        # Where few rows are kept, different steps come to the same settings.
        distinct = {one.settings: one for one in (*self._measured, chosen, self._before)}
        report = TuneReport(
            target=self._target.recall,
            k=self._target.k,
            prefer=self._target.prefer,
            reached=trials[chosen].reaches,
            chosen=trials[chosen],
            before=trials[self._before],
            trials=tuple(
                sorted((trials[one] for one in distinct.values()), key=lambda trial: -trial.recall)
            ),
            queries=len(self._query_set),
            held_out=self._query_set.self_ids is not None,
            rows=len(self._index),
            threads=self._index.threads,
            seconds=self._clock.elapsed,
            notes=tuple(self._notes),
        )
        return chosen.index, report


def funnel_in_cells(first: Stage, last: Stage) -> Funnel:
    """Returns the funnel to try in cells: re-ranked by 4 bits in between, where these tell more.

    Example:
        >>> print(funnel_in_cells(Stage(256, 1, 100), Stage(256, 16)))
        256@1:100 > 256@4:100 > 256@16
        >>> print(funnel_in_cells(Stage(64, 8, 100), Stage(256, 16)))
        64@8:100 > 256@16
    """
    between = Stage(last.dims, _BETWEEN_BITS, first.keep)
    more = first.bits < between.bits or (first.bits == between.bits and first.dims < last.dims)
    return Funnel((first, between, last) if more and between.bits < last.bits else (first, last))


def _steps(first: int, last: int) -> list[int]:
    """Returns the powers of two from `first`, rounded up, to `last`, and what is halfway."""
    steps = []
    power = 1 << (first - 1).bit_length()
    while power <= last:
        steps += [step for step in (power, power * 3 // 2) if step <= last]
        power *= 2
    return list(dict.fromkeys(steps))
