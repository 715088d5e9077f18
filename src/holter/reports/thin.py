"""Thins long curves to what a screen can show without losing a spike, and sorts out points that are no numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Odd:
    """A point without a place on the axis: ``kind`` is ``nan``, ``inf``, ``-inf``, or ``zero`` on a log axis."""

    x: float
    kind: str


def split(xs: Sequence[float], ys: Sequence[float], *, log: bool) -> tuple[list[list[Point]], list[Odd]]:
    """Stretches of drawable points, broken wherever a point has no place, and those odd points."""
    stretches: list[list[Point]] = [[]]
    odd: list[Odd] = []
    for x, y in zip(xs, ys, strict=False):
        if math.isfinite(y) and not (log and y <= 0.0):
            stretches[-1].append((x, y))
            continue
        odd.append(Odd(x=x, kind=_kind(y)))
        if stretches[-1]:
            stretches.append([])
    return [s for s in stretches if s], odd


def _kind(y: float) -> str:
    if math.isnan(y):
        return "nan"
    if math.isinf(y):
        return "inf" if y > 0 else "-inf"
    return "zero"


def thin(points: Sequence[Point], low: float, high: float, columns: int) -> list[Point]:
    """At most four points a column of the screen: first, lowest, highest, last, so that every spike stays.

    Args:
        points: in drawing order.
        low: x of the left edge.
        high: x of the right edge.
        columns: of the screen; fewer points than that are returned as they are.
    """
    if len(points) <= columns or high <= low:
        return list(points)
    scale = columns / (high - low)
    kept: list[Point] = []
    bucket: list[Point] = []
    current = -1
    for point in points:
        column = int((point[0] - low) * scale)
        if column != current:
            kept += _corners(bucket)
            bucket, current = [], column
        bucket.append(point)
    return kept + _corners(bucket)


def _corners(bucket: Sequence[Point]) -> list[Point]:
    if len(bucket) <= 4:
        return list(bucket)
    least = min(range(len(bucket)), key=lambda i: bucket[i][1])
    most = max(range(len(bucket)), key=lambda i: bucket[i][1])
    return [bucket[i] for i in sorted({0, least, most, len(bucket) - 1})]


def gather(odd: Sequence[Odd], reach: float) -> list[list[Odd]]:
    """Odd points of one kind in stretches whose neighbours stand no further apart than ``reach`` on the x axis."""
    stretches: list[list[Odd]] = []
    for one in sorted(odd, key=lambda o: (o.kind, o.x)):
        last = stretches[-1][-1] if stretches else None
        if last is not None and last.kind == one.kind and one.x - last.x <= reach:
            stretches[-1].append(one)
        else:
            stretches.append([one])
    return stretches
