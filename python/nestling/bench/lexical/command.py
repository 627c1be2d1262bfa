"""`python -m nestling.bench lexical`: the options, and the comparison that they ask for."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from nestling._util.atomic import new_file
from nestling._util.console import console, print_json
from nestling.bench.lexical.registry import ENGINES, EngineLibrary
from nestling.bench.lexical.report import show
from nestling.bench.lexical.results import Case, LexicalReport
from nestling.bench.lexical.run import Plan, measure
from nestling.bench.lexical.workload import LONG, SHORT, Workload, make_workload
from nestling.bench.machine import Machine
from nestling.bench.options import Rounds, Seed
from nestling.bench.peers.measure import Bounds
from nestling.cli.command import command
from nestling.cli.options import Json

__all__ = ["LexicalOptions", "compare", "lexical"]

_FEWEST: Final = 100  # documents
_PERCENTS: Final = (None, 1, 50)


@dataclass(frozen=True, slots=True, kw_only=True)
class LexicalOptions:
    """The options of `python -m nestling.bench lexical`."""

    documents: Annotated[
        str, typer.Option("--documents", "-n", metavar="N,N…", help="Numbers of documents.")
    ] = "10000,100000"
    texts: Annotated[
        Path | None,
        typer.Option(
            help="Resample these texts: the lines of a .txt file, or a corpus.",
            metavar="FILE",
            show_default="the documentation of Python's standard library",
        ),
    ] = None
    questions: Annotated[
        Path | None,
        typer.Option(
            help="The long questions: the lines of a .txt file, or a corpus.",
            metavar="FILE",
            show_default="runs of 12 words of the texts",
        ),
    ] = None
    engines: Annotated[
        str,
        typer.Option(
            help="Only these, e.g. 'nestling,tantivy'. The others' answers are compared with the "
            "first one's.",
            metavar="NAMES",
            show_default="all",
        ),
    ] = ""
    top: Annotated[str, typer.Option(metavar="K,K…", help="Documents per question.")] = "10,1000"
    count: Annotated[int, typer.Option("--count", "-m", min=1, help="Questions of each kind.")] = (
        500
    )
    rounds: Rounds = 3
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds-per-case",
            min=0.01,
            help="Seconds of a round of one kind of search; a slow engine gets fewer questions.",
        ),
    ] = 4.0
    build_limit: Annotated[float, typer.Option(min=1, help="Seconds that a build may take.")] = (
        3600.0
    )
    seed: Seed = 0
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write all results to this .json file.", metavar="FILE"),
    ] = None
    as_json: Json = False

    def sizes(self) -> list[int]:
        """Returns the numbers of --documents, rising.

        Raises:
            typer.BadParameter: One is not a number of documents.

        Example:
            >>> LexicalOptions(documents="1000,100").sizes()
            [100, 1000]
        """
        return _numbers(self.documents, _FEWEST, "--documents")

    def tops(self) -> list[int]:
        """Returns the numbers of --top, rising.

        Raises:
            typer.BadParameter: One is not a number of documents.
        """
        return _numbers(self.top, 1, "--top")

    def chosen(self) -> list[EngineLibrary]:
        """Returns the libraries of --engines, installed or not.

        Raises:
            typer.BadParameter: A name belongs to no engine.

        Example:
            >>> [library.name for library in LexicalOptions(engines="fts5,nestling").chosen()]
            ['fts5', 'nestling']
        """
        names = [name.strip() for name in self.engines.split(",") if name.strip()]
        known = {library.name: library for library in ENGINES}
        for name in names:
            if name not in known:
                raise typer.BadParameter(
                    f"unknown engine {name!r}; known engines: {', '.join(known)}",
                    param_hint="--engines",
                )
        return [known[name] for name in dict.fromkeys(names)] or list(ENGINES)


@command
def lexical(options: LexicalOptions) -> None:
    """Compare searches for words with other engines, each in a process of its own.

    Documents are resampled from the sentences of the texts, so that a small corpus is enough.

    Example: python -m nestling.bench lexical --documents 10000 --engines nestling,tantivy
    """
    sizes, tops, engines = options.sizes(), options.tops(), options.chosen()
    plan = Plan(
        engines=[library for library in engines if library.version is not None],
        cases=[
            Case(kind, k, percent)
            for kind, k, percent in itertools.product((SHORT, LONG), tops, _PERCENTS)
        ],
        bounds=Bounds(options.count, options.count, options.seconds),
        rounds=options.rounds,
        build_limit=options.build_limit,
    )
    absent = [library for library in engines if library.version is None]
    with tempfile.TemporaryDirectory(prefix="nestling-lexical-") as folder:
        workload = make_workload(
            Path(folder),
            max(sizes),
            texts=options.texts,
            questions=options.questions,
            question_count=options.count,
            seed=options.seed,
        )
        report = compare(workload, sizes, plan, absent=absent)
    if options.out is not None:
        with new_file(options.out) as path:
            path.write_text(json.dumps(report.as_dict(), indent=1) + "\n", encoding="utf-8")
    if options.as_json:
        print_json(report.as_dict())
    else:
        show(report, console())


def compare(
    workload: Workload,
    sizes: Sequence[int],
    plan: Plan,
    *,
    absent: Sequence[EngineLibrary] = (),
) -> LexicalReport:
    """Measures the plan's engines at each number of documents, on one core.

    Args:
        workload: The documents and questions.
        sizes: Numbers of documents, each at most those of the workload.
        plan: What to measure.
        absent: Engines that are not installed, which are reported.

    Raises:
        StorageError: The folder for temporary files cannot be written.
    """
    machine = Machine.here(threads=1)
    return LexicalReport(
        machine=machine,
        rounds=plan.rounds,
        origin=workload.origin,
        words_per_document=workload.words,
        questions={kind: len(each) for kind, each in workload.questions.items()},
        words_per_question={
            kind: sum(len(question.words.split()) for question in each) / max(len(each), 1)
            for kind, each in workload.questions.items()
        },
        absent={library.name: library.distribution for library in absent},
        sizes=tuple(measure(workload, size, plan, machine) for size in sizes),
    )


def _numbers(text: str, fewest: int, option: str) -> list[int]:
    try:
        numbers = sorted({int(part) for part in text.split(",")})
    except ValueError:
        numbers = []
    if not numbers or numbers[0] < fewest:
        raise typer.BadParameter(f"give integers of at least {fewest}", param_hint=option)
    return numbers
