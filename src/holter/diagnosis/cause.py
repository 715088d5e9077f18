"""What a cause is: something a person can change, with the stage at which it acts."""

from __future__ import annotations

from dataclasses import dataclass

from holter.stages import Stage


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Something a person can measure or try to settle a question.

    Attributes:
        measure: what to do, in a sentence, with what each outcome would mean.
        command: the Holter command that does it, empty when a person has to.
        cost: seconds on an ordinary machine, for ordering.
    """

    measure: str
    command: str = ""
    cost: float = 60.0


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One entry of the table of causes.

    Attributes:
        label: as users see it, ``fp16-overflow``.
        title: one line for headings.
        stage: where it acts first. It cannot explain a symptom that shows before this stage in the first step.
        through_updates: True when it can reach loss and gradients only through an earlier weight update
            (learning rate, clipping, schedule, optimizer state).
        definition: one sentence.
        explanation: how it works and what it looks like; plain words, with sources.
        fix: what to change, in general.
        expect: what a run looks like once it is fixed.
        confirm: the experiment that settles it.
        overlaps: labels that name nearly the same thing; either counts as right.
        prior: log2 odds relative to a typical cause, before any evidence.
    """

    label: str
    title: str
    stage: Stage
    definition: str
    explanation: str
    fix: str
    confirm: Measurement
    expect: str = ""
    through_updates: bool = False
    overlaps: tuple[str, ...] = ()
    prior: float = 0.0
