"""Figures as SVG, colored by the style sheet of the page."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from reddiff.bench.intervals import Interval

WIDTH, HEIGHT = 340, 250
LEFT, RIGHT, TOP, BOTTOM = 60, 12, 10, 42  # the margins of the plotted area
LINE, LETTER = 19, 7.0  # the height of a row of a dot plot, and the width of a letter
COLORS = 10
SHAPES = (
    "M-4.5,0a4.5,4.5 0 1,0 9,0a4.5,4.5 0 1,0 -9,0z",  # circle
    "M-4,-4h8v8h-8z",  # square
    "M0,-5.2L5,3.6H-5z",  # triangle
    "M0,-5.6L5,0L0,5.6L-5,0z",  # diamond
    "M0,5.2L5,-3.6H-5z",  # triangle, point down
    "M-1.7,-5h3.4v3.3h3.3v3.4h-3.3v3.3h-3.4v-3.3h-3.3v-3.4h3.3z",  # plus
    "M0,-5.6L1.4,-1.8L5.4,-1.7L2.2,0.8L3.3,4.6L0,2.3L-3.3,4.6L-2.2,0.8L-5.4,-1.7L-1.4,-1.8z",
)


@dataclass(frozen=True)
class Point:
    """A marked point of a figure.

    Arguments:
        label: Its solver.
        index: The place of the solver, which chooses color and shape.
        x, y: With intervals, where they are known.
        text: What is shown of it under the pointer.
    """

    label: str
    index: int
    x: Interval
    y: Interval
    text: str


@dataclass(frozen=True)
class Axis:
    """An axis: its title, whether it is logarithmic, and a value that it has to show."""

    title: str
    log: bool = False
    show: float | None = None


def mark(index: int, x: float = 0, y: float = 0) -> str:
    """The mark of a solver: ten colors and seven shapes."""
    shape = SHAPES[index % len(SHAPES)]
    return (
        f'<path class="mark c{index % COLORS}" d="{shape}" transform="translate({x:.1f},{y:.1f})"/>'
    )


def scatter(
    title: str, points: Sequence[Point], x: Axis, y: Axis, *, diagonal: bool = False
) -> str:
    """Points with their intervals, and optionally the line x = y."""
    values = [_values(p.x) for p in points], [_values(p.y) for p in points]
    if diagonal:
        both = [v for axis in values for each in axis for v in each]
        values = ([both], [both])
    across = _Scale(x, values[0], LEFT, WIDTH - RIGHT)
    up = _Scale(y, values[1], HEIGHT - BOTTOM, TOP)
    parts = [_frame(across, up)]
    if diagonal:
        low, high = max(across.low, up.low), min(across.high, up.high)
        line = f"M{across(low):.1f},{up(low):.1f}L{across(high):.1f},{up(high):.1f}"
        parts.append(f'<path class="reference" d="{line}"/>')
    for p in points:
        px, py = across(p.x.mean), up(p.y.mean)
        bars = ""
        if p.x.low is not None and p.x.high is not None:
            bars += f"M{across(p.x.low):.1f},{py:.1f}H{across(p.x.high):.1f}"
        if p.y.low is not None and p.y.high is not None:
            bars += f"M{px:.1f},{up(p.y.low):.1f}V{up(p.y.high):.1f}"
        parts.append(_marked(p, bars, px, py))
    return _svg(title, HEIGHT, parts)


def dot_plot(title: str, points: Sequence[Point], x: Axis) -> str:
    """A row for each point with its interval, and a line at the reference value of the axis."""
    height = TOP + LINE * len(points) + BOTTOM
    left = min(154, max(LEFT, 14 + math.ceil(LETTER * max(len(p.label) for p in points))))
    across = _Scale(x, [_values(p.x) for p in points], left, WIDTH - RIGHT)
    parts = [_grid(across, TOP, height - BOTTOM, height)]
    if x.show is not None:
        line = f"M{across(x.show):.1f},{TOP}V{height - BOTTOM}"
        parts.append(f'<path class="reference" d="{line}"/>')
    for i, p in enumerate(points):
        py = TOP + LINE * (i + 0.5)
        name = escape(_shortened(p.label, (left - 14) / LETTER))
        parts.append(f'<text class="row" x="{left - 8}" y="{py + 4:.1f}">{name}</text>')
        bars = ""
        if p.x.low is not None and p.x.high is not None:
            bars = f"M{across(p.x.low):.1f},{py:.1f}H{across(p.x.high):.1f}"
        parts.append(_marked(p, bars, across(p.x.mean), py))
    return _svg(title, height, parts)


class _Scale:
    """A scale from values to positions, with ticks."""

    def __init__(
        self, axis: Axis, values: Sequence[Sequence[float]], start: float, end: float
    ) -> None:
        self.axis, self.start, self.end = axis, start, end
        shown = [v for each in values for v in each if not axis.log or v > 0]
        shown += [] if axis.show is None else [axis.show]
        self._of: Callable[[float], float] = math.log10 if axis.log else float
        ends = [self._of(v) for v in shown] or [0.0, 1.0]
        low, high = min(ends), max(ends)
        room = 0.06 * (high - low) or (0.15 if axis.log else 0.05 * abs(low) or 0.5)
        self._low, self._high = low - room, high + room
        self.low, self.high = (
            (10**self._low, 10**self._high) if axis.log else (self._low, self._high)
        )

    def __call__(self, value: float) -> float:
        share = (self._of(value) - self._low) / (self._high - self._low)
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        """Round values within the range."""
        if self.axis.log:
            powers = range(math.floor(self._low), math.ceil(self._high) + 1)
            for heads in ((1, 2, 5), (1, 3), (1,)):
                found = [h * 10.0**p for p in powers for h in heads]
                found = [v for v in found if self._low <= math.log10(v) <= self._high]
                if len(found) <= 6:
                    break
            if len(found) >= 2:
                return found
        span = self.high - self.low
        step = 10 ** math.floor(math.log10(span / 4))
        step *= next(k for k in (1, 2, 2.5, 5, 10) if k * step * 5 >= span)
        first = math.ceil(self.low / step)
        return [k * step for k in range(first, math.floor(self.high / step) + 1)]


def _values(interval: Interval) -> list[float]:
    values = [interval.mean, interval.low, interval.high]
    return [v for v in values if v is not None and math.isfinite(v)]


def _number(value: float) -> str:
    if abs(value) < 1e-12:
        return "0"
    return f"{value:.4g}" if 1e-4 <= abs(value) < 1e4 else f"{value:.0e}"


def _frame(across: _Scale, up: _Scale) -> str:
    left, right, top, bottom = LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM
    parts = [_grid(across, top, bottom, HEIGHT)]
    for value in up.ticks:
        y = up(value)
        parts.append(f'<path class="grid" d="M{left},{y:.1f}H{right}"/>')
        parts.append(f'<text class="up" x="{left - 6}" y="{y + 4:.1f}">{_number(value)}</text>')
    middle = (top + bottom) / 2
    turned = f'transform="translate(12,{middle:.0f}) rotate(-90)"'
    parts.append(f'<text class="title" {turned}>{escape(up.axis.title)}</text>')
    return "".join(parts)


def _grid(across: _Scale, top: float, bottom: float, height: float) -> str:
    parts = []
    for value in across.ticks:
        x = across(value)
        parts.append(f'<path class="grid" d="M{x:.1f},{top}V{bottom}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 15}">{_number(value)}</text>')
    middle, place = (across.start + across.end) / 2, height - 8
    title = escape(across.axis.title)
    parts.append(f'<text class="title" x="{middle:.0f}" y="{place}">{title}</text>')
    return "".join(parts)


def _marked(point: Point, bars: str, x: float, y: float) -> str:
    bar = f'<path class="bar c{point.index % COLORS}" d="{bars}"/>' if bars else ""
    title = f"<title>{escape(point.text)}</title>"
    return f'<g class="point" data-solver="{point.index}">{title}{bar}{mark(point.index, x, y)}</g>'


def _shortened(text: str, letters: float) -> str:
    """A label shortened in the middle, because labels of grids differ at their ends."""
    most = max(5, int(letters))
    return text if len(text) <= most else f"{text[: most // 3]}…{text[most // 3 + 1 - most :]}"


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    box = f'viewBox="0 0 {WIDTH} {height}"'
    return f'<svg role="img" aria-label="{escape(title)}" {box}>{"".join(parts)}</svg>'
