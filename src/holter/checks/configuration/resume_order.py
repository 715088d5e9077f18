"""CFG030 state-loaded-too-early."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.look import seen, written
from holter.checks.script import first_in_each, last_part, receiver
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Call, Code, Run
from holter.stages import Stage

OPTIMIZER = regex(r"optim|^opt(?:_\w+)?$", re.I)
SCHEDULER = regex(r"sched", re.I)
MAKES_SCHEDULE = regex(r"LR$|schedul|WarmRestarts$", re.I)
MAKES_OPTIMIZER = regex(r"optim|adam|sgd|lion|adafactor|lamb\b|rmsprop", re.I)
SHARED = regex(r"^self\.(\w+)\.param_groups$")


class StateLoadedTooEarly(Check):
    """What it looks for
        State that is loaded into an optimizer and lost again in the next lines: the optimizer is made anew, a
        scheduler is made for it without ``last_epoch``, or an optimizer that shares ``param_groups`` with one inside it
        loads state without linking them again.

    Why it hurts
        A new optimizer has no averages. Making a scheduler writes its first rate into the optimizer, over the rate
        that was just loaded. And loading replaces ``param_groups`` by a copy, so a scheduler then changes groups that
        the inner optimizer does not read.

    How to fix it
        Make model, optimizer and scheduler first, then load the state of all of them.

    When to ignore it
        When the schedule is meant to start anew.

    Threshold
        None: the order of calls is read.

    Sources
        PyTorch's note on the order of schedulers and ``Optimizer.load_state_dict``, and the code of the latter.
    """

    code = "CFG030"
    name = "state-loaded-too-early"
    title = "Loaded state is overwritten before training"
    severity = Severity.WARNING
    stage = Stage.RESUME
    needs = Needs(any_of=(("code",),))
    bad = (
        script(
            "made anew",
            "opt.load_state_dict(saved['opt'])\nopt = torch.optim.AdamW(net.parameters(), lr=1e-4)\nopt.step()\n",
        ),
        script(
            "schedule made later",
            "optimizer.load_state_dict(saved['o'])\n"
            "sched = CosineAnnealingLR(optimizer, T_max=90)\nsched.load_state_dict(saved['s'])\n",
        ),
        script(
            "groups shared",
            "class Twice(Optimizer):\n    def __init__(self, params, inner):\n"
            "        self.inner = inner(self.param_groups)\n"
            "        self.param_groups = self.inner.param_groups\n"
            "opt = Twice(net.parameters(), SGD)\nopt.load_state_dict(saved)\n",
        ),
    )
    good = (
        script(
            "in order",
            "opt = AdamW(net.parameters())\nsched = CosineAnnealingLR(opt, T_max=90)\n"
            "opt.load_state_dict(saved['o'])\nsched.load_state_dict(saved['s'])\n",
        ),
        script("at its epoch", "opt.load_state_dict(s)\nsched = StepLR(opt, step_size=30, last_epoch=start - 1)\n"),
        script(
            "one or the other", "if resume:\n    opt.load_state_dict(s)\nelse:\n    opt = AdamW(net.parameters())\n"
        ),
        script(
            "groups linked again",
            "class Twice(Optimizer):\n    def __init__(self, params, inner):\n"
            "        self.inner = inner(self.param_groups)\n"
            "        self.param_groups = self.inner.param_groups\n"
            "    def load_state_dict(self, s):\n        super().load_state_dict(s)\n"
            "        self.inner.param_groups = self.param_groups\n"
            "opt = Twice(net.parameters(), SGD)\nopt.load_state_dict(saved)\n",
        ),
    )
    not_enough = (case("no code"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """The first such order in each file."""
        for message, evidence, bits in first_in_each(run, _overwritten):
            yield self.finding(
                message,
                evidence=evidence,
                clues=clues(message, resume_state_lost=bits),
                fix=Fix(summary="Make optimizer and scheduler first, then load the state of both."),
            )


def _overwritten(code: Code) -> Iterator[tuple[str, list[Evidence], float]]:
    loads = [call for call in code.named("load_state_dict") if OPTIMIZER.search(last_part(receiver(call)))]
    for load in loads:
        name = receiver(load)
        for later in code.calls:
            if not _always_after(later, load):
                continue
            given = [written(value) for value in (*later.args, *later.kwargs.values())]
            anew = later.target == name and any("parameters" in text or "params" in text for text in given)
            if anew and name not in given and MAKES_OPTIMIZER.search(later.name):
                yield "an optimizer is made anew after its state was loaded", [seen(load), seen(later)], 6.0
            elif _schedules(later, name, given) and not _caught_up(code, later):
                yield "a scheduler made after loading overwrites the loaded rate", [seen(load), seen(later)], 5.5
    for assignment in code.assignments:
        shared = SHARED.match(written(assignment.value)) if assignment.target == "self.param_groups" else None
        owner = assignment.scope.rpartition(".")[0]
        scopes = [item.scope for item in code.calls] + [item.scope for item in code.assignments]
        links_again = any(scope.startswith(f"{owner}.load_state_dict") for scope in scopes)
        if shared is not None and owner and loads and not links_again:
            text = f"self.param_groups = {written(assignment.value)}, and no load_state_dict of its own"
            yield (
                "loading state cuts the optimizer off from the one inside it",
                [Evidence(text=text, source=assignment.source), seen(loads[0])],
                5.5,
            )


def _always_after(later: Call, load: Call) -> bool:
    """Whether a call runs after the load, in the same function, wherever the load ran."""
    return later.order > load.order and later.scope == load.scope and all(g in load.guards for g in later.guards)


def _schedules(call: Call, optimizer: str, given: list[str]) -> bool:
    made = SCHEDULER.search(last_part(call.target)) is not None and MAKES_SCHEDULE.search(last_part(call.name))
    return bool(made) and optimizer in given and "last_epoch" not in call.kwargs


def _caught_up(code: Code, made: Call) -> bool:
    """Whether the new schedule is stepped to its place in a loop of its own."""
    steps = [c for c in code.calls if c.name == f"{made.target}.step" and c.order > made.order]
    return bool(steps) and any("range" in written(c.name) for c in code.calls if made.order < c.order < steps[0].order)
