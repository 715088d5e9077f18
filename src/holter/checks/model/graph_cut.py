"""MOD040 loss-cut-from-the-model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.look import is_on, seen, written
from holter.checks.script import first_in_each, last_part, receiver
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Code, Run
from holter.stages import Stage

NEW_LEAF = regex(
    r"^(?:\w+\.)*(?:tensor|as_tensor|Variable|FloatTensor|Tensor)\(|^[^,]*\.(?:item|detach|numpy|tolist)\(\)\)*$|\.data$"
)
LOSS = regex(r"loss", re.I)


class LossCutFromModel(Check):
    """What it looks for
        A loss that is made into a new tensor (``torch.tensor(loss)``, ``.detach()``, ``.item()``) or is switched on by
        ``requires_grad = True`` before ``backward``.

    Why it hurts
        A new tensor knows nothing of the model. ``requires_grad`` on it silences the error that would say so: backward
        runs, no parameter gets a gradient, and nothing is learnt.

    How to fix it
        Call ``backward`` on the loss that the model's outputs gave. If that raises, some layer is frozen or detached.

    When to ignore it
        When the gradient of the tensor itself is wanted, as for inputs.

    Threshold
        None.

    Sources
        PyTorch's notes on autograd: a leaf has no history.
    """

    code = "MOD040"
    name = "loss-cut-from-model"
    title = "The loss is a new tensor without a path to the model"
    severity = Severity.WARNING
    stage = Stage.BACKWARD
    needs = Needs(any_of=(("code",),))
    bad = (
        script("a new tensor", "loss = torch.tensor(f(out), requires_grad=True)\nloss.backward()\nopt.step()\n"),
        case("switched on", files={"a.py": "loss = f(out)\nloss.requires_grad = True\nloss.backward()\n"}),
        case("by a call", files={"a.py": "loss = f(out)\nloss.requires_grad_(True)\nloss.backward()\n"}),
        case("detached", files={"a.py": "loss = f(out).detach()\nloss.backward()\n"}),
    )
    good = (
        script(
            "one of two arguments",
            "loss = gan(D(real), D(fake.detach()))\nloss.backward()\nl2_loss = f(s(x), t(x).detach())\n",
        ),
        case("the loss itself", files={"a.py": "loss = f(out)\nloss.backward()\nshown = loss.detach()\n"}),
        case("a part is detached", files={"a.py": "loss = f(out, old.detach()) * w.item()\nloss.backward()\n"}),
        script("a sum that starts at 0", "loss = torch.tensor(0.0)\nloss = loss + f(out)\nloss.backward()\n"),
        case("inputs", files={"a.py": "x.requires_grad = True\nloss = f(model(x))\nloss.backward()\n"}),
    )
    not_enough = (case("no code"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """The first backward pass of each file that starts at a new tensor."""
        for evidence in first_in_each(run, _cut):
            yield self.finding(
                "backward starts at a tensor that has no path to the model",
                evidence=evidence,
                clues=clues("the loss was cut from the model", no_trainable_params=6.0),
                fix=Fix(summary="Call backward on the loss that the model's outputs gave."),
            )


def _cut(code: Code) -> Iterator[list[Evidence]]:
    for backward in code.named("backward"):
        name = receiver(backward)
        if not LOSS.search(last_part(name)):
            continue
        same = [a for a in code.assignments if a.order < backward.order and a.scope == backward.scope]
        switched = [a for a in same if a.target == f"{name}.requires_grad" and is_on(a.value)]
        calls = [c for c in code.calls if c.name == f"{name}.requires_grad_" and c.order < backward.order]
        if switched:
            text = f"{switched[-1].target} = {written(switched[-1].value)}"
            yield [Evidence(text=text, source=switched[-1].source), seen(backward)]
        elif calls and calls[-1].scope == backward.scope:
            yield [seen(calls[-1]), seen(backward)]
        made = [a for a in same if a.target == name]
        if (
            made
            and not made[-1].guards
            and NEW_LEAF.search(written(made[-1].value))
            and _whole(written(made[-1].value))
        ):
            yield [Evidence(text=f"{name} = {written(made[-1].value)}", source=made[-1].source), seen(backward)]


def _whole(text: str) -> bool:
    """Whether the new tensor is the whole value: nothing is added to it or multiplied with it."""
    depth = 0
    for sign in text:
        depth += (sign in "([{") - (sign in ")]}")
        if depth == 0 and sign in "+-*/@":
            return False
    return True
