"""The results as plots in the style of ann-benchmarks: each peer's best settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from nestling.bench.peers.results import Outcome, PeersReport, Point, Size, best, pareto
from nestling.errors import StorageError

__all__ = ["draw"]

_COLOURS: Final = {
    "nestling": "#d62728",
    "faiss": "#1f77b4",
    "hnswlib": "#9467bd",
    "usearch": "#2ca02c",
    "turbovec": "#ff7f0e",
    "scann": "#17becf",
    "svs": "#7f7f7f",
    "rabitqlib": "#8c564b",
    "ngt": "#e377c2",
    "lorann": "#bcbd22",
}
_MARKERS: Final = "osD^vPX*<>"
_LEAST_RECALL: Final = 0.8
_TOP: Final = 0.9995  # where the axis of recall ends; higher values are drawn there
_DPI: Final = 150


def draw(report: PeersReport, folder: Path) -> list[Path]:
    """Plots a report.

    Args:
        report: The report.
        folder: The folder of the .png files; made if it does not exist.

    Returns:
        The files: recall against queries per second in a batch and against the latency of a query,
        with the bytes per row of each peer; the build time, and the bytes per row, against queries
        per second at a recall; and, where growth was measured, queries per second against the
        number of rows.

    Raises:
        StorageError: The folder or a file cannot be written.
    """
    size = report.sizes[-1]
    target = report.targets[len(report.targets) // 2]
    threads = report.machine.threads
    where = f"{size.rows:,} rows × {report.dim}, {threads} thread{'s' if threads > 1 else ''}"
    rate = f"queries/s in a batch, at recall@10 ≥ {target:g}"
    pictures: dict[str, Callable[[Any], None]] = {
        "recall-throughput": lambda axes: _recalls(
            axes, size, lambda p: p.rate, ("queries/s in a batch", f"Batches: {where}")
        ),
        "recall-latency": lambda axes: _recalls(
            axes, size, lambda p: p.single_rate, ("latency p50, ms", f"Single queries: {where}")
        ),
        "build": lambda axes: _costs(
            axes,
            size,
            target,
            lambda o: o.build_seconds,
            ("build, s", rate, f"Build and speed: {where}"),
            wide=True,
        ),
        "memory": lambda axes: _costs(
            axes,
            size,
            target,
            lambda o: o.bytes_per_row,
            ("bytes per row", rate, f"Memory and speed: {where}"),
            wide=False,
        ),
    }
    if len(report.sizes) > 1:
        pictures["growth"] = lambda axes: _growth(axes, report, target, rate)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [_save(picture, folder / f"{name}.png") for name, picture in pictures.items()]
    except OSError as error:
        raise StorageError(f"{folder}: cannot write: {error.strerror or error}") from error


def _save(picture: Callable[[Any], None], path: Path) -> Path:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    FigureCanvasAgg(figure)  # draws without a display, and without pyplot
    axes = figure.subplots()
    picture(axes)
    axes.grid(visible=True, which="major", alpha=0.35)
    axes.grid(visible=True, which="minor", alpha=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside right upper", frameon=False, fontsize=9, labelspacing=0.8)
    figure.savefig(path, dpi=_DPI)
    return path


def _recalls(
    axes: Any, size: Size, speed: Callable[[Point], float], texts: tuple[str, str]
) -> None:
    """Plots each peer's front of recall and speed; the axis of recall widens towards 1."""
    label, title = texts
    as_latency = "latency" in label
    for peer, outcomes in _by_peer(size.outcomes).items():
        measured = [(o, p) for o in outcomes for p in o.points if p.recall >= _LEAST_RECALL]
        points = [(min(point.recall, _TOP), speed(point)) for _, point in measured]
        front = sorted(pareto(points), key=lambda number: points[number])
        if front:
            recalls, speeds = zip(*(points[number] for number in front), strict=True)
            values = [1e3 / s if as_latency else s for s in speeds]
            name = f"{peer}\n{_bytes([measured[number][0] for number in front])}"
            axes.plot(recalls, values, **_style(peer) | {"label": name})
    ticks = [0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, _TOP]
    names = [f"{tick:g}" for tick in ticks[:-1]]
    axes.set_xscale("function", functions=(_widen, _narrow))
    axes.set_xlim(_LEAST_RECALL, _TOP + 0.0001)
    axes.set_xticks(ticks, [*names, f"≥ {_TOP:g}"])
    axes.set_yscale("log")
    axes.set(xlabel="recall@10", ylabel=label, title=title)
    _plain_numbers(axes.yaxis)


def _bytes(outcomes: Sequence[Outcome]) -> str:
    """Returns the bytes a row of measured configurations as text."""
    known = [outcome.bytes_per_row or 0 for outcome in outcomes]
    low, high = (f"{value:,.0f}" for value in (min(known), max(known)))
    return f"{low} B/row" if low == high else f"{low}–{high} B/row"


def _costs(
    axes: Any,
    size: Size,
    target: float,
    cost: Callable[[Outcome], float | None],
    texts: tuple[str, str, str],
    *,
    wide: bool,
) -> None:
    """Plots the cost and speed of every configuration that reaches the recall."""
    xlabel, ylabel, title = texts
    for peer, outcomes in _by_peer(size.outcomes).items():
        found = [(o, best([o], target, lambda p: p.rate)) for o in outcomes]
        dots = [(cost(o), pair[1].rate, o.configuration) for o, pair in found if pair]
        known = [(x, y, name) for x, y, name in dots if x is not None]
        if not known:
            continue
        x, y, name = max(known, key=lambda dot: dot[1])
        style = _style(peer) | {"linestyle": "none", "markersize": 8}
        axes.plot([x for x, _, _ in known], [y for _, y, _ in known], **style | {"label": None})
        # The legend names the fastest, which has an edge: names beside the dots would overlap.
        axes.plot([x], [y], **style | {"label": f"{peer}\n{name}", "markeredgecolor": "black"})
    axes.set_yscale("log")
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    _plain_numbers(axes.yaxis)
    if wide:
        axes.set_xscale("log")
        axes.margins(x=0.12, y=0.1)
        _plain_numbers(axes.xaxis)
    else:
        axes.margins(x=0.2, y=0.1)
        axes.set_xlim(left=0)


def _growth(axes: Any, report: PeersReport, target: float, label: str) -> None:
    """Plots the fastest setting of each peer at the recall, for every number of rows."""
    for peer in _by_peer(report.sizes[-1].outcomes):
        curve = []
        for size in report.sizes:
            found = best(_by_peer(size.outcomes).get(peer, []), target, lambda p: p.rate)
            if found is not None:
                curve.append((size.rows, found[1].rate))
        if curve:
            axes.plot(*zip(*curve, strict=True), **_style(peer))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set(xlabel="rows", ylabel=label, title=f"Growth: {report.dim} dimensions")
    axes.set_xticks([size.rows for size in report.sizes])
    _plain_numbers(axes.xaxis, ticks=False)
    _plain_numbers(axes.yaxis)


def _by_peer(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    peers: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        peers.setdefault(outcome.peer, []).append(outcome)
    return peers


def _style(peer: str) -> dict[str, Any]:
    names = list(_COLOURS)
    number = names.index(peer) if peer in names else len(names)
    is_nestling = peer == "nestling"
    return {
        "label": peer,
        "color": _COLOURS.get(peer, "#000000"),
        "marker": _MARKERS[number % len(_MARKERS)],
        "markersize": 7 if is_nestling else 5,
        "linewidth": 3 if is_nestling else 1.5,
        "zorder": 3 if is_nestling else 2,
    }


def _widen(recall: Any) -> Any:
    """Maps recall to minus the logarithm of what is missing, which separates 0.99 from 0.999."""
    import numpy as np

    return -np.log10(np.maximum(1 - np.asarray(recall), 1e-6))


def _narrow(value: Any) -> Any:
    import numpy as np

    return 1 - 10.0 ** -np.asarray(value)


def _plain_numbers(axis: Any, *, ticks: bool = True) -> None:
    """Labels a logarithmic axis with plain numbers, at 1, 2 and 5 of every decade if `ticks`."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if ticks:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())
