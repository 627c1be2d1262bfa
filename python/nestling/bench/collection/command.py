"""`python -m nestling.bench collection`: the options, and the tables of results."""

from __future__ import annotations

import itertools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from nestling._util.console import console, print_json, print_table, table
from nestling.bench.collection.measure import CollectionReport, K, Workload, measure
from nestling.bench.collection.texts import lines_of
from nestling.bench.options import Model, Rounds, Seed, Texts, Threads
from nestling.cli.command import command
from nestling.cli.encoders import open_encoder
from nestling.cli.options import Json

__all__ = ["CollectionBenchOptions", "collection", "show"]

_MANY: Final = 1_000  # questions of one call, whose embeddings are searched for


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionBenchOptions:
    """The options of `python -m nestling.bench collection`."""

    count: Annotated[
        int, typer.Option("--documents", "-n", min=1_000, help="Documents to add.")
    ] = 100_000
    texts: Texts = None
    model: Model = "wordllama"
    questions: Annotated[int, typer.Option(min=1, help="Questions of a round.")] = 200
    threads: Threads = 2
    rounds: Rounds = 3
    readers: Annotated[
        int, typer.Option(min=1, help="Threads that search while a writer writes.")
    ] = 8
    rate: Annotated[
        float, typer.Option(min=0.1, help="Searches per second of all these threads together.")
    ] = 50.0
    seconds: Annotated[
        float, typer.Option(min=1.0, help="Seconds of these searches, with and without the writer.")
    ] = 10.0
    seed: Seed = 0
    as_json: Json = False


@command
def collection(options: CollectionBenchOptions) -> None:
    """Measure a collection: adding, filtering, searching, and searching alongside a writer.

    Without --texts, documents are made of words drawn from Python's documentation.

    Example: python -m nestling.bench collection --documents 20000
    """
    lines = lines_of(options.texts, seed=options.seed + 1)
    questions = list(itertools.islice(lines, options.questions))
    many = list(itertools.islice(lines, _MANY))
    encoder = open_encoder(options.model, threads=options.threads)
    workload = Workload(
        count=options.count,
        rounds=options.rounds,
        readers=options.readers,
        rate=options.rate,
        seconds=options.seconds,
        threads=options.threads,
    )
    with tempfile.TemporaryDirectory(prefix="nestling-bench-") as folder:
        report = measure(
            Path(folder) / "collection",
            encoder,
            lines_of(options.texts, seed=options.seed),
            questions,
            many,
            workload,
        )
    if options.as_json:
        print_json(report.as_dict())
    else:
        show(report, console())


def show(report: CollectionReport, out: Console) -> None:
    """Prints the results as tables."""
    machine = report.machine
    peak = "" if report.peak_rss_mb is None else f", at most {report.peak_rss_mb:,.0f} MB"
    out.print(
        f"nestling {report.nestling} on {machine.cpu}, {machine.system}, ISA {machine.isa}, "
        f"{machine.threads} of {machine.cores} cores\n"
        f"{report.documents:,} documents, {report.model}, {report.segments} segments, "
        f"{report.bytes_per_document:,.0f} bytes per document\n"
        f"added {report.added_per_second:,.0f}/s{peak}; opened in {report.open_ms:,.0f} ms; "
        f"one call with many questions {report.batch_per_second:,.0f}/s\n",
        markup=False,
    )
    contention = report.contention
    readers = f"{contention.readers} readers, {contention.rate:,.0f}/s"
    rows: list[list[str] | None] = [
        [name, f"{latency.p50_ms:,.2f}", f"{latency.p99_ms:,.2f}"]
        for name, latency in report.searches.items()
    ]
    rows += [
        None,
        [readers, f"{contention.idle_p50_ms:,.2f}", f"{contention.idle_p99_ms:,.2f}"],
        [
            "  and a writer",
            f"{contention.busy_p50_ms:,.2f}",
            f"{contention.busy_p99_ms:,.2f}",
        ],
    ]
    over = [
        [
            name,
            f"{kind.p50_us:,.1f}",
            f"{kind.over_index_us:+,.1f}",
            f"{kind.per_second:,.0f}",
            f"{kind.share:.0%}",
        ]
        for name, kind in report.overhead.items()
    ]
    header = ("", "p50, µs", "over the index", f"{_MANY:,} per call, /s", "of the index")
    print_table(table(header, over, title=f"From a vector to its top {K}, compacted"), out)
    out.print()
    title = f"From a text to its top {K}, one by one"
    print_table(table(("", "p50, ms", "p99, ms"), rows, title=title), out)
    out.print(
        f"\nThe writer made {contention.commits:,} commits of {contention.changed:,} documents; "
        f"{contention.errors} searches failed.",
        markup=False,
    )
