"""CFG002 two-precisions-on."""

from __future__ import annotations

from collections.abc import Iterable

from holter.checks.base import Check, Needs, case
from holter.checks.look import switched_on
from holter.finding import Change, Finding, Fix, Severity
from holter.run import Run
from holter.stages import Stage


class TwoPrecisionsOn(Check):
    """What it looks for
        ``fp16`` and ``bf16`` both switched on.

    Why it hurts
        The libraries refuse it, or one of the two wins without a word.

    How to fix it
        Keep ``bf16`` on cards that have it, ``fp16`` on others.

    When to ignore it
        When the two come from files of different runs.

    Threshold
        None.

    Sources
        ``TrainingArguments`` of transformers and the DeepSpeed configuration refuse the pair.
    """

    code = "CFG002"
    name = "two-precisions-on"
    title = "fp16 and bf16 are both on"
    severity = Severity.WARNING
    stage = Stage.FORWARD
    needs = Needs(config=("fp16", "bf16"))
    bad = (case("both", config={"fp16": True, "bf16": True}),)
    good = (
        case("one", config={"fp16": False, "bf16": True}),
        case("left to the trainer", config={"fp16": "auto", "bf16": "auto"}),
    )
    not_enough = (case("one is not said", config={"bf16": True}),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """Only values that somebody gave."""
        half, brain = switched_on(run, "fp16"), switched_on(run, "bf16")
        if half is not None and brain is not None:
            yield self.finding(
                "fp16 and bf16 are both switched on; only one can act",
                evidence=[half.evidence, brain.evidence],
                fix=Fix(summary="Switch fp16 off.", changes=(Change(key="fp16", old=True, new=False),)),
            )
