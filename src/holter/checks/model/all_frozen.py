"""MOD028 everything-frozen."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.look import call_text, is_off, seen, written
from holter.checks.model.outside_optimizer import OPTIMIZERS
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Assignment, Call, Code, Run
from holter.stages import Stage

TRAINS = ("train", "fit", "backward", "step")
UNFREEZES = regex(r"peft|lora|adapter|inject|add_module|requires_grad_|unfreeze|prefix|prompt|swap|Linear$|Module$")
WHOLE = regex(r"^(?:self\.)?[A-Za-z_]\w*\.(?:named_)?parameters$")
"""The parameters of one whole object; those of a part of it have one name more."""

OF_LOOP = regex(r"for \(?(?:\w+, )?(\w+)\)? in ([\w.]+)\.(?:named_)?parameters\(")
WITH_HEAD = regex(r"For(?:Sequence|Token|Image|Audio)Classification|ForQuestionAnswering|ForMultipleChoice")
HEAD = regex(r"classif|score|head|qa_outputs|\bfc|out|pooler|logit|pred", re.I)
SPARED = regex(r"^if (?:not any\()?('[^']+'|\"[^\"]+\") not in \w+$")
NEW_HEAD = regex(r"^(?:[\w.]+\.)?(?:Linear|Sequential|MLP|Identity|\w+(?:Head|Classifier))\(")
"""A loop over the parameters of an object; what is put in the place of a head."""

PUTS_IN = ("get_peft_model", "inject_adapter_in_model", "add_adapter")
KEEPS = regex(r"lora|adapter|prompt|prefix|peft|trainable", re.I)
"""Words of a condition that leaves the adapters out."""

OTHERS = regex(r"ref|teacher|reward|critic|ema|vae|encoder|backbone|base|frozen|bert|vision|clip|target", re.I)
"""Names of models that are held fixed on purpose."""

HELD_FIXED = regex(r"ref(?:erence)?_|_ref|teacher|reward|critic|freeze", re.I)
"""Names of functions that build such models."""


class EverythingFrozen(Check):
    """What it looks for
        A script that switches off the gradient of every parameter of the model it then trains, and of none on again;
        or that freezes by name after adapters were put in, with a condition that does not spare them.

    Why it hurts
        Nothing is trained. Without adapters the backward pass fails; with a loss that has another way to a gradient
        the run goes on and learns nothing.

    How to fix it
        Freeze by name, and leave the head or the adapters out; print the number of trainable parameters.

    When to ignore it
        When another file adds trainable parts.

    Threshold
        None.

    Sources
        PyTorch's documentation of ``requires_grad``.
    """

    code = "MOD028"
    name = "everything-frozen"
    title = "Every parameter is frozen before training"
    severity = Severity.WARNING
    stage = Stage.BACKWARD
    needs = Needs(any_of=(("code",),))
    bad = (
        script(
            "the new head with it",
            "backbone.fc = nn.Linear(2048, 12)\nfor p in backbone.parameters():\n"
            "    p.requires_grad = False\nopt = SGD(backbone.fc.parameters(), lr=0.1)\n",
        ),
        script("in a loop", "for p in model.parameters():\n    p.requires_grad = False\ntrainer.train()\n"),
        script(
            "the adapters with it",
            "model = get_peft_model(model, config)\nfor n, p in model.named_parameters():\n"
            "    if 'lm_head' not in n:\n        p.requires_grad = False\ntrainer.train()\n",
        ),
        case("Keras", files={"a.py": "model.trainable = False\nmodel.compile('adam')\nmodel.fit(x, y)\n"}),
        script(
            "by a name that is not the head's",
            "m = BertForTokenClassification.from_pretrained('b', num_labels=9)\n"
            "for n, p in m.named_parameters():\n    if 'layer.11' not in n:\n        p.requires_grad = False\n",
        ),
        case("at once", files={"a.py": "model.requires_grad_(False)\nTrainer(model=model).train()\n"}),
    )
    good = (
        script(
            "a new head afterwards",
            "for p in net.parameters():\n    p.requires_grad = False\nnet.fc = nn.Linear(2048, 12)\n"
            "opt = SGD(net.fc.parameters(), lr=0.1)\nopt.step()\n",
        ),
        script("a teacher in a loop", "for p in teacher.parameters():\n    p.requires_grad_(False)\nloss.backward()\n"),
        script(
            "all but the head",
            "m = BertForTokenClassification.from_pretrained('b', num_labels=9)\n"
            "for n, p in m.named_parameters():\n    if 'classifier' not in n:\n        p.requires_grad = False\n",
        ),
        script(
            "by name",
            "for n, p in model.named_parameters():\n"
            "    if 'head' not in n:\n        p.requires_grad = False\ntrainer.train()\n",
        ),
        case("Keras, the base", files={"a.py": "base.trainable = False\nmodel.compile('adam')\nmodel.fit(x, y)\n"}),
        script("a part", "for p in model.bert.parameters():\n    p.requires_grad = False\ntrainer.train()\n"),
        script(
            "then adapters",
            "for p in model.parameters():\n    p.requires_grad = False\n"
            "model = get_peft_model(model, config)\ntrainer.train()\n",
        ),
        script(
            "all but the adapters",
            "model = get_peft_model(model, config)\nfor n, p in model.named_parameters():\n"
            "    if 'lora_' not in n:\n        p.requires_grad = False\ntrainer.train()\n",
        ),
        case("a reference", files={"a.py": "ref_model.requires_grad_(False)\ntrainer.train()\n"}),
    )
    not_enough = (case("no code"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """The first file that freezes everything and trains; a new head among it comes first."""
        for code in run.code:
            head, off = _head_with_it(code)
            if head is None:
                head, off = next(_head_not_spared(code), (None, None))
            if head is not None and off is not None:
                yield self.finding(
                    "a new head is frozen with the rest of its model",
                    evidence=[
                        Evidence(text=f"{head.target} = {written(head.value)}"[:160], source=head.source),
                        Evidence(text=_text(off), source=off.source),
                    ],
                    clues=clues("the new head is frozen", head_not_trained_or_saved=6.5),
                    fix=Fix(summary="Freeze first and put the head in afterwards, or switch the head on again."),
                )
                return
        for code in run.code:
            found = _frozen(code)
            if found is not None and _trains(code) and not _unfreezes(run, found):
                yield self.finding(
                    "every parameter of the model is frozen, and none is switched on again",
                    evidence=[Evidence(text=_text(found), source=found.source)],
                    clues=clues("no parameter asks for a gradient", no_trainable_params=6.0),
                    fix=Fix(summary="Leave the head, the adapters or the last layers trainable."),
                )
                return
        for code in run.code:
            put, late = _adapters_frozen(code)
            if put is not None and late is not None:
                yield self.finding(
                    "parameters are frozen by name after the adapters were put in, the adapters with them",
                    evidence=[seen(put), Evidence(text=_text(late), source=late.source)],
                    clues=clues("the adapters are frozen as well", no_trainable_params=5.5),
                    fix=Fix(summary="Freeze before the adapters are put in, or leave names with lora out."),
                )
                return


def _head_with_it(code: Code) -> tuple[Assignment | None, Call | Assignment | None]:
    """A head that is put in by assignment, and what freezes all parameters of its owner afterwards, for good."""
    items: list[Call | Assignment] = [*code.calls, *code.assignments]
    for head in code.assignments:
        owner = head.target.rpartition(".")[0]
        if not owner or not NEW_HEAD.match(written(head.value)):
            continue
        for item in items:
            name = item.name if isinstance(item, Call) else item.target
            given = item.args[:1] if isinstance(item, Call) else (item.value,)
            loop = next((match for text in item.loops if (match := OF_LOOP.match(text)) is not None), None)
            whole = name in (f"{loop[1]}.requires_grad", f"{loop[1]}.requires_grad_") if loop else False
            whole = (whole and loop is not None and loop[2] == owner) or name == f"{owner}.requires_grad_"
            if not whole or given != (False,) or item.guards or item.order < head.order or item.scope != head.scope:
                continue
            if not any(_switches_on(later) for later in items if later.order > item.order):
                return head, item
    return None, None


def _head_not_spared(code: Code) -> Iterator[tuple[Assignment, Assignment]]:
    """A model with a new head whose parameters are frozen by name, with a condition that names other parts alone."""
    made = [a for a in code.assignments if WITH_HEAD.search(written(a.value))]
    for off in code.assignments:
        loop = next((match for text in off.loops if (match := OF_LOOP.search(text)) is not None), None)
        model = next((a for a in reversed(made) if loop and a.target == loop[2] and a.order < off.order), None)
        guard = SPARED.match(off.guards[0]) if len(off.guards) == 1 else None
        if model is None or guard is None or not off.target.endswith(".requires_grad") or off.value is not False:
            continue
        items: list[Call | Assignment] = [*code.calls, *code.assignments]
        later = any(_switches_on(item) for item in items if item.order > off.order)
        if not later and not HEAD.search(guard[1]):
            yield model, off


def _switches_on(item: Call | Assignment) -> bool:
    """Whether a statement lets parameters be trained again, or puts new ones in."""
    if isinstance(item, Call):
        return UNFREEZES.search(item.name) is not None and item.args[:1] != (False,)
    return (item.target.endswith("requires_grad") and not is_off(item.value)) or bool(
        NEW_HEAD.match(written(item.value))
    )


def _adapters_frozen(code: Code) -> tuple[Call | None, Assignment | None]:
    """A loop over all parameters that freezes without a look at adapters, after they were put in."""
    put = next(iter(code.named(*PUTS_IN)), None)
    if put is None:
        return None, None
    model = put.target or put.name.rpartition(".")[0]
    for assignment in code.assignments:
        late = assignment.order > put.order and assignment.scope == put.scope and assignment.loop_depth
        if not late or not assignment.target.endswith(".requires_grad") or assignment.value is not False:
            continue
        loops = [c for c in code.calls if c.name.endswith("parameters") and c.order < assignment.order]
        whole = bool(loops) and loops[-1].order > put.order and loops[-1].name.rpartition(".")[0] == model
        on_again = any(
            a.target.endswith(".requires_grad") and a.value is not False and a.order > put.order
            for a in code.assignments
        )
        if whole and not on_again and not any(KEEPS.search(guard) for guard in assignment.guards):
            return put, assignment
    return None, None


def _frozen(code: Code) -> Call | Assignment | None:
    for call in code.named("requires_grad_"):
        owner = call.name.rpartition(".")[0]
        loop = next((OF_LOOP.match(text) for text in reversed(call.loops)), None)
        owner = loop[2] if loop is not None and owner == loop[1] else owner
        off = bool(call.args) and call.args[0] is False and not call.guards
        if off and "." not in owner and not OTHERS.search(owner):
            return call
    fitted = {call.name.rpartition(".")[0] for call in code.named("fit", "train_on_batch")}
    for assignment in code.assignments:
        owner, _, switch = assignment.target.rpartition(".")
        later = any(a.target == assignment.target and a.order > assignment.order for a in code.assignments)
        if switch == "trainable" and owner in fitted and assignment.value is False and not (assignment.guards or later):
            return assignment
        if not assignment.target.endswith(".requires_grad") or not is_off(assignment.value) or assignment.guards:
            continue
        loops = [c for c in code.calls if c.name.endswith("parameters") and c.order < assignment.order]
        of = loops[-1].name if loops else ""
        held = OTHERS.search(of) or HELD_FIXED.search(assignment.scope)
        if assignment.loop_depth and WHOLE.match(of) and not held:
            return assignment
    return None


def _trains(code: Code) -> bool:
    def trains(call: Call) -> bool:
        name = call.name.rpartition(".")[2]
        return (name in TRAINS and "." in call.name) or (
            bool(OPTIMIZERS.search(name)) and "parameters" in call_text(call)
        )

    return any(map(trains, code.calls))


def _unfreezes(run: Run, frozen: Call | Assignment) -> bool:
    """Whether anything is switched on again, built anew or given adapters, in any file."""
    for code in run.code:
        for call in code.calls:
            if call is not frozen and UNFREEZES.search(call.name) and call.args[:1] != (False,):
                return True
        for assignment in code.assignments:
            if assignment.target.endswith("requires_grad") and not is_off(assignment.value):
                return True
    return False


def _text(found: Call | Assignment) -> str:
    return f"{found.name}(False)" if isinstance(found, Call) else f"{found.target} = {written(found.value)}"
