"""The report of a tuning: the choice, and everything that it chose from."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from nestling._util.console import print_table, table, table_text
from nestling._util.counted import counted
from nestling._util.value import Value
from nestling.index.cells import Cells
from nestling.tuning.target import Prefer

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Trial", "TuneReport", "show"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Trial(Value):
    """One way to store and search the rows, measured.

    Attributes:
        funnel: The funnel, as text.
        cells: The partition of the rows, and the probes; None without cells.
        centred: Whether the coarse stage codes differences from the mean.
        rotated: Whether the rows are rotated.
        recall: Mean share of the exact top k that the confirming queries found.
        at_least: One-sided 95 % lower bound of that recall.
        queries_per_second: Queries a second in a batch.
        latency_ms: Latency of a single query in milliseconds, the median.
        bytes_per_row: Memory of the index, per row.
        reaches: Whether the recall reaches the target with confidence.

    Example:
        >>> index = nestling.Index(16)
        >>> _ = index.add(np.random.default_rng(0).standard_normal((300, 16)))
        >>> trial = index.tune(recall=0.9, budget_seconds=0.1, verbose=False).chosen
        >>> trial.at_least <= trial.recall <= 1
        True
    """

    funnel: str
    cells: Cells | None
    centred: bool
    rotated: bool
    recall: float
    at_least: float
    queries_per_second: float
    latency_ms: float
    bytes_per_row: float
    reaches: bool

    @property
    def storage(self) -> str:
        """How the rows are stored, in words: "centred, 16 of 1,024 cells"; "" for plain rows."""
        words = [
            word for word, is_so in (("rotated", self.rotated), ("centred", self.centred)) if is_so
        ]
        if self.cells is not None:
            varied = " or so" if self.cells.halving > 0 else ""
            rounds = " or more" if self.cells.adaptive else varied
            words.append(f"{self.cells.probes:,}{rounds} of {self.cells.count:,} cells")
        return ", ".join(words)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TuneReport(Value):
    """All that a tuning measured; `print` shows it as a table.

    Attributes:
        target: The recall to reach.
        k: Hits of a search.
        prefer: What had to be fast.
        reached: Whether the choice reaches the target with confidence.
        chosen: The choice, which the index now is.
        before: The index before the tuning.
        trials: All that was measured, `before` and `chosen` among them, by falling recall.
        queries: Number of queries, choosing and confirming ones together.
        held_out: Whether the queries were rows of the index.
        rows: Rows of the index.
        threads: Threads that a search may use.
        seconds: Duration of the tuning.
        notes: Remarks, as sentences.

    Example:
        >>> index = nestling.Index(16)
        >>> _ = index.add(np.random.default_rng(0).standard_normal((300, 16)))
        >>> report = index.tune(recall=0.9, budget_seconds=0.1, verbose=False)
        >>> report.target, report.k, report.rows, report.held_out, report.chosen in report.trials
        (0.9, 10, 300, True, True)
    """

    target: float
    k: int
    prefer: Prefer
    reached: bool
    chosen: Trial
    before: Trial
    trials: tuple[Trial, ...]
    queries: int
    held_out: bool
    rows: int
    threads: int
    seconds: float
    notes: tuple[str, ...]

    def line(self) -> str:
        """Returns the choice in one line.

        Example:
            >>> index = nestling.Index(16, funnel="16@16")
            >>> _ = index.add(np.random.default_rng(0).standard_normal((300, 16)))
            >>> report = index.tune(recall=0.9, budget_seconds=0.1, verbose=False)
            >>> report.line().split(":")[0]
            'tuned'
        """
        chosen, before = self.chosen, self.before
        storage = f" ({chosen.storage})" if chosen.storage else ""
        if not self.rows:
            return "not tuned: there are no rows"
        missed = "" if self.reached else f", below the target of {self.target:g}"
        return (
            f"tuned: {chosen.funnel}{storage}: recall@{self.k} {chosen.recall:.4f}{missed}; "
            f"{chosen.queries_per_second:,.0f} queries/s in a batch, latency "
            f"{chosen.latency_ms:.2f} ms (before: {before.recall:.4f}, "
            f"{before.queries_per_second:,.0f}, {before.latency_ms:.2f} ms)"
        )

    def __str__(self) -> str:
        speed = ("queries/s", "latency (ms)")
        header = ("", "funnel", "storage", "recall", "at least", *speed, "bytes/row")
        rows = [
            (self._mark(trial), trial.funnel, trial.storage or "–", *_measured(trial))
            for trial in self.trials
        ]
        grid = table(header, rows, align="lllrrrrr")
        return "\n".join([table_text(grid), *self._remarks()])

    def _remarks(self) -> tuple[str, ...]:
        """Returns what the table means, and the notes."""
        source = "held-out rows of the index" if self.held_out else "given queries"
        foot = (
            f"Recall@{self.k}: mean of {self.queries // 2:,} of {self.queries:,} {source}; the "
            "others chose. At least: with 95 % confidence. "
            f"{counted(self.rows, 'row')}, {counted(self.threads, 'thread')}; medians of rounds "
            "that took turns; "
            f"{self.seconds:,.1f} s."
        )
        return (foot, *self.notes)

    def _mark(self, trial: Trial) -> str:
        marks = (("chosen", self.chosen), ("before", self.before))
        return ", ".join(mark for mark, one in marks if trial == one)

    def as_dict(self) -> dict[str, Any]:
        """Returns everything as plain values, ready for JSON.

        Example:
            >>> index = nestling.Index(16, funnel="16@16")
            >>> _ = index.add(np.random.default_rng(0).standard_normal((300, 16)))
            >>> index.tune(recall=0.9, budget_seconds=0.1, verbose=False).as_dict()["target"]
            0.9
        """
        return asdict(self)

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draws recall against queries a second, and the choice, into a .png, .svg or .pdf file.

        Raises:
            ArgumentError: The name has another ending.
            PackageError: matplotlib is missing: it comes with `pip install 'nestling[plot]'`.
            StorageError: The system refused to write.

        Example:
            >>> index = nestling.Index(16, funnel="16@16")
            >>> _ = index.add(np.random.default_rng(0).standard_normal((300, 16)))
            >>> report = index.tune(recall=0.9, budget_seconds=0.1, verbose=False)
            >>> report.plot("tuning.svg")  # doctest: +SKIP
        """
        from nestling.tuning.plot import draw

        draw(self, path)


def show(report: TuneReport, screen: Console) -> None:
    """Prints a report: in a terminal, fitted to its width.

    Example:
        >>> from nestling._util.console import console
        >>> index = nestling.Index(16, funnel="16@16")
        >>> _ = index.add(np.random.default_rng(0).standard_normal((300, 16)))
        >>> show(index.tune(0.9, budget_seconds=0.1, verbose=False), console())  # doctest: +SKIP
    """
    if not screen.is_terminal:
        screen.print(str(report), markup=False)
        return
    # What a narrow terminal has to wrap stands last.
    header = ("", "recall", "at least", "queries/s", "ms", "bytes/row", "funnel, storage")
    rows = [
        (
            report._mark(trial),
            *_measured(trial),
            f"{trial.funnel}, {trial.storage}" if trial.storage else trial.funnel,
        )
        for trial in report.trials
    ]
    print_table(table(header, rows, align="lrrrrrl"), screen)
    for remark in report._remarks():
        screen.print(remark, markup=False, soft_wrap=False)


def _measured(trial: Trial) -> tuple[str, ...]:
    """Returns the numbers of a trial, as a table shows them."""
    return (
        f"{trial.recall:.4f}",
        f"{trial.at_least:.4f}",
        f"{trial.queries_per_second:,.0f}",
        f"{trial.latency_ms:.2f}",
        f"{trial.bytes_per_row:,.0f}",
    )
