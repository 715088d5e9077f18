"""CFG034 number-of-items-unused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.context import given_count
from holter.checks.look import known, seen, written
from holter.checks.script import last_part
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Code, Run
from holter.stages import Stage

ITEMS = "num_items_in_batch"
MEANS = regex(
    r"^(?:cross_entropy|nll_loss|mse_loss|loss_fn|loss_fct|criterion|l1_loss|smooth_l1_loss|kl_div|\w*_?loss)$"
)
ACCUMULATION = regex(r"accum|num_items", re.I)


class ItemsUnused(Check):
    """What it looks for
        A ``compute_loss`` of one's own that takes ``num_items_in_batch`` and computes a plain mean without it.

    Why it hurts
        From transformers 4.46 on the Trainer hands over the number of items of all micro-batches and, for models whose
        forward takes further keyword arguments, leaves the division to the loss. A mean is then added up over the
        micro-batches: loss and gradient are too large by ``gradient_accumulation_steps``.

    How to fix it
        Sum over items and divide by ``num_items_in_batch``, or set ``self.model_accepts_loss_kwargs = False`` so that
        the Trainer divides.

    When to ignore it
        Without accumulation, and for models that take no further keyword arguments.

    Threshold
        ``gradient_accumulation_steps`` above 1; a note where it is not known.

    Sources
        ``Trainer.training_step`` and ``Trainer.compute_loss`` of transformers.
    """

    code = "CFG034"
    name = "number-of-items-unused"
    title = "compute_loss takes the number of items and does not use it"
    severity = Severity.WARNING
    stage = Stage.LOSS
    needs = Needs(any_of=(("code",),))
    bad = (
        case(
            "a mean",
            config={"gradient_accumulation_steps": 8},
            files={
                "a.py": "class T(Trainer):\n"
                "    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):\n"
                "        out = model(**inputs)\n        loss = F.cross_entropy(out.logits, inputs['y'])\n"
                "        return (loss, out) if return_outputs else loss\n"
            },
        ),
        script(
            "accumulation not known",
            "class T(Trainer):\n"
            "    def compute_loss(self, model, inputs, num_items_in_batch=None):\n"
            "        return F.cross_entropy(model(**inputs).logits, inputs['y'])\n",
        ),
    )
    good = (
        case(
            "used",
            config={"gradient_accumulation_steps": 8},
            files={
                "a.py": "class T(Trainer):\n"
                "    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):\n"
                "        out = model(**inputs)\n"
                "        return F.cross_entropy(out.logits, inputs['y'], reduction='sum') / num_items_in_batch\n"
            },
        ),
        case(
            "the Trainer divides",
            config={"gradient_accumulation_steps": 8},
            files={
                "a.py": "class T(Trainer):\n    def __init__(self):\n        self.model_accepts_loss_kwargs = False\n"
                "    def compute_loss(self, model, inputs, num_items_in_batch=None):\n"
                "        return F.cross_entropy(model(**inputs).logits, inputs['y'])\n"
            },
        ),
        case(
            "no accumulation",
            config={"gradient_accumulation_steps": 1},
            files={
                "a.py": "class T(Trainer):\n    def compute_loss(self, model, inputs, num_items_in_batch=None):\n"
                "        return F.cross_entropy(model(**inputs).logits, inputs['y'])\n"
            },
        ),
        case(
            "handed on",
            config={"gradient_accumulation_steps": 8},
            files={
                "a.py": "class T(Trainer):\n    def compute_loss(self, model, inputs, num_items_in_batch=None):\n"
                "        loss = super().compute_loss(model, inputs, num_items_in_batch=num_items_in_batch)\n"
                "        return loss + aux_loss(model)\n"
            },
        ),
    )
    not_enough = (case("no code"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """A warning with accumulation, a note where it is not known."""
        found, steps = known(run, "gradient_accumulation_steps"), given_count(run, "gradient_accumulation_steps")
        if steps == 1:
            return
        several = steps is not None
        for code in run.code:
            evidence = next(_unused(code), None)
            if evidence is not None:
                yield self.finding(
                    "compute_loss takes num_items_in_batch, and averages without it",
                    evidence=[*evidence, *([found.evidence] if several and found is not None else [])],
                    clues=clues("means of micro-batches are added up", grad_accum_loss_scale=5.0 if several else 2.0),
                    severity=Severity.WARNING if several else Severity.NOTE,
                    fix=Fix(summary="Divide the summed loss by num_items_in_batch."),
                )
                return


def _unused(code: Code) -> Iterator[list[Evidence]]:
    takes = [a for a in code.assignments if a.target == ITEMS and last_part(a.scope) == "compute_loss"]
    for taken in takes:
        owner = taken.scope.rpartition(".")[0]
        if any("model_accepts_loss_kwargs" in a.target for a in code.assignments):
            return
        inside = [c for c in code.calls if c.scope == taken.scope]
        said = [written(v) for c in inside for v in (*c.args, *c.kwargs.values())]
        said += [written(a.value) for a in code.assignments if a.scope == taken.scope and a is not taken]
        said += [key for c in inside for key in c.kwargs]
        if any(ACCUMULATION.search(text) for text in said) or any("compute_loss" in c.name for c in inside):
            continue
        means = [c for c in inside if MEANS.match(last_part(c.name)) and "sum" not in str(c.kwargs.get("reduction"))]
        if owner and means:
            yield [Evidence(text=f"{taken.scope}(..., {ITEMS}=None)", source=taken.source), seen(means[0])]
