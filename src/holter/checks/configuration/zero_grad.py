"""CFG011 gradients-never-cleared."""

from __future__ import annotations

from collections.abc import Iterable

from holter.checks.base import Check, Needs, case, clues
from holter.checks.look import calls, facts_of
from holter.checks.script import last_part
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
CUT_AT_STEP = 2.0
"""Bits. Lines that stand in no loop and no function are cut out of something larger, which may hold the call;
those of a step behind a loop over its micro-batches end where the call mostly stands."""

ELSEWHERE = (
    (
        "training_step.zero_grad_outside_loop",
        "zero_grad stands outside the loop of the updates: gradients add up in it",
    ),
    ("training_step.zero_grad_in_one_branch", "zero_grad stands in one branch, and the other steps without it"),
    ("training_step.optimizer_not_cleared", "one optimizer steps without zero_grad, another has its own"),
)


class GradientsNeverCleared(Check):
    """What it looks for
        A hand-written training step with ``backward`` and an optimizer step, and ``zero_grad`` nowhere, only before
        the loop, or only for another of several optimizers; tensors that are moved along ``.grad`` by hand and never
        cleared; or ``zero_grad`` between ``backward`` and the step, which clears what the optimizer was to use.

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
        case(
            "before the loop only",
            files={
                "a.py": "optimizer.zero_grad()\nfor b in loader:\n    loss = net(b)\n    loss.backward()\n"
                "    optimizer.step()\n"
            },
        ),
        case(
            "one of two",
            files={
                "a.py": "opt_g.zero_grad()\ng_loss.backward()\nopt_g.step()\nd_loss.backward()\nopt_d.step()\n",
            },
        ),
        case(
            "in one branch",
            files={
                "a.py": "if amp:\n    opt.zero_grad()\n    scaler.scale(l).backward()\n    scaler.step(opt)\n"
                "else:\n    l.backward()\n    opt.step()\n"
            },
        ),
        case(
            "tensors by hand",
            files={
                "a.py": "for i in range(500):\n    loss = ((x @ w + b - y) ** 2).mean()\n    loss.backward()\n"
                "    w.data -= lr * w.grad\n    b.data -= lr * b.grad\n"
            },
        ),
    )
    good = (
        case(
            "before both branches",
            files={
                "a.py": "opt.zero_grad()\nif amp:\n    scaler.scale(l).backward()\n    scaler.step(opt)\n"
                "else:\n    l.backward()\n    opt.step()\n"
            },
        ),
        case("cleared", files={"train.py": CLEARED}),
        case("seen live", facts={"training_step.zero_grad": True}),
        case(
            "tensors by hand",
            files={
                "a.py": "for i in range(500):\n    loss = ((x @ w - y) ** 2).mean()\n    loss.backward()\n"
                "    with torch.no_grad():\n        w -= lr * w.grad\n        w.grad.zero_()\n"
            },
        ),
        case(
            "both of two",
            files={
                "a.py": "opt_g.zero_grad()\ng_loss.backward()\nopt_g.step()\nopt_d.zero_grad()\nd_loss.backward()\n"
                "opt_d.step()\n",
            },
        ),
        case(
            "the whole model for two",
            files={
                "a.py": "model.zero_grad()\nloss.backward()\nopt_a.step()\nopt_b.step()\n",
            },
        ),
        case(
            "once for all micro-batches",
            files={
                "a.py": "optimizer.zero_grad()\nfor part in micro_batches:\n    loss = net(part) / len(micro_batches)\n"
                "    loss.backward()\noptimizer.step()\n"
            },
        ),
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
        for name, message in ELSEWHERE:
            for value in facts_of(run, name)[:1]:
                yield self.finding(
                    message,
                    evidence=[Evidence(text=message, source=value.source)],
                    clues=clues(message, missing_zero_grad=6.0),
                    fix=Fix(summary="Call zero_grad() of each optimizer in each step."),
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
    if any(call.loop_depth for call in backward) and facts_of(run, "training_step.accumulates"):
        return CUT_AT_STEP if _ends_at_step(run) else WHOLE_STEP
    cut_out = bool(backward) and not any(call.loop_depth or call.scope for call in backward)
    return EXCERPT if cut_out else WHOLE_STEP


def _ends_at_step(run: Run) -> bool:
    """Whether source code ends with a step that stands in no loop."""
    last = [max(code.calls, key=lambda call: call.order) for code in run.code if code.calls]
    return any(last_part(call.name) == "step" and not call.loops and not call.scope for call in last)
