"""CFG016 clipped-after-step."""

from __future__ import annotations

from collections.abc import Iterable

from holter.checks.base import Check, Needs, case, clues
from holter.checks.look import facts_of
from holter.finding import Evidence, Finding, Fix, Severity
from holter.run import Run
from holter.stages import Stage

LATE = "loss.backward()\noptimizer.step()\nclip_grad_norm_(model.parameters(), 1.0)\noptimizer.zero_grad()\n"
IN_TIME = "loss.backward()\nclip_grad_norm_(model.parameters(), 1.0)\noptimizer.step()\noptimizer.zero_grad()\n"


class ClippedAfterStep(Check):
    """What it looks for
        ``clip_grad_norm_`` after ``optimizer.step()`` in a training loop.

    Why it hurts
        The weights have moved by then: the clip limit is written in the code and never acts. One outlier batch can
        throw the run off.

    How to fix it
        Clip between ``backward`` and ``optimizer.step()``.

    When to ignore it
        When the call is used only to log the norm.

    Threshold
        None: the order of calls is read from the source.

    Sources
        PyTorch's documentation of ``clip_grad_norm_``; Pascanu, Mikolov and Bengio 2013.
    """

    code = "CFG016"
    name = "clipped-after-step"
    title = "Gradients are clipped after the optimizer step"
    severity = Severity.WARNING
    stage = Stage.CLIP
    needs = Needs(facts=("training_step.clip_before_step",))
    bad = (case("after the step", files={"train.py": LATE}),)
    good = (
        case("before the step", files={"train.py": IN_TIME}),
        case("measured", facts={"training_step.clip_before_step": True}),
    )
    not_enough = (case("no clipping", files={"train.py": "loss.backward()\noptimizer.step()\n"}),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """Fires where a source shows the clip after the step."""
        late = [v for v in facts_of(run, "training_step.clip_before_step") if v.value is False]
        if not late:
            return
        message = "clip_grad_norm_ is called after optimizer.step(), so it never acts on an update"
        yield self.finding(
            message,
            evidence=[Evidence(text=message, source=late[0].source)],
            clues=clues("the clip comes after the update", grad_clip_disabled=6.0),
            fix=Fix(summary="Call clip_grad_norm_ between backward() and optimizer.step()."),
        )
