"""`python -m nestling.bench cluster`: the options, and the table of what was measured."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from nestling._util.console import console, print_json, print_table, table
from nestling.bench.machine import Machine
from nestling.bench.options import Seed
from nestling.cli.command import command
from nestling.cli.options import FunnelText, Json

if TYPE_CHECKING:
    from nestling.bench.cluster.measure import ClusterReport

__all__ = ["ClusterOptions", "cluster"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """The options of `python -m nestling.bench cluster`."""

    rows: Annotated[int, typer.Option(min=1_000, help="Rows of a shard.")] = 1_000_000
    dim: Annotated[int, typer.Option(min=1, help="Their dimensions.")] = 256
    shards: Annotated[str, typer.Option(metavar="N,N…", help="Numbers of shards.")] = "1,2,4,8"
    funnel: FunnelText = None
    cells: Annotated[int, typer.Option(min=0, help="Cells of a shard; 0 for none.")] = 0
    queries: Annotated[int, typer.Option(min=10, help="Queries, one after the other.")] = 1_000
    cores: Annotated[
        int | None,
        typer.Option(min=1, help="Cores that Ray may use.", show_default="those of the process"),
    ] = None
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Where files are written, and removed again.",
            metavar="FOLDER",
            show_default="the system's folder for temporary files",
        ),
    ] = None
    save: Annotated[
        Path | None,
        typer.Option(help="Write all results, the latencies of a shard too, to this file."),
    ] = None
    seed: Seed = 0
    as_json: Json = False

    def numbers(self) -> tuple[int, ...]:
        """Returns the numbers of --shards.

        Raises:
            typer.BadParameter: One is not a number from 1 to 1,000.
        """
        try:
            numbers = tuple(int(part) for part in self.shards.split(","))
        except ValueError:
            numbers = ()
        if not numbers or not all(1 <= number <= 1_000 for number in numbers):
            raise typer.BadParameter("give numbers from 1 to 1,000", param_hint="--shards")
        return tuple(sorted(set(numbers)))


@command
def cluster(options: ClusterOptions) -> None:
    """Build and search shards on Ray, and compare with the same work without it.

    Rows are generated. All shards are on this machine, so that they share its cores.

    Example: python -m nestling.bench cluster --rows 100000 --shards 1,2,4
    """
    from nestling.bench.cluster.measure import Plan, measure

    plan = Plan(
        rows=options.rows,
        dim=options.dim,
        shards=options.numbers(),
        funnel=options.funnel,
        cells=options.cells,
        queries=options.queries,
        cores=options.cores or Machine.here(threads=1).cores,
        seed=options.seed,
    )
    with tempfile.TemporaryDirectory(prefix="nestling-cluster-", dir=options.folder) as folder:
        report = measure(Path(folder), plan)
    if options.save is not None:
        options.save.write_text(json.dumps(report.as_dict()), encoding="utf-8")
    if options.as_json:
        print_json(report.as_dict())
    else:
        _show(report, console())


def _show(report: ClusterReport, screen: Console) -> None:
    """Prints the report."""
    plan, built = report.plan, report.build
    screen.print(f"{report.machine.cpu}, {report.machine.system}, {report.machine.isa}")
    screen.print(
        f"{built.rows:,} rows × {plan.dim} into {built.shards} shards on {plan.cores} cores: "
        f"{built.ray_per_second:,.0f} rows/s by Ray, {built.loop_per_second:,.0f} by a plain loop "
        f"({built.share:.0%}); the driver took {built.driver_megabytes:,.0f} MB"
    )
    columns = (
        "shards",
        "rows",
        "p50 ms",
        "p99 ms",
        "cores' limit",
        "slowest shard",
        "added",
        "simulated",
        "p99",
    )
    rows = [
        (
            f"{one.shards}",
            f"{one.rows:,}",
            f"{one.p50_ms:.2f}",
            f"{one.p99_ms:.2f}",
            f"{one.cores_p50_ms:.2f}",
            f"{one.slowest_p50_ms:.2f}",
            f"{one.added_p50_ms:.2f}",
            f"{one.simulated_p50_ms:.2f}",
            f"{one.simulated_p99_ms:.2f}",
        )
        for one in report.fanout
    ]
    print_table(table(columns, rows, align="rrrrrrrrr"), screen)
    screen.print(
        f"An empty request takes {report.ping_seconds * 1e3:.2f} ms, of which "
        f"{report.call_seconds * 1e3:.2f} of the driver's core and "
        f"{report.serve_seconds * 1e3:.2f} of the actor's. Simulated from these and one shard's "
        "search alone."
    )
