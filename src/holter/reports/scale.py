"""Axes: where a value goes, where the ticks stand, and when a logarithmic axis tells more."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SPANS_DECADES = 100.0
"""A curve whose largest value is over this many times its smallest is flat at the bottom of a linear axis."""
MARGIN = 0.06  # of the height, so that no line runs along the frame
MOST_TICKS = 6


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Maps values to [0, 1]."""

    low: float
    high: float
    log: bool = False

    def share(self, value: float) -> float:
        """Where ``value`` stands between ``low`` (0) and ``high`` (1)."""
        low, high, value = (math.log10(v) if self.log else v for v in (self.low, self.high, value))
        return (value / 2 - low / 2) / (high / 2 - low / 2) if high / 2 > low / 2 else 0.5

    def ticks(self) -> list[float]:
        """Round values inside the axis."""
        return _log_ticks(self.low, self.high) if self.log else _linear_ticks(self.low, self.high)


def wants_log(values: Iterable[float]) -> bool:
    """Whether positive finite values span decades; one negative value makes it linear."""
    least, most = math.inf, 0.0
    for value in values:
        if value < 0 and math.isfinite(value):
            return False
        if 0 < value < math.inf:
            least, most = min(least, value), max(most, value)
    return most > 0 and most / least > SPANS_DECADES


def value_axis(values: Sequence[float], *, log: bool) -> Axis:
    """An axis that holds all drawable ``values`` with some air; 0 to 1 when there are none."""
    drawable = [v for v in values if math.isfinite(v) and not (log and v <= 0)]
    if not drawable:
        return Axis(low=0.1 if log else 0.0, high=1.0, log=log)
    low, high = min(drawable), max(drawable)
    if log:
        air = max((high / low) ** MARGIN, 1.3)
        return Axis(low=max(low / air, 1e-300), high=min(high * air, 1e300), log=True)
    air = (high / 2 - low / 2) * (2 * MARGIN) or abs(high) * 0.1 or 1.0
    bottom = max(low - air, -sys.float_info.max)
    return Axis(low=0.0 if low >= 0 > bottom else bottom, high=min(high + air, sys.float_info.max))


def _linear_ticks(low: float, high: float) -> list[float]:
    span = high - low
    if not 0 < span < math.inf:
        return [low]
    power = 10.0 ** math.floor(math.log10(span / MOST_TICKS)) if span / MOST_TICKS > 1e-300 else 0.0
    if power == 0.0:
        return [low]
    step = next(m * power for m in (1, 2, 2.5, 5, 10, 20) if span / (m * power) <= MOST_TICKS)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    stride = max(1, math.ceil((last - first + 1) / MOST_TICKS))
    decades = [10.0**i for i in range(first, last + 1, stride)]
    return decades if len(decades) > 1 else [low * (high / low) ** share for share in (0.1, 0.5, 0.9)]


def tick_text(value: float) -> str:
    """Short: ``0``, ``0.25``, ``12``, ``7.1M``, ``1e-05``."""
    if value == 0:
        return "0"
    size = abs(value)
    for least, suffix in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if least <= size < 1e12:
            return f"{value / (1e3 if suffix == 'k' else least):.4g}{suffix}"
    if 1e-2 <= size < 1e4:
        return f"{value:.4g}"
    return f"{value:.2g}".replace("e-0", "e-").replace("e+0", "e+").replace("e+", "e")
