"""MOD065 weights-outside-optimizer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.look import call_text, seen, written
from holter.checks.script import first_in_each, last_part, texts
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Assignment, Call, Code, Run
from holter.stages import Stage

OPTIMIZERS = regex(r"(?:^|\w)(?:Adam\w*|SGD|Adafactor|Lion\w*|RMSprop|L[Aa][Mm][Bb]|Optimizer|optimizer)$")
PARAMETERS = regex(r"(?<![\w.])([A-Za-z_][\w.]*?)\.(?:named_)?parameters\(")
NEW_PART = regex(
    r"^\(?(?:[\w.]+\.)?([A-Z]\w*(?:Head|Classifier|Projector|Projection|CRF|Predictor|MLP)|Linear|CRF|MLP|ArcMargin\w*"
    r"|(?:SubCenter)?(?:ArcFace|CosFace|SphereFace|Center|ProxyNCA|ProxyAnchor|NormalizedSoftmax|SoftTriple)Loss)\((.*)"
)
"""Constructors of parts that have weights of their own and start from random numbers."""

MODULE = regex(
    r"^(?:torch\.)?nn\.(?:Linear|Conv[123]d|LSTM|GRU|Transformer\w*Layer|MultiheadAttention|BatchNorm\w*|Sequential)\("
)
REGISTERS = regex(
    r"Module(?:List|Dict)|LayerList|Sequential|add_module|add_sublayer|register|setattr|parameters|ParameterList|extend$"
)
"""Modules of PyTorch and Paddle, and calls that make them known to their owner."""

KEY = regex(r"^\{[\w'\". ]+: ")
HELD_FIXED = regex(r"ref|teacher|ema|target|frozen|freeze|momentum|old|probe|eval|metric", re.I)
GROUP_KEYS = frozenset({"lr", "params", "weight_decay"})
METHODS = frozenset(
    {"to", "cuda", "train", "half", "float", "apply", "double", "state_dict", "load_state_dict", "zero_grad"}
)


class WeightsOutsideOptimizer(Check):
    """What it looks for
        A new head (or a loss with weights of its own) that is made beside a model whose parameters alone the optimizer
        gets, or put into the model after the optimizer was made; modules of PyTorch kept in a plain list, which
        ``parameters()`` does not see; and a group of parameters that is filled and never handed to the optimizer.

    Why it hurts
        What the optimizer does not know stays as it was made, at random: gradients reach it and nothing is done with
        them. The rest of the model has to learn around it, and no error is raised.

    How to fix it
        ``chain(model.parameters(), head.parameters())``, or make the head a part of the model; append every group.

    When to ignore it
        When the part is frozen on purpose, or another file gives it to the optimizer.

    Threshold
        None: what is made, and what the optimizer is given, are read from the source.

    Sources
        PyTorch's documentation of ``torch.optim``: an optimizer updates the parameters it was given; the guide of
        pytorch-metric-learning on losses with weights.
    """

    code = "MOD065"
    name = "weights-outside-optimizer"
    title = "A part of the model is not in the optimizer"
    severity = Severity.WARNING
    stage = Stage.UPDATE
    needs = Needs(any_of=(("code",),))
    bad = (
        case(
            "one member of a model",
            files={
                "a.py": "class Net(nn.Module):\n    def __init__(self):\n        self.body = Body()\n"
                "        self.head = nn.Linear(8, 2)\n",
                "b.py": "net = Net()\nopt = Adam(net.body.parameters(), lr=1e-4)\n",
            },
        ),
        script(
            "a head beside the model",
            "net = Encoder(cfg)\nclf_head = ClassifierHead(dim, classes)\n"
            "opt = torch.optim.Adam(net.parameters(), lr=1e-4)\n",
        ),
        script(
            "a linear layer that is called",
            "bert = AutoModel.from_pretrained('x')\nout = nn.Linear(768, 2).to(device)\n"
            "optimizer = AdamW(bert.parameters(), lr=2e-5)\nfor b in loader:\n    loss = f(out(bert(b)[1]), y)\n",
        ),
        script(
            "in Lightning",
            "class Net(LightningModule):\n    def __init__(self):\n        self.encoder = Encoder()\n"
            "        self.head = nn.Linear(8, 2)\n    def forward(self, x):\n"
            "        return self.head(self.encoder(x))\n"
            "    def configure_optimizers(self):\n        return Adam(self.encoder.parameters(), lr=1e-3)\n",
        ),
        script(
            "a group that is not appended",
            "groups = []\ng = {'lr': 1e-5}\ng['params'] = [p for n, p in named if 'b' in n]\n"
            "groups.append(g)\ng = {'lr': 5e-2}\ng['params'] = [p for n, p in named if 'crf' in n]\n"
            "optimizer = AdamW(groups)\n",
        ),
        script("put in later", "opt = Adam(net.parameters(), lr=1e-3)\nnet.fc = nn.Linear(512, 7)\nopt.step()\n"),
        case("a plain list", files={"a.py": "self.heads = [nn.Linear(64, 2) for _ in range(n)]\n"}),
        script("a plain dict", "self.heads = {t: nn.Linear(64, 2) for t in tasks}\n"),
    )
    good = (
        script("a dict of modules", "self.heads = nn.ModuleDict({t: nn.Linear(64, 2) for t in tasks})\n"),
        script(
            "an optimizer made anew",
            "opt = Adam(net.parameters())\nnet.fc = nn.Linear(9, 7)\nopt = Adam(net.fc.parameters())\n",
        ),
        script(
            "a list that becomes modules",
            "layers = [nn.Linear(64, 2) for _ in range(n)]\nself.net = nn.Sequential(*layers)\n",
        ),
        script(
            "both members of a model",
            "class Net(nn.Module):\n    def __init__(self):\n        self.body = Body()\n"
            "        self.head = nn.Linear(8, 2)\nnet = Net()\n"
            "opt = Adam([{'params': net.body.parameters()}, {'params': net.head.parameters(), 'lr': 1e-3}])\n",
        ),
        script(
            "both given",
            "net = Encoder(cfg)\nclf_head = ClassifierHead(dim, classes)\n"
            "opt = torch.optim.Adam(list(net.parameters()) + list(clf_head.parameters()), lr=1e-4)\n",
        ),
        script(
            "put into the model",
            "net = resnet50()\nnet.fc = nn.Linear(2048, 10)\nopt = SGD(net.parameters(), lr=0.1)\n",
        ),
        script(
            "a part of a larger model",
            "head = nn.Linear(8, 2)\nmodel = Whole(Encoder(), head)\nopt = Adam(model.parameters())\n",
        ),
        script(
            "all of itself in Lightning",
            "class Net(LightningModule):\n    def __init__(self):\n        self.encoder = Encoder()\n"
            "        self.head = nn.Linear(8, 2)\n    def configure_optimizers(self):\n"
            "        return Adam(self.parameters(), lr=1e-3)\n",
        ),
        script(
            "a head that shares the table",
            "model = Model(cfg)\nlm_head = LMHead(model, cfg)\nopt = Adam(model.parameters(), lr=1e-4)\n",
        ),
        script(
            "all groups",
            "groups = []\ng = {'lr': 1e-5, 'params': a}\ngroups.append(g)\ng = {'lr': 5e-2, 'params': b}\n"
            "groups.append(g)\noptimizer = AdamW(groups)\n",
        ),
    )
    not_enough = (case("no code"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """The first of each file; groups before heads."""
        for message, evidence in (*first_in_each(run, _outside), *_of_a_member(run)):
            yield self.finding(
                message,
                evidence=evidence,
                clues=clues(message, head_not_trained_or_saved=7.5 if "group" in message else 6.0),
                fix=Fix(summary="Give the optimizer the parameters of every part that is to be trained."),
            )


def _outside(code: Code) -> Iterator[tuple[str, list[Evidence]]]:
    yield from _in_a_list(code)
    made = [call for call in code.calls if OPTIMIZERS.search(last_part(call.name)) and (call.args or call.kwargs)]
    if not made:
        return
    yield from _forgotten_group(code, made)
    yield from _forgotten_part(code, made)
    yield from _put_in_later(code, made)


def _in_a_list(code: Code) -> Iterator[tuple[str, list[Evidence]]]:
    """``self.heads = [nn.Linear(...) for ...]``, where nothing registers the modules of the list."""
    for kept in code.assignments:
        value = kept.value[0] if isinstance(kept.value, list) and kept.value else kept.value
        value = next(iter(value.values()), None) if isinstance(value, dict) else value
        text = KEY.sub("", written(value).lstrip("[ "))
        listed = isinstance(kept.value, (list, dict)) or written(kept.value).startswith(("[", "{"))
        if not listed or not kept.target.startswith("self.") or not MODULE.match(text):
            continue
        registered = any(REGISTERS.search(c.name) and kept.target in call_text(c) for c in code.calls)
        if not registered and not any(c.name.startswith(("mx.", "mlx.")) for c in code.calls):
            shown = Evidence(text=f"{kept.target} = [{text}"[:160], source=kept.source)
            yield (
                f"the modules in {kept.target} stand in a plain list or dict, which hides them from parameters()",
                [shown],
            )
            return


def _put_in_later(code: Code, made: list[Call]) -> Iterator[tuple[str, list[Evidence]]]:
    """A new part of a model whose parameters the optimizer already holds."""
    for optimizer in made:
        given = {match[1] for match in PARAMETERS.finditer(call_text(optimizer))}
        for part in code.assignments:
            owner, _, name = part.target.rpartition(".")
            later = part.order > optimizer.order and part.scope == optimizer.scope and owner in given - {"self"}
            if not later or not name or not (NEW_PART.match(written(part.value)) or MODULE.match(written(part.value))):
                continue
            again = [c for c in (*made, *code.named("add_param_group", "Trainer")) if c.order > part.order]
            if not again and not HELD_FIXED.search(part.target):
                shown = Evidence(text=f"{part.target} = {written(part.value)}"[:160], source=part.source)
                yield f"the optimizer gets no parameters of {part.target}, made after it", [seen(optimizer), shown]
                return


def _forgotten_group(code: Code, made: list[Call]) -> Iterator[tuple[str, list[Evidence]]]:
    """A dict of a group that is bound to a name and not used before the optimizer is made or the name bound again."""
    groups = [a for a in code.assignments if isinstance(a.value, dict) and GROUP_KEYS & set(map(str, a.value))]
    for group in groups:
        optimizer = next((call for call in made if call.order > group.order and call.scope == group.scope), None)
        if optimizer is None or not group.target.isidentifier():
            continue
        again = [a.order for a in groups if a.target == group.target and a.order > group.order]
        end = min([*again, optimizer.order + 1])
        name = re.compile(rf"(?<![\w.'\"]){re.escape(group.target)}(?![\w'\"])")
        used = any(
            name.search(call_text(call).partition("(")[2]) for call in code.calls if group.order < call.order < end
        )
        used = used or any(
            name.search(written(a.value)) for a in code.assignments if group.order < a.order < end and a is not group
        )
        others = [other for other in groups if other is not group and other.scope == group.scope]
        filled = "params" in group.value or any(
            a.target.startswith(f"{group.target}[") and group.order < a.order < end for a in code.assignments
        )
        if not used and others and filled:
            shown = Evidence(text=f"{group.target} = {written(group.value)}"[:160], source=group.source)
            yield "a group of parameters is made and never given to the optimizer", [shown, seen(optimizer)]
            return


def _forgotten_part(code: Code, made: list[Call]) -> Iterator[tuple[str, list[Evidence]]]:
    """A head that stands beside the model and is named nowhere where parameters are gathered."""
    owners = {match[1] for text in texts(code) for match in PARAMETERS.finditer(text)}
    owners |= {call.name.rpartition(".")[0] for call in code.calls if call.name.endswith("parameters")}
    for optimizer in made:
        given = {match[1] for match in PARAMETERS.finditer(call_text(optimizer))}
        if not given or "self" in given:
            continue
        for part in code.assignments:
            match = NEW_PART.match(written(part.value))
            beside = part.scope == optimizer.scope and "." not in part.target and part.order < optimizer.order
            own = part.target.startswith("self.") and _class(part.scope) == _class(optimizer.scope) != ""
            if match is None or not (beside or own) or part.target in owners or HELD_FIXED.search(part.target):
                continue
            shares = any(re.search(rf"(?<![\w.]){re.escape(owner)}\b(?!\.)", match[2]) for owner in given)
            if not shares and not _handed_on(code, part):
                shown = Evidence(text=f"{part.target} = {written(part.value)}"[:160], source=part.source)
                yield f"the optimizer gets no parameters of {part.target}", [shown, seen(optimizer)]
                return


def _of_a_member(run: Run) -> Iterator[tuple[str, list[Evidence]]]:
    """An optimizer that gets one member of a model, whose class gives it a new head beside that member."""
    everything = [text for code in run.code for text in (*texts(code), *map(call_text, code.calls))]
    owners = {match[1] for text in everything for match in PARAMETERS.finditer(text)}
    for optimizer in (call for code in run.code for call in code.calls if OPTIMIZERS.search(last_part(call.name))):
        given = [match[1].rpartition(".") for match in PARAMETERS.finditer(call_text(optimizer))]
        whole = {owner for owner, _, _ in given}
        if len(whole) != 1 or "" in whole or "self" in whole or whole & owners:
            continue
        trained = {last_part(owner) for owner in owners}
        for part in (a for code in run.code for a in code.assignments if a.target.startswith("self.")):
            beside = [a.target for code in run.code for a in code.assignments if a.scope == part.scope]
            match, name = NEW_PART.match(written(part.value)), part.target.removeprefix("self.")
            held = name in trained or HELD_FIXED.search(name) is not None
            if match is not None and not held and all(f"self.{member}" in beside for _, _, member in given):
                shown = Evidence(text=f"{part.target} = {written(part.value)}"[:160], source=part.source)
                yield f"the optimizer gets no parameters of {part.target}", [shown, seen(optimizer)]
                return


def _class(scope: str) -> str:
    return scope.rpartition(".")[0]


def _handed_on(code: Code, part: Assignment) -> bool:
    """Whether the part goes into another object, or is made again, frozen or replaced."""
    name = re.compile(rf"(?<![\w.]){re.escape(part.target)}(?![\w(])(?!\.(?:weight|bias|to\b))")
    for call in code.calls:
        owner, _, method = call.name.rpartition(".")
        if owner == part.target and method not in METHODS:
            return True
        if any(name.search(written(value)) for value in (*call.args, *call.kwargs.values())) and owner != part.target:
            return True
    for other in code.assignments:
        if other is not part and (other.target == part.target or name.search(written(other.value))):
            return True
    return False
