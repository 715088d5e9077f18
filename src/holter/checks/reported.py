"""Results that somebody wrote down by name, each taken apart into quantity, rows, moment and condition."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from holter.checks.symptoms import number
from holter.checks.verdicts import tells_nan
from holter.finding import Evidence
from holter.patterns import regex
from holter.quantity import Quantity, is_result, quantity
from holter.run import Run


@dataclass(frozen=True, kw_only=True)
class Result:
    """One number that was written down.

    Attributes:
        name: as written.
        what: what the name stands for.
        value: the number, which may be NaN.
        evidence: where it stands.
    """

    name: str
    what: Quantity
    value: float
    evidence: Evidence


def results(run: Run) -> Iterator[Result]:
    """Single numbers without a step among facts and one-point series; names of settings are left out."""
    for name, series in run.series.items():
        what = quantity(name)
        if what is not None and len(series) == 1 and series.step(0) is None and series.epoch(0) is None:
            evidence = Evidence(text=f"{name} is {series[0]:g}", source=series.place(0), value=series[0])
            yield Result(name=name, what=what, value=series[0], evidence=evidence)
    for name, values in run.facts.items():
        what, value = quantity(name), _amount(values[0].value)
        if what is not None and is_result(name) and value is not None and name not in run.series:
            evidence = Evidence(text=f"{name} is {value:g}", source=values[0].source, value=value)
            yield Result(name=name, what=what, value=value, evidence=evidence)


PERCENT = regex(
    r"^\s*(?:(?:about|around|only|stays? (?:at|near)|stuck at|~|≈)\s*)*(\d{1,3}(?:\.\d+)?)\s?%"
    r"(?:\s*(?:after|at|in|on)\b[^%]{0,40})?\s*$",
    re.I,
)


def _amount(value: Any) -> float | None:
    """A number; one in per cent is a share, as the readers of logs have it."""
    if tells_nan(value):
        return number(value) or math.nan
    match = PERCENT.match(value) if isinstance(value, str) else None
    return float(match[1]) / 100.0 if match is not None else number(value)


def scale_of(*values: float) -> float:
    """1 for scores between 0 and 1, 100 for percentages."""
    return 100.0 if max(abs(value) for value in values if math.isfinite(value)) > 1.0 else 1.0
