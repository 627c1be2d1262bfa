"""`python -m nestling.bench text`: where the time goes from a question to its hits.

Each question goes through `encode_queries` and `search` by itself. Clocks time the encoder's
own parts meanwhile, so that parts and whole are of one call; what no clock counted is the rest:
prompt, padding, checks and calls in Python, and about 1 µs of the clocks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from nestling._util.console import console, print_json
from nestling._util.timing import Values, interleave, seconds
from nestling.bench.generate import generate
from nestling.bench.machine import Machine, pinned
from nestling.bench.report import disturbed
from nestling.bench.rows import read_texts
from nestling.cli.encoders import open_encoder
from nestling.cli.options import FunnelText, Json, Model, Precision
from nestling.errors import CorpusError
from nestling.index import Index
from nestling.index.hits import Hits

if TYPE_CHECKING:
    from nestling.encoder import Encoder

__all__ = ["LatencyBreakdown", "Part", "measure", "show", "text"]

K: Final = 10
_PARTS: Final = ("tokenise", "model", "pool, normalise", "search")
_REST, _WHOLE = "rest, in Python", "text to hits"
_QUESTIONS: Final = (
    "What is the capital of Egypt?",
    "how do I parse a date from a string?",
    "Who wrote the first book on algebra?",
    "which vitamins are found in oranges and lemons?",
    "What makes bread rise when it is baked in an oven?",
    "why is the sky blue",
    "How far is it from Cairo to Alexandria by train?",
    "causes of the fall of the Western Roman Empire",
)


@dataclass(frozen=True, slots=True)
class Part:
    """Microseconds of one part, over all questions and rounds."""

    p50_us: float
    p99_us: float


@dataclass(frozen=True, slots=True)
class LatencyBreakdown:
    """Where the time of a question goes.

    Attributes:
        machine: Where it ran.
        model: The encoder's name.
        precision: Of its graph.
        rows: Rows of the index.
        dim: Their dimensions.
        funnel: The index's funnel.
        questions: How many questions a round asks, one by one.
        tokens: The median question's, special ones and the prompt's included.
        rounds: Rounds that count.
        core_share: As in `nestling.bench.report.Report`.
        parts: By name, in the order in which they run; then the rest, and the whole.
    """

    machine: Machine
    model: str
    precision: str
    rows: int
    dim: int
    funnel: str
    questions: int
    tokens: float
    rounds: int
    core_share: float | None
    parts: dict[str, Part]

    def as_dict(self) -> dict[str, Any]:
        """Returns everything as plain values, ready for JSON."""
        return asdict(self)


def measure(
    encoder: Encoder, index: Index, questions: list[str], *, rounds: int
) -> LatencyBreakdown:
    """Measures the time from each question, by itself, to its top 10.

    Args:
        encoder: Encodes the questions.
        index: Its rows have the encoder's dimensions.
        questions: What to ask; those without a token are left out.
        rounds: Rounds that count, after one that does not.

    Raises:
        CorpusError: No question has a token.
    """
    rows, _ = encoder.embedder.tokenizer.encode([encoder.query_prompt + text for text in questions])
    tokens = [len(row) for row in rows]
    asked = [question for question, count in zip(questions, tokens, strict=True) if count]
    if not asked:
        raise CorpusError(f"none of the {len(questions):,} questions has a token")
    machine = Machine.here(threads=index.threads)
    with pinned(machine.pinned):
        wall, cpu = time.perf_counter(), time.process_time()
        task = partial(_ask, encoder, index, asked)
        times = np.concatenate(interleave({"text": task}, rounds=rounds, title="Asking")["text"])
        share = (time.process_time() - cpu) / (time.perf_counter() - wall)
    return LatencyBreakdown(
        machine=machine,
        model=encoder.name,
        precision=encoder.precision,
        rows=len(index),
        dim=index.dim,
        funnel=str(index.funnel),
        questions=len(asked),
        tokens=float(np.median([count for count in tokens if count])),
        rounds=rounds,
        core_share=share if index.threads == 1 else None,
        parts=_summary(times * 1e6),
    )


def _ask(encoder: Encoder, index: Index, questions: list[str]) -> Values:
    """Returns (questions, parts, rest and whole) seconds."""
    times = np.zeros((len(questions), len(_PARTS) + 2))
    for row, question in zip(times, questions, strict=True):
        with (
            _clock(encoder.embedder.tokenizer, "encode", row[0:1]),
            _clock(encoder.embedder.graph, "infer", row[1:2]),
            _clock(encoder.embedder.graph, "pool", row[2:3]),
            _clock(encoder.embedder, "finish", row[2:3]),
            _clock(index, "search", row[3:4]),
        ):
            row[-1:] += seconds(partial(_search, encoder, index, question))
    times[:, -2] = times[:, -1] - times[:, :-2].sum(axis=1)
    return times


def _search(encoder: Encoder, index: Index, question: str) -> Hits:
    return index.search(encoder.encode_queries(question), k=K)


@contextmanager
def _clock(owner: object, method: str, total: NDArray[np.float64]) -> Iterator[None]:
    """Adds the seconds of each call of one object's method to `total`, (1,) float64."""
    call = getattr(owner, method)

    def timed(*args: Any, **named: Any) -> Any:
        start = time.perf_counter()
        result = call(*args, **named)
        total[0] += time.perf_counter() - start
        return result

    setattr(owner, method, timed)  # hides the class's method
    try:
        yield
    finally:
        delattr(owner, method)


def _summary(microseconds: NDArray[np.float64]) -> dict[str, Part]:
    """Summarises (n, parts, rest and whole) microseconds."""
    medians = np.median(microseconds, axis=0)
    tails = np.percentile(microseconds, 99, axis=0)
    return {
        name: Part(float(median), float(tail))
        for name, median, tail in zip((*_PARTS, _REST, _WHOLE), medians, tails, strict=True)
    }


def text(
    model: Model = "minilm",
    precision: Precision = "int8",
    queries: Annotated[
        Path | None,
        typer.Option(
            help="Ask these questions: a .txt file's lines, or a corpus.",
            metavar="FILE",
            show_default="a few in English",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most questions of a round.")] = 50,
    rows: Annotated[int, typer.Option(min=100, help="Rows of the index, generated.")] = 100_000,
    funnel: FunnelText = None,
    threads: Annotated[int, typer.Option("--threads", "-t", min=1, help="Threads.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds that count.")] = 30,
    as_json: Json = False,
) -> None:
    """Measure the latency of a question, from text to hits, part by part."""
    questions = list(_QUESTIONS) if queries is None else read_texts(queries)[:limit]
    encoder = open_encoder(model, precision=precision, threads=threads)
    index = Index(encoder.dim, funnel=funnel, threads=threads)
    index.add(generate(rows, encoder.dim, queries=1)[0])
    breakdown = measure(encoder, index, questions, rounds=rounds)
    if as_json:
        print_json(breakdown.as_dict())
    else:
        show(breakdown, console())


def show(breakdown: LatencyBreakdown, out: Console) -> None:
    """Prints the breakdown as a table."""
    whole = breakdown.parts[_WHOLE].p50_us
    question = f"One question ({breakdown.tokens:.0f} tokens)"
    table = Table(
        title=f"{question} to its top {K} of {breakdown.rows:,} rows", title_justify="left"
    )
    table.add_column("")
    for column in ("p50, µs", "of the whole", "p99, µs"):
        table.add_column(column, justify="right")
    for name, part in breakdown.parts.items():
        if name == _WHOLE:
            table.add_section()
        p50, p99 = f"{part.p50_us:,.1f}", f"{part.p99_us:,.1f}"
        table.add_row(name, p50, f"{part.p50_us / whole:.0%}", p99)
    out.print(
        f"{breakdown.model} ({breakdown.precision}), {breakdown.dim} dimensions, "
        f"funnel {breakdown.funnel}\n"
        f"{breakdown.machine.cpu}, {breakdown.machine.system}, {breakdown.machine.threads} of "
        f"{breakdown.machine.cores} cores, ISA {breakdown.machine.isa}",
        markup=False,
    )
    out.print(table)
    lines = [
        f"Over {breakdown.questions} questions asked one by one in {breakdown.rounds} rounds, "
        "after one of warming up. The rows are generated; the questions are texts.",
        *disturbed(breakdown.core_share),
    ]
    out.print("\n".join(lines), markup=False)
