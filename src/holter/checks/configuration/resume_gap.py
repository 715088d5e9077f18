"""CFG091 resume-leaves-out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.configuration.resume_partial import OPTIMIZER, SCHEDULER, WHOLE
from holter.checks.look import call_text, is_off, is_on, known, seen, written
from holter.checks.script import argument, first_in_each, last_part, mentions, receiver, texts
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Assignment, Call, Code, Run
from holter.stages import Stage

COUNTED = regex(
    r"start\w*_?(?:ep\w*|iter\w*|step\w*|batch\w*)\b|(?:resume|initial|first|begin|last|current)_?(?:epoch|step|iter)"
    r"|global_?step|completed|skip_first_batches|islice|epochs?_(?:run|done|trained|start)"
    r"|\[['\"]\w*(?:epoch|step|iter)\w*['\"]\]|get\(['\"]\w*(?:epoch|step|iter)|\bfine_?tun"
)
"""Anything by which a loop may begin where the last run ended, or is meant to begin anew."""

RESTORES = regex(r"(?:^|\.)(?:resume|restore|load)_?\w*$", re.I)
MAKES_SCHEDULE = regex(r"(?:LR|WarmRestarts)$|sche(?:d|\b|_)", re.I)
FLAG = regex(r"^if \(?(?:\w+\.)*(?P<name>\w+)\)?(?: and .*)?$")
OFF_BY_DEFAULT = regex(r"\bdefaults?\b.{0,20}\b(?:false|off|0)\b|\b(?:false|off) by default\b|\bnot set by default\b")


class ResumeLeavesOut(Check):
    """What it looks for
        A run that goes on from a checkpoint, and an epoch loop that begins at 0 although the states of optimizer and
        schedule were loaded; a schedule that is saved and not loaded beside the optimizer, that is loaded only under a
        flag that is off by default, or that is made anew for an optimizer whose state a function has taken up.

    Why it hurts
        The schedule starts anew, warmup included, or the run goes on past its end with the rate of its last step.

    How to fix it
        Save the epoch and start the loop behind it; load the state of the schedule wherever that of the optimizer is
        loaded, or give ``last_epoch``.

    When to ignore it
        When a new stage with a schedule of its own is meant to start.

    Threshold
        None: the order of calls and the defaults of flags are read.

    Sources
        PyTorch's tutorial on saving a general checkpoint, and its documentation of ``last_epoch``.
    """

    code = "CFG091"
    name = "resume-leaves-out"
    title = "Resuming leaves the epoch or the schedule behind"
    severity = Severity.WARNING
    stage = Stage.RESUME
    needs = Needs(any_of=(("code",),))
    bad = (
        script(
            "from epoch 0",
            "net.load_state_dict(c['net'])\nopt.load_state_dict(c['opt'])\nsched.load_state_dict(c['s'])\n"
            "for epoch in range(args.epochs):\n",
        ),
        script(
            "saved, not loaded",
            "torch.save({'m': net.state_dict(), 'o': opt.state_dict(), 's': sched.state_dict()}, path)\n"
            "c = torch.load(path)\nnet.load_state_dict(c['m'])\nopt.load_state_dict(c['o'])\n",
        ),
        script(
            "a flag",
            "p.add_argument('--load_sched', action='store_true')\nnet.load_state_dict(c['m'])\n"
            "if args.load_sched:\n    sched.load_state_dict(c['s'])\n",
        ),
        script(
            "a schedule after a function",
            "resume_optimizer(optimizer, args)\nscheduler = build_scheduler(optimizer, cfg)\n",
        ),
    )
    good = (
        script(
            "from its epoch",
            "net.load_state_dict(c['net'])\nopt.load_state_dict(c['opt'])\nstart = c['epoch'] + 1\n"
            "for epoch in range(start, 90):\n    train(net)\n",
        ),
        script(
            "all loaded",
            "torch.save({'m': net.state_dict(), 'o': opt.state_dict(), 's': sched.state_dict()}, path)\n"
            "c = torch.load(path)\nnet.load_state_dict(c['m'])\nopt.load_state_dict(c['o'])\n"
            "sched.load_state_dict(c['s'])\n",
        ),
        script(
            "a flag that is on",
            "p.add_argument('--load_sched', default=True)\nnet.load_state_dict(c['m'])\n"
            "if args.load_sched:\n    sched.load_state_dict(c['s'])\n",
        ),
        script(
            "a schedule at its epoch",
            "resume_optimizer(optimizer, args)\nscheduler = build_scheduler(optimizer, last_epoch=7)\n",
        ),
    )
    not_enough = (case("no code"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """The first of each file."""
        for message, evidence in first_in_each(run, lambda code: _left_out(code, run)):
            yield self.finding(
                message,
                evidence=evidence,
                clues=clues(message, resume_state_lost=6.0),
                fix=Fix(summary="Save and load the epoch and the state of the schedule with the optimizer's."),
            )


Found = tuple[str, list[Evidence]]


def _left_out(code: Code, run: Run) -> Iterator[Found]:
    loads = [c for c in code.named("load_state_dict") if c.args]
    optimizers = [c for c in loads if OPTIMIZER.search(receiver(c)) and not SCHEDULER.search(receiver(c))]
    schedules = [c for c in loads if SCHEDULER.search(receiver(c))]
    weights = [c for c in loads if c not in optimizers and c not in schedules]
    if optimizers and weights:
        yield from _from_the_start(code, optimizers[0])
    if optimizers and not schedules:
        yield from _not_loaded(code, optimizers[0])
    for load in (*optimizers, *schedules):
        yield from _by_a_flag(code, run, load, weights)
    if not schedules:
        yield from _made_anew(code)


def _from_the_start(code: Code, load: Call) -> Iterator[Found]:
    said = (*texts(code), *(a.target for a in code.assignments), *(g for c in code.calls for g in c.guards))
    if any(COUNTED.search(text) for text in (*said, *(c.name for c in code.calls))):
        return
    for call in code.named("range"):
        first = call.args[0] if len(call.args) > 1 else 0
        at_start = call.order > load.order and first in (0, 1) and not call.loops and call.args
        loaded = load.scope in ("", call.scope) or any(
            last_part(c.name) == last_part(load.scope) and c.scope == call.scope for c in code.calls
        )
        if at_start and "epoch" in written(call.args[-1]).lower() and loaded:
            yield (
                f"{receiver(load)} is loaded from a checkpoint, and the loop over epochs begins anew",
                [
                    seen(load),
                    seen(call),
                ],
            )


def _not_loaded(code: Code, load: Call) -> Iterator[Found]:
    saved = next(((s, name) for s, name in _saved(code) if SCHEDULER.search(name)), None)
    placed = mentions(code, "last_epoch") or any("last_epoch" in c.kwargs for c in code.calls)
    if saved is not None and not placed and not any(WHOLE.search(last_part(c.name)) for c in code.calls):
        taken = any(SCHEDULER.search(t) and re.search(r"\[['\"]", t) and "state_dict()" not in t for t in texts(code))
        if not taken:
            yield (
                f"the state of {saved[1]} is saved, and only that of {receiver(load)} is loaded",
                [
                    saved[0],
                    seen(load),
                ],
            )


def _saved(code: Code) -> Iterator[tuple[Evidence, str]]:
    """States that are put into a checkpoint, with the name of their owner."""
    items: list[Call | Assignment] = [*code.calls, *code.assignments]
    for item in items:
        text = call_text(item) if isinstance(item, Call) else written(item.value)
        for owner in re.findall(r"([\w.]+)\.state_dict\(\)", text):
            yield Evidence(text=text[:160], source=item.source), owner


def _by_a_flag(code: Code, run: Run, load: Call, weights: list[Call]) -> Iterator[Found]:
    """State that is loaded where a flag is on, and the flag is off unless somebody sets it."""
    besides = [c for c in weights if not set(load.guards) - set(c.guards)]
    stored = any(owner == receiver(load) for _, owner in _saved(code))
    for guard in load.guards:
        match = FLAG.match(guard)
        if match is None or besides or not (weights or stored) or any(guard in c.guards for c in weights):
            continue
        name = match["name"]
        given = known(run, name)
        if given is not None and is_on(given.plain) and not given.value.is_default:
            continue
        options = [c for c in code.named("add_argument") if _option(c) == name]
        off = any(c.kwargs.get("action") == "store_true" or is_off(c.kwargs.get("default", True)) for c in options)
        off = off or any(a.target == name and a.value is False for a in code.assignments)
        if off or any(OFF_BY_DEFAULT.search(comment.lower()) for comment in code.comments):
            shown = Evidence(text=guard, source=load.source)
            yield (
                f"the state of {receiver(load)} is loaded only under {name}, which is off by default",
                [
                    shown,
                    seen(load),
                ],
            )


def _option(call: Call) -> str:
    names = [text for text in map(written, call.args) if text.startswith("-")]
    return max(names, key=len).lstrip("-").replace("-", "_") if names else ""


def _made_anew(code: Code) -> Iterator[Found]:
    """A schedule for an optimizer whose state a function has loaded."""
    for taken in code.calls:
        names = [text for text in map(written, taken.args) if OPTIMIZER.search(text) and text.isidentifier()]
        if not names or not RESTORES.search(taken.name) or not OPTIMIZER.search(last_part(taken.name)):
            continue
        for made in code.calls:
            later = made.order > taken.order and made.scope == taken.scope and names[0] in map(written, made.args)
            if not later or not MAKES_SCHEDULE.search(last_part(made.name)) or not made.target:
                continue
            after = [c for c in code.calls if c.order > made.order and RESTORES.search(c.name)]
            told = argument(made, 9, "last_epoch") is not None or "epoch" in call_text(made)
            if not told and not any(made.target in map(written, c.args) for c in after):
                yield (
                    f"{made.target} is made anew after the state of {names[0]} was taken up",
                    [
                        seen(taken),
                        seen(made),
                    ],
                )
