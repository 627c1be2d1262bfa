"""The plot of a tuning: recall against speed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from nestling.errors import ArgumentError, PackageError, StorageError

if TYPE_CHECKING:
    from nestling.tuning.report import Trial, TuneReport

__all__ = ["check", "draw"]

_BLUE, _GREEN, _GREY, _RED = "#1f6fb4", "#2a9d5c", "#8a8a8a", "#c8452d"
_ENDINGS: Final = (".pdf", ".png", ".svg")
_SIZE: Final = (8.0, 5.0)  # inches


def check(path: str | os.PathLike[str]) -> None:
    """Checks that a plot can be drawn into `path`.

    Raises:
        PackageError: matplotlib is missing.
        ArgumentError: The name has an ending for which there is no format.

    Example:
        >>> check("tuning.svg")  # doctest: +SKIP
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise PackageError("a plot needs matplotlib: pip install 'nestling[plot]'") from error
    if not os.fspath(path).endswith(_ENDINGS):
        raise ArgumentError(f"{os.fspath(path)}: a plot's name must end in {', '.join(_ENDINGS)}")


def draw(report: TuneReport, path: str | os.PathLike[str]) -> None:
    """Draws the report's trials into a file; see `TuneReport.plot`.

    Example:
        >>> draw(report, "tuning.svg")  # doctest: +SKIP
    """
    check(path)
    from matplotlib.figure import Figure  # no pyplot: it would choose a backend for the process

    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(report.target, color=_GREY, linestyle="--", linewidth=1, label="target")
    kinds = (
        ("no cells", [trial for trial in report.trials if trial.cells is None], _BLUE, "o"),
        ("cells", [trial for trial in report.trials if trial.cells is not None], _GREEN, "s"),
        ("before", [report.before], _GREY, "D"),
        ("chosen", [report.chosen], _RED, "*"),
    )
    for label, trials, colour, marker in kinds:
        if not trials:
            continue
        size = 220 if marker == "*" else 45
        recalls, speeds = zip(
            *((trial.recall, _speed(trial, report)) for trial in trials), strict=True
        )
        axes.scatter(recalls, speeds, s=size, c=colour, marker=marker, label=label, zorder=3)
    axes.plot(
        *zip(*((trial.recall, _speed(trial, report)) for trial in _fastest(report)), strict=True),
        color=_GREY,
        linewidth=1,
        label="fastest at its recall",
    )
    for trial in {
        report.before.funnel: report.before,
        report.chosen.funnel: report.chosen,
    }.values():
        axes.annotate(
            trial.funnel,
            (trial.recall, _speed(trial, report)),
            xytext=(-8, 8),
            textcoords="offset points",
            ha="right",
            fontsize=8,
        )
    axes.set_yscale("log")
    axes.set_xlabel(f"recall@{report.k}")
    axes.set_ylabel(
        "queries a second, " + ("in a batch" if report.prefer == "throughput" else "one by one")
    )
    axes.set_title(f"{report.rows:,} rows: {report.chosen.funnel}", fontsize=10)
    axes.margins(x=0.25)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    try:
        figure.savefig(path)
    except OSError as error:
        raise StorageError(f"{os.fspath(path)}: cannot write: {error.strerror or error}") from error


def _speed(trial: Trial, report: TuneReport) -> float:
    return trial.queries_per_second if report.prefer == "throughput" else 1000 / trial.latency_ms


def _fastest(report: TuneReport) -> list[Trial]:
    """Returns the trials that no other beats in both recall and speed, by recall."""
    fastest: list[Trial] = []
    for trial in sorted(report.trials, key=lambda one: (-one.recall, -_speed(one, report))):
        if not fastest or _speed(trial, report) > _speed(fastest[-1], report):
            fastest.append(trial)
    return fastest
