"""Rules causes out by the order of stages.

A symptom can only be caused at its own stage or before it, in that step or an earlier one. So the first hard symptom
of a run excludes every cause that acts later in that step, and, when no update had been made, every cause that acts
through updates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from holter.diagnosis.cause import Cause
from holter.diagnosis.causes import CAUSES
from holter.diagnosis.weigh import Score
from holter.finding import Finding, Severity
from holter.stages import Stage

SEPARATE_FAULT = 5.0
"""Bits from findings that the first symptom does not touch, beyond which a cause stands as a second fault: odds of
32 to 1, the usual measure of 'very strong' evidence (Kass and Raftery 1995, table in section 3.2, 20 to 150)."""

LAST_IN_STEP = Stage.UPDATE
"""Symptoms up to this stage belong to the numbers of a step; later ones to schedule, logs, evaluation, storage."""

ACTS = {
    "lr-too-high": "the learning rate acts only through weight updates",
    "lr-too-low": "the learning rate acts only through weight updates",
    "lr-zero": "the learning rate acts only through weight updates",
    "warmup-missing": "warmup acts only through the learning rate of later steps",
    "warmup-too-long": "warmup acts only through the learning rate of later steps",
    "scheduler-step-mismatch": "the schedule acts only through the learning rate of later steps",
    "grad-clip-disabled": "clipping acts after the gradient's norm is taken, so only through weight updates",
    "grad-clip-too-strict": "clipping acts after the gradient's norm is taken, so only through weight updates",
    "adapter-layers": "LoRA starts with B = 0, so adapters add nothing to the first forward pass, in whatever layers",
    "overfitting": "overfitting comes from many updates",
    "missing-zero-grad": "in the first step there are no earlier gradients to add",
}
"""How a cause acts, where its stage alone would read oddly."""


def first_symptom(findings: Iterable[Finding]) -> Finding | None:
    """The earliest finding of level warning or error that is a number of a step whose place in time is known."""
    placed = [f for f in findings if f.step is not None and f.severity >= Severity.WARNING and f.stage <= LAST_IN_STEP]
    return min(placed, key=lambda f: (f.step or 0, f.stage, f.code), default=None)


def stage_reason(cause: Cause, symptom: Finding) -> str | None:
    """Why the cause cannot explain the symptom, or None when it can.

    What acts on the log alone can explain any number that was read from a log.
    """
    if symptom.step is None or cause.stage is Stage.LOG:
        return None
    if symptom.step == 0 and (cause.through_updates or cause.label == "missing-zero-grad"):
        return f"{_where(symptom)}, before any update; {_how(cause)}"
    if symptom.step == 0 and cause.stage > symptom.stage:
        return f"{_where(symptom)}; {_how(cause)}"
    if cause.stage > LAST_IN_STEP and not cause.through_updates and cause.stage is not Stage.RESUME:
        return f"{_where(symptom)}; {_how(cause)}, which does not feed back into training"
    return None


def by_stage(scores: Mapping[str, Score], symptom: Finding | None, suspects: Iterable[str]) -> dict[str, str]:
    """Label -> reason, for causes that something speaks for and other suspects that the first symptom rules out."""
    if symptom is None:
        return {}
    excluded = {}
    for label in sorted({label for label in scores if scores[label].supporting} | set(suspects)):
        reason = stage_reason(CAUSES[label], symptom)
        if reason is not None and not _separate(scores.get(label), symptom):
            excluded[label] = reason
    return excluded


def _separate(score: Score | None, symptom: Finding) -> bool:
    """Whether strong findings of another place or time keep the cause standing as a second fault."""
    if score is None:
        return False
    elsewhere = [
        w.clue.bits
        for w in score.supporting
        if w.finding.severity >= Severity.WARNING and stage_reason(CAUSES[score.cause], w.finding) is None
    ]
    return max(elsewhere, default=0.0) >= SEPARATE_FAULT


def _where(symptom: Finding) -> str:
    number = (symptom.step or 0) + 1
    return f"the first symptom is in the {_thing(symptom.stage)} of step {number}"


def _thing(stage: Stage) -> str:
    names = {Stage.BACKWARD: "gradient", Stage.FORWARD: "forward pass", Stage.UNSCALE: "unscaled gradient"}
    return names.get(stage, stage.word)


def _how(cause: Cause) -> str:
    default = "this acts only through weight updates" if cause.through_updates else _later(cause.stage)
    return ACTS.get(cause.label, default)


def _later(stage: Stage) -> str:
    return f"this acts first at the {stage.word} stage, which comes later"
