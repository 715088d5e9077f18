"""MOD101 new-head-frozen."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case
from holter.checks.measured.look import evidence, plain
from holter.finding import Basis, Change, Clue, Finding, Fix, Severity
from holter.run import Run
from holter.stages import Stage


class NewHeadFrozen(Check):
    """The task head does not train.

    What it looks for: whether any tensor of the task head takes a gradient.

    Why it hurts: a new head keeps its random values: the adapters can only learn to work around it, and it is not
    saved either.

    How to fix it: add the head to modules_to_save of the LoraConfig, or set task_type.

    When to ignore it: when the head was trained before and is frozen on purpose.

    Threshold: none of its tensors trains.

    Sources: PEFT, modules_to_save.
    """

    code = "MOD101"
    name = "new-head-frozen"
    title = "The task head does not train"
    severity = Severity.ERROR
    stage = Stage.UPDATE
    needs = Needs(facts=("trainable.head", "trainable.head_trains"))

    bad = (case("frozen score", facts={"trainable.head": "score", "trainable.head_trains": False}),)
    good = (
        case("trains", facts={"trainable.head": "score", "trainable.head_trains": True}),
        case(
            "by modules_to_save",
            facts={
                "trainable.head": "classifier",
                "trainable.head_trains": True,
                "trainable.groups": {"saved module": 10},
            },
        ),
    )
    not_enough = (case("no head", facts={"trainable.parameters": 9}),)

    def detect(self, run: Run) -> Iterator[Finding]:
        if plain(run, "trainable.head_trains") is not False:
            return
        head = plain(run, "trainable.head")
        yield self.finding(
            f"the head {head} does not train",
            evidence=[evidence(run, "trainable.head_trains"), evidence(run, "trainable.head")],
            clues=[Clue(cause="head-not-trained-or-saved", bits=8.0, why="no tensor of it takes a gradient")],
            fix=Fix(summary=f"add {head} to modules_to_save", changes=(Change(key="modules_to_save", new=[head]),)),
            basis=Basis.MEASURED,
        )
