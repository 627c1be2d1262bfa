"""`python -m nestling.bench server`: the options, and what they ask for."""

from __future__ import annotations

import itertools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from nestling._util.console import console, print_json
from nestling.bench.collection.texts import lines_of
from nestling.bench.machine import Machine
from nestling.bench.options import Rounds, Seed
from nestling.bench.server import chroma, infinity
from nestling.bench.server.measure import (
    COLLECTION,
    Plan,
    Workload,
    measure_chroma,
    measure_infinity,
    measure_nestling,
)
from nestling.bench.server.results import ServerReport, show
from nestling.cli.command import command
from nestling.cli.options import Json
from nestling.collection import Collection
from nestling.encoder import Encoder

__all__ = ["ServerOptions", "server"]

_QUESTIONS: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """The options of `python -m nestling.bench server`."""

    documents: Annotated[
        int, typer.Option("--documents", "-n", min=1_000, help="Documents to store.")
    ] = 100_000
    model: Annotated[str, typer.Option("--model", "-m", help="The encoder.")] = "minilm"
    texts: Annotated[
        Path | None,
        typer.Option(
            help="The lines of a .txt file, or a corpus, as documents and questions.",
            metavar="FILE",
            show_default="generated words",
        ),
    ] = None
    clients: Annotated[
        str, typer.Option(metavar="N,N…", help="Numbers of clients of single queries.")
    ] = "1,8,64,512"
    workers: Annotated[int, typer.Option(min=1, help="Processes of the server.")] = 1
    rounds: Rounds = 3
    seconds: Annotated[
        float, typer.Option(min=0.1, help="Seconds of one kind of request in a round.")
    ] = 2.0
    overload_seconds: Annotated[
        float, typer.Option(min=0, help="Seconds of four times the load; 0 leaves it out.")
    ] = 60.0
    infinity: Annotated[
        str | None,
        typer.Option(
            help="What infinity-emb is to serve: the same model for sentence-transformers.",
            metavar="MODEL",
            show_default="not measured",
        ),
    ] = None
    seed: Seed = 0
    as_json: Json = False

    def numbers(self) -> tuple[int, ...]:
        """Returns the numbers of --clients.

        Raises:
            typer.BadParameter: One is not a number from 1 to 512.
        """
        try:
            numbers = tuple(int(part) for part in self.clients.split(","))
        except ValueError:
            numbers = ()
        if not numbers or not all(1 <= number <= 512 for number in numbers):
            raise typer.BadParameter("give numbers from 1 to 512", param_hint="--clients")
        return numbers


@command
def server(options: ServerOptions) -> None:
    """Put the server under load, and others that are installed beside it.

    The load comes from this process, over loopback: it shares the cores with the server.

    Example: python -m nestling.bench server --documents 20000 --clients 1,64
    """
    plan = Plan(
        clients=options.numbers(),
        rounds=options.rounds,
        seconds=options.seconds,
        workers=options.workers,
        overload_seconds=options.overload_seconds,
    )
    machine = Machine.here(threads=1)
    with tempfile.TemporaryDirectory(prefix="nestling-server-") as folder:
        workload = _workload(Path(folder), options)
        found, overhead, gathered, overload = measure_nestling(workload, plan)
        absent = {}
        if chroma.program() is not None:
            found += measure_chroma(workload, plan)
        else:
            absent["chroma"] = chroma.INSTALL
        if infinity.program() is not None and options.infinity is not None:
            found += measure_infinity(workload, plan, options.infinity)
        else:
            absent["infinity"] = infinity.INSTALL
    report = ServerReport(
        machine=machine,
        documents=len(workload.rows),
        dim=workload.rows.shape[1],
        model=options.model,
        rounds=options.rounds,
        overhead_ms=overhead,
        gathered=gathered,
        measured=tuple(found),
        overload=overload,
        absent=absent,
    )
    if options.as_json:
        print_json(report.as_dict())
    else:
        show(report, console())


def _workload(folder: Path, options: ServerOptions) -> Workload:
    """Returns documents that are stored, and questions that are not."""
    count = options.documents
    texts = list(itertools.islice(lines_of(options.texts, seed=options.seed), count + _QUESTIONS))
    questions = texts[: min(_QUESTIONS, len(texts) // 2)]
    texts = texts[len(questions) :]
    encoder = Encoder(options.model)
    rows = encoder.encode(texts)
    with Collection(folder / COLLECTION, encoder, passages=None) as collection:
        ids = [f"d{number}" for number in range(len(texts))]
        records = (
            {"id": id, "text": text, "vectors": [row]}
            for id, text, row in zip(ids, texts, rows, strict=True)
        )
        collection.add(records)
        collection.compact()
    return Workload(
        folder, options.model, texts, rows, questions, encoder.encode_queries(questions)
    )
