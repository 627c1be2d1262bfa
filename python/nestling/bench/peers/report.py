"""The results as tables: for each target recall, the fastest setting of each library."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from nestling._util.console import print_table, table
from nestling._util.timing import Spread
from nestling.bench.peers.results import Outcome, PeersReport, Point, Size, best

__all__ = ["setting_text", "show"]

_UNDISTURBED = 0.95
_FOR_LATENCY = " ¹"  # marks what is fastest for single queries
_EARLIER = " ²"  # marks what was built in an earlier run
_MOST_SHOWN = 200  # characters of an error
_COLUMNS = (
    *("", "configuration and setting", "recall", "queries/s"),
    *("p50 ms", "p99 ms", "build s", "B/row"),
)


def show(report: PeersReport, out: Console, *, every: bool = False) -> None:
    """Prints the largest size as one table for each target, and notes about the rest.

    Args:
        report: The report.
        out: Where to print it.
        every: Whether to list the fastest setting of every configuration, not only of every peer.
    """
    out.print(_head(report), markup=False)
    size = report.sizes[-1]
    for target in report.targets:
        title = f"recall@10 of at least {target:g}"
        print_table(table(_COLUMNS, _rows(size, target, every), title=title, align="llrrrrrr"), out)
        out.print()
    out.print(_foot(report), markup=False)


def setting_text(point: Point) -> str:
    """Returns a setting as text.

    Example:
        >>> spread = Spread(1.0, 1.0, 1.0)
        >>> setting_text(Point({"ef": 32, "keep": 10}, 0.9, 0.9, 1, spread, 1, spread, 1.0))
        'ef=32 keep=10'
    """
    return " ".join(f"{name}={value}" for name, value in point.setting.items())


def _head(report: PeersReport) -> str:
    machine = report.machine
    lines = [
        f"{machine.cpu}, {machine.system}",
        machine.use,
        f"{report.sizes[-1].rows:,} rows × {report.dim}: {report.origin}",
    ]
    if report.generated:
        lines.append("The rows are GENERATED: recall on yours may differ (--vectors, --texts).")
    return "\n".join(lines) + "\n"


def _rows(size: Size, target: float, every: bool) -> list[list[str]]:
    return [
        [
            peer + mark,
            f"{outcome.configuration}: {setting_text(point)}".removesuffix(": "),
            f"{point.recall:.4f}",
            f"{point.rate:,.0f} {_half_range(point.queries_per_second)}",
            _number(point.p50.median * 1e3),
            _number(point.p99 * 1e3),
            _number(outcome.build_seconds or 0) + _EARLIER * outcome.built_earlier,
            f"{outcome.bytes_per_row or 0:,.0f}",
        ]
        for peer, found in _fastest(size.outcomes, target, every)
        for mark, outcome, point in found
    ]


def _fastest(
    outcomes: Sequence[Outcome], target: float, every: bool
) -> list[tuple[str, list[tuple[str, Outcome, Point]]]]:
    """Returns each group's fastest setting, in a batch and one by one, the fastest group first.

    A group is the configurations of one peer, or one configuration where `every` one counts.
    """

    def group(outcome: Outcome) -> tuple[str, str]:
        return outcome.peer, outcome.configuration if every else ""

    found = []
    for peer, name in dict.fromkeys(group(outcome) for outcome in outcomes):
        own = [outcome for outcome in outcomes if group(outcome) == (peer, name)]
        batch = best(own, target, lambda point: point.rate)
        single = best(own, target, lambda point: point.single_rate)
        if batch is not None and batch == single:
            found.append((peer, [("", *batch)]))
        elif batch is not None and single is not None:
            found.append((peer, [("", *batch), (_FOR_LATENCY, *single)]))
    return sorted(found, key=lambda each: -each[1][0][2].rate)


def _foot(report: PeersReport) -> str:
    outcomes = report.sizes[-1].outcomes
    reached = max((p.recall for o in outcomes for p in o.points), default=0.0)
    groups = max((o.group for o in outcomes), default=1)
    earlier = any(o.built_earlier for o in outcomes)
    lines = [
        f"Medians of {report.rounds} rounds that took turns, after a warm-up round; ± is half of "
        "the range of the rounds. Recall is against the exact top 10 of all dimensions.",
        f"The fastest setting in a batch;{_FOR_LATENCY} one by one where that differs. It was "
        "measured: nothing is interpolated.",
        *([f"{_EARLIER.strip()} built in an earlier run"] if earlier else []),
        *(f"Nothing reaches {target:g}." for target in report.targets if target > reached),
        *(f"not installed: {name} (pip install {dist})" for name, dist in report.absent.items()),
        *(f"left out: {rows:,} rows do not fit in memory" for rows in report.left_out),
        *(
            f"FAILED: {o.peer} {o.configuration}: {o.error[:_MOST_SHOWN]}"
            for size in report.sizes
            for o in size.outcomes
            if o.error
        ),
    ]
    if groups > 1:
        lines.append(f"Measured in {groups} groups, one after another; --json says which.")
    shares = [o.core_share for o in outcomes if o.core_share is not None]
    if report.machine.threads == 1 and shares and sum(shares) / len(shares) < _UNDISTURBED:
        lines.append(
            f"DISTURBED: other processes took {1 - sum(shares) / len(shares):.0%} of the core's "
            "time. Measure again when the machine is idle."
        )
    return "\n".join(lines)


def _half_range(spread: Spread) -> str:
    """Formats half of the range between the lowest and the highest round, in percent."""
    return f"±{(spread.high - spread.low) / 2 / spread.median:.0%}"


def _number(value: float) -> str:
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:,.{digits}f}"
