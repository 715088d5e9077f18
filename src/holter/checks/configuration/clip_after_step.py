"""CFG016 clipped-after-step."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.look import call_text, calls, facts_of, seen, written
from holter.checks.script import first_in_each, last_part
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Assignment, Call, Code, Run
from holter.stages import Stage

LATE = "loss.backward()\noptimizer.step()\nclip_grad_norm_(model.parameters(), 1.0)\noptimizer.zero_grad()\n"
EARLY = "for b in x:\n    opt.zero_grad()\n    clip_grad_norm_(w, 5)\n    loss.backward()\n    opt.step()\n"
UNUSED = "clipped, _ = tf.clip_by_global_norm(grads, 1.0)\nopt.apply_gradients(zip(grads, variables))\n"
LISTED = "grads = [tf.clip_by_norm(g, 1.0) for g in raw]\nopt.apply_gradients(zip(raw, variables))\n"
RETURNING = ("clip_by_global_norm", "clip_by_norm", "clip_by_value")
"""Clippings that return new gradients and leave the given ones as they are (TensorFlow, JAX)."""

IN_PLACE = ("clip_grad_norm_", "clip_grad_value_", "clip_grad_norm", "clip_gradients")
LOSS_OF = regex(r"(?:_?shared_|training_|train_|_)?step$|(?:_?compute_|get_|calc\w*_)?loss(?:_fn|_func)?$|forward\w*$")
BACKWARD = regex(
    r"backward|^step$|(?:optimizer|training|train)_step$|grad(?:ients?)?$|^(?:optimi[sz]e(?!r)|update|apply)\w*$"
)
RETURNED = "return"
"""Clippings of what is there; functions that give their framework a loss; and calls that make gradients."""

IN_TIME = "loss.backward()\nclip_grad_norm_(model.parameters(), 1.0)\noptimizer.step()\noptimizer.zero_grad()\n"


class ClippedAfterStep(Check):
    """What it looks for
        ``clip_grad_norm_`` after ``optimizer.step()`` or before ``backward()`` in a training loop, also in the function
        that only returns the loss to Lightning or the Trainer (``training_step``, ``compute_loss``, ``forward``); or
        clipped gradients that a function returned while others are applied.

    Why it hurts
        The weights have moved by then, or the gradients are not there yet: the clip limit is written in the code and
        never acts. One outlier batch can throw the run off.

    How to fix it
        Clip between ``backward`` and ``optimizer.step()``.

    When to ignore it
        When the call is used only to log the norm.

    Threshold
        None: the order of calls is read from the source.

    Sources
        PyTorch's documentation of ``clip_grad_norm_``; Pascanu, Mikolov and Bengio 2013; Lightning's guide on
        optimization, which calls ``backward`` on what ``training_step`` returns.
    """

    code = "CFG016"
    name = "clipped-after-step"
    title = "Gradients are clipped after the optimizer step"
    severity = Severity.WARNING
    stage = Stage.CLIP
    needs = Needs(any_of=(("training_step.clip_before_step",), ("code",)))
    bad = (
        case("after the step", files={"train.py": LATE}),
        case("before there is a gradient", files={"train.py": EARLY}),
        script(
            "before Lightning goes backward",
            "def training_step(self, batch, i):\n    loss = self(batch)\n"
            "    nn.utils.clip_grad_norm_(self.parameters(), 1.0)\n    return loss\n",
        ),
        script(
            "before the Trainer goes backward",
            "class T(Trainer):\n    def compute_loss(self, model, inputs):\n        loss = model(**inputs).loss\n"
            "        clip_grad_norm_(model.parameters(), 1.0)\n        return loss\n",
        ),
        case("not those applied", files={"train.py": UNUSED}),
        case("nor those of a list", files={"train.py": LISTED}),
    )
    good = (
        case("no clipping", files={"train.py": "loss.backward()\noptimizer.step()\n"}),
        case("those of a list", files={"train.py": LISTED.replace("zip(raw", "zip(grads")}),
        case("those applied", files={"train.py": UNUSED.replace("zip(grads", "zip(clipped")}),
        case("before the step", files={"train.py": IN_TIME}),
        case("measured", facts={"training_step.clip_before_step": True}),
        script(
            "behind manual_backward",
            "def training_step(self, batch, i):\n    self.manual_backward(self(batch))\n"
            "    self.clip_gradients(opt, gradient_clip_val=1.0)\n    opt.step()\n",
        ),
        script(
            "behind the Trainer's own step",
            "def training_step(self, model, inputs):\n    loss = super().training_step(model, inputs)\n"
            "    clip_grad_norm_(model.parameters(), 1.0)\n    return loss\n",
        ),
    )
    not_enough = (case("no source", config={"max_grad_norm": 1.0}),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """Fires where a source shows the clip after the step."""
        for clip, applied in _unused(run):
            yield self.finding(
                f"what {clip.name} returns is never applied: {applied.name} gets other gradients",
                evidence=[seen(clip), seen(applied)],
                clues=clues("the clipped gradients are not used", grad_clip_disabled=6.5),
                fix=Fix(summary="Apply the gradients that the clipping returned."),
            )
            return
        for clip, where in first_in_each(run, _in_the_loss):
            message = f"gradients are clipped in {where}(), before backward() has made them"
            yield self.finding(
                message,
                evidence=[seen(clip)],
                clues=clues(f"the clip stands in {where}()", grad_clip_disabled=6.0),
                fix=Fix(summary="Set gradient_clip_val or max_grad_norm, or clip where the optimizer is stepped."),
            )
            return
        late = [v for v in facts_of(run, "training_step.clip_before_step") if v.value is False]
        early = facts_of(run, "training_step.clip_before_backward")
        if not late and not early:
            return
        where = "after optimizer.step()" if late else "before backward()"
        message = f"gradients are clipped {where}, so the clip never acts on an update"
        yield self.finding(
            message,
            evidence=[Evidence(text=message, source=(late or early)[0].source)],
            clues=clues(f"the clip comes {where}", grad_clip_disabled=6.0),
            fix=Fix(summary="Call clip_grad_norm_ between backward() and optimizer.step()."),
        )


def _in_the_loss(code: Code) -> Iterator[tuple[Call, str]]:
    """Clips in a function that returns a loss and goes through no backward pass before."""
    for clip in code.named(*IN_PLACE):
        where = last_part(clip.scope)
        before = [c for c in code.calls if c.scope == clip.scope and c.order < clip.order]
        own = any(BACKWARD.search(last_part(c.name)) for c in before)
        returned = any(
            a.scope == clip.scope and a.target == RETURNED and a.order > clip.order for a in code.assignments
        )
        manual = any("automatic_optimization" in a.target and a.value is False for a in code.assignments)
        if LOSS_OF.match(where) and returned and not own and not manual and "inf" not in call_text(clip):
            yield clip, where


def _unused(run: Run) -> Iterator[tuple[Call, Call]]:
    """Clippings whose result does not occur in the call that applies gradients."""
    applied = list(calls(run, "apply_gradients", "apply_updates"))
    for code in run.code if applied else ():
        for clip in code.named(*RETURNING):
            target = clip.target or next((a.target for a in code.assignments if _holds(a, clip)), "")
            names = [name for name in re.findall(r"\w+", target) if name != "_"]
            if names and not any(re.search(rf"\b{names[0]}\b", call_text(call)) for call in applied):
                yield clip, applied[0]


def _holds(assignment: Assignment, clip: Call) -> bool:
    """Whether a clipping stands inside what is assigned: ``grads = [clip_by_norm(g, 1.0) for g in grads]``."""
    return assignment.source.line == clip.source.line and clip.name in written(assignment.value)
