"""Arguments of an index, checked and converted to what the core takes."""

from __future__ import annotations

import operator
from typing import Final, TypeAlias

from nestling import _core
from nestling.errors import ArgumentError
from nestling.index.cells import Cells
from nestling.index.funnel import Funnel

__all__ = [
    "MAX_ROWS",
    "Probing",
    "cell_spec",
    "positive",
    "probed_cells",
    "stage_specs",
]

MAX_ROWS: Final = _core.MAX_ROWS  # rows, and so hits, that an index can have


Probing: TypeAlias = tuple[int, bool, float, float]
"""What decides how many cells a search probes: fields of `Cells`, as the core takes them."""


def probed_cells(cells: Cells | None, probes: int | None) -> Probing:
    """Returns which cells to probe: those of the settings, or so many for every query."""
    if probes is not None:
        return (probes and positive("probes", probes), False, 0.0, 0.0)
    if cells is None:
        return (0, False, 0.0, 0.0)
    return (cells.probes, cells.adaptive, cells.typical, cells.halving)


def cell_spec(cells: Cells | None) -> _core.CellSpec:
    """Returns cells as the core takes them; a count of 0 for none."""
    if cells is None:
        return _core.CellSpec(count=0, dims=0, spill=False, links=0)
    return _core.CellSpec(count=cells.count, dims=cells.dims, spill=cells.spill, links=cells.links)


def stage_specs(funnel: Funnel) -> tuple[_core.StageSpec, ...]:
    """Returns stages as the core takes them, with 0 for what is not given.

    A funnel keeps them, since every search asks for them.
    """
    try:
        kept: tuple[_core.StageSpec, ...] = funnel._specs
    except AttributeError:
        kept = tuple(
            _core.StageSpec(
                dims=stage.dims,
                bits=stage.bits,
                keep=min(stage.keep or 0, MAX_ROWS),
                margin=stage.margin or 0.0,
            )
            for stage in funnel.stages
        )
        object.__setattr__(funnel, "_specs", kept)
    return kept


def positive(name: str, value: int, at_most: int = MAX_ROWS) -> int:
    """Returns a whole number from 1 to `at_most`; errors call it `name`."""
    try:
        number = operator.index(value)
    except TypeError:
        raise ArgumentError(f"{name} must be a whole number, not {value!r}") from None
    if not 1 <= number <= at_most:
        raise ArgumentError(f"{name} must be 1 to {at_most:,}, not {number}")
    return number
