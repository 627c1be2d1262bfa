"""The results as tables: the engines, and one table for each kind of question."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from nestling._util.console import print_table, table
from nestling.bench.lexical.results import CaseResult, LexicalReport, Outcome, Size
from nestling.bench.report import disturbed

__all__ = ["show"]

_MOST_SHOWN = 200  # characters of an error


def show(report: LexicalReport, out: Console) -> None:
    """Prints the tables of every size, and notes."""
    machine = report.machine
    words = ", ".join(f"{each:.1f} {kind}" for kind, each in report.words_per_question.items())
    out.print(
        f"{machine.cpu}, {machine.system}\n{machine.use}\n"
        f"documents of {report.words_per_document:.1f} words on average, {report.origin}\n"
        f"words searched for by a question, on average: {words}\n",
        markup=False,
    )
    for size in report.sizes:
        print_table(_builds(size), out)
        out.print()
        print_table(_searches(size), out)
        out.print()
    out.print(_foot(report), markup=False)


def _builds(size: Size) -> Table:
    rows = [
        [
            _name(outcome),
            outcome.version,
            f"{size.documents / outcome.build_seconds:,.0f}",
            f"{outcome.bytes_per_document or 0:,.0f}",
        ]
        for outcome in size.outcomes
        if outcome.build_seconds is not None
    ]
    columns = ("", "version", "documents/s", "B/document")
    return table(columns, rows, title=f"{size.documents:,} documents: build", align="llrr")


def _searches(size: Size) -> Table:
    rows: list[list[str] | None] = []
    by_case: dict[str, list[tuple[Outcome, CaseResult]]] = {}
    for outcome in size.outcomes:
        for result in outcome.cases:
            by_case.setdefault(result.case.name, []).append((outcome, result))
    for name, results in by_case.items():
        rows += [None] if rows else []
        for position, (outcome, result) in enumerate(results):
            rows.append(
                [
                    "" if position else name,
                    _name(outcome),
                    _number(result.p50.median * 1e3),
                    _number(result.p99 * 1e3),
                    f"{result.questions_per_second.median:,.0f}",
                    "" if result.agreement is None else f"{result.agreement:.2f}",
                ]
            )
    columns = ("questions", "", "p50 ms", "p99 ms", "questions/s", "agree ¹")
    title = f"{size.documents:,} documents: searches"
    return table(columns, rows, title=title, align="llrrrr")


def _foot(report: LexicalReport) -> str:
    outcomes = [outcome for size in report.sizes for outcome in size.outcomes]
    questions = ", ".join(f"{count:,} {kind}" for kind, count in report.questions.items())
    lines = [
        f"{questions} questions, fewer for a slow engine; medians of {report.rounds} rounds that "
        "took turns, after a warm-up round. A filter is the same in every search.",
        "nestling's build stores texts, metadata and vectors too; its bytes are of words alone.",
        "¹ Share of the first engine's documents: the stems and the formula differ a little.",
        *(f"not installed: {name} (pip install {dist})" for name, dist in report.absent.items()),
        *(f"FAILED: {_name(o)}: {o.error[:_MOST_SHOWN]}" for o in outcomes if o.error),
    ]
    shares = [o.core_share for o in outcomes if o.core_share is not None]
    if shares:
        lines += disturbed(sum(shares) / len(shares))
    return "\n".join(lines)


def _name(outcome: Outcome) -> str:
    return f"{outcome.engine}: {outcome.configuration}"


def _number(value: float) -> str:
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:,.{digits}f}"
