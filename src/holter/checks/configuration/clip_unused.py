"""CFG033 clipping-never-called."""

from __future__ import annotations

import re
from collections.abc import Iterable

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.look import calls, seen
from holter.checks.script import last_part, receiver, texts
from holter.checks.symptoms import broken, number
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Code, Run
from holter.stages import Stage

LIMIT = regex(r"^(?:max_grad_norm|grad_clip\w*|gradient_clip\w*|clip_grad\w*|clip_norm|max_norm|clip_value)$", re.I)
CLIPS = regex(r"clip", re.I)
HANDS_OVER = ("Trainer", "Seq2SeqTrainer", "SFTTrainer", "LightningModule", "initialize", "TrainingArguments")
OPTIMIZER = regex(r"optim|^opt$|scaler", re.I)


class ClippingNeverCalled(Check):
    """What it looks for
        A script with a loop of its own that sets a limit for the norm of the gradient, and never clips.

    Why it hurts
        The setting reads as if gradients were bounded. One bad batch then moves the weights as far as it likes.

    How to fix it
        ``torch.nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)`` between backward and the step.

    When to ignore it
        When another file clips, or the limit is 0. Without a sign of divergence this is a note.

    Threshold
        None.

    Sources
        PyTorch's ``clip_grad_norm_``: clipping is a call, no property of an optimizer.
    """

    code = "CFG033"
    name = "clipping-never-called"
    title = "A limit for the gradient is set and never applied"
    severity = Severity.WARNING
    stage = Stage.CLIP
    needs = Needs(any_of=(("code",),))
    bad = (
        script(
            "set, not called",
            "max_grad_norm = 1.0\nfor b in loader:\n    loss = model(**b).loss\n    loss.backward()\n"
            "    optimizer.step()\n    optimizer.zero_grad()\n",
        ),
        case(
            "and it diverged",
            facts={"loss": [2.0, 2.2, float("nan")]},
            files={
                "a.py": "grad_clip = 0.5\nfor b in loader:\n    f(b).backward()\n    opt.step()\n    opt.zero_grad()\n"
            },
        ),
    )
    good = (
        script(
            "called",
            "max_grad_norm = 1.0\nfor b in loader:\n    f(b).backward()\n"
            "    clip_grad_norm_(model.parameters(), max_grad_norm)\n    opt.step()\n",
        ),
        case("off", files={"a.py": "grad_clip = 0.0\nfor b in loader:\n    f(b).backward()\n    opt.step()\n"}),
        script(
            "handed on",
            "max_grad_norm = 1.0\nopt = Bounded(params, clip=max_grad_norm)\nfor b in loader:\n"
            "    f(b).backward()\n    opt.step()\n",
        ),
        script("left to the Trainer", "args = TrainingArguments(max_grad_norm=1.0)\nTrainer(m).train()\n"),
    )
    not_enough = (case("no code"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """Silent where anything in any file clips, or the limit is given on."""
        if any(CLIPS.search(last_part(c.name)) for code in run.code for c in code.calls) or any(
            True for _ in calls(run, *HANDS_OVER)
        ):
            return
        for code in run.code:
            limit, step = _limit(code), _step(code)
            if limit is None or step is None:
                continue
            symptom = broken(run)
            yield self.finding(
                "a limit for the gradient is set, and nothing in the loop clips",
                evidence=[limit, step],
                clues=clues("the limit is never applied", grad_clip_disabled=5.5 if symptom is not None else 3.0),
                severity=Severity.WARNING if symptom is not None else Severity.NOTE,
                fix=Fix(summary="Call clip_grad_norm_ between backward and the optimizer's step."),
            )
            return


def _limit(code: Code) -> Evidence | None:
    """A limit above 0 that no expression uses."""
    for assignment in code.assignments:
        name = last_part(assignment.target)
        amount = number(assignment.value)
        used = any(re.search(rf"\b{re.escape(name)}\b", text) for text in texts(code))
        if LIMIT.match(name) and amount is not None and amount > 0 and not used:
            return Evidence(text=f"{assignment.target} = {amount:g}", source=assignment.source)
    return None


def _step(code: Code) -> Evidence | None:
    """The optimizer's step of a loop written by hand."""
    steps = [c for c in code.named("step") if OPTIMIZER.search(last_part(receiver(c)))]
    return seen(steps[0]) if steps and code.named("backward") else None
