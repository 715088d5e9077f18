"""Results that a person wrote down without a step: the end of a run, and no course."""

from __future__ import annotations

import math
from collections.abc import Iterator

from holter.checks.symptoms import number
from holter.finding import Evidence
from holter.run import Run, Series

FEW = 4
"""Points of a list that a person writes down; a longer one is a course."""


def bare(series: Series | None) -> bool:
    """Whether a series is a short list of numbers without steps or epochs, as people write it down."""
    if series is None or not 0 < len(series) <= FEW:
        return False
    return all(series.step(i) is None and series.epoch(i) is None for i in range(len(series)))


def reported(run: Run, *names: str) -> Evidence | None:
    """The first of the named quantities that was written down as a single finite number."""
    return next((found for name in names for found in _single(run, name)), None)


def _single(run: Run, name: str) -> Iterator[Evidence]:
    series = run.series.get(name)
    if series is not None and len(series) == 1 and bare(series) and math.isfinite(series[0]):
        yield Evidence(text=f"{name} is {series[0]:g}", source=series.place(0), value=series[0])
    fact = run.fact(name)
    value = None if fact is None else number(fact.value)
    if fact is not None and value is not None and math.isfinite(value):
        yield Evidence(text=f"{name} is {value:g}", source=fact.source, value=value)
