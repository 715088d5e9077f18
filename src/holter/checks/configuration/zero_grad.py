"""CFG011 gradients-never-cleared."""

from __future__ import annotations

from collections.abc import Iterable

from holter.checks.base import Check, Needs, case, clues
from holter.checks.look import calls, facts_of
from holter.finding import Evidence, Finding, Fix, Severity
from holter.run import Run
from holter.stages import Stage

CLEARED = """
for batch in loader:
    optimizer.zero_grad()
    loss = model(**batch).loss
    loss.backward()
    optimizer.step()
"""


WHOLE_STEP = 8.0
EXCERPT = 5.0
"""Bits. Lines that stand in no loop and no function are cut out of something larger, which may hold the call."""


class GradientsNeverCleared(Check):
    """What it looks for
        A hand-written training step with ``backward`` and an optimizer step, and ``zero_grad`` nowhere; or
        ``zero_grad`` between the two, which clears what the optimizer was to use.

    Why it hurts
        Gradients add up over all batches since the start, so each update points along the whole past: the norm grows
        with the steps and the loss ends up rising.

    How to fix it
        ``optimizer.zero_grad()`` after each ``optimizer.step()``.

    When to ignore it
        When an engine such as DeepSpeed clears them in its own step.

    Threshold
        None: the order of calls is read from the source.

    Sources
        PyTorch's optimizer documentation; a public report of a LoRA trainer without the call.
    """

    code = "CFG011"
    name = "gradients-never-cleared"
    title = "Gradients are never cleared"
    severity = Severity.ERROR
    stage = Stage.BACKWARD
    needs = Needs(any_of=(("training_step.zero_grad",), ("training_step.zero_grad_before_step",)))
    bad = (
        case("no call", files={"train.py": "for b in loader:\n    loss.backward()\n    optimizer.step()\n"}),
        case("seen live", facts={"training_step.zero_grad": False}),
    )
    good = (
        case("cleared", files={"train.py": CLEARED}),
        case("seen live", facts={"training_step.zero_grad": True}),
    )
    not_enough = (case("no loop", files={"train.py": "trainer.train()\n"}),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """Fires when no source shows the call."""
        found = facts_of(run, "training_step.zero_grad")
        if found and not any(value.value for value in found):
            message = "backward and optimizer step without zero_grad: gradients of all batches add up"
            yield self.finding(
                message,
                evidence=[Evidence(text=message, source=found[0].source)],
                clues=clues("the training step never clears its gradients", missing_zero_grad=_bits(run)),
                fix=Fix(summary="Call optimizer.zero_grad() after each optimizer.step()."),
            )
        for value in facts_of(run, "training_step.zero_grad_before_step"):
            if value.value:
                message = "zero_grad stands between backward and optimizer step: the update sees no gradient"
                yield self.finding(
                    message,
                    evidence=[Evidence(text=message, source=value.source)],
                    clues=clues("the gradient is cleared before it is used", missing_zero_grad=3, lr_zero=1),
                    fix=Fix(summary="Move optimizer.zero_grad() behind optimizer.step()."),
                )
                return


def _bits(run: Run) -> float:
    backward = list(calls(run, "backward"))
    cut_out = bool(backward) and not any(call.loop_depth or call.scope for call in backward)
    return EXCERPT if cut_out else WHOLE_STEP
