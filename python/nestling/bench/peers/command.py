"""`python -m nestling.bench peers`: the options, and the comparison that they ask for."""

from __future__ import annotations

import importlib.util
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer

from nestling._util.atomic import new_file
from nestling._util.console import console, print_json
from nestling.bench.machine import Machine
from nestling.bench.options import Rounds, RowOptions, Threads
from nestling.bench.peers.measure import Bounds
from nestling.bench.peers.registry import PEERS, Peer
from nestling.bench.peers.report import show
from nestling.bench.peers.results import PeersReport
from nestling.bench.peers.run import Plan, fitting, measure
from nestling.bench.peers.store import Store
from nestling.bench.rows import Rows
from nestling.cli.command import command
from nestling.cli.options import Json
from nestling.errors import VectorError
from nestling.models.store import cache_folder

__all__ = ["PeersOptions", "compare", "peers"]

_ROWS: Final = 100_000
_DIM: Final = 256
_SMALLEST: Final = 10_000  # rows with which growth starts


@dataclass(frozen=True, slots=True, kw_only=True)
class PeersOptions(RowOptions):
    """The options of `python -m nestling.bench peers`."""

    rows: Annotated[
        int | None,
        typer.Option(min=100, help="Rows to index.", show_default="100,000, or all that are given"),
    ] = None
    dim: Annotated[
        int | None,
        typer.Option(min=8, help="Dimensions of generated rows.", show_default=str(_DIM)),
    ] = None
    peers: Annotated[
        str,
        typer.Option(
            "--peers",
            help="Only these, e.g. 'nestling,hnswlib,faiss/IVF*': names, or peer/configuration.",
            metavar="NAMES",
            show_default="all",
        ),
    ] = ""
    targets: Annotated[str, typer.Option(metavar="X,X…", help="Recalls at which to compare.")] = (
        "0.95,0.98,0.99,0.995"
    )
    threads: Threads = 1
    latency_queries: Annotated[
        int, typer.Option(min=1, help="Queries of a round that are searched one by one.")
    ] = 1000
    rounds: Rounds = 3
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds-per-setting",
            min=0.01,
            help="Seconds of a round of one setting; a slow setting gets fewer queries.",
        ),
    ] = 4.0
    build_limit: Annotated[float, typer.Option(min=1, help="Seconds that a build may take.")] = (
        3600.0
    )
    together: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Configurations in memory at the same time, which take turns.",
            show_default="as many as fit",
        ),
    ] = None
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Keep the indexes of other libraries that take long to build in this folder.",
            metavar="FOLDER",
            show_default="bench, in the folder for caches",
        ),
    ] = None
    build_again: Annotated[
        bool, typer.Option("--build-again", help="Neither load nor keep built indexes.")
    ] = False
    growth: Annotated[
        bool, typer.Option("--growth", help="Measure 10,000, 100,000 … rows too.")
    ] = False
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write all results to this .json file.", metavar="FILE"),
    ] = None
    plots: Annotated[
        Path | None, typer.Option(help="Plot the results into this folder.", metavar="FOLDER")
    ] = None
    every: Annotated[
        bool,
        typer.Option("--every", help="List every configuration, not only each library's best."),
    ] = False
    as_json: Json = False

    def __post_init__(self) -> None:
        # Not `super()`, which a dataclass with slots loses.
        RowOptions.__post_init__(self)
        if self.build_again and self.cache is not None:
            raise typer.BadParameter("cannot be combined with --cache", param_hint="--build-again")

    def kept_in(self) -> Path | None:
        """Returns the folder of the indexes that are kept between runs; None keeps none."""
        return None if self.build_again else self.cache or cache_folder() / "bench"

    def recalls(self) -> list[float]:
        """Returns the recalls of --targets, rising.

        Raises:
            typer.BadParameter: One is not a recall.

        Example:
            >>> PeersOptions(targets="0.99,0.9").recalls()
            [0.9, 0.99]
        """
        try:
            recalls = sorted({float(part) for part in self.targets.split(",")})
        except ValueError:
            recalls = []
        if not recalls or not all(0 < recall <= 1 for recall in recalls):
            raise typer.BadParameter("give numbers above 0 and at most 1", param_hint="--targets")
        return recalls

    def patterns(self) -> list[str]:
        """Returns the patterns of --peers.

        Raises:
            typer.BadParameter: A name belongs to no peer.

        Example:
            >>> PeersOptions(peers="nestling, faiss/IVF*").patterns()
            ['nestling', 'faiss/IVF*']
        """
        patterns = [name.strip() for name in self.peers.split(",") if name.strip()]
        names = [peer.name for peer in PEERS]
        for pattern in patterns:
            name = pattern.partition("/")[0]
            if name not in names and "*" not in name:
                raise typer.BadParameter(
                    f"unknown peer {pattern!r}; known peers: {', '.join(names)}",
                    param_hint="--peers",
                )
        return patterns


@command
def peers(options: PeersOptions) -> None:
    """Compare nestling with other libraries, each configuration in a process of its own.

    Example: python -m nestling.bench peers --peers nestling,hnswlib --targets 0.95,0.99
    """
    targets, patterns = options.recalls(), options.patterns()
    if options.plots is not None and importlib.util.find_spec("matplotlib") is None:
        raise typer.BadParameter("needs pip install 'nestling[plot]'", param_hint="--plots")
    plan = Plan(
        peers=[peer for peer in PEERS if peer.version is not None],
        patterns=patterns,
        bounds=Bounds(options.batch, options.latency_queries, options.seconds),
        rounds=options.rounds,
        build_limit=options.build_limit,
        together=options.together,
        targets=targets,
        cache=options.kept_in(),
    )
    load = partial(options.load, default_rows=_ROWS, default_dim=_DIM)
    report = compare(load, plan, targets=targets, threads=options.threads, growth=options.growth)
    if options.out is not None:
        with new_file(options.out) as path:
            path.write_text(json.dumps(report.as_dict(), indent=1) + "\n", encoding="utf-8")
    if options.as_json:
        print_json(report.as_dict())
    else:
        show(report, console(), every=options.every)
    if options.plots is not None:
        from nestling.bench.peers.plots import draw

        draw(report, options.plots)


def compare(
    load: Callable[[], Rows],
    plan: Plan,
    *,
    targets: Sequence[float],
    threads: int,
    growth: bool,
    registry: Sequence[Peer] = PEERS,
) -> PeersReport:
    """Measures the plan's peers on these rows.

    Args:
        load: Returns the rows and queries. It is called once, and the rows are freed once they are
            in a file, because they may be most of the memory.
        plan: What to measure.
        targets: Recalls at which the report compares.
        threads: Threads of builds and batches.
        growth: Whether to measure 10,000, 100,000 … of the rows before all of them.
        registry: All known peers; those that are not installed are reported.

    Raises:
        VectorError: A row is zero or not finite, or the rows do not fit in memory.
        NestlingError: The plan matches no configuration of an installed peer.
        StorageError: The folder for temporary files cannot be written.
    """
    machine = Machine.here(threads=threads)
    with tempfile.TemporaryDirectory(prefix="nestling-peers-") as folder:
        rows = load()
        origin, generated = rows.origin, rows.generated
        store = Store.write(rows, Path(folder))
        del rows
        steps = _steps(store.rows) if growth else [store.rows]
        sizes, left_out = [], []
        for step in steps:
            if fitting(step, store.dim):
                sizes.append(measure(store, step, plan, machine))
            else:
                left_out.append(step)
    if not sizes:
        raise VectorError(
            f"{store.rows:,} rows × {store.dim} do not fit in memory: reduce them with --rows"
        )
    return PeersReport(
        machine=machine,
        rounds=plan.rounds,
        dim=store.dim,
        origin=origin,
        generated=generated,
        targets=tuple(targets),
        absent={peer.name: peer.distribution for peer in registry if peer.version is None},
        left_out=tuple(left_out),
        sizes=tuple(sizes),
    )


def _steps(rows: int) -> list[int]:
    steps = []
    step = _SMALLEST
    while step < rows:
        steps.append(step)
        step *= 10
    return [*steps, rows]
