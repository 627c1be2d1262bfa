"""`python -m nestling.bench text`: the latency of a question, part by part, and texts a second.

Every question takes the whole path, `encode_queries` and `search`, by itself. Clocks are attached
to the encoder's own parts meanwhile, so that the parts and the whole belong to the same call. What
no clock counted is the rest: prompt, padding, checks and calls in Python, and about 1 µs of the
clocks themselves. Between these rounds, all questions are encoded in one call, and passages in
another.

With `--typing`, every question is also typed: hits after each of 30 keystrokes, as a page that
searches while one types needs them.

With `--tune`, the index is first tuned to a recall, by the questions that are not measured, as a
user would do it who cares for microseconds. Recall is a property of real rows: give some with
`--vectors`.
"""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console

from nestling._util.console import console, print_json, print_table, table
from nestling._util.timing import Values, interleave, seconds
from nestling.bench.generate import generate
from nestling.bench.machine import Machine, pinned
from nestling.bench.options import Rounds, Threads
from nestling.bench.report import disturbed
from nestling.bench.rows import read_texts
from nestling.cli.command import command
from nestling.cli.encoders import open_encoder
from nestling.cli.options import FunnelText, Json, Model, Precision
from nestling.cli.vectors import read_vectors
from nestling.collection import Collection
from nestling.errors import CorpusError
from nestling.index import Index
from nestling.index.exact import recall
from nestling.index.funnel import Funnel, default_funnel
from nestling.index.hits import Hits

if TYPE_CHECKING:
    from nestling.encoder import Encoder

__all__ = ["LatencyBreakdown", "Part", "TextOptions", "measure", "show", "text"]

K: Final = 10
_PARTS: Final = ("tokenise", "model", "modules", "search")
_REST, _WHOLE = "rest, in Python", "text to hits"
_PASSAGE_WORDS: Final = 120
_TUNED_BY: Final = 100  # questions at least
_KEYSTROKES: Final = 30  # of a question; a longer one grows by several letters at a time
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
        query_encoder: Name of the query encoder that encodes the questions in its place; None for
            none.
        precision: Precision of its graph.
        rows: Rows of the index.
        dim: Their dimensions.
        funnel: The index's funnel.
        cells: Its cells, in words; "" without any.
        recall: Share of the best 10 by the last stage alone, of all rows, that the funnel finds.
        questions: Questions of a round, one by one.
        tokens: Tokens of the median question, special ones and the prompt's included.
        rounds: Measured rounds.
        core_share: As in `nestling.bench.report.Report`.
        questions_per_s: Questions encoded a second, all in one call; the median round.
        passages_per_s: Passages encoded a second, likewise.
        passage_tokens: Tokens of the median passage.
        parts: By name, in the order in which they run; then the rest, and the whole.
        keystroke: From the text so far to its hits, over all keystrokes; None if not measured.
    """

    machine: Machine
    model: str
    query_encoder: str | None
    precision: str
    rows: int
    dim: int
    funnel: str
    cells: str
    recall: float
    questions: int
    tokens: float
    rounds: int
    core_share: float | None
    questions_per_s: float
    passages_per_s: float
    passage_tokens: float
    parts: dict[str, Part]
    keystroke: Part | None = None

    def as_dict(self) -> dict[str, Any]:
        """Returns everything as JSON values."""
        return asdict(self)


def measure(
    encoder: Encoder, index: Index, questions: list[str], *, rounds: int, typing: bool = False
) -> LatencyBreakdown:
    """Measures the time from each question, by itself, to its top 10.

    Args:
        encoder: The encoder of the questions.
        index: An index of the encoder's dimensions.
        questions: The questions; those without a token are left out.
        rounds: Measured rounds, after a warm-up round.
        typing: Whether to search after each keystroke, too.

    Raises:
        CorpusError: No question has a token.
    """
    asked = encoder.queries or encoder  # what encodes the questions
    rows, _ = asked.embedder.tokenizer.encode([asked.query_prompt + text for text in questions])
    tokens = [len(row) for row in rows]
    known = [question for question, count in zip(questions, tokens, strict=True) if count]
    if not known:
        raise CorpusError(f"none of the {len(questions):,} questions has a token")
    passages = _passages()
    tasks = {
        "parts": partial(_time_parts, encoder, index, known),
        "questions": partial(_time_texts, encoder.encode_queries, known),
        "passages": partial(_time_texts, encoder.encode, passages),
    }
    if typing:
        tasks["typing"] = partial(_time_typing, encoder, index, known)
    machine = Machine.here(threads=index.threads)
    with pinned(machine.pinned):
        wall, cpu = time.perf_counter(), time.process_time()
        found = interleave(tasks, rounds=rounds, title="Searching")
        share = (time.process_time() - cpu) / (time.perf_counter() - wall)
    return LatencyBreakdown(
        machine=machine,
        model=encoder.name,
        query_encoder=None if encoder.queries is None else encoder.queries.name,
        precision=encoder.precision,
        rows=len(index),
        dim=index.dim,
        funnel=str(index.funnel),
        cells=_cells(index),
        recall=_recall(index, encoder.encode_queries(known)),
        questions=len(known),
        tokens=float(np.median([count for count in tokens if count])),
        rounds=rounds,
        core_share=share if index.threads == 1 else None,
        questions_per_s=len(known) / float(np.median(found["questions"])),
        passages_per_s=len(passages) / float(np.median(found["passages"])),
        passage_tokens=float(
            np.median([len(row) for row in encoder.embedder.tokenize(passages)[0]])
        ),
        parts=_summary(np.concatenate(found["parts"]) * 1e6),
        keystroke=_part(np.concatenate(found["typing"]) * 1e6) if typing else None,
    )


def _cells(index: Index) -> str:
    cells = index.cells
    return "" if cells is None else f"{cells.probes:,} of {cells.count:,} cells"


def _recall(index: Index, queries: NDArray[np.float32]) -> float:
    """Returns the share of the best 10 of all rows, by the last stage, that a search finds."""
    last = Funnel(index.funnel.stages[-1:])
    best = index.search(queries, k=K, funnel=last, probes=0)
    return recall(index.search(queries, k=K).ids, best.ids)


def _passages() -> list[str]:
    """Returns passages of equal words, from the documentation of this package."""
    words = " ".join(inspect.getdoc(item) or "" for item in (Index, Collection)).split()
    starts = range(0, len(words) - _PASSAGE_WORDS, _PASSAGE_WORDS)
    return [" ".join(words[start : start + _PASSAGE_WORDS]) for start in starts]


def _time_texts(encode: Callable[..., Any], texts: list[str]) -> Values:
    """Returns the seconds of one call that encodes all texts."""
    return np.array([seconds(partial(encode, texts, progress=False))])


def _time_parts(encoder: Encoder, index: Index, questions: list[str]) -> Values:
    """Returns (questions, parts, rest and whole) seconds."""
    times = np.zeros((len(questions), len(_PARTS) + 2))
    spent = [0.0] * len(_PARTS)
    embedder = (encoder.queries or encoder).embedder
    with (
        _clock(embedder.tokenizer, "encode", spent, 0),
        _clock(embedder.graph, "run", spent, 1),
        _clock(embedder.tail, "run", spent, 2),
        _clock(index, "search", spent, 3),
    ):
        for row, question in zip(times, questions, strict=True):
            spent[:] = [0.0] * len(_PARTS)
            row[-1:] = seconds(partial(_search, encoder, index, question))
            row[:-2] = spent
    times[:, -2] = times[:, -1] - times[:, :-2].sum(axis=1)
    return times


def _time_typing(encoder: Encoder, index: Index, questions: list[str]) -> Values:
    """Returns the seconds from each beginning of each question to its hits."""
    beginnings = [text for question in questions for text in _beginnings(question)]
    return np.array([seconds(partial(_search, encoder, index, text)) for text in beginnings])


def _beginnings(question: str) -> list[str]:
    """Returns what has been typed of a question after each keystroke."""
    text = question.strip()
    return [text[: math.ceil(len(text) * i / _KEYSTROKES)] for i in range(1, _KEYSTROKES + 1)]


def _search(encoder: Encoder, index: Index, question: str) -> Hits:
    return index.search(encoder.encode_queries(question), k=K)


@contextmanager
def _clock(part: object, method: str, spent: list[float], place: int) -> Iterator[None]:
    """Adds the seconds of each call of one object's method to `spent[place]`."""
    call = getattr(part, method)

    def timed(*args: Any, **named: Any) -> Any:
        start = time.perf_counter()
        result = call(*args, **named)
        spent[place] += time.perf_counter() - start
        return result

    setattr(part, method, timed)  # hides the class's method
    try:
        yield
    finally:
        delattr(part, method)


def _summary(microseconds: NDArray[np.float64]) -> dict[str, Part]:
    """Summarises (n, parts, rest and whole) microseconds."""
    return {
        name: _part(column)
        for name, column in zip((*_PARTS, _REST, _WHOLE), microseconds.T, strict=True)
    }


def _part(microseconds: NDArray[np.float64]) -> Part:
    return Part(float(np.median(microseconds)), float(np.percentile(microseconds, 99)))


@dataclass(frozen=True, slots=True, kw_only=True)
class TextOptions:
    """The options of `python -m nestling.bench text`."""

    model: Model = "minilm"
    precision: Precision = "int8"
    query_encoder: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A query encoder that encodes the questions in its place, by name or folder.",
        ),
    ] = None
    typing: Annotated[
        bool, typer.Option("--typing", help="Search after each of 30 keystrokes, too.")
    ] = False
    queries: Annotated[
        Path | None,
        typer.Option(
            help="Search for these questions: the lines of a .txt file, or a corpus.",
            metavar="FILE",
            show_default="a few in English",
        ),
    ] = None
    limit: Annotated[int, typer.Option(min=1, help="Most questions of a round.")] = 50
    vectors: Annotated[
        Path | None,
        typer.Option(
            help="Search the rows of this .npy file: embeddings by the model.",
            metavar="FILE",
            show_default="generated rows",
        ),
    ] = None
    rows: Annotated[int, typer.Option(min=100, help="Most rows of the index.")] = 100_000
    funnel: FunnelText = None
    tune: Annotated[
        float | None,
        typer.Option(
            help="Tune the index to this recall, for single queries, by the questions beyond "
            "--limit, or by rows where these are fewer than 100.",
            metavar="RECALL",
        ),
    ] = None
    threads: Threads = 1
    rounds: Rounds = 30
    as_json: Json = False


@command
def text(options: TextOptions) -> None:
    """Measure the latency of a question, from text to hits, part by part.

    Example: python -m nestling.bench text --model e5 --rows 1000000
    """
    questions = list(_QUESTIONS) if options.queries is None else read_texts(options.queries)
    encoder = open_encoder(options.model, precision=options.precision, threads=options.threads)
    if options.query_encoder is not None:
        encoder = encoder.with_queries(options.query_encoder)
    # As a collection stores them.
    funnel = options.funnel or default_funnel(encoder.dim, encoder.nesting)
    index = Index(encoder.dim, funnel=funnel, threads=options.threads)
    if options.vectors is not None:
        index.add(read_vectors(options.vectors)[: options.rows])
    else:
        index.add(generate(options.rows, encoder.dim, queries=1)[0])
    questions, others = questions[: options.limit], questions[options.limit :]
    if options.tune is not None:
        queries = encoder.encode_queries(others) if len(others) >= _TUNED_BY else None
        index.tune(options.tune, k=K, queries=queries, prefer="latency", verbose=False)
    breakdown = measure(encoder, index, questions, rounds=options.rounds, typing=options.typing)
    if options.as_json:
        print_json(breakdown.as_dict())
    else:
        show(breakdown, console())


def show(breakdown: LatencyBreakdown, out: Console) -> None:
    """Prints the breakdown as a table."""
    machine, whole = breakdown.machine, breakdown.parts[_WHOLE].p50_us
    rows: list[list[str] | None] = []
    for name, part in breakdown.parts.items():
        if name == _WHOLE:
            rows.append(None)
        share = f"{part.p50_us / whole:.0%}"
        rows.append([name, f"{part.p50_us:,.1f}", share, f"{part.p99_us:,.1f}"])
    by = "" if breakdown.query_encoder is None else f", queries by {breakdown.query_encoder}"
    cells = f" in {breakdown.cells}" if breakdown.cells else ""
    out.print(
        f"{breakdown.model} ({breakdown.precision}){by}, "
        f"{breakdown.dim} dimensions, "
        f"funnel {breakdown.funnel}{cells}, recall@{K} {breakdown.recall:.3f}\n"
        f"{machine.cpu}, {machine.system}, {machine.threads} of {machine.cores} cores, "
        f"ISA {machine.isa}\n",
        markup=False,
    )
    question = f"One question ({breakdown.tokens:.0f} tokens)"
    title = f"{question} to its top {K} of {breakdown.rows:,} rows"
    print_table(table(("", "p50, µs", "of the whole", "p99, µs"), rows, title=title), out)
    lines = [
        f"\nEncoded in one call: {breakdown.questions_per_s:,.0f} questions/s "
        f"({breakdown.tokens:.0f} tokens), {breakdown.passages_per_s:,.1f} passages/s "
        f"({breakdown.passage_tokens:.0f} tokens).",
        f"\nPercentiles over {breakdown.questions} questions, one by one in {breakdown.rounds} "
        "rounds after a warm-up round.",
        *disturbed(breakdown.core_share),
    ]
    if (key := breakdown.keystroke) is not None:
        lines.insert(
            1,
            f"\nA keystroke to its hits, {_KEYSTROKES} a question: {key.p50_us:,.1f} µs (p50), "
            f"{key.p99_us:,.1f} (p99).",
        )
    out.print("\n".join(lines), markup=False)
