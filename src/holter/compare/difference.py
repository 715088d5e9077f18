"""The real differences of two set-ups, in phases, with those set aside that cannot have caused the symptom."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from holter.compare.normalise import Normal, normalise
from holter.experiments.factors import PHASES, factor, why_not
from holter.finding import Finding, Severity
from holter.run import Run, Series, Source
from holter.stages import Stage

DIVERGED = 0.05
"""Relative gap at which two series count as apart. Logs are rounded to four digits and kernels differ by far less;
the same data in another order moves a logged loss by more, and that is a difference worth seeing."""

_LOOP_STAGES = {"zero_grad": Stage.BACKWARD, "clip": Stage.CLIP, "scheduler": Stage.SCHEDULE, "unscale": Stage.UNSCALE}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One setting that two set-ups give differently.

    Attributes:
        setting: Holter's name.
        good, bad: comparable values; None where the setting is absent.
        phase: heading, one of `holter.experiments.factors.PHASES`.
        stage: where the setting acts first.
        severity: note where it changes no number, warning otherwise, error where it can have caused the symptom.
        sources: where each value stands; empty for a default.
        defaults: which sides are library defaults that nobody wrote: ``good``, ``bad``.
        set_aside: why it cannot have caused the symptom, empty when it can.
    """

    setting: str
    good: Any
    bad: Any
    phase: str
    stage: Stage
    severity: Severity
    sources: tuple[Source, ...] = ()
    defaults: tuple[str, ...] = ()
    set_aside: str = ""


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """Two series laid over each other; ``step`` is the first at which they are apart, None when they stay together."""

    name: str
    good: Series
    bad: Series
    step: int | None
    good_value: float = math.nan
    bad_value: float = math.nan


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What differs, in order of phase and of what could act earliest."""

    differences: tuple[Difference, ...]
    overlays: tuple[Overlay, ...]
    symptom: Finding | None = None

    @property
    def standing(self) -> tuple[Difference, ...]:
        """Differences that can have caused the symptom, the likeliest and cheapest to test first."""
        return tuple(d for d in self.differences if not d.set_aside)


def compare(good: Run, bad: Run, *, symptom: Finding | None = None) -> Comparison:
    """Compare two set-ups.

    Args:
        good: the run that works.
        bad: the run that does not.
        symptom: what is wrong with ``bad``; its stage and step set differences aside.
    """
    left, right = normalise(good), normalise(bad)
    found = [
        _difference(name, left.get(name), right.get(name), symptom)
        for name in sorted({*left, *right})
        if _differs(left.get(name), right.get(name))
    ]
    found.sort(key=lambda d: (PHASES.index(d.phase), d.setting))
    return Comparison(differences=tuple(found), overlays=tuple(_overlays(good, bad)), symptom=symptom)


def _differs(left: Normal | None, right: Normal | None) -> bool:
    if left is None or right is None:
        only = left or right
        return only is not None and not only.is_default and only.value not in (None, False)
    if left.is_default and right.is_default and left.given.source.file == "computed":
        return False
    return not _equal(left.value, right.value)


def _equal(left: Any, right: Any) -> bool:
    numbers = isinstance(left, (int, float)) and isinstance(right, (int, float))
    if numbers and not isinstance(left, bool) and not isinstance(right, bool):
        return math.isclose(left, right, rel_tol=1e-9)
    return bool(left == right)


def _difference(name: str, left: Normal | None, right: Normal | None, symptom: Finding | None) -> Difference:
    row = factor(name)
    stage = _LOOP_STAGES.get(name.rpartition(".")[2], Stage.LOSS) if name.startswith("training_step.") else row.stage
    reason = why_not(name, symptom.stage, symptom.step) if symptom else None
    severity = Severity.NOTE if row.inert or reason else Severity.ERROR if symptom else Severity.WARNING
    sides = (("good", left), ("bad", right))
    return Difference(
        setting=name,
        good=left.value if left else None,
        bad=right.value if right else None,
        phase=row.phase,
        stage=stage,
        severity=severity,
        sources=tuple(n.given.source for _, n in sides if n and not n.is_default),
        defaults=tuple(side for side, n in sides if n and n.is_default),
        set_aside=reason or "",
    )


def _overlays(good: Run, bad: Run) -> Sequence[Overlay]:
    return [
        _overlay(name, good.series[name], bad.series[name]) for name in sorted(good.series.keys() & bad.series.keys())
    ]


def _overlay(name: str, good: Series, bad: Series) -> Overlay:
    by_step = {_place(good, i): value for i, value in enumerate(good)}
    for index, value in enumerate(bad):
        step = _place(bad, index)
        if step in by_step and _apart(by_step[step], value):
            return Overlay(name=name, good=good, bad=bad, step=step, good_value=by_step[step], bad_value=value)
    return Overlay(name=name, good=good, bad=bad, step=None)


def _place(series: Series, index: int) -> int:
    step = series.step(index)
    return index + 1 if step is None else step


def _apart(left: float, right: float) -> bool:
    if math.isnan(left) or math.isnan(right):
        return math.isnan(left) != math.isnan(right)
    return not math.isclose(left, right, rel_tol=DIVERGED, abs_tol=1e-12)
