"""The command: its options, and what becomes of them."""

from __future__ import annotations

import importlib.util
import json
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from nestling._util.console import console, print_json
from nestling.bench.machine import Machine
from nestling.bench.options import (
    Batch,
    Choice,
    Model,
    Queries,
    Rounds,
    Seed,
    Texts,
    Threads,
    Vectors,
)
from nestling.bench.peers.measure import Bounds
from nestling.bench.peers.registry import PEERS, Peer
from nestling.bench.peers.report import show
from nestling.bench.peers.results import PeersReport
from nestling.bench.peers.run import Plan, fitting, measure
from nestling.bench.peers.store import Store
from nestling.bench.rows import Rows
from nestling.errors import StorageError, VectorError

__all__ = ["compare", "peers"]

_ROWS, _DIM = 100_000, 256
_TARGETS = "0.9,0.95,0.98,0.99"
_SMALLEST = 10_000  # rows with which growth begins


def peers(
    rows: Annotated[
        int | None,
        typer.Option(min=100, help="Rows.", show_default="100,000, or all that are given"),
    ] = None,
    dim: Annotated[
        int | None,
        typer.Option(min=8, help="Dimensions of generated rows.", show_default=str(_DIM)),
    ] = None,
    vectors: Vectors = None,
    queries: Queries = None,
    texts: Texts = None,
    model: Model = "wordllama",
    peers: Annotated[
        str,
        typer.Option(
            "--peers",
            help="Only these, e.g. 'nestling,hnswlib,faiss/IVF*': names, or peer/configuration.",
            metavar="NAMES",
            show_default="all",
        ),
    ] = "",
    targets: Annotated[str, typer.Option(help="Recalls to compare at.")] = _TARGETS,
    threads: Threads = 1,
    batch: Batch = 1000,
    latency_queries: Annotated[
        int, typer.Option(min=1, help="Queries asked one by one, a round.")
    ] = 200,
    rounds: Rounds = 3,
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds-per-setting",
            min=0.01,
            help="Of a round of a setting; a slow one is asked fewer queries.",
        ),
    ] = 4.0,
    build_seconds: Annotated[
        float, typer.Option("--build-limit", min=1, help="Seconds a build may take.")
    ] = 3600.0,
    together: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Configurations in memory at a time, which take turns.",
            show_default="as many as fit",
        ),
    ] = None,
    growth: Annotated[
        bool, typer.Option("--growth", help="Measure 10,000, 100,000 … rows too.")
    ] = False,
    seed: Seed = 0,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Write all results here; - for stdout.", metavar="FILE"),
    ] = None,
    plots: Annotated[
        Path | None, typer.Option(help="Draw the results into this folder.", metavar="FOLDER")
    ] = None,
) -> None:
    """Compare nestling with other libraries, each in a process of its own."""
    choice = Choice(rows, dim, vectors, queries, texts, model, batch, seed)
    wanted = _recalls(targets)
    patterns = [name.strip() for name in peers.split(",") if name.strip()]
    _check_patterns(patterns)
    if plots is not None and importlib.util.find_spec("matplotlib") is None:
        raise typer.BadParameter("needs pip install 'nestling[plot]'", param_hint="--plots")
    signal.signal(signal.SIGTERM, _terminate)

    load = partial(choice.load, _ROWS, _DIM)

    plan = Plan(
        [peer for peer in PEERS if peer.version is not None],
        patterns,
        Bounds(batch, latency_queries, seconds),
        rounds,
        build_seconds,
        together,
    )
    report = compare(load, plan, targets=wanted, threads=threads, growth=growth)
    if json_file is not None:
        _write_json(report, json_file)
    if json_file is None or str(json_file) != "-":
        show(report, console())
    if plots is not None:
        from nestling.bench.peers.plots import draw

        draw(report, plots)


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
        load: Gives what to index and ask. It is called once and the rows are let go when they are
            in a file, for they may be most of the memory.
        plan: What to measure.
        targets: Recalls that the report compares at.
        threads: Threads of builds and batches.
        growth: Whether to measure 10,000, 100,000 … of the rows before all of them.
        registry: All peers there are; those that are not installed are reported.

    Raises:
        VectorError: A row is zero or not finite, or memory does not allow so many.
        NestlingError: No configuration of an installed peer is wanted.
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
        raise VectorError(f"{store.rows:,} rows × {store.dim} do not fit memory: give --rows")
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


def _recalls(text: str) -> list[float]:
    try:
        recalls = sorted({float(part) for part in text.split(",")})
    except ValueError:
        recalls = []
    if not recalls or not all(0 < recall <= 1 for recall in recalls):
        raise typer.BadParameter("give numbers above 0 and at most 1", param_hint="--targets")
    return recalls


def _check_patterns(patterns: Sequence[str]) -> None:
    """Refuses a name that no peer has, before anything is built."""
    names = [peer.name for peer in PEERS]
    for pattern in patterns:
        if pattern.partition("/")[0] not in names and "*" not in pattern.partition("/")[0]:
            raise typer.BadParameter(
                f"there is no {pattern!r}; there are {', '.join(names)}", param_hint="--peers"
            )


def _write_json(report: PeersReport, path: Path) -> None:
    if str(path) == "-":
        print_json(report.as_dict())
        return
    try:
        path.write_text(json.dumps(report.as_dict(), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path}: cannot write: {error.strerror or error}") from error


def _terminate(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)  # unwinds, so that no worker is left behind
