"""CFG010 clipped-before-unscaling."""

from __future__ import annotations

from collections.abc import Iterable

from holter.checks.base import Check, Needs, case, clues
from holter.checks.look import facts_of
from holter.finding import Evidence, Finding, Fix, Severity
from holter.run import Run
from holter.stages import Stage


class ClippedBeforeUnscaling(Check):
    """What it looks for
        ``clip_grad_norm_`` in a loop with a gradient scaler, without ``scaler.unscale_`` before it.

    Why it hurts
        The gradient is still multiplied by the loss scale, tens of thousands, so the limit cuts it to almost nothing.

    How to fix it
        ``scaler.unscale_(optimizer)`` before clipping.

    When to ignore it
        When the limit was multiplied by the scale.

    Threshold
        None: the order of calls is read from the source.

    Sources
        PyTorch's automatic mixed precision examples.
    """

    code = "CFG010"
    name = "clipped-before-unscaling"
    title = "Gradients are clipped while they still carry the loss scale"
    severity = Severity.WARNING
    stage = Stage.CLIP
    needs = Needs(facts=("training_step.unscale_before_clip",))
    bad = (case("not unscaled", facts={"training_step.unscale_before_clip": False}),)
    good = (
        case("unscaled", facts={"training_step.unscale_before_clip": True}),
        case(
            "unscaled in the script",
            files={
                "train.py": "scaler.scale(loss).backward()\nscaler.unscale_(optimizer)\n"
                "clip_grad_norm_(model.parameters(), 1.0)\nscaler.step(optimizer)\nscaler.update()\n"
            },
        ),
    )
    not_enough = (case("no scaler", files={"train.py": "loss.backward()\noptimizer.step()\n"}),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """Fires where a source shows clipping of scaled gradients."""
        found = [v for v in facts_of(run, "training_step.unscale_before_clip") if v.value is False]
        if not found:
            return
        message = "clip_grad_norm_ acts on gradients that still carry the loss scale"
        yield self.finding(
            message,
            evidence=[Evidence(text=message, source=found[0].source)],
            clues=clues("clipping before unscale_ cuts the gradient to almost nothing", grad_clip_too_strict=5),
            fix=Fix(summary="Call scaler.unscale_(optimizer) before clip_grad_norm_."),
        )
