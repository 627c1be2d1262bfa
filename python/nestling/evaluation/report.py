"""Tables as text: for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console

from nestling._util.console import print_table
from nestling._util.console import table as grid
from nestling.evaluation.significance import Comparison
from nestling.evaluation.similarity import PairsTable
from nestling.evaluation.table import Table

__all__ = ["as_markdown", "show"]

_NONE = "–"
_Cells = list[list[str]]


def show(table: Table | PairsTable, console: Console) -> None:
    """Prints a table, in parts if the terminal is too narrow for the whole of it.

    Example:
        >>> from nestling._util.console import console
        >>> from nestling.evaluation.similarity import PairsRow
        >>> show(PairsTable("sts", "minilm", 2, (PairsRow(384, 0.8, 1.0),)), console())
        sts: 2 pairs, minilm
        <BLANKLINE>
        dims   Spearman     kept
        ────────────────────────
        384      0.8000   100.0%
    """
    console.print(f"{_title(table)}\n", markup=False)
    for number, part in enumerate(_parts(table, console.width if console.is_terminal else None)):
        if number:
            console.print()
        print_table(grid(part[0], part[1:]), console)
    if isinstance(table, Table):
        console.print(f"\n{_foot(table)}", markup=False)


def as_markdown(table: Table | PairsTable) -> str:
    """Returns a table as Markdown, with everything that `show` prints.

    Example:
        >>> from nestling.evaluation.similarity import PairsRow
        >>> print(as_markdown(PairsTable("sts", "minilm", 2, (PairsRow(384, 0.8, 1.0),))), end="")
        sts: 2 pairs, minilm
        <BLANKLINE>
        | dims | Spearman | kept |
        | --- | ---: | ---: |
        | 384 | 0.8000 | 100.0% |
    """
    (cells,) = _parts(table, None)
    foot = f"\n{_foot(table)}\n" if isinstance(table, Table) else ""
    return f"{_title(table)}\n\n{_markdown(cells)}{foot}"


def _parts(table: Table | PairsTable, width: int | None) -> list[_Cells]:
    if isinstance(table, PairsTable):
        return [_pairs(table)]
    names = [["system"], *([row.system] for row in table.rows)]
    parts = [_cost(table), _differences(table), _other_metrics(table)]
    whole = _beside(names, *parts)
    widths = (max(map(len, column)) for column in zip(*whole, strict=True))
    if width is None or sum(widths) + 3 * (len(whole[0]) - 1) <= width:
        return [whole]
    return [_beside(names, part) for part in parts if part[0]]


def _beside(*parts: _Cells) -> _Cells:
    return [[cell for part in rows for cell in part] for rows in zip(*parts, strict=True)]


def _title(table: Table | PairsTable) -> str:
    if isinstance(table, PairsTable):
        return f"{table.dataset}: {table.pairs:,} pairs, {table.model}"
    out = f" ({table.left_out:,} left out)" if table.left_out else ""
    model = f", {table.model}" if table.model else ""
    return f"{table.dataset}: {table.documents:,} documents, {table.queries:,} queries{out}{model}"


def _foot(table: Table) -> str:
    lines = [
        f"Differences from the first row in {table.main_metric}: interval of the paired bootstrap, "
        "p of the paired randomisation test."
    ]
    if table.rounds:
        threads = "1 thread" if table.threads == 1 else f"{table.threads} threads"
        lines.append(
            f"Queries a second: a batch of {table.batch:,}, top {table.depth}, {threads}, the "
            f"median of {table.rounds} rounds that took turns."
        )
    return " ".join(lines)


def _cost(table: Table) -> _Cells:
    metric = table.main_metric
    return [
        [metric, "kept", "bytes/row", "queries/s"],
        *(
            [
                f"{row.metrics[metric]:.4f}",
                _NONE if row.kept is None else f"{row.kept:.1%}",
                _NONE if row.bytes_per_row is None else f"{row.bytes_per_row:,.0f}",
                _NONE if row.speed is None else f"{row.speed.median:,.0f}",
            ]
            for row in table.rows
        ),
    ]


def _differences(table: Table) -> _Cells:
    return [
        ["difference", f"{table.confidence:.0%} interval", "p"],
        *(_difference(row.comparison) for row in table.rows),
    ]


def _difference(found: Comparison | None) -> list[str]:
    if found is None:
        return [_NONE] * 3
    p = "<0.001" if found.p < 0.001 else f"{found.p:.3f}"
    return [f"{found.difference:+.4f}", f"{found.low:+.4f} to {found.high:+.4f}", p]


def _other_metrics(table: Table) -> _Cells:
    names = [name for name in table.rows[0].metrics if name != table.main_metric]
    return [names, *([f"{row.metrics[name]:.4f}" for name in names] for row in table.rows)]


def _pairs(table: PairsTable) -> _Cells:
    return [
        ["dims", "Spearman", "kept"],
        *(
            [f"{row.dims}", f"{row.spearman:.4f}", _NONE if row.kept is None else f"{row.kept:.1%}"]
            for row in table.rows
        ),
    ]


def _markdown(cells: _Cells) -> str:
    rule = ["---", *("---:" for _ in cells[0][1:])]
    return "".join(f"{_markdown_row(row)}\n" for row in (cells[0], rule, *cells[1:]))


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_escaped(cells))} |"


def _escaped(cells: Iterable[str]) -> Iterable[str]:
    # The ">" of a funnel within a line is not a quotation; the name of a run may hold a bar.
    return (cell.replace("\\", "\\\\").replace("|", "\\|") for cell in cells)
