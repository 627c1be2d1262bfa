"""What was measured of a server, as values and as a table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console

from nestling._util.console import print_table, table
from nestling.bench.machine import Machine
from nestling.bench.server.load import Load

__all__ = ["Measured", "Overload", "ServerReport", "measured", "show"]


@dataclass(frozen=True, slots=True)
class Measured:
    """One kind of request, from some clients.

    Attributes:
        server: Which server.
        what: The kind of request.
        clients: How many clients sent one after the other.
        per_request: Queries or texts in a request.
        rate: Queries or texts a second.
        p50_ms: Median latency of a request.
        p99_ms: Its 99th percentile.
        library: The same by the library itself: queries or texts a second; None for other servers.
    """

    server: str
    what: str
    clients: int
    per_request: int
    rate: float
    p50_ms: float
    p99_ms: float
    library: float | None = None


@dataclass(frozen=True, slots=True)
class Overload:
    """More requests than the server can answer.

    Attributes:
        what: The kind of request.
        capacity: Requests a second that it answers when clients wait for their answers.
        capacity_p99_ms: Their 99th percentile then.
        offered: Requests a second that were sent.
        answered: Those that were answered.
        p99_ms: The 99th percentile of those, from when they were due.
        refused: Share of answers with 429.
        refused_p99_ms: The 99th percentile of their latency.
        others: Answers with another status, and broken connections.
        memory_ratio: The most resident memory meanwhile, over the most at capacity.
        recovered: Requests a second from 1 s after the end, over `capacity`.
    """

    what: str
    capacity: float
    capacity_p99_ms: float
    offered: float
    answered: float
    p99_ms: float
    refused: float
    refused_p99_ms: float
    others: int
    memory_ratio: float
    recovered: float


@dataclass(frozen=True, slots=True)
class ServerReport:
    """All of it.

    Attributes:
        machine: Where it ran. Servers and load share it.
        documents: Documents of the collection.
        dim: Dimensions of their vectors.
        model: The encoder.
        rounds: Measured rounds, of which the median counts.
        overhead_ms: Median latency of one query vector over HTTP, less that of the library.
        gathered: Requests a second of 64 clients, over those of one.
        measured: The requests.
        overload: What happened under overload; None where it was left out.
        absent: Servers that were not measured, and what they need.
    """

    machine: Machine
    documents: int
    dim: int
    model: str
    rounds: int
    overhead_ms: float
    gathered: float
    measured: tuple[Measured, ...]
    overload: Overload | None
    absent: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Returns everything as plain values, ready for JSON."""
        return asdict(self)


def measured(server: str, what: str, clients: int, per_request: int, loads: list[Load]) -> Measured:
    """Returns the round with the median rate."""
    load = sorted(loads, key=lambda each: each.rate)[len(loads) // 2]
    return Measured(
        server,
        what,
        clients,
        per_request,
        load.rate * per_request,
        load.percentile(50),
        load.percentile(99),
    )


def show(report: ServerReport, screen: Console) -> None:
    """Prints the report."""
    screen.print(f"{report.machine.cpu}, {report.machine.system}, {report.machine.isa}")
    screen.print(
        f"{report.documents:,} documents × {report.dim}, {report.model}; servers and load share "
        f"{report.machine.cores} cores; load {report.machine.load or 0:.1f} before the start"
    )
    rows = [
        (
            one.server,
            one.what,
            f"{one.clients:,}",
            f"{one.rate:,.0f}",
            "" if one.library is None else f"{one.rate / one.library:.0%}",
            f"{one.p50_ms:,.2f}",
            f"{one.p99_ms:,.2f}",
        )
        for one in report.measured
    ]
    columns = ("server", "request", "clients", "per s", "of the library", "p50 ms", "p99 ms")
    print_table(table(columns, rows, align="llrrrrr"), screen)
    screen.print(
        f"One query vector takes {report.overhead_ms:.2f} ms more over HTTP than in the library; "
        f"64 clients get {report.gathered:.1f} times the answers of one."
    )
    if report.overload is not None:
        one = report.overload
        screen.print(
            f"Overload, {one.what}: capacity {one.capacity:,.0f}/s with p99 "
            f"{one.capacity_p99_ms:,.0f} ms; of {one.offered:,.0f}/s offered {one.answered:,.0f} "
            f"were answered with p99 {one.p99_ms:,.0f} ms, {one.refused:.0%} refused with p99 "
            f"{one.refused_p99_ms:,.0f} ms, {one.others:,} others; memory × {one.memory_ratio:.2f};"
            f" {one.recovered:.0%} of capacity 1 s after."
        )
    screen.print(
        f"Medians of {report.rounds} rounds that took turns. Percentages are of the library's own "
        "calls in one process on the same cores."
    )
    for name, install in report.absent.items():
        screen.print(f"not measured: {name} ({install})", markup=False)
