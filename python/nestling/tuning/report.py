"""What a tuning found: the choice, and all that it chose from."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

from nestling.index.cells import Cells
from nestling.tuning.target import Prefer

__all__ = ["Trial", "TuneReport"]


@dataclass(frozen=True, slots=True)
class Trial:
    """One way to store and search the rows, measured.

    Attributes:
        funnel: The funnel, as text.
        cells: How the rows are partitioned and probed; None if not at all.
        centred: Whether the first stage codes differences from the mean.
        rotated: Whether rows are rotated.
        recall: Share of the exact top k found by the queries that confirm.
        at_least: The one-sided 95 % lower bound of that recall.
        queries_per_second: In a batch.
        latency_ms: The median latency of a single query, in milliseconds.
        bytes_per_row: What the index takes.
        reaches: Whether it reaches the target with confidence.
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
    def way(self) -> str:
        """What is stored beside the funnel, in words: "centred, 16 of 1,024 cells"."""
        words = [
            word for word, is_so in (("rotated", self.rotated), ("centred", self.centred)) if is_so
        ]
        if self.cells is not None:
            rounds = " or more" if self.cells.adaptive else ""
            words.append(f"{self.cells.probes:,}{rounds} of {self.cells.count:,} cells")
        return ", ".join(words)


@dataclass(frozen=True, slots=True)
class TuneReport:
    """All that a tuning measured; `print` shows it as a table.

    Attributes:
        target: The recall that was asked for.
        k: Hits of a search.
        prefer: What was to be fast.
        reached: Whether the choice reaches the target with confidence.
        chosen: What the index now is.
        before: What it was.
        trials: All that was measured, `before` and `chosen` among them, by recall.
        queries: How many queries chose and confirmed, together.
        held_out: Whether they were rows of the index.
        rows: Of the index.
        threads: That a search might use.
        seconds: That the tuning took.
        notes: What else is to be known.
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
        """Returns the choice in one line."""
        chosen, before = self.chosen, self.before
        way = f" ({chosen.way})" if chosen.way else ""
        missed = "" if self.reached else f", short of the {self.target:g} asked for"
        return (
            f"tuned: {chosen.funnel}{way}: recall@{self.k} {chosen.recall:.4f}{missed}; "
            f"{chosen.queries_per_second:,.0f} queries/s in a batch, latency "
            f"{chosen.latency_ms:.2f} ms (before: {before.recall:.4f}, "
            f"{before.queries_per_second:,.0f}, {before.latency_ms:.2f} ms)"
        )

    def __str__(self) -> str:
        head = (
            "",
            "funnel",
            "stored",
            "recall",
            "at least",
            "queries/s",
            "latency (ms)",
            "bytes/row",
        )
        body = [
            (
                self._mark(trial),
                trial.funnel,
                trial.way or "–",
                f"{trial.recall:.4f}",
                f"{trial.at_least:.4f}",
                f"{trial.queries_per_second:,.0f}",
                f"{trial.latency_ms:.2f}",
                f"{trial.bytes_per_row:,.0f}",
            )
            for trial in self.trials
        ]
        widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if place < 3 else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in (head, *body)
        ]
        asked = "rows of the index, held out" if self.held_out else "given queries"
        foot = (
            f"Recall@{self.k} of {self.queries // 2:,} of {self.queries:,} {asked}; the "
            f"others chose. At least: with 95 % confidence. {self.rows:,} rows, "
            f"{self.threads} threads; medians of rounds that took turns; {self.seconds:,.1f} s."
        )
        return "\n".join([*lines, foot, *self.notes])

    def _mark(self, trial: Trial) -> str:
        marks = (("chosen", self.chosen), ("before", self.before))
        return ", ".join(mark for mark, one in marks if trial == one)

    def as_dict(self) -> dict[str, Any]:
        """Returns everything as plain values, ready for JSON."""
        return asdict(self)

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draws recall against queries a second, and the choice, into a .png, .svg or .pdf file.

        Raises:
            NestlingError: The name has another ending, or matplotlib is missing: it comes with
                `pip install 'nestling[plot]'`.
            StorageError: The system refused to write.
        """
        from nestling.tuning.plot import draw

        draw(self, path)
