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
from holter.run import Run, Series
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


END_OF_A_SHORT_RUN = 0.5
"""Epochs after which a learning rate of 0.0 at the only logged point may be the end of a schedule, not its start."""


FALL_POINTS = 3
"""Fewest logged losses that show a fall: with two, noise alone puts the first above the second every other time."""


def first_symptom(findings: Iterable[Finding]) -> Finding | None:
    """The earliest finding of level warning or error that is a number of a step whose place in time is known."""
    placed = [f for f in findings if f.step is not None and f.severity >= Severity.WARNING and f.stage <= LAST_IN_STEP]
    return min(placed, key=lambda f: (f.step or 0, f.stage, f.code), default=None)


def moment(run: Run, symptom: Finding) -> str | None:
    """Words that place the symptom before any weight had moved, or None where that is not certain.

    The first logged value is often a mean over several steps, so being first is not enough.
    """
    if symptom.step != 0:
        return None
    if any(e.step is not None and e.step <= 1 for e in symptom.evidence) or run.get("logging_steps") == 1:
        return "before any update"
    if _rate_still_zero(run.series.get("learning_rate")):
        return "while the learning rate was still 0.0, so before any update that moved a weight"
    if _only_falls(run.series.get("loss"), symptom):
        return "and the loss only falls from there, so updates lowered it and did not raise it"
    return None


def _rate_still_zero(rates: Series | None) -> bool:
    if rates is None or rates[0] != 0.0:
        return False
    epoch = rates.epoch(0)
    return len(rates) > 1 or epoch is None or epoch < END_OF_A_SHORT_RUN


def _only_falls(losses: Series | None, symptom: Finding) -> bool:
    """Whether the symptom is a loss that is highest at its first point and lower ever after."""
    if losses is None or len(losses) < FALL_POINTS:
        return False
    first = losses[0]
    said = any(e.value == first for e in symptom.evidence)
    return said and all(value < first for value in losses.values[1:])


def stage_reason(cause: Cause, symptom: Finding, when: str | None) -> str | None:
    """Why the cause cannot explain the symptom, or None when it can.

    What acts on the log alone can explain any number that was read from a log.

    Args:
        cause: the suspect.
        symptom: a finding with a stage and a step.
        when: words that place the symptom before any update, None where it may be later.
    """
    if symptom.step is None or cause.stage is Stage.LOG:
        return None
    if when is not None and (cause.through_updates or cause.label == "missing-zero-grad"):
        return f"{_where(symptom)}, {when}; {_how(cause)}"
    if when is not None and cause.stage > symptom.stage:
        return f"{_where(symptom)}; {_how(cause)}"
    if cause.stage > LAST_IN_STEP and not cause.through_updates and cause.stage is not Stage.RESUME:
        return f"{_where(symptom)}; {_how(cause)}, which does not feed back into training"
    return None


def by_stage(run: Run, scores: Mapping[str, Score], symptom: Finding | None, suspects: Iterable[str]) -> dict[str, str]:
    """Label -> reason, for causes that something speaks for and other suspects that the first symptom rules out."""
    if symptom is None:
        return {}
    excluded, when = {}, moment(run, symptom)
    for label in sorted({label for label in scores if scores[label].supporting} | set(suspects)):
        reason = stage_reason(CAUSES[label], symptom, when)
        if reason is not None and not _separate(run, scores.get(label)):
            excluded[label] = reason
    return excluded


def _separate(run: Run, score: Score | None) -> bool:
    """Whether strong findings of another place or time keep the cause standing as a second fault."""
    if score is None:
        return False
    elsewhere = [
        w.clue.bits
        for w in score.supporting
        if w.finding.severity >= Severity.WARNING
        and stage_reason(CAUSES[score.cause], w.finding, moment(run, w.finding)) is None
    ]
    return max(elsewhere, default=0.0) >= SEPARATE_FAULT


def _where(symptom: Finding) -> str:
    first = symptom.step in (0, None)
    at = "step 1" if first and any(e.step == 1 for e in symptom.evidence) else "the first logged step"
    return f"the first symptom is in the {_thing(symptom.stage)} of {at if first else f'step {symptom.step}'}"


def _thing(stage: Stage) -> str:
    names = {Stage.BACKWARD: "gradient", Stage.FORWARD: "forward pass", Stage.UNSCALE: "unscaled gradient"}
    return names.get(stage, stage.word)


def _how(cause: Cause) -> str:
    default = "this acts only through weight updates" if cause.through_updates else _later(cause.stage)
    return ACTS.get(cause.label, default)


def _later(stage: Stage) -> str:
    return f"this acts first at the {stage.word} stage, which comes later"
