"""The measurements of one collection, from the first document to searches alongside a writer."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from nestling import _core
from nestling._util.timing import Task, Values, interleave, seconds
from nestling.bench.collection.contention import Contention, contend
from nestling.bench.collection.overhead import Overhead, overhead
from nestling.bench.collection.texts import FIELDS, YEARS, documents
from nestling.bench.machine import Machine
from nestling.collection import Collection, TextEncoder

__all__ = ["CollectionReport", "Latency", "Workload", "measure"]

K: Final = 10


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of one kind of search, over all questions and rounds."""

    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class CollectionReport:
    """All results of one run.

    Attributes:
        nestling: The version.
        machine: Where it ran.
        model: The encoder's name.
        documents: Documents of the collection.
        segments: Segments in which they are stored.
        bytes_per_document: Bytes on disk, everything included.
        added_per_second: Documents per second from a generator to the disk.
        peak_rss_mb: Peak memory of the process after adding; None where the system does not report
            it.
        open_ms: Milliseconds to open the collection and verify its checksums.
        batch_per_second: Queries per second of one call with all questions.
        searches: Each kind of search, one by one.
        overhead: Searches by vectors, compared with those of the index inside.
        contention: Readers alongside a writer.
    """

    nestling: str
    machine: Machine
    model: str
    documents: int
    segments: int
    bytes_per_document: float
    added_per_second: float
    peak_rss_mb: float | None
    open_ms: float
    batch_per_second: float
    searches: dict[str, Latency]
    overhead: dict[str, Overhead]
    contention: Contention

    def as_dict(self) -> dict[str, Any]:
        """Returns everything as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is done to a collection.

    Attributes:
        count: Documents to add.
        rounds: Measured rounds of searches, after a warm-up round.
        readers: Threads that search alongside the writer.
        rate: Searches per second of all of them.
        seconds: Seconds of these searches, without the writer and with it.
        threads: Threads that a call may use.
    """

    count: int
    rounds: int
    readers: int
    rate: float
    seconds: float
    threads: int


def measure(
    folder: Path,
    encoder: TextEncoder,
    texts: Iterator[str],
    questions: Sequence[str],
    many: Sequence[str],
    workload: Workload,
) -> CollectionReport:
    """Fills a new collection in `folder`, and searches it.

    Args:
        folder: The folder, which must not exist.
        encoder: The encoder.
        texts: The texts to add.
        questions: The questions to search for.
        many: The questions of one call.
        workload: How much of everything.
    """
    count, threads = workload.count, workload.threads
    machine = Machine.here(threads=threads)
    with Collection(folder, encoder, fields=FIELDS, threads=threads) as collection:
        start = time.perf_counter()
        collection.add(documents(texts, count))
        added = len(collection) / (time.perf_counter() - start)
    peak = _peak_rss_mb()
    opened = seconds(lambda: Collection(folder, encoder, read_only=True, threads=threads).close())
    with Collection(folder, encoder, threads=threads) as collection:
        kinds = _kinds(collection, questions)
        results = interleave(kinds, rounds=workload.rounds, title="Searching")
        searches = {
            name: Latency(*(np.percentile(np.concatenate(times), (50, 99)) * 1e3).tolist())
            for name, times in results.items()
        }
        batch = min(seconds(lambda: collection.search(questions, K))[0] for _ in range(3))
        over = overhead(
            collection,
            encoder.encode_queries(questions),
            encoder.encode_queries(many),
            k=K,
            rounds=workload.rounds,
        )
        contention = contend(
            collection,
            questions,
            readers=workload.readers,
            rate=workload.rate,
            seconds=workload.seconds,
        )
        return CollectionReport(
            nestling=_core.__version__,
            machine=machine,
            model=getattr(encoder, "name", type(encoder).__name__),
            documents=count,
            segments=len(collection._store.view().segments),
            bytes_per_document=_size(folder) / count,
            added_per_second=added,
            peak_rss_mb=peak,
            open_ms=float(opened[0]) * 1e3,
            batch_per_second=len(questions) / float(batch),
            searches=searches,
            overhead=over,
            contention=contention,
        )


def _kinds(collection: Collection, questions: Sequence[str]) -> dict[str, Task]:
    fresh = itertools.count()

    def one_percent() -> dict[str, Any]:
        """Returns a filter for one year, written differently each time, so never cached."""
        number = next(fresh)
        year = 1900 + number % YEARS
        return {"year": {"$gte": year, "$lt": year + 0.5 + number * 1e-7}}

    searches: dict[str, Callable[[str], object]] = {
        "dense": lambda q: collection.search(q, K),
        "dense, 1 % by a new filter": lambda q: collection.search(q, K, one_percent()),
        "dense, 1 % by a cached filter": lambda q: collection.search(q, K, {"year": 1950}),
        "lexical": lambda q: collection.search(q, K, mode="lexical"),
        "hybrid": lambda q: collection.search(q, K, mode="hybrid"),
    }
    return {name: partial(_latencies, search, questions) for name, search in searches.items()}


def _latencies(search: Callable[[str], object], questions: Sequence[str]) -> Values:
    return np.concatenate([seconds(partial(search, question)) for question in questions])


def _peak_rss_mb() -> float | None:
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 if sys.platform != "darwin" else 1024 * 1024)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
