"""One run: builds an index of the rows and measures everything."""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path

from nestling import _core
from nestling._util.timing import interleave
from nestling.bench.build import Build, build_tasks
from nestling.bench.machine import Machine, pinned
from nestling.bench.peaks import Peaks, peak_tasks
from nestling.bench.report import Report
from nestling.bench.rows import Rows
from nestling.bench.search import Search, search_tasks
from nestling.index import Index
from nestling.index.funnel import Funnel

__all__ = ["run"]


def run(rows: Rows, *, funnel: str | Funnel | None, threads: int, rounds: int) -> Report:
    """Measures an index of these rows.

    The limits are measured in turn with the searches that are compared with them, on the same
    cores.

    Args:
        rows: The rows and queries.
        funnel: The index's funnel; None for its default.
        threads: Threads of adds and searches.
        rounds: Measured rounds.

    Raises:
        FunnelError: The funnel does not fit the rows.
        VectorError: The rows hold NaN or infinity.
        StorageError: The index cannot be saved to the folder for temporary files.
    """
    machine = Machine.here(threads=threads)
    empty = partial(Index, rows.vectors.shape[1], funnel=funnel, threads=threads)
    index = empty()
    index.add(rows.vectors)
    with tempfile.TemporaryDirectory(prefix="nestling-bench-") as folder:
        path = Path(folder) / "rows.nest"
        with pinned(machine.pinned):
            building = interleave(
                build_tasks(empty, rows.vectors, index, path), rounds=rounds, title="Building"
            )
            wall, cpu = time.perf_counter(), time.process_time()
            searching = interleave(
                peak_tasks(machine) | search_tasks(index, rows.queries),
                rounds=rounds,
                title="Searching",
            )
            share = (time.process_time() - cpu) / (time.perf_counter() - wall)
            peaks = Peaks.of(searching)
            search = Search.of(searching, index, rows.vectors, rows.queries, peaks)
        build = Build.of(building, index, path)
    return Report(
        nestling=_core.__version__,
        machine=machine,
        rounds=rounds,
        core_share=share if threads == 1 else None,
        rows=len(index),
        dim=index.dim,
        origin=rows.origin,
        generated=rows.generated,
        funnel=str(index.funnel),
        peaks=peaks,
        build=build,
        search=search,
    )
