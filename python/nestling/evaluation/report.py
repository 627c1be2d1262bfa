"""Tables as text: for the terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from nestling.evaluation.significance import Comparison
from nestling.evaluation.similarity import PairsTable
from nestling.evaluation.table import Table

__all__ = ["as_markdown", "show"]

_NONE = "–"
_Cells = list[list[str]]


def show(table: Table | PairsTable, console: Console) -> None:
    """Prints a table: in parts where the terminal is too narrow for the whole of it."""
    console.print(Text(_title(table)))
    for part in _parts(table, console.width):
        console.print(_grid(part))
    if isinstance(table, Table):
        console.print(Text(_foot(table)))


def as_markdown(table: Table | PairsTable) -> str:
    """Returns a table as Markdown, with everything that `show` prints."""
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
    if width is None or sum(widths) + 2 * len(whole[0]) <= width:
        return [whole]
    return [_beside(names, part) for part in parts if part[0]]


def _beside(*parts: _Cells) -> _Cells:
    return [[cell for part in rows for cell in part] for rows in zip(*parts, strict=True)]


def _title(table: Table | PairsTable) -> str:
    if isinstance(table, PairsTable):
        return f"{table.dataset}: {table.pairs:,} pairs, {table.model}"
    out = f" ({table.left_out:,} left out)" if table.left_out else ""
    model = f", {table.model}" if table.model else ""
    return (
        f"{table.dataset}: {table.documents:,} documents, {table.queries:,} questions{out}{model}"
    )


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
        [metric, "kept", "bytes a row", "queries/s"],
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


def _grid(cells: _Cells) -> Grid:
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for place, title in enumerate(cells[0]):
        grid.add_column(Text(title), justify="right" if place else "left", no_wrap=place > 0)
    for row in cells[1:]:
        grid.add_row(*map(Text, row))
    return grid


def _markdown(cells: _Cells) -> str:
    rule = ["---", *("---:" for _ in cells[0][1:])]
    return "".join(f"{_markdown_row(row)}\n" for row in (cells[0], rule, *cells[1:]))


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_escaped(cells))} |"


def _escaped(cells: Iterable[str]) -> Iterable[str]:
    # A funnel's ">" within a line is no quotation; a run's name may hold a bar.
    return (cell.replace("\\", "\\\\").replace("|", "\\|") for cell in cells)
