"""The command: its options, and what it prints."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from nestling._util.console import console, print_json
from nestling.bench.collection.measure import K, Measured, measure
from nestling.bench.collection.texts import lines_of
from nestling.bench.options import Model, Rounds, Seed, Texts, Threads
from nestling.cli.encoders import open_encoder
from nestling.cli.options import Json

__all__ = ["collection", "show"]


def collection(
    count: Annotated[int, typer.Option("--documents", "-n", min=1_000)] = 100_000,
    texts: Texts = None,
    model: Model = "wordllama",
    questions: Annotated[int, typer.Option(min=1, help="Questions of a round.")] = 200,
    threads: Threads = 2,
    rounds: Rounds = 3,
    readers: Annotated[int, typer.Option(min=1, help="Threads beside the writer.")] = 8,
    rate: Annotated[float, typer.Option(min=0.1, help="Their searches a second, in all.")] = 50.0,
    seconds: Annotated[float, typer.Option(min=1.0, help="With the writer, and without.")] = 10.0,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Measure a collection: documents added, filtered and searched, beside a writer.

    Without --texts, documents are drawn from the words of Python's documentation.
    """
    asked = list(itertools.islice(lines_of(texts, seed=seed + 1), questions))
    encoder = open_encoder(model, threads=threads)
    with tempfile.TemporaryDirectory(prefix="nestling-bench-") as folder:
        measured = measure(
            Path(folder) / "collection",
            encoder,
            lines_of(texts, seed=seed),
            asked,
            count=count,
            rounds=rounds,
            readers=readers,
            rate=rate,
            contended=seconds,
            threads=threads,
        )
    if as_json:
        print_json(measured.as_dict())
    else:
        show(measured, console())


def show(measured: Measured, out: Console) -> None:
    """Prints the results as tables."""
    machine = measured.machine
    peak = "" if measured.peak_rss_mb is None else f", at most {measured.peak_rss_mb:,.0f} MB"
    out.print(
        f"nestling {measured.nestling} on {machine.cpu}, {machine.system}, ISA {machine.isa}, "
        f"{machine.threads} of {machine.cores} cores\n"
        f"{measured.documents:,} documents, {measured.model}, {measured.segments} segments, "
        f"{measured.bytes_a_document:,.0f} bytes a document\n"
        f"added {measured.added_a_second:,.0f}/s{peak}; opened in {measured.open_ms:,.0f} ms; "
        f"one call with many questions {measured.batch_a_second:,.0f}/s",
        markup=False,
    )
    table = Table(title=f"Texts to their top {K}, one by one", title_justify="left")
    table.add_column("")
    for column in ("p50, ms", "p99, ms"):
        table.add_column(column, justify="right")
    for name, took in measured.searches.items():
        table.add_row(name, f"{took.p50_ms:,.2f}", f"{took.p99_ms:,.2f}")
    beside = measured.contention
    table.add_section()
    readers = f"{beside.readers} readers, {beside.rate:,.0f}/s"
    table.add_row(readers, f"{beside.idle_p50_ms:,.2f}", f"{beside.idle_p99_ms:,.2f}")
    table.add_row("  beside a writer", f"{beside.busy_p50_ms:,.2f}", f"{beside.busy_p99_ms:,.2f}")
    out.print(table)
    out.print(
        f"The writer made {beside.commits:,} commits of {beside.changed:,} documents; "
        f"{beside.errors} searches failed.",
        markup=False,
    )
