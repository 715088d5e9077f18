"""The symptom of a bad replay as an expression, when the user gave none."""

from __future__ import annotations

import math
from dataclasses import dataclass

from holter.diagnosis import diagnose
from holter.finding import Finding, Severity
from holter.run import Run, Series
from holter.stages import Stage

WORTH_CHASING = 1.5
"""Least ratio of BAD to GOOD that is taken for a symptom: seeds and kernels move a first loss by far less."""

_STAGES = {"loss": Stage.LOSS, "grad_norm": Stage.BACKWARD, "eval_loss": Stage.EVAL}


@dataclass(frozen=True, kw_only=True)
class Inferred:
    """A symptom that was inferred, with the finding it came from, if a check named one."""

    text: str
    why: str
    stage: Stage
    step: int
    finding: Finding | None = None


def infer(good: Run, bad: Run) -> Inferred | None:
    """The earliest number that is wrong in ``bad`` and right in ``good``, None when there is none.

    A number that is not finite comes first. After that the earliest step, and within a step the earliest stage, at
    which BAD is `WORTH_CHASING` times GOOD or more; the threshold lies half-way, on a logarithmic scale.
    """
    finding = worst_finding(bad)
    for name in _STAGES:
        index = bad.series[name].first_index() if name in bad.series else None
        if index is not None:
            step = _step(bad.series[name], index)
            text = f"isnan({name}@<={step}) or isinf({name}@<={step})"
            why = f"{name} is {bad.series[name][index]} at step {step}"
            return Inferred(text=text, why=why, stage=_STAGES[name], step=step - 1, finding=finding)
    return _ratio(good, bad, finding)


def _ratio(good: Run, bad: Run, finding: Finding | None) -> Inferred | None:
    candidates = []
    for name, stage in _STAGES.items():
        if name not in good.series or name not in bad.series:
            continue
        for index, (left, right) in enumerate(zip(good.series[name], bad.series[name], strict=False)):
            if left > 0 and right / left >= WORTH_CHASING:
                candidates.append((_step(bad.series[name], index), stage, name, left, right))
                break
    if not candidates:
        return None
    step, stage, name, left, right = min(candidates)
    threshold = math.sqrt(right / left)
    return Inferred(
        text=f"{name}@{step} / good.{name}@{step} > {threshold:.3g}",
        why=f"{name} at step {step} is {right:.4g} against {left:.4g}",
        stage=stage,
        step=step - 1,
        finding=finding,
    )


def _step(series: Series, index: int) -> int:
    step = series.step(index)
    return index + 1 if step is None else step


def worst_finding(run: Run) -> Finding | None:
    """The earliest finding of level warning or error, None for a healthy run."""
    found = [f for f in diagnose(run).findings if f.severity >= Severity.WARNING]
    return min(found, key=lambda f: (f.step if f.step is not None else math.inf, f.stage), default=None)
