"""Draws the picture of a funnel: docs/assets/funnel-light.svg and funnel-dark.svg.

    python docs/pictures/funnel.py             # from the figures in funnel.json
    python docs/pictures/funnel.py --measure   # measures them first: 4 GB of memory, some minutes

Every number in the picture is measured: single queries on one thread, one after the other, among
generated rows (`nestling.bench.generate`); the figures are medians over the queries.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

HERE: Final = Path(__file__).parent
FIGURES: Final = HERE / "funnel.json"
PICTURES: Final = HERE.parent / "assets"

ROWS, DIM, QUERIES, K = 1_000_000, 256, 500, 10
FUNNEL: Final = "64@4:1000 > 128@16:200 > 256@16"


@dataclass(frozen=True, slots=True)
class StageFigures:
    """One stage, medians over the queries.

    Attributes:
        dims: Length of the prefix scored.
        bits: Precision of the values read.
        first_dim: Where the dimensions that the stage reads begin: 0, or the length of the previous
            prefix where that has the same precision.
        rows_seen: Rows scored.
        rows_kept: Rows handed on.
        bytes_read: Bytes read from the index.
        microseconds: Time in the stage.
    """

    dims: int
    bits: int
    first_dim: int
    rows_seen: int
    rows_kept: int
    bytes_read: int
    microseconds: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What the picture shows.

    Attributes:
        rows: Rows in the index.
        dim: Their dimensions.
        k: Hits a query.
        queries: Queries measured.
        funnel: The funnel.
        recall: Share of the exact top k that was found.
        stages: Its stages, in order.
        full_bytes: Bytes read by scoring all rows by all dimensions, as 16-bit floats.
        full_microseconds: The time that takes.
        machine: Processor and kernels.
    """

    rows: int
    dim: int
    k: int
    queries: int
    funnel: str
    recall: float
    stages: tuple[StageFigures, ...]
    full_bytes: int
    full_microseconds: float
    machine: str

    @classmethod
    def load(cls, path: Path) -> Figures:
        """Reads the figures that `save` wrote."""
        fields = json.loads(path.read_text(encoding="utf-8"))
        fields["stages"] = tuple(StageFigures(**stage) for stage in fields["stages"])
        return cls(**fields)

    def save(self, path: Path) -> None:
        """Writes the figures as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def measure() -> Figures:
    """Runs the funnel on generated rows, on one pinned core."""
    import numpy as np

    import nestling
    from nestling.bench.generate import generate
    from nestling.bench.machine import Machine, pinned
    from nestling.index.exact import chunks, exact_top, recall

    machine = Machine.here(threads=1)
    vectors, queries = generate(ROWS, DIM, queries=QUERIES)
    truth = exact_top(chunks(vectors), queries, K)
    index = nestling.Index(dim=DIM, funnel=FUNNEL, threads=1)
    index.add(vectors)
    del vectors
    with pinned(machine.pinned):
        found, full = [], []
        for number, query in enumerate(queries):
            found.append(index.search(query, k=K))
            if number % 5 == 0:  # in turns, so that a busy machine disturbs both alike
                full.append(index.search(query, k=K, funnel=f"{DIM}@16").stages[0])
    stages = []
    previous = (0, 0)  # dims and bits
    for number, stage in enumerate(found[0].stages):
        same = [hits.stages[number] for hits in found]
        stages.append(
            StageFigures(
                dims=stage.dims,
                bits=stage.bits,
                first_dim=previous[0] if previous[1] == stage.bits else 0,
                rows_seen=int(np.median([s.rows_seen for s in same])),
                rows_kept=int(np.median([s.rows_kept for s in same])),
                bytes_read=int(np.median([s.bytes_read for s in same])),
                microseconds=round(float(np.median([s.microseconds for s in same])), 1),
            )
        )
        previous = (stage.dims, stage.bits)
    return Figures(
        rows=ROWS,
        dim=DIM,
        k=K,
        queries=QUERIES,
        funnel=FUNNEL,
        recall=round(recall(np.array([hits.ids for hits in found]), truth.rows), 4),
        stages=tuple(stages),
        full_bytes=int(np.median([s.bytes_read for s in full])),
        full_microseconds=round(float(np.median([s.microseconds for s in full])), 1),
        machine=f"{machine.cpu}, {machine.isa}, one core",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Palette:
    """Colours of one scheme. The background is the page's own."""

    text: str
    muted: str
    faint: str
    stages: tuple[str, ...]
    on_stage: str


LIGHT: Final = Palette(
    text="#1f2328",
    muted="#59636e",
    faint="#d9dfe6",
    stages=("#8a3ffc", "#2f6feb", "#0b8f8f", "#c2410c"),
    on_stage="#ffffff",
)
DARK: Final = Palette(
    text="#f0f6fc",
    muted="#9aa4af",
    faint="#343c46",
    stages=("#b48cff", "#6ea8ff", "#4fd1c5", "#ffb86b"),
    on_stage="#0d1117",
)

# The picture's units: at 360 pixels of width one of them is 0.62 pixels, so 18 make 11 pixels.
WIDTH: Final = 580
TOP: Final = 8  # of the first stage
STAGE_HEIGHT: Final = 112
GAP: Final = 8
CENTRE: Final = 130  # of the funnel
HALF_WIDTH: Final = 118  # of its top
COLUMN: Final = 272  # where the texts begin
RIGHT: Final = WIDTH - 8  # where they end
STRIP_WIDTH: Final = RIGHT - COLUMN
STRIP_HEIGHT: Final = 24  # of 16 bits
FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', Arial, sans-serif"


def draw(figures: Figures, palette: Palette) -> str:
    """Returns the picture as SVG."""
    parts = [_stage(figures, number, palette) for number in range(len(figures.stages))]
    bottom = TOP + len(figures.stages) * (STAGE_HEIGHT + GAP)
    parts.append(_hits(figures, bottom, palette))
    height = bottom + 104
    total = sum(stage.microseconds for stage in figures.stages)
    title = f"A query's way through the funnel {figures.funnel}"
    steps = "; ".join(
        f"stage {number}: {stage.rows_seen:,} rows by {_dims(stage)} at {stage.bits} bits, "
        f"{stage.rows_kept:,} kept, {_bytes(stage.bytes_read)} read in {_time(stage.microseconds)}"
        for number, stage in enumerate(figures.stages, 1)
    )
    description = (
        f"{figures.rows:,} rows of {figures.dim} dimensions. {steps}. {figures.k} hits hold "
        f"{figures.recall:.1%} of the exact top {figures.k} in {_time(total)}; all dimensions of "
        f"all rows are {_bytes(figures.full_bytes)} and take {_time(figures.full_microseconds)} "
        f"({figures.machine})."
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            f'role="img" aria-labelledby="title description" font-family="{FONT}" font-size="18">',
            f'<title id="title">{escape(title)}</title>',
            f'<desc id="description">{escape(description)}</desc>',
            *parts,
            "</svg>",
            "",
        ]
    )


def _half_width(rows: float, figures: Figures) -> float:
    """Half the funnel's width where it holds so many rows: their logarithm."""
    return HALF_WIDTH * math.log(rows) / math.log(figures.rows)


def _stage(figures: Figures, number: int, palette: Palette) -> str:
    stage = figures.stages[number]
    colour = palette.stages[number]
    top = TOP + number * (STAGE_HEIGHT + GAP)
    bottom = top + STAGE_HEIGHT
    above = _half_width(stage.rows_seen, figures)
    below = _half_width(stage.rows_kept, figures)
    what = "scan" if number == 0 else "re-rank"
    numbers = [_text(CENTRE, top + 62, f"{stage.rows_seen:,}", palette.on_stage, 22, "middle", 700)]
    if number == 0:
        numbers.append(_text(CENTRE, top + 88, "rows", palette.on_stage, 18, "middle"))
    return "\n".join(
        [
            f'<path d="M{CENTRE - above:.1f} {top} H{CENTRE + above:.1f} L{CENTRE + below:.1f} '
            f'{bottom} H{CENTRE - below:.1f} Z" fill="{colour}" stroke="{colour}" '
            'stroke-width="6" stroke-linejoin="round"/>',
            *numbers,
            _text(COLUMN, top + 18, f"{what} {_dims(stage)}", palette.text, 20, weight=600),
            _text(RIGHT, top + 18, f"{stage.bits} bits", palette.muted, 18, "end"),
            _strip(stage, figures.dim, top + 34, palette, colour),
            _text(COLUMN, top + 84, f"{_bytes(stage.bytes_read)} read", palette.text, 18),
            _text(RIGHT, top + 84, _time(stage.microseconds), palette.text, 18, "end", 600),
        ]
    )


def _strip(stage: StageFigures, dim: int, top: float, palette: Palette, colour: str) -> str:
    """A row at 16 bits, and the part of it that the stage reads: areas are bytes."""
    scale = STRIP_WIDTH / dim
    height = STRIP_HEIGHT * stage.bits / 16
    read = (
        f'<rect x="{COLUMN + stage.first_dim * scale:.1f}" y="{top + STRIP_HEIGHT - height:.1f}" '
        f'width="{(stage.dims - stage.first_dim) * scale:.1f}" height="{height:.1f}" '
        f'rx="2" fill="{colour}"/>'
    )
    whole = (
        f'<rect x="{COLUMN}" y="{top}" width="{STRIP_WIDTH}" height="{STRIP_HEIGHT}" rx="4" '
        f'fill="{palette.faint}"/>'
    )
    return f"{whole}\n{read}"


def _hits(figures: Figures, top: float, palette: Palette) -> str:
    """What is found, and what reading every row in full would have cost."""
    total = sum(stage.microseconds for stage in figures.stages)
    read = sum(stage.bytes_read for stage in figures.stages)
    share = f"{figures.recall:.1%} of the exact top {figures.k}"
    full = ("all of every row", figures.full_bytes, figures.full_microseconds, palette.muted, 400)
    lines = []
    for number, (name, count, time, fill, weight) in enumerate(
        (("this funnel", read, total, palette.text, 600), full)
    ):
        y = top + 64 + 28 * number
        lines += [
            _text(COLUMN, y, name, fill, 18, weight=weight),
            _text(COLUMN + 218, y, _bytes(count), fill, 18, "end", weight),
            _text(RIGHT, y, _time(time), fill, 18, "end", weight),
        ]
    return "\n".join(
        [
            f'<circle cx="{CENTRE}" cy="{top + 30}" r="27" fill="{palette.stages[-1]}"/>',
            _text(CENTRE, top + 38, f"{figures.k}", palette.on_stage, 22, "middle", 700),
            _text(CENTRE, top + 84, "hits", palette.text, 18, "middle"),
            _text(COLUMN, top + 30, share, palette.text, 20, weight=600),
            *lines,
        ]
    )


def _text(
    x: float, y: float, text: str, fill: str, size: int, anchor: str = "start", weight: int = 400
) -> str:
    where = "" if anchor == "start" else f' text-anchor="{anchor}"'
    bold = "" if weight == 400 else f' font-weight="{weight}"'
    return (
        f'<text x="{x:g}" y="{y:g}" fill="{fill}" font-size="{size}"{where}{bold}>'
        f"{escape(text)}</text>"
    )


def _dims(stage: StageFigures) -> str:
    if stage.first_dim:
        return f"dims {stage.first_dim + 1}–{stage.dims}"
    return f"{stage.dims} dims"


def _bytes(count: float) -> str:
    for unit, size in (("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.0f} {unit}"
    return f"{count:.0f} bytes"


def _time(microseconds: float) -> str:
    if microseconds >= 9_950:
        return f"{microseconds / 1_000:.0f} ms"
    if microseconds >= 999.5:
        return f"{microseconds / 1_000:.1f} ms"
    return f"{microseconds:.0f} µs"


def main(arguments: Sequence[str] | None = None) -> None:
    """Draws both pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--measure", action="store_true", help="measure the figures again")
    parser.add_argument("--figures", type=Path, default=FIGURES, help="their JSON file")
    parser.add_argument("--out", type=Path, default=PICTURES, help="folder of the pictures")
    options = parser.parse_args(arguments)
    if options.measure:
        measure().save(options.figures)
    figures = Figures.load(options.figures)
    for name, palette in (("light", LIGHT), ("dark", DARK)):
        path = options.out / f"funnel-{name}.svg"
        path.write_text(draw(figures, palette), encoding="utf-8")


if __name__ == "__main__":
    main()
