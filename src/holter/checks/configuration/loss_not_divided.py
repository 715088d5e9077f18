"""CFG008 accumulated-loss-undivided."""

from __future__ import annotations

from collections.abc import Iterable

from holter.checks.base import Check, Needs, case, clues
from holter.checks.look import facts_of
from holter.finding import Evidence, Finding, Fix, Severity
from holter.run import Run
from holter.stages import Stage


class AccumulatedLossUndivided(Check):
    """What it looks for
        A hand-written loop that steps the optimizer every n micro-batches and does not divide the loss by n.

    Why it hurts
        Gradients of n micro-batches are summed, so loss and gradient are n times too large: clipping acts n times as
        hard, and plain SGD takes n times the step. Adam hides most of it.

    How to fix it
        ``(loss / gradient_accumulation_steps).backward()``; with token losses divide by the number of tokens instead.

    When to ignore it
        When the loss is already a sum over tokens that is divided elsewhere.

    Threshold
        None: the order of calls is read from the source.

    Sources
        Gradient accumulation in PyTorch's and Accelerate's documentation.
    """

    code = "CFG008"
    name = "accumulated-loss-undivided"
    title = "The accumulated loss is not divided"
    severity = Severity.WARNING
    stage = Stage.LOSS
    needs = Needs(facts=("training_step.loss_divided",))
    bad = (case("not divided", facts={"training_step.accumulates": True, "training_step.loss_divided": False}),)
    good = (
        case("divided", facts={"training_step.accumulates": True, "training_step.loss_divided": True}),
        case("no accumulation", facts={"training_step.accumulates": False, "training_step.loss_divided": False}),
    )
    not_enough = (case("no loop", files={"train.py": "trainer.train()\n"}),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """Fires when no source divides."""
        accumulates, divided = facts_of(run, "training_step.accumulates"), facts_of(run, "training_step.loss_divided")
        if not any(v.value for v in accumulates) or any(v.value for v in divided):
            return
        message = "the loss of several micro-batches is added up without dividing it by their number"
        yield self.finding(
            message,
            evidence=[Evidence(text=message, source=divided[0].source)],
            clues=clues("the loop accumulates and never divides the loss", grad_accum_loss_scale=6),
            fix=Fix(summary="Divide the loss by gradient_accumulation_steps before backward."),
        )
