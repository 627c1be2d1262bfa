"""Builds and searches of shards on Ray, beside what the same work takes without it."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nestling.bench.cluster.simulation import Load, Scenario, simulate
from nestling.bench.generate import RowGenerator
from nestling.bench.machine import Machine
from nestling.cluster import BuildSettings, Dataset, build
from nestling.cluster.actors import ReplicaSettings, groups_of
from nestling.cluster.packages import missing_cluster_package, require_ray
from nestling.index import Index

__all__ = ["BuildFigures", "ClusterReport", "FanoutFigures", "Plan", "measure"]

K: Final = 10
_PINGS: Final = 300
_PART: Final = 65_536  # rows of a part that is generated at a time
_MEGABYTE: Final = 1 << 20
_TEMPLATE: Final = "template.nest"

Vectors = NDArray[np.float32]
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure.

    Attributes:
        rows: Rows of a shard.
        dim: Their dimensions.
        shards: Numbers of shards to search; the largest one is built with and without Ray.
        funnel: How rows are stored; None for the default.
        cells: Cells of a shard; 0 for none.
        queries: Queries of each measurement, one after the other.
        cores: Cores that Ray may use, and processes of the plain loop.
        seed: Seed of what is generated.
    """

    rows: int
    dim: int
    shards: tuple[int, ...]
    funnel: str | None
    cells: int
    queries: int
    cores: int
    seed: int

    @property
    def most(self) -> int:
        """The largest number of shards."""
        return max(self.shards)

    def settings(self) -> BuildSettings:
        """Returns those of a build."""
        return BuildSettings(kind="index", funnel=self.funnel, cells=self.cells or None)


@dataclass(frozen=True, slots=True)
class BuildFigures:
    """One build with Ray, and one without.

    Attributes:
        rows: Rows of all shards.
        shards: Shards.
        ray_per_second: Rows a second by tasks of Ray.
        loop_per_second: Rows a second by as many processes as cores that write the same shards.
        share: The first of the second.
        driver_megabytes: The most resident memory of the process that called `build`.
    """

    rows: int
    shards: int
    ray_per_second: float
    loop_per_second: float
    share: float
    driver_megabytes: float


@dataclass(frozen=True, slots=True)
class FanoutFigures:
    """Searches of some shards.

    Attributes:
        shards: Shards.
        rows: Rows of all of them.
        p50_ms: Median latency of a search of the cluster.
        p99_ms: Its 99th percentile.
        cores_p50_ms: What the searches of all shards take of the cores if these share them evenly:
            no search of the cluster can end sooner.
        slowest_p50_ms: The median time until the slowest of as many processes is done, each with
            one shard, that search at once without Ray on the same cores.
        added_p50_ms: The difference of the medians.
        simulated_p50_ms: The median that the simulation predicts from one shard and from pings.
        simulated_p99_ms: Its 99th percentile.
    """

    shards: int
    rows: int
    p50_ms: float
    p99_ms: float
    cores_p50_ms: float
    slowest_p50_ms: float
    added_p50_ms: float
    simulated_p50_ms: float
    simulated_p99_ms: float


@dataclass(frozen=True, slots=True)
class ClusterReport:
    """All results of one run.

    Attributes:
        machine: Where it ran.
        plan: What was measured.
        build: Of the largest number of shards.
        fanout: For each number of shards.
        service: (n,) seconds of a core that one shard takes for a query.
        call_seconds: Of the driver's core for an empty request and its answer.
        serve_seconds: Of the actor's core for them.
        ping_seconds: Median time from an empty request to its answer.
        query_seconds: What a search of the fewest shards takes beside the slowest and a ping.
    """

    machine: Machine
    plan: Plan
    build: BuildFigures
    fanout: tuple[FanoutFigures, ...]
    service: tuple[float, ...]
    call_seconds: float
    serve_seconds: float
    ping_seconds: float
    query_seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Returns everything as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Pings:
    call: float
    serve: float
    median: float


def measure(folder: Path, plan: Plan) -> ClusterReport:
    """Generates rows, builds shards of them with Ray and without, and searches them.

    Args:
        folder: An empty folder, for about four times the bytes of all rows.
        plan: What to measure.

    Raises:
        PackageError: ray, pyarrow or simpy is not installed.
    """
    require_ray()
    machine = Machine.here(threads=plan.cores)
    files = _write_source(folder / "source", plan)
    datasets = {count: folder / f"shards-{count}" for count in plan.shards}
    built = _build_both(folder, files, datasets[plan.most], plan)
    queries = RowGenerator(plan.dim, seed=plan.seed).queries(plan.queries)
    service = _service(_shard_files(datasets[plan.most])[0], queries)
    pings, searched = _apart(_search_all, files, datasets, queries, plan)
    medians = {count: float(np.median(times)) for count, times in searched.items()}
    slowest = {
        count: float(np.median(_slowest(_shard_files(path), queries)))
        for count, path in datasets.items()
    }
    first = min(plan.shards)
    query = max(medians[first] - slowest[first] - pings.median, 0.0)
    fanout = []
    for count, path in datasets.items():
        simulated = simulate(
            _scenario(plan, path, service, pings, query), Load(queries=plan.queries)
        )
        fanout.append(
            FanoutFigures(
                shards=count,
                rows=count * plan.rows,
                p50_ms=medians[count] * 1e3,
                p99_ms=float(np.percentile(searched[count], 99)) * 1e3,
                cores_p50_ms=float(np.median(service)) * count / min(count, plan.cores) * 1e3,
                slowest_p50_ms=slowest[count] * 1e3,
                added_p50_ms=(medians[count] - slowest[count]) * 1e3,
                simulated_p50_ms=simulated.percentile(50) * 1e3,
                simulated_p99_ms=simulated.percentile(99) * 1e3,
            )
        )
    return ClusterReport(
        machine=machine,
        plan=plan,
        build=built,
        fanout=tuple(fanout),
        service=tuple(service.tolist()),
        call_seconds=pings.call,
        serve_seconds=pings.serve,
        ping_seconds=pings.median,
        query_seconds=query,
    )


def _scenario(plan: Plan, path: Path, service: Values, pings: _Pings, query: float) -> Scenario:
    """Returns this machine, from what was measured of one shard and of empty requests."""
    shards = Dataset.open(path).manifest().shards
    groups = groups_of(shards, ReplicaSettings().actor_bytes, nodes=1, cores=plan.cores)
    return Scenario(
        service=service,
        shards=len(shards),
        together=len(groups[0]),
        cores=plan.cores,
        shared=True,
        query_seconds=query,
        call_seconds=pings.call,
        serve_seconds=pings.serve,
        network_seconds=max(pings.median - pings.call - pings.serve, 0.0) / 2,
    )


def _write_source(folder: Path, plan: Plan) -> list[Path]:
    """Writes a Parquet file of vectors for each shard."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise missing_cluster_package(error) from error
    folder.mkdir()
    generator = RowGenerator(plan.dim, seed=plan.seed)
    kind = pyarrow.list_(pyarrow.float32(), plan.dim)
    schema = pyarrow.schema([("vectors", kind)])
    files = []
    for shard in range(plan.most):
        files.append(folder / f"{shard:04}.parquet")
        parts = -(-plan.rows // _PART)
        with pyarrow.parquet.ParquetWriter(files[-1], schema, compression="none") as writer:
            for part in range(parts):
                count = min(_PART, plan.rows - part * _PART)
                vectors = generator.rows(count, part=shard * parts + part)
                values = pyarrow.array(vectors.reshape(-1))
                column = pyarrow.FixedSizeListArray.from_arrays(values, plan.dim)
                writer.write_table(pyarrow.table([column], schema=schema))
    return files


def _build_both(folder: Path, files: Sequence[Path], out: Path, plan: Plan) -> BuildFigures:
    seconds, memory = _apart(_build, files, out, plan)
    funnel = Dataset.open(out).manifest().funnel
    plain = folder / "plain"
    plain.mkdir()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(plan.cores, mp_context=context) as pool:
        list(pool.map(time.sleep, [0.1] * plan.cores))  # starts the processes
        write = partial(_write_shard, folder=plain, funnel=funnel, plan=plan)
        start = time.perf_counter()
        if plan.cells:
            _write_template(files, plain, funnel, plan)
        list(pool.map(write, files))
        alone = time.perf_counter() - start
    rows = plan.rows * len(files)
    return BuildFigures(
        rows=rows,
        shards=len(files),
        ray_per_second=rows / seconds,
        loop_per_second=rows / alone,
        share=alone / seconds,
        driver_megabytes=memory,
    )


def _write_shard(file: Path, folder: Path, funnel: str, plan: Plan) -> None:
    """Writes the shard of one file as anybody would in a loop."""
    index = Index(plan.dim, funnel=funnel, threads=1)
    for rows in _vectors(file, plan):
        index.add(rows)
    if plan.cells:
        index = index.partitioned(like=Index.load(folder / _TEMPLATE, threads=1))
    index.save(folder / f"{file.stem}.nest")


def _write_template(files: Sequence[Path], folder: Path, funnel: str, plan: Plan) -> None:
    """Learns the cells that all shards share from the first rows of each file."""
    index = Index(plan.dim, funnel=funnel, threads=1)
    each = plan.settings().sample_size(encoded=False) // len(files)
    for file in files:
        left = each
        for rows in _vectors(file, plan):
            index.add(rows[:left])
            left -= len(rows)
            if left <= 0:
                break
    index.empty(plan.cells).save(folder / _TEMPLATE)


def _vectors(file: Path, plan: Plan) -> Iterator[Vectors]:
    import pyarrow.parquet

    for batch in pyarrow.parquet.ParquetFile(file).iter_batches(_PART, columns=["vectors"]):
        yield batch.column(0).flatten().to_numpy().reshape(-1, plan.dim)


def _build(files: Sequence[Path], out: Path, plan: Plan) -> tuple[float, float]:
    """Builds a dataset with Ray; returns the seconds, and the megabytes of this process."""
    ray = _started_ray(plan)
    try:
        start = time.perf_counter()
        build(files, out, shards=len(files), settings=plan.settings(), progress=False)
        return time.perf_counter() - start, _peak_megabytes()
    finally:
        ray.shutdown()


def _started_ray(plan: Plan) -> ModuleType:
    """Starts a Ray of its own, whatever clusters run on this machine or RAY_ADDRESS names."""
    ray = require_ray()
    ray.init("local", num_cpus=plan.cores, include_dashboard=False, log_to_driver=False)
    return ray


def _shard_files(path: Path) -> list[Path]:
    manifest = Dataset.open(path).manifest()
    return [path / shard.files[0].name for shard in manifest.shards]


def _service(file: Path, queries: Vectors) -> Values:
    """Returns the seconds of a core that one shard takes for each query, after a warm-up."""
    index = Index.load(file, threads=1)
    for query in queries:
        index.search(query, K)
    times = []
    for query in queries:
        start = time.thread_time()
        index.search(query, K)
        times.append(time.thread_time() - start)
    return np.array(times)


def _search_all(
    files: Sequence[Path], datasets: dict[int, Path], queries: Vectors, plan: Plan
) -> tuple[_Pings, dict[int, Values]]:
    """Builds the datasets that are missing, and searches all of them.

    Returns:
        What an empty request takes, and the latencies of searches, by number of shards.
    """
    from nestling.cluster import Cluster, ClusterSettings

    ray = _started_ray(plan)
    try:
        pings = _ping(ray, queries[0])
        found = {}
        for count, path in datasets.items():
            if not path.exists():
                build(files[:count], path, shards=count, settings=plan.settings(), progress=False)
            with Cluster.open(path, settings=ClusterSettings(replicas=1)) as cluster:
                for query in queries[: max(10, len(queries) // 10)]:
                    cluster.search(query, K, include=())
                times = []
                for query in queries:
                    start = time.perf_counter()
                    hits = cluster.search(query, K, include=())
                    times.append(time.perf_counter() - start)
                    assert not isinstance(hits, list)
                    assert hits.coverage == 1
            found[count] = np.array(times)
        return pings, found
    finally:
        ray.shutdown()


class _Echo:
    """An actor that does nothing but to answer."""

    def echo(self, payload: bytes) -> bytes:
        return payload

    def seconds(self) -> float:
        return time.process_time()


def _ping(ray: Any, query: Vectors) -> _Pings:
    actor = ray.remote(_Echo).options(num_cpus=0.1).remote()
    payload = query.tobytes()
    for _ in range(_PINGS):
        ray.get(actor.echo.remote(payload))
    served, called = ray.get(actor.seconds.remote()), time.process_time()
    times = []
    for _ in range(_PINGS):
        start = time.perf_counter()
        ray.get(actor.echo.remote(payload))
        times.append(time.perf_counter() - start)
    called = time.process_time() - called
    served = ray.get(actor.seconds.remote()) - served
    ray.kill(actor)
    return _Pings(called / _PINGS, served / _PINGS, float(np.median(times)))


def _slowest(files: Sequence[Path], queries: Vectors) -> Values:
    """Returns for each query the seconds until the last of processes that search at once is done.

    They count from when the first of them begins: where there are fewer cores than processes, some
    begin when others are done.
    """
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(len(files))
    times = context.SimpleQueue()
    workers = [
        context.Process(target=_search_one, args=(file, queries, barrier, times)) for file in files
    ]
    for worker in workers:
        worker.start()
    found = np.array([times.get() for _ in workers])  # (files, queries, 2)
    for worker in workers:
        worker.join()
    slowest: Values = found[:, :, 1].max(axis=0) - found[:, :, 0].min(axis=0)
    return slowest


def _search_one(file: Path, queries: Vectors, barrier: Barrier, times: Any) -> None:
    index = Index.load(file, threads=1)
    for query in queries:
        index.search(query, K)
    own = []
    for query in queries:
        barrier.wait()
        start = time.monotonic()  # the same clock in all processes
        index.search(query, K)
        own.append((start, time.monotonic()))
    times.put(own)


def _apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls a function in a process of its own, whose memory and Ray are gone afterwards."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def _peak_megabytes() -> float:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / _MEGABYTE if sys.platform == "darwin" else peak * 1024 / _MEGABYTE
