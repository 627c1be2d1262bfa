"""The results of a benchmark, as tables and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from nestling._util.console import print_table, table
from nestling._util.timing import Spread
from nestling.bench.build import Build
from nestling.bench.machine import Machine
from nestling.bench.peaks import Peaks
from nestling.bench.search import Scan, Search

__all__ = ["Report", "disturbed", "show"]

_UNDISTURBED: Final = 0.95


@dataclass(frozen=True, slots=True)
class Report:
    """All results of one run; rates are per second, times in seconds, sizes in bytes.

    Attributes:
        nestling: The version.
        machine: Where it ran.
        rounds: Measured rounds.
        core_share: Share of the searches' time in which this process had its core; 1 where no other
            process used it. None for several threads, which are not busy all the time.
        rows: Rows of the index.
        dim: Their dimensions.
        origin: Where the rows come from, in words.
        generated: Whether the rows were generated.
        funnel: The index's funnel.
        peaks: The limits of the machine.
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
        """Returns everything as JSON values."""
        return asdict(self)


def show(report: Report, out: Console) -> None:
    """Prints the report as tables."""
    search = report.search
    out.print(_head(report), markup=False)
    for grid in (
        _peaks(report),
        _scans(report.machine, search.scan_single, search.scan_batch),
        _searches(search),
    ):
        print_table(grid, out)
        out.print()
    out.print(f"{search.stages}\n", markup=False)
    print_table(_build(report), out)
    out.print(f"\n{_foot(report)}", markup=False)


def disturbed(core_share: float | None) -> list[str]:
    """Returns a warning line if other processes took much of the core; see `Report.core_share`.

    Example:
        >>> disturbed(0.99)
        []
    """
    if core_share is None or core_share >= _UNDISTURBED:
        return []
    return [
        f"DISTURBED: other processes took {1 - core_share:.0%} of the core's time. "
        "Measure again when the machine is idle."
    ]


def _head(report: Report) -> str:
    machine = report.machine
    lines = [
        f"nestling {report.nestling} on {machine.cpu}, {machine.system}, ISA {machine.isa}",
        machine.use,
        f"{report.rows:,} rows × {report.dim}: {report.origin}",
        f"funnel {report.funnel}",
    ]
    if report.generated:
        lines.append("The rows are GENERATED: recall on yours may differ (--vectors, --texts).")
    return "\n".join(lines) + "\n"


def _foot(report: Report) -> str:
    lines = [
        f"Medians of {report.rounds} rounds that took turns, after a warm-up round; in brackets "
        "the lowest and the highest round.",
        *disturbed(report.core_share),
    ]
    return "\n".join(lines)


def _peaks(report: Report) -> Table:
    machine, peaks = report.machine, report.peaks
    cores = "core" if machine.threads == 1 else f"{machine.threads} cores"
    limits = [
        ("read from memory", peaks.memory, "GB/s"),
        (f"read from L2 of {machine.l2_bytes // 1024:,} KiB", peaks.l2, "GB/s"),
    ]
    limits += [
        (f"multiply-adds on {bits}-bit codes", peak, "G/s")
        for bits, peak in peaks.multiply_adds.items()
    ]
    rows = [
        (name, f"{_number(peak.high / 1e9)} {unit}", _spread(peak, 1e9, unit))
        for name, peak, unit in limits
    ]
    return table(("", "best round", "median of rounds"), rows, title=f"Limits of the {cores}")


def _scans(machine: Machine, single: Scan, batch: Scan) -> Table:
    title = f"Coarse scan by itself, {single.stage}, top 10: {single.bytes / 1e6:,.1f} MB of codes"
    if single.bytes < machine.last_level_bytes:
        title += f", which fit the cache of {machine.last_level_bytes / 1e6:,.1f} MB"
    scans = (single, batch)
    rows = [
        ("time per query", *(_time(scan.seconds) for scan in scans)),
        ("codes scored", *(_spread(scan.bytes_per_second, 1e9, "GB/s") for scan in scans)),
        ("  share of the memory's limit", *(_share(scan.memory_share) for scan in scans)),
        ("multiply-adds", *(_spread(s.multiply_adds_per_second, 1e9, "G/s") for s in scans)),
        ("  share of the limit", *(_share(scan.multiply_add_share) for scan in scans)),
    ]
    return table(("", "single query", f"batch of {batch.queries:,}"), rows, title=title)


def _searches(search: Search) -> Table:
    p99 = Spread(search.p99, search.p99, search.p99)
    rows = [
        ("latency, p50", _time(search.p50)),
        ("latency, p99", _time(p99)),
        (f"batch of {search.batch:,}", _spread(search.queries_per_second, 1.0, "queries/s")),
        ("recall@10 of the exact search", f"{search.recall:.4f}"),
    ]
    return table(("", ""), rows, title="Whole search, top 10")


def _build(report: Report) -> Table:
    build = report.build
    rows = [
        ("add", _spread(build.rows_per_second, 1.0, "rows/s")),
        ("memory", f"{sum(build.memory.values()) / report.rows:,.0f} bytes per row"),
        (f"save {build.file_bytes / 1e6:,.1f} MB", _time(build.save)),
        ("load, verified", _time(build.load)),
        ("load, unverified", _time(build.load_unverified)),
    ]
    return table(("", ""), rows, title="Build")


def _share(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%}"


def _time(seconds: Spread) -> str:
    units = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
    return _spread(seconds, *next((u for u in units if seconds.median >= u[0]), units[-1]))


def _spread(spread: Spread, unit: float, name: str) -> str:
    """Formats a spread in multiples of `unit`; without brackets if all rounds agree."""
    median, low, high = (_number(v / unit) for v in (spread.median, spread.low, spread.high))
    rounds = "" if spread.low == spread.high else f" [{low} – {high}]"
    return f"{median}{rounds} {name}"


def _number(value: float) -> str:
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}"
