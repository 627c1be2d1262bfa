"""Draws the pictures of the concepts, light and dark, into docs/assets.

    python docs/pictures/draw.py

What it draws comes from figures.json, which measure.py makes; from `REAL`, which is a table of the
design notes; and, for the map of cells, from a k-means that is computed here. Nothing is invented.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

ASSETS: Final = Path(__file__).parents[1] / "assets"
FIGURES: Final = Path(__file__).with_name("figures.json")

REAL: Final = (  # the share of the true top 10 among the best 100, centred (docs/design/engine.md)
    ("wordllama, 200,000 texts: 32 bytes", (("64@4", 0.777), ("128@2", 0.928), ("256@1", 0.968))),
    ("minilm, 40,000 texts: 48 bytes", (("96@4", 0.846), ("384@1", 0.997))),
    ("e5, 40,000 texts: 48 bytes", (("96@4", 0.510), ("384@1", 0.954))),
)

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours of a picture."""

    ink: str
    paper: str
    faint: str
    grid: str
    fill: str
    first: str
    second: str
    third: str


THEMES: Final = {
    "light": Theme("#333", "#fff", "#666", "#ddd", "#e0f2f1", "#00796b", "#d9480f", "#7048a8"),
    "dark": Theme("#e6e6e6", "#111", "#aaa", "#444b5a", "#1d3b3a", "#4db6ac", "#ffa94d", "#b197fc"),
}


@dataclass(slots=True)
class Canvas:
    """An SVG picture that grows by what is put on it."""

    width: int
    height: int
    theme: Theme
    title: str
    parts: list[str] = field(default_factory=list)

    def line(self, points: Sequence[Point], colour: str, width: float = 2, dash: str = "") -> None:
        """Puts a line through points."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"'
            f' stroke-linejoin="round"{dashes}/>'
        )

    def polygon(self, points: Sequence[Point], fill: str, stroke: str) -> None:
        """Puts a filled polygon."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polygon points="{path}" fill="{fill}" stroke="{stroke}"/>')

    def rect(self, x: float, y: float, width: float, height: float, fill: str) -> None:
        """Puts a filled rectangle."""
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="2"'
            f' fill="{fill}"/>'
        )

    def dot(self, x: float, y: float, radius: float, fill: str) -> None:
        """Puts a dot."""
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{fill}"/>')

    def text(
        self, x: float, y: float, text: str, colour: str, anchor: str = "start", size: int = 13
    ) -> None:
        """Puts a line of text."""
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}"'
            f' font-size="{size}">{escape(text)}</text>'
        )

    def svg(self) -> str:
        """Returns the picture."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}"'
            f' role="img" font-family="system-ui, Noto Sans, Helvetica, Arial, sans-serif">'
            f"<title>{escape(self.title)}</title>"
        )
        return "\n".join([head, *self.parts, "</svg>\n"])


@dataclass(slots=True)
class Chart:
    """A plot within a canvas: its frame, its axes, and where a value lies.

    Attributes:
        canvas: What to draw on.
        across: From the lowest to the highest value across.
        up: From the lowest to the highest value upwards.
        log: Whether the values across are on a logarithmic scale.
        left: Pixels left of the plot; there are others on its other sides.
        right: Pixels right of it.
    """

    canvas: Canvas
    across: tuple[float, float]
    up: tuple[float, float] = (0.0, 1.0)
    log: bool = False
    left: int = 56
    right: int = 150
    top: int = 36
    bottom: int = 48

    def x(self, value: float) -> float:
        """Returns where a value lies across."""
        low, high = self.across
        scale: Callable[[float], float] = np.log if self.log else float
        share = (scale(value) - scale(low)) / (scale(high) - scale(low))
        return self.left + share * (self.canvas.width - self.left - self.right)

    def y(self, value: float) -> float:
        """Returns where a value lies upwards."""
        low, high = self.up
        span = self.canvas.height - self.top - self.bottom
        return self.canvas.height - self.bottom - (value - low) / (high - low) * span

    def axes(
        self,
        across: Sequence[float],
        up: Sequence[float],
        label: str,
        heading: str,
        names: Callable[[float], str] = "{:g}".format,
    ) -> None:
        """Draws the grid, the values along the axes, and what they are."""
        canvas, theme = self.canvas, self.canvas.theme
        ends = (self.left, canvas.width - self.right)
        for value in up:
            at = self.y(value)
            canvas.line([(ends[0], at), (ends[1], at)], theme.grid, 1)
            canvas.text(self.left - 8, at + 4, f"{value:g}", theme.faint, "end", 12)
        for value in across:
            bottom = canvas.height - self.bottom
            canvas.text(self.x(value), bottom + 18, names(value), theme.faint, "middle", 12)
        canvas.text(sum(ends) / 2, canvas.height - 8, label, theme.faint, "middle")
        canvas.text(self.left, 20, heading, theme.ink)

    def curve(
        self, across: Sequence[float], up: Sequence[float], colour: str, name: str, shift: float = 0
    ) -> None:
        """Draws a line with a dot for each value, and its name at its end."""
        points = [(self.x(a), self.y(b)) for a, b in zip(across, up, strict=True)]
        self.canvas.line(points, colour)
        for x, y in points:
            self.canvas.dot(x, y, 3, colour)
        for number, part in enumerate(name.split("\n")):
            x, y = points[-1]
            self.canvas.text(x + 10, y + 4 + shift + 16 * number, part, colour)


def nesting(figures: dict[str, Any], theme: Theme) -> Canvas:
    """What a prefix finds."""
    data = figures["prefixes"]
    chart = Chart(Canvas(720, 340, theme, "What a prefix finds"), (8, 256), log=True)
    heading = "Share of the true 10 nearest among the best rows by a prefix"
    chart.axes(data["dims"], (0, 0.25, 0.5, 0.75, 1), "dimensions of the prefix", heading)
    names = {"1000": ("best 1,000", theme.first, -14), "100": ("best 100", theme.second, 2)}
    names["10"] = ("best 10", theme.third, 18)
    for keep, (name, colour, shift) in names.items():
        chart.curve(data["dims"], data["found"][keep], colour, name, shift)
    return chart.canvas


def rotation(figures: dict[str, Any], theme: Theme) -> Canvas:
    """What a rotation does to rows that do not nest."""
    data = figures["rotation"]
    chart = Chart(Canvas(720, 340, theme, "What a rotation does"), (8, 192), log=True)
    heading = "Share of the true 10 nearest among the best 100 by a prefix"
    chart.axes(data["dims"], (0, 0.25, 0.5, 0.75, 1), "dimensions of the prefix", heading)
    chart.curve(data["dims"], data["after"], theme.first, "rotate=True", -8)
    chart.curve(data["dims"], data["before"], theme.second, "as they are", 12)
    return chart.canvas


def centring(figures: dict[str, Any], theme: Theme) -> Canvas:
    """What centring does where rows crowd about their mean."""
    data = figures["centring"]
    chart = Chart(Canvas(720, 340, theme, "What centring does"), (0, 0.9))
    heading = "Share of the true 10 nearest among the best 100 by codes of 1 bit"
    ticks = (0, 0.2, 0.4, 0.6, 0.8)
    chart.axes(ticks, (0, 0.25, 0.5, 0.75, 1), "mean cosine of two rows", heading)
    chart.curve(data["mean_cosine"], data["centred"], theme.first, "centre=True")
    chart.curve(data["mean_cosine"], data["plain"], theme.second, "as they are")
    return chart.canvas


def codes(_: dict[str, Any], theme: Theme) -> Canvas:
    """The same bytes, spent on bits or on dimensions."""
    canvas = Canvas(720, 370, theme, "The same bytes, spent on bits or on dimensions")
    chart = Chart(canvas, (0, 1), right=24, top=58, bottom=66)
    heading = "Share of the true 10 nearest among the best 100 by the code alone"
    chart.axes((), (0, 0.25, 0.5, 0.75, 1), "", heading)
    colours = (theme.third, theme.second, theme.first)
    x, width, gap = chart.left + 22.0, 62.0, 10.0
    for name, bars in REAL:
        start = x
        for (code, share), colour in zip(bars, colours[-len(bars) :], strict=True):
            if code.endswith("@4"):
                colour = theme.third
            canvas.rect(x, chart.y(share), width, chart.y(0) - chart.y(share), colour)
            canvas.text(x + width / 2, chart.y(share) - 6, f"{share:.3f}", theme.ink, "middle", 12)
            canvas.text(x + width / 2, chart.y(0) + 18, code, theme.ink, "middle", 12)
            x += width + gap
        centre = (start + x - gap) / 2
        for number, part in enumerate(name.split(": ")):
            y = chart.y(0) + (58 if number else 42)
            canvas.text(centre, y, part, theme.faint, "middle", 12)
        x += 34
    return canvas


def margin(figures: dict[str, Any], theme: Theme) -> Canvas:
    """How many rows a margin keeps."""
    data = figures["margin"]
    canvas = Canvas(720, 320, theme, "How many rows a margin keeps")
    step = 100
    counts = np.histogram(data["kept"], bins=np.arange(0, 2000 + step, step))[0]
    top = int(np.ceil(counts.max() / 20) * 20)
    chart = Chart(canvas, (0, 2000), (0, top), right=24)
    heading = f"Queries, of {figures['queries']}, by the rows that the stage {data['stage']} keeps"
    chart.axes(range(0, 2001, 500), range(0, top + 1, 20), "rows kept", heading, "{:,}".format)
    for number, count in enumerate(counts):
        x = chart.x(number * step)
        width = chart.x((number + 1) * step) - x - 2
        canvas.rect(x + 1, chart.y(count), width, chart.y(0) - chart.y(count), theme.first)
    x = chart.x(data["fixed"])
    canvas.line([(x, chart.y(0)), (x, chart.y(top))], theme.second, 2, "5 4")
    mean = f"mean: {data['fixed']:,} rows, recall {data['recall']:.3f}"
    canvas.text(x + 10, chart.y(top) + 14, mean, theme.second)
    fixed = f"a fixed {data['fixed']:,} rows: recall {data['fixed_recall']:.3f}"
    canvas.text(x + 10, chart.y(top) + 32, fixed, theme.second)
    return canvas


def probes(figures: dict[str, Any], theme: Theme) -> Canvas:
    """Recall by the number of cells that are probed."""
    data = figures["cells"]
    chart = Chart(Canvas(720, 340, theme, "Recall by probes"), (4, 256), (0.75, 1.0), log=True)
    count = f"{data['count']:,}"
    heading = f"Recall of the true 10 nearest, rows in {count} cells"
    ticks = [point[0] for point in data["two"]]
    chart.axes(ticks, (0.75, 0.8, 0.85, 0.9, 0.95, 1), "cells probed", heading)
    for name, colour, label, shift in (
        ("two", theme.first, "a second cell\nfor each row", -16),
        ("one", theme.second, "one cell a row", 24),
    ):
        chart.curve(ticks, [point[2] for point in data[name]], colour, label, shift)
    return chart.canvas


def stages(figures: dict[str, Any], theme: Theme) -> Canvas:
    """Bytes that a search reads, by stage."""
    data = figures["stages"]
    canvas = Canvas(720, 250, theme, "Bytes that a search reads")
    chart = Chart(canvas, (0, data["exact_bytes"]), left=150, right=40, top=42)
    funnel = [stage.split(":")[0] for stage in data["funnel"].split(" > ")]
    names = [f"{figures['dim']}@32, all rows", *funnel]
    values = [data["exact_bytes"], *data["bytes_read"]]
    rows = [figures["rows"], *data["rows_seen"]]
    canvas.text(20, 20, "Bytes that one query reads", theme.ink)
    for number, (name, value, seen) in enumerate(zip(names, values, rows, strict=True)):
        y = 42 + 42 * number
        width = max(chart.x(value) - chart.left, 1.5)
        canvas.text(chart.left - 10, y + 19, name, theme.ink, "end")
        canvas.rect(chart.left, y, width, 28, theme.first if number else theme.second)
        size = f"{value / 1e6:,.1f} MB" if value >= 1e6 else f"{value / 1e3:,.0f} kB"
        label = f"{size}, {seen:,} rows"
        if number:
            canvas.text(chart.left + width + 10, y + 19, label, theme.ink)
        else:
            canvas.text(chart.left + width - 10, y + 19, label, theme.paper, "end")
    canvas.text(20, 236, f"recall@10 of the funnel: {data['recall']:.3f}", theme.faint)
    return canvas


def cells(_: dict[str, Any], theme: Theme) -> Canvas:
    """Rows of two dimensions in cells, a query, and the cells that it probes."""
    canvas = Canvas(720, 400, theme, "Rows of two dimensions in 24 cells, of which 4 are probed")
    rng = np.random.default_rng(5)
    middles = rng.uniform((60, 50), (660, 350), (9, 2))
    rows = middles[rng.integers(9, size=900)] + rng.normal(0, 42, (900, 2))
    rows = rows[((rows > 8) & (rows < (712, 392))).all(axis=1)]
    centroids = _k_means(rows, 24, rng)
    query = np.array([393.0, 205.0])
    nearest = np.argsort(((centroids - query) ** 2).sum(axis=1))[:4]
    for number in range(len(centroids)):
        polygon = _cell(centroids, number, canvas.width, canvas.height)
        canvas.polygon(polygon, theme.fill if number in nearest else "none", theme.grid)
    inside = np.isin(_assigned(rows, centroids), nearest)
    best = np.argsort(((rows - query) ** 2).sum(axis=1))[:10]
    for number, (x, y) in enumerate(rows):
        colour = theme.first if inside[number] else theme.faint
        canvas.dot(x, y, 2, colour)
    for x, y in rows[best]:
        canvas.dot(x, y, 4, theme.second)
    for x, y in centroids:
        canvas.line([(x - 4, y), (x + 4, y)], theme.ink, 1.5)
        canvas.line([(x, y - 4), (x, y + 4)], theme.ink, 1.5)
    canvas.dot(*query, 9, theme.paper)
    canvas.dot(*query, 7, theme.third)
    return canvas


def _k_means(rows: NDArray[np.float64], count: int, rng: np.random.Generator) -> Any:
    centroids = rows[rng.choice(len(rows), count, replace=False)]
    for _ in range(50):
        assigned = _assigned(rows, centroids)
        centroids = np.array([rows[assigned == number].mean(axis=0) for number in range(count)])
    return centroids


def _assigned(rows: NDArray[np.float64], centroids: NDArray[np.float64]) -> Any:
    return ((rows[:, np.newaxis] - centroids) ** 2).sum(axis=2).argmin(axis=1)


def _cell(centroids: NDArray[np.float64], own: int, width: int, height: int) -> list[Point]:
    """Returns the polygon of the points that are nearer to one centroid than to any other."""
    polygon: list[Point] = [(0, 0), (width, 0), (width, height), (0, height)]
    for number, other in enumerate(centroids):
        if number != own:
            polygon = _cut(polygon, (centroids[own] + other) / 2, other - centroids[own])
    return polygon


def _cut(
    polygon: list[Point], middle: NDArray[np.float64], away: NDArray[np.float64]
) -> list[Point]:
    """Returns the part of a polygon on the near side of a line (Sutherland and Hodgman 1974)."""
    out: list[Point] = []
    sides = [float((np.array(point) - middle) @ away) for point in polygon]
    for number, (point, side) in enumerate(zip(polygon, sides, strict=True)):
        before, side_before = polygon[number - 1], sides[number - 1]
        if (side > 0) != (side_before > 0):
            share = side_before / (side_before - side)
            out.append(
                (
                    before[0] + share * (point[0] - before[0]),
                    before[1] + share * (point[1] - before[1]),
                )
            )
        if side <= 0:
            out.append(point)
    return out


PICTURES: Final = (nesting, rotation, centring, codes, margin, probes, stages, cells)


def pictures() -> dict[str, str]:
    """Returns every picture by the name of its file."""
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    return {
        f"{draw.__name__}-{name}.svg": draw(figures, theme).svg()
        for draw in PICTURES
        for name, theme in THEMES.items()
    }


def main() -> None:
    """Writes every picture."""
    for name, svg in pictures().items():
        (ASSETS / name).write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
