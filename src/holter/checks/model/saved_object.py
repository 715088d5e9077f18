"""MOD041 other-object-saved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.look import is_off, seen, written
from holter.checks.script import last_part, receiver
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Code, Run
from holter.stages import Stage

WRAPPERS = ("DistributedDataParallel", "DDP", "DataParallel")
SAVES = ("save_pretrained", "save_model", "push_to_hub")
STRIPS = regex(r"module\.|strip|replace\(|removeprefix|consume_prefix|unwrap|\.module\b")
PATCH = regex(r"get_peft_model_state_dict|lambda|__get__")


class OtherObjectSaved(Check):
    """What it looks for
        A model that is saved without what it learnt: the result of ``merge_and_unload()`` is dropped and the old
        object saved, the method ``state_dict`` of a model was replaced before it is saved, or the state of a wrapped
        model, whose names begin with ``module.``, is loaded with ``strict=False``.

    Why it hurts
        The file is whole and loads without an error, and holds other names or no adapter at all: the model answers as
        if it had never been trained.

    How to fix it
        ``model = model.merge_and_unload()``; leave ``state_dict`` alone; save ``model.module.state_dict()``; look at
        what ``load_state_dict`` returns.

    When to ignore it
        Replacing ``state_dict`` was needed with early versions of PEFT; it empties files of later ones. A note.

    Threshold
        None.

    Sources
        PEFT's ``merge_and_unload`` and ``get_peft_model_state_dict``; PyTorch's tutorial on saving wrapped models.
    """

    code = "MOD041"
    name = "other-object-saved"
    title = "What is saved is not what was trained"
    severity = Severity.WARNING
    stage = Stage.SAVE
    needs = Needs(any_of=(("code",),))
    bad = (
        case("merged and dropped", files={"a.py": "model.merge_and_unload()\nmodel.save_pretrained('out')\n"}),
        script(
            "replaced",
            "old = model.state_dict\nmodel.state_dict = (lambda self, *_: "
            "get_peft_model_state_dict(self, old())).__get__(model)\ntrainer.train()\nmodel.save_pretrained('o')\n",
        ),
        case(
            "names of a wrapper",
            files={
                "a.py": "model = DDP(model)\ntorch.save(model.state_dict(), 'm.pt')\n",
                "b.py": "net = Net()\nnet.load_state_dict(torch.load('m.pt'), strict=False)\n",
            },
        ),
    )
    good = (
        case("kept", files={"a.py": "model = model.merge_and_unload()\nmodel.save_pretrained('out')\n"}),
        case("saved at once", files={"a.py": "model.merge_and_unload().save_pretrained('out')\n"}),
        case(
            "names of the module",
            files={
                "a.py": "model = DDP(model)\ntorch.save(model.module.state_dict(), 'm.pt')\n",
                "b.py": "net = Net()\nnet.load_state_dict(torch.load('m.pt'), strict=False)\n",
            },
        ),
        case(
            "loaded strictly",
            files={
                "a.py": "model = DDP(model)\ntorch.save(model.state_dict(), 'm.pt')\n",
                "b.py": "net = DDP(Net())\nnet.load_state_dict(torch.load('m.pt'))\n",
            },
        ),
    )
    not_enough = (case("no code"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """Each way once."""
        for code in run.code:
            for message, evidence, bits in (*_dropped(code), *_replaced(code)):
                yield self._found(message, evidence, bits)
        yield from (self._found(*found) for found in _wrapped_names(run))

    def _found(self, message: str, evidence: list[Evidence], bits: float) -> Finding:
        return self.finding(
            message,
            evidence=evidence,
            clues=clues(message, weights_loaded_wrong=bits, head_not_trained_or_saved=bits - 3.0),
            severity=Severity.WARNING if bits >= SURE else Severity.NOTE,
            fix=Fix(summary="Save the object that holds the trained weights, and compare the names after loading."),
        )


SURE = 5.0
"""Bits from which it is a warning: below, it depends on the version of the library."""

Found = tuple[str, list[Evidence], float]


def _dropped(code: Code) -> Iterator[Found]:
    """``merge_and_unload()`` as a statement of its own, and the old object saved."""
    results = {written(a.value) for a in code.assignments}
    for merge in code.named("merge_and_unload"):
        owner = receiver(merge)
        text = f"{merge.name}("
        if merge.target or not owner.isidentifier() or any(text in value for value in results):
            continue
        chained = any(call.name.startswith(f"{merge.name}().") for call in code.calls)
        passed = any(text in written(v) for c in code.calls for v in (*c.args, *c.kwargs.values()))
        saved = next(
            (c for c in code.calls if c.name in [f"{owner}.{save}" for save in SAVES] and c.order > merge.order), None
        )
        if saved is not None and not chained and not passed and saved.scope == merge.scope:
            yield "the merged model is dropped, and the one with adapters is saved", [seen(merge), seen(saved)], 5.5


def _replaced(code: Code) -> Iterator[Found]:
    for assignment in code.assignments:
        owner, _, name = assignment.target.rpartition(".")
        text = written(assignment.value)
        if name != "state_dict" or owner in ("", "self") or not PATCH.search(text):
            continue
        saved = next((c for c in code.calls if last_part(c.name) in SAVES and c.order > assignment.order), None)
        if saved is not None:
            shown = Evidence(text=f"{assignment.target} = {text}"[:160], source=assignment.source)
            yield "state_dict of the model is replaced before the model is saved", [shown, seen(saved)], 4.0


def _wrapped_names(run: Run) -> Iterator[Found]:
    """A wrapped model's state saved, and loaded into a plain one that passes names it does not know over."""
    loads = [
        c
        for code in run.code
        for c in code.named("load_state_dict")
        if "strict" in c.kwargs and is_off(c.kwargs["strict"]) and not _strips(code)
    ]
    for code in run.code:
        for wrap in code.named(*WRAPPERS):
            for save in code.named("save"):
                state = written(save.args[0]) if save.args else ""
                if wrap.target and state == f"{wrap.target}.state_dict()" and save.order > wrap.order and loads:
                    message = "a wrapped model's names begin with module., and names that do not fit are passed over"
                    yield message, [seen(save), seen(loads[0])], 5.5
                    return


def _strips(code: Code) -> bool:
    said = [written(v) for c in code.calls for v in (*c.args, *c.kwargs.values())] + [c.name for c in code.calls]
    said += [written(a.value) for a in code.assignments]
    return any(STRIPS.search(text) for text in said) or bool(code.named(*WRAPPERS))
