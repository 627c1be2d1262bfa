"""What a benchmark found, as tables and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from nestling._util.timing import Spread
from nestling.bench.build import Build
from nestling.bench.machine import Machine
from nestling.bench.peaks import Peaks
from nestling.bench.search import Scan, Search

__all__ = ["Report", "disturbed", "show"]

_UNDISTURBED: Final = 0.95


@dataclass(frozen=True, slots=True)
class Report:
    """All results of one run; rates are a second, times are seconds, sizes are bytes.

    Attributes:
        nestling: The version.
        machine: Where it ran.
        rounds: Rounds that each measurement had.
        core_share: Share of the time of the searches that this process had its core for; 1 where
            nobody else wanted it. None for several threads, which are not all busy all the time.
        rows: How many rows the index held.
        dim: Their dimensions.
        origin: What the rows are, in words.
        generated: Whether the rows were made up.
        funnel: The index's funnel.
        peaks: What the machine can do.
        build: Adding, saving and loading.
        search: Searching.
    """

    nestling: str
    machine: Machine
    rounds: int
    core_share: float | None
    rows: int
    dim: int
    origin: str
    generated: bool
    funnel: str
    peaks: Peaks
    build: Build
    search: Search

    def as_dict(self) -> dict[str, Any]:
        """Returns everything as plain values, ready for JSON."""
        return asdict(self)


def show(report: Report, console: Console) -> None:
    """Prints the report as tables."""
    search = report.search
    console.print(
        Group(
            _head(report),
            _peaks(report),
            _scans(report.machine, search.scan_single, search.scan_batch),
            _searches(search),
            Text(search.stages + "\n"),
            _build(report),
            _foot(report),
        )
    )


def disturbed(core_share: float | None) -> list[str]:
    """Returns the line that tells of others at work, if they took much of the core; see `Report`.

    Example:
        >>> disturbed(0.99)
        []
    """
    if core_share is None or core_share >= _UNDISTURBED:
        return []
    return [
        f"DISTURBED: other processes took {1 - core_share:.0%} of the core's time. "
        "Measure again when the machine is quiet."
    ]


def _head(report: Report) -> RenderableType:
    machine = report.machine
    lines = [
        f"nestling {report.nestling} on {machine.cpu}, {machine.system}, ISA {machine.isa}",
        machine.use,
        f"{report.rows:,} rows × {report.dim}: {report.origin}",
        f"funnel {report.funnel}",
    ]
    if report.generated:
        lines.append("The rows are GENERATED: recall on your own may differ (--vectors, --texts).")
    return Text("\n".join(lines) + "\n")


def _foot(report: Report) -> RenderableType:
    lines = [
        f"Medians of {report.rounds} rounds that took turns, after one of warming up; in brackets "
        "the lowest and the highest round."
    ]
    lines += disturbed(report.core_share)
    return Text("\n".join(lines))


def _peaks(report: Report) -> RenderableType:
    machine, peaks = report.machine, report.peaks
    cores = "core" if machine.threads == 1 else f"{machine.threads} cores"
    table = _table(f"What the {cores} can do at most", "", "best round", "median of rounds")
    for name, peak, unit in (
        ("read from memory", peaks.memory, "GB/s"),
        (f"read from L2 of {machine.l2_bytes // 1024:,} KiB", peaks.l2, "GB/s"),
        *(
            (f"multiply-adds on {bits}-bit codes", p, "G/s")
            for bits, p in peaks.multiply_adds.items()
        ),
    ):
        table.add_row(name, f"{_number(peak.high / 1e9)} {unit}", _spread(peak, 1e9, unit))
    return table


def _scans(machine: Machine, single: Scan, batch: Scan) -> RenderableType:
    title = f"Coarse scan alone, {single.stage}, top 10: {single.bytes / 1e6:,.1f} MB of codes"
    if single.bytes < machine.last_level_bytes:
        title += f", which fit the cache of {machine.last_level_bytes / 1e6:,.1f} MB"
    table = _table(title, "", "single query", f"batch of {batch.queries:,}")
    scans = (single, batch)
    table.add_row("time a query", *(_time(scan.seconds) for scan in scans))
    table.add_row("codes scored", *(_spread(s.bytes_per_second, 1e9, "GB/s") for s in scans))
    table.add_row("  of the memory's best", *(_share(scan.memory_share) for scan in scans))
    table.add_row(
        "multiply-adds", *(_spread(s.multiply_adds_per_second, 1e9, "G/s") for s in scans)
    )
    table.add_row("  of the peak", *(_share(scan.multiply_add_share) for scan in scans))
    return table


def _searches(search: Search) -> RenderableType:
    table = _table("Whole search, top 10", "", "")
    table.add_row("latency, p50", _time(search.p50))
    table.add_row("latency, p99", _time(Spread(search.p99, search.p99, search.p99)))
    table.add_row(
        f"batch of {search.batch:,}", _spread(search.queries_per_second, 1.0, "queries/s")
    )
    table.add_row("recall@10 of the exact search", f"{search.recall:.4f}")
    return table


def _build(report: Report) -> RenderableType:
    build = report.build
    table = _table("Build", "", "")
    table.add_row("add", _spread(build.rows_per_second, 1.0, "rows/s"))
    table.add_row("memory", f"{sum(build.memory.values()) / report.rows:,.0f} bytes a row")
    table.add_row(f"save {build.file_bytes / 1e6:,.1f} MB", _time(build.save))
    table.add_row("load, verified", _time(build.load))
    table.add_row("load, unverified", _time(build.load_unverified))
    return table


def _table(title: str, first: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", show_header=any(columns))
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _share(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%}"


def _time(seconds: Spread) -> str:
    units = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
    return _spread(seconds, *next((u for u in units if seconds.median >= u[0]), units[-1]))


def _spread(spread: Spread, unit: float, name: str) -> str:
    """Writes a spread in multiples of `unit`; without brackets where there is one value only."""
    median, low, high = (_number(v / unit) for v in (spread.median, spread.low, spread.high))
    rounds = "" if spread.low == spread.high else f" [{low} – {high}]"
    return f"{median}{rounds} {name}"


def _number(value: float) -> str:
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}"
