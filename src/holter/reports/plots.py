"""Draws a `Plot` as inline SVG. Colours come from the page's style, so one picture serves light, dark and print."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from holter.reports.blocks import Curve, Mark, Plot, Yardstick
from holter.reports.scale import Axis, tick_text, value_axis, wants_log
from holter.reports.thin import Odd, Point, gather, split, thin
from holter.reports.wording import number

WIDTH, HEIGHT = 760, 206
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 44, 30
INNER_WIDTH, INNER_HEIGHT = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
FEW_POINTS = 40  # up to here each point gets a dot with its value
YARDSTICK_REACH = 20.0
"""A yardstick further than this factor from every value would flatten the curve; it is named beside the title."""
CROWDED = 14  # pixels between two marks that can still be told apart
ODD_WORDS = {"nan": "nan", "inf": "inf", "-inf": "-inf", "zero": "0, below the log axis"}


class _Frame:
    """Where data stand on the canvas."""

    def __init__(self, plot: Plot) -> None:
        values = [y for curve in plot.curves for y in curve.ys]
        self.near = [y for y in plot.yardsticks if _near(y, values)]
        self.log = wants_log([*values, *(y.value for y in self.near)])
        self.far = [y for y in plot.yardsticks if not _near(y, values)]
        self.y_axis = value_axis([*values, *(y.value for y in self.near)], log=self.log)
        xs = [x for curve in plot.curves for x in curve.xs if math.isfinite(x)]
        self.x_axis = Axis(low=min(xs, default=0.0), high=max(xs, default=1.0))

    def x(self, value: float) -> float:
        return LEFT + INNER_WIDTH * self.x_axis.share(value)

    def y(self, value: float) -> float:
        return TOP + INNER_HEIGHT * (1.0 - self.y_axis.share(value))


def _near(yardstick: Yardstick, values: Sequence[float]) -> bool:
    drawable = [v for v in values if math.isfinite(v) and v > 0]
    if not drawable or wants_log(values):
        return True
    return min(drawable) / YARDSTICK_REACH <= yardstick.value <= max(drawable) * YARDSTICK_REACH


def svg(plot: Plot) -> str:
    """The picture of a plot, as one ``<svg>`` element with a title for screen readers; all text escaped."""
    frame = _Frame(plot)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(_spoken(plot))}" class="plot">',
        *_grid(frame, plot.x_name),
        *_marks(frame, plot.marks),
        *_yardsticks(frame),
        *(part for i, curve in enumerate(plot.curves) for part in _curve(frame, curve, i)),
        *_legend(frame, plot),
        "</svg>",
    ]
    return "\n".join(parts)


def _spoken(plot: Plot) -> str:
    parts = []
    for curve in plot.curves:
        if len(curve.ys):
            parts.append(f"{curve.name} from {number(curve.ys[0])} to {number(curve.ys[-1])}")
    return f"{plot.title} over {plot.x_name}: {'; '.join(parts)}"


def _grid(frame: _Frame, x_name: str) -> Iterator[str]:
    right, bottom = WIDTH - RIGHT, TOP + INNER_HEIGHT
    for tick in frame.y_axis.ticks():
        y = frame.y(tick)
        yield f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="tick end" x="{LEFT - 8}" y="{y + 4:.1f}">{tick_text(tick)}</text>'
    for tick in frame.x_axis.ticks():
        if x_name == "epoch" or tick == int(tick):
            yield f'<text class="tick mid" x="{frame.x(tick):.1f}" y="{bottom + 18}">{_plain_tick(tick)}</text>'
    yield f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>'


def _plain_tick(tick: float) -> str:
    return f"{int(tick):,}" if tick == int(tick) else f"{tick:.4g}"


def _marks(frame: _Frame, marks: Sequence[Mark]) -> Iterator[str]:
    for mark in marks:
        if frame.x_axis.low <= mark.x <= frame.x_axis.high:
            x = frame.x(mark.x)
            anchor = "end" if x > LEFT + INNER_WIDTH / 2 else "start"
            shift = -4 if anchor == "end" else 4
            yield f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 16}" y2="{TOP + INNER_HEIGHT}"/>'
            yield f'<text class="mark-text {anchor}" x="{x + shift:.1f}" y="{TOP - 8}">{escape(mark.label)}</text>'


def _yardsticks(frame: _Frame) -> Iterator[str]:
    for yardstick in frame.near:
        y = frame.y(yardstick.value)
        over = y - 5 if y - TOP > 16 else y + 13
        yield f'<line class="yardstick" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="note end" x="{WIDTH - RIGHT - 2}" y="{over:.1f}">{escape(yardstick.label)}</text>'


def _curve(frame: _Frame, curve: Curve, index: int) -> Iterator[str]:
    known = [(x, y) for x, y in zip(curve.xs, curve.ys, strict=False) if math.isfinite(x)]
    stretches, odd = split([x for x, _ in known], [y for _, y in known], log=frame.log)
    low, high = frame.x_axis.low, frame.x_axis.high
    for stretch in stretches:
        points = thin(stretch, low, high, INNER_WIDTH)
        path = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in points)
        if len(points) > 1:
            yield f'<polyline class="curve c{index}" points="{path}"/>'
        if len(known) <= FEW_POINTS or len(points) == 1:
            yield from (_dot(frame, curve.name, point, index) for point in points)
    for group in gather(odd, (high - low) * CROWDED / INNER_WIDTH):
        yield from _odd_group(frame, curve.name, group)


def _dot(frame: _Frame, name: str, point: Point, index: int) -> str:
    x, y = point
    title = escape(f"{name} {number(y)} at {number(x)}")
    place = f'cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}"'
    return f'<circle class="dot c{index}" {place} r="2.6"><title>{title}</title></circle>'


def _odd_group(frame: _Frame, name: str, group: Sequence[Odd]) -> Iterator[str]:
    """Marks that would touch become one band from the first to the last."""
    first, last = group[0], group[-1]
    if len(group) > 1:
        y = TOP if first.kind == "inf" else TOP + INNER_HEIGHT
        yield f'<line class="odd-run" x1="{frame.x(first.x):.1f}" x2="{frame.x(last.x):.1f}" y1="{y}" y2="{y}"/>'
        yield _odd(frame, name, last)
    yield _odd(frame, name, first)


def _odd(frame: _Frame, name: str, odd: Odd) -> str:
    """A cross on the axis for nan, a triangle at the edge for an infinity, an open ring for 0 on a log axis."""
    x, bottom = frame.x(odd.x), TOP + INNER_HEIGHT
    title = f"<title>{escape(f'{name} is {ODD_WORDS[odd.kind]} at {number(odd.x)}')}</title>"
    if odd.kind == "zero":
        return f'<circle class="zero" cx="{x:.1f}" cy="{bottom}" r="3.6">{title}</circle>'
    if odd.kind == "nan":
        d = f"M{x - 4:.1f} {bottom - 4}l8 8m0 -8l-8 8"
        return f'<path class="odd" d="{d}">{title}</path>'
    y, tip = (TOP + 8, -8) if odd.kind == "inf" else (bottom - 8, 8)
    return f'<path class="odd full" d="M{x - 5:.1f} {y}h10l-5 {tip}z">{title}</path>'


def _legend(frame: _Frame, plot: Plot) -> Iterator[str]:
    x = LEFT
    for index, curve in enumerate(plot.curves):
        yield f'<line class="curve c{index}" x1="{x}" x2="{x + 18}" y1="16" y2="16"/>'
        yield f'<text class="name" x="{x + 24}" y="20">{escape(curve.name)}</text>'
        x += 24 + 8 * len(curve.name) + 22
    notes = [*(y.label for y in frame.far), *_odd_notes(plot, frame.log)]
    if frame.log:
        notes.append("log scale")
    text = escape(" · ".join([*notes, f"by {plot.x_name}"]))
    yield f'<text class="note end" x="{WIDTH - RIGHT - 2}" y="20">{text}</text>'


def _odd_notes(plot: Plot, log: bool) -> Iterator[str]:
    values = [y for curve in plot.curves for y in curve.ys]
    nans, infinities = sum(math.isnan(y) for y in values), sum(math.isinf(y) for y in values)
    if nans:
        yield f"✕ {nans:,} nan"
    if infinities:
        yield f"▲ {infinities:,} inf"
    zeros = sum(y == 0.0 for y in values)
    if log and zeros:
        yield f"○ {zeros:,} exactly 0"
