"""CFG055 epoch-schedule-stepped-by-batch."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.look import plain, seen, written
from holter.checks.script import argument, first_in_each, last_part, receiver
from holter.checks.symptoms import number
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Call, Code, Run
from holter.stages import Stage

SCHEDULER = regex(r"sched|lr_s\b|plateau", re.I)
PLATEAU = "ReduceLROnPlateau"
DROPS = ("StepLR", "MultiStepLR", "ExponentialLR", PLATEAU)
IN_EPOCHS = regex(r"epoch", re.I)
EVERY_SO_OFTEN = regex(r"%|epoch|last|end_of|valid|eval|is_first", re.I)
"""Guards under which a scheduler is not stepped at every batch."""

SOON = 500.0
"""Batches; a rate that is down to a hundredth by then is gone within the first epochs of nearly every data set."""

A_HUNDREDTH = math.log(100.0)
PATIENCE, FACTOR, GAMMA = 10.0, 0.1, 0.1
"""PyTorch's defaults of ReduceLROnPlateau and StepLR."""

LOOPS = 2
"""One over epochs, one over batches."""

STEP_FUNCTIONS = regex(r"(?:^|[._])(?:train|training)?_?(?:step|batch|iteration|iter)$", re.I)


class EpochScheduleByBatch(Check):
    """What it looks for
        A scheduler that lowers the rate after some epochs (StepLR, MultiStepLR, ExponentialLR, ReduceLROnPlateau) and
        is stepped beside the optimizer, for every batch.

    Why it hurts
        Seven batches count as seven epochs: within some hundred updates the rate is nothing, and the loss stands still.
        A plateau scheduler judges single batches, of which hardly one is better than the best before it.

    How to fix it
        Step it after the loop over the batches, once an epoch; or count its lengths in updates.

    When to ignore it
        When its lengths were meant in updates.

    Threshold
        Down to a hundredth within `SOON` batches, or a length that is named after epochs.

    Sources
        PyTorch's documentation of ``torch.optim.lr_scheduler`` ("how to adjust learning rate") and of each class.
    """

    code = "CFG055"
    name = "epoch-schedule-stepped-by-batch"
    title = "A schedule of epochs is stepped for every batch"
    severity = Severity.WARNING
    stage = Stage.SCHEDULE
    needs = Needs(any_of=(("code",),))
    bad = (
        script(
            "every batch",
            "decay = lr_scheduler.StepLR(opt, step_size=5, gamma=0.2)\nfor e in range(epochs):\n"
            "    for x, y in loader:\n        loss.backward()\n        opt.step()\n        scheduler.step()\n",
        ),
        script(
            "one loop shown",
            "scheduler = MultiStepLR(opt, [30, 60])\nfor x, y in loader:\n    loss.backward()\n"
            "    opt.step()\n    scheduler.step()\n",
        ),
        script(
            "named after epochs",
            "sched = StepLR(opt, args.decay_epochs)\nfor x, y in loader:\n    loss.backward()\n"
            "    opt.step()\n    sched.step()\n",
        ),
        script(
            "a plateau",
            "plateau_scheduler = ReduceLROnPlateau(opt, patience=3)\nfor x, y in loader:\n"
            "    loss.backward()\n    opt.step()\n    plateau_scheduler.step(loss)\n",
        ),
        script(
            "in the function of a step",
            "class T:\n    def train_step(self, x):\n        loss.backward()\n        self.opt.step()\n"
            "        if isinstance(self.scheduler, ReduceLROnPlateau):\n            self.scheduler.step(loss)\n",
        ),
    )
    good = (
        script(
            "every epoch",
            "scheduler = StepLR(opt, step_size=5)\nfor e in range(epochs):\n    for x, y in loader:\n"
            "        loss.backward()\n        opt.step()\n    scheduler.step()\n",
        ),
        script(
            "counted in updates",
            "scheduler = StepLR(opt, step_size=20000, gamma=0.5)\nfor x, y in loader:\n"
            "    loss.backward()\n    opt.step()\n    scheduler.step()\n",
        ),
        script(
            "at the end of an epoch",
            "scheduler = StepLR(opt, step_size=5)\nfor i, x in enumerate(loader):\n    loss.backward()\n"
            "    opt.step()\n    if (i + 1) % len(loader) == 0:\n        scheduler.step()\n",
        ),
        script(
            "a slow decay",
            "scheduler = ExponentialLR(opt, gamma=0.9999)\nfor x, y in loader:\n    loss.backward()\n"
            "    opt.step()\n    scheduler.step()\n",
        ),
    )
    not_enough = (case("no code"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """The first of each file."""
        in_epochs = "epoch" in written(plain(run, "schedule_unit")).lower()
        for made, stepped in first_in_each(run, lambda code: _stepped_by_batch(code, in_epochs)):
            yield self.finding(
                "a schedule that counts epochs is stepped for every batch",
                evidence=[*made, seen(stepped)],
                clues=clues("the rate is gone within some hundred updates", scheduler_step_mismatch=6.0, lr_zero=1.0),
                fix=Fix(summary="Step the scheduler after the loop over the batches."),
            )


def _stepped_by_batch(code: Code, in_epochs: bool) -> Iterator[tuple[list[Evidence], Call]]:
    """What makes the scheduler, and the call that steps it."""
    made = [call for call in code.calls if last_part(call.name) in DROPS]
    for step in code.named("step"):
        if not SCHEDULER.search(receiver(step)) or not _beside_backward(code, step):
            continue
        guards = " ".join(step.guards)
        if PLATEAU in guards and "not" not in guards and step.args:
            yield [Evidence(text=guards, source=step.source)], step
        elif EVERY_SO_OFTEN.search(guards.replace(PLATEAU, "")):
            continue
        for call in made if PLATEAU not in guards else ():
            if _of(call, step, made) and _soon(call):
                yield [seen(call)], step
        if in_epochs and not made and not guards:
            yield [], step


def _beside_backward(code: Code, step: Call) -> bool:
    """Whether it runs as often as the backward pass, which runs for every batch."""
    beside = [c for c in code.named("backward") if c.scope == step.scope and c.loop_depth == step.loop_depth]
    return step.loop_depth >= LOOPS or bool(
        beside and (step.loop_depth > 0 or STEP_FUNCTIONS.search(step.scope) is not None)
    )


def _of(call: Call, step: Call, made: list[Call]) -> bool:
    """Whether a step belongs to a scheduler: by its name, or since it is the only one."""
    return last_part(call.target) == last_part(receiver(step)) or len(made) == 1


def _soon(call: Call) -> bool:
    """Whether the rate is down to a hundredth after few steps, or the length is named after epochs."""
    kind = last_part(call.name)
    if kind == "ExponentialLR":
        return _decay(1.0, argument(call, 1, "gamma"), None) <= SOON
    if kind == PLATEAU:
        patience = argument(call, 3, "patience")
        return _decay(patience if patience is not None else PATIENCE, argument(call, 2, "factor"), FACTOR) <= SOON
    length = argument(call, 1, "step_size", "milestones")
    if IN_EPOCHS.search(written(length)):
        return True
    if isinstance(length, (list, tuple)):
        values = [number(item) for item in length]
        return bool(values) and all(value is not None and value <= SOON for value in values)
    return _decay(length, argument(call, 2, "gamma"), GAMMA) <= SOON


def _decay(every: Any, factor: Any, default: float | None) -> float:
    """Steps until the rate is a hundredth; infinite where that is not known."""
    length, share = number(every), number(factor) if factor is not None else default
    if length is None or share is None or not 0.0 < share < 1.0:
        return math.inf
    return length * A_HUNDREDTH / -math.log(share)
