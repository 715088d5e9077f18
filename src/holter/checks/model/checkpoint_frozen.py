"""MOD068 checkpointing-over-frozen-input."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.look import is_off, seen, written
from holter.checks.script import last_part, receiver
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Call, Run
from holter.stages import Stage

CHECKPOINTS = ("checkpoint", "checkpoint_sequential")
OWNERS = regex(
    r"^(?:torch(?:\.utils)?(?:\.checkpoint)?|utils\.checkpoint|checkpoint|cp|ckpt|checkpointing|torch_checkpoint)?$"
)
INPUTS = regex(r"embed|wte|patch|stem|conv1|input|tok_|token_type", re.I)
LETS_THROUGH = regex(r"enable_input_require_grads|make_inputs?_require|require_grad_hook|prepare_model_for")
ADAPTS = ("get_peft_model", "inject_adapter_in_model", "add_adapter", "inject_trainable_lora")


class CheckpointingOverFrozenInput(Check):
    """What it looks for
        A model's code that calls ``torch.utils.checkpoint.checkpoint`` without ``use_reentrant=False`` in a script that
        freezes the embeddings or the whole base, and lets no input ask for a gradient.

    Why it hurts
        In its reentrant form checkpointing gives an output a gradient only if an input asks for one. Behind frozen
        embeddings none does: everything inside the checkpointed blocks stays as it was, and the loss is the same
        whatever else is frozen or not.

    How to fix it
        ``use_reentrant=False``, or ``model.enable_input_require_grads()``.

    When to ignore it
        When the checkpointed blocks are frozen as well.

    Threshold
        None.

    Sources
        PyTorch's documentation of ``torch.utils.checkpoint``, on the reentrant form.
    """

    code = "MOD068"
    name = "checkpointing-over-frozen-input"
    title = "Checkpointed blocks stand behind frozen inputs"
    severity = Severity.WARNING
    stage = Stage.BACKWARD
    needs = Needs(any_of=(("code",),))
    bad = (
        script(
            "embeddings",
            "h = checkpoint(layer, h, mask)\n\nfor p in model.embeddings.parameters():\n    p.requires_grad = False\n",
        ),
        case(
            "adapters on a frozen base",
            files={
                "model.py": "def forward(self, x):\n    for block in self.blocks:\n"
                "        x = torch.utils.checkpoint.checkpoint(block, x)\n",
                "train.py": "model.requires_grad_(False)\nmodel = get_peft_model(model, config)\n",
            },
        ),
    )
    good = (
        script(
            "the other form",
            "h = checkpoint(layer, h, use_reentrant=False)\n\nfor p in model.embeddings.parameters():\n"
            "    p.requires_grad = False\n",
        ),
        script(
            "inputs ask",
            "model.enable_input_require_grads()\nh = checkpoint(layer, h, mask)\n\n"
            "for p in model.embeddings.parameters():\n    p.requires_grad = False\n",
        ),
        script(
            "a head is frozen",
            "h = checkpoint(layer, h)\n\nfor p in model.head.parameters():\n    p.requires_grad = False\n",
        ),
        case("a file of weights", files={"a.py": "trainer.checkpoint('out', step)\nmodel.requires_grad_(False)\n"}),
    )
    not_enough = (case("no code"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """The call and what is frozen before it."""
        call = next(_reentrant(run), None)
        frozen = next(_frozen_inputs(run), None)
        if call is None or frozen is None or _lets_through(run):
            return
        why = "checkpointing in its reentrant form runs over inputs that ask for no gradient"
        yield self.finding(
            why,
            evidence=[seen(call), frozen],
            clues=clues(why, checkpointing_no_input_grad=6.0),
            fix=Fix(summary="Pass use_reentrant=False, or call model.enable_input_require_grads()."),
        )


def _reentrant(run: Run) -> Iterator[Call]:
    for code in run.code:
        for call in code.named(*CHECKPOINTS):
            plain_one = "use_reentrant" not in call.kwargs or not is_off(call.kwargs["use_reentrant"])
            if OWNERS.match(receiver(call)) and len(call.args) > 1 and plain_one:
                yield call


def _frozen_inputs(run: Run) -> Iterator[Evidence]:
    adapted = any(code.named(*ADAPTS) for code in run.code)
    for code in run.code:
        for assignment in code.assignments:
            if assignment.target.endswith(".requires_grad") and assignment.value is False:
                near = [a for a in code.assignments if a.scope == assignment.scope and a.order < assignment.order]
                about = " ".join([*assignment.loops, *assignment.guards, *(written(a.value) for a in near[-3:])])
                if adapted or INPUTS.search(about):
                    yield Evidence(text=f"{assignment.target} = False", source=assignment.source)
        for call in code.named("requires_grad_"):
            if call.args[:1] == (False,) and (adapted or INPUTS.search(receiver(call))):
                yield seen(call)


def _lets_through(run: Run) -> bool:
    for code in run.code:
        for call in code.calls:
            switched = last_part(call.name) == "requires_grad_" and call.args[:1] != (False,)
            if switched or LETS_THROUGH.search(call.name):
                return True
        if any(a.target.endswith("requires_grad") and a.value is True for a in code.assignments):
            return True
    return False
