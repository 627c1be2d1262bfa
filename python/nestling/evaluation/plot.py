"""Plots of a table: quality against dimensions, memory and speed. Needs the extra `plot`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nestling.errors import PackageError, StorageError
from nestling.evaluation.similarity import PairsTable
from nestling.evaluation.table import Row, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["check_picture", "plot"]

# By bits; from the palette of Okabe and Ito, which colour-blind readers can distinguish.
_COLOURS: Final = {
    32: "#000000", 16: "#999999", 8: "#0072B2", 4: "#009E73", 2: "#E69F00", 1: "#D55E00"
}  # fmt: skip
_MARKERS: Final = {32: "o", 16: "P", 8: "s", 4: "D", 2: "^", 1: "v"}
_FUNNEL_COLOURS: Final = ("#CC79A7", "#56B4E9", "#8C564B", "#7F7F00", "#9467BD")
_NAMES: Final = {"ndcg": "nDCG", "mrr": "MRR", "map": "MAP"}


def plot(table: Table | PairsTable, path: str | os.PathLike[str]) -> None:
    """Draws a table.

    An evaluation has three panels with its main metric: against dimensions, as in papers on
    Matryoshka embeddings, against bytes per row, and against queries a second if they were
    measured. Pairs have the first panel only.

    Args:
        table: The table to draw.
        path: The file to write; its ending selects the format: .png, .svg, .pdf.

    Raises:
        PackageError: matplotlib is not installed.
        StorageError: The system refused to write, or no format has this ending.

    Example:
        >>> plot(table, "prefixes.svg")  # doctest: +SKIP
    """
    check_picture(path)
    from matplotlib.figure import Figure

    figure = _draw_pairs(Figure, table) if isinstance(table, PairsTable) else _draw(Figure, table)
    try:
        figure.savefig(os.fspath(path), dpi=150)
    except OSError as error:
        raise StorageError(f"{os.fspath(path)}: cannot write: {error.strerror or error}") from error


def check_picture(path: str | os.PathLike[str]) -> None:
    """Checks that `plot` can draw to `path`, before anything is measured.

    Raises:
        PackageError: matplotlib is not installed.
        StorageError: No format has this ending.

    Example:
        >>> check_picture("prefixes.svg")  # doctest: +SKIP
    """
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError as error:
        raise PackageError("plots need matplotlib: pip install 'nestling[plot]'") from error
    formats = FigureCanvasBase.get_supported_filetypes()
    if Path(path).suffix.lower().removeprefix(".") not in formats:
        endings = ", ".join(f".{name}" for name in sorted(formats))
        raise StorageError(f"{os.fspath(path)}: no format has this ending; choose from {endings}")


def _draw(make: type[Figure], table: Table) -> Figure:
    panels: list[tuple[str, Callable[[Row], float | None]]] = [
        ("dimensions", lambda row: row.dims),
        ("bytes a row", lambda row: row.bytes_per_row),
    ]
    if table.rounds:
        panels.append(
            ("queries a second", lambda row: None if row.speed is None else row.speed.median)
        )
    figure = make(figsize=(4.6 * len(panels), 5.0), layout="constrained")
    figure.suptitle(
        f"{table.dataset}: {table.documents:,} documents, {table.queries:,} questions"
        + (f", {table.model}" if table.model else "")
    )
    axes: Any = figure.subplots(1, len(panels), sharey=True)
    for axis, (title, place) in zip(axes, panels, strict=True):
        _panel(axis, table, place)
        axis.set_xlabel(title)
    _doublings(axes[0], [row.dims for row in table.rows if row.dims])
    for axis in axes[1:]:
        _decades(axis)
    kind, _, k = table.main_metric.partition("@")
    axes[0].set_ylabel(f"{_NAMES.get(kind, kind)}@{k}")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return figure


def _panel(axis: Axes, table: Table, place: Callable[[Row], float | None]) -> None:
    metric = table.main_metric
    flat = [row for row in table.rows if row.kind in ("exact", "codes")]
    for bits in sorted({row.bits for row in flat if row.bits}, reverse=True):
        points = sorted(
            (row.dims or 0, at, row.metrics[metric])
            for row in flat
            if row.bits == bits and (at := place(row))
        )
        axis.plot(
            [at for _, at, _ in points],
            [value for *_, value in points],
            color=_COLOURS[bits],
            marker=_MARKERS[bits],
            markersize=5,
            linewidth=1.4,
            label="exact, float32" if bits == 32 else f"{bits} bit" + "s" * (bits > 1),
        )
    funnels = [(at, row) for row in table.rows if row.kind == "funnel" and (at := place(row))]
    for number, (at, row) in enumerate(funnels):
        axis.plot(
            [at],
            [row.metrics[metric]],
            color=_FUNNEL_COLOURS[number % len(_FUNNEL_COLOURS)],
            # Open stars of growing size, because funnels often coincide.
            marker="*",
            markersize=11 + 5 * min(number, 3),
            markerfacecolor="none",
            markeredgewidth=1.6,
            linestyle="",
            zorder=3,
            label=row.system,
        )
    for number, row in enumerate(row for row in table.rows if row.kind == "run"):
        axis.axhline(
            row.metrics[metric],
            color="#7f7f7f",
            linestyle=("--", ":", "-.")[number % 3],
            linewidth=1.2,
            label=row.system,
        )


def _draw_pairs(make: type[Figure], table: PairsTable) -> Figure:
    figure = make(figsize=(5.5, 4.2), layout="constrained")
    axis = figure.subplots()
    rows = table.rows[::-1]
    dims = [row.dims for row in rows]
    axis.plot(dims, [row.spearman for row in rows], color=_COLOURS[32], marker="o")
    axis.set_title(f"{table.dataset}: {table.pairs:,} pairs, {table.model}")
    axis.set_xlabel("dimensions")
    axis.set_ylabel("Spearman's correlation")
    _doublings(axis, dims)
    return figure


def _doublings(axis: Axes, dims: Sequence[int]) -> None:
    """Makes the horizontal axis binary logarithmic, labelled with the lengths themselves."""
    from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_locator(FixedLocator(sorted(set(dims))))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
    _plain(axis)


def _decades(axis: Axes) -> None:
    """Makes the horizontal axis logarithmic, with labels such as 20, 500 and 10k."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

    axis.set_xscale("log")
    low, high = axis.get_xlim()
    # Within a decade or two, labels at 1, 2 and 5 are needed.
    steps = (1.0, 2.0, 5.0) if high < 300 * low else (1.0,)
    axis.xaxis.set_major_locator(LogLocator(subs=steps, numticks=12))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    _plain(axis)


def _plain(axis: Axes) -> None:
    axis.margins(y=0.08)
    axis.grid(visible=True, color="#e5e5e5", linewidth=0.8)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
