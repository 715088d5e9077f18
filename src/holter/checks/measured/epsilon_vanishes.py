"""NUM104 epsilon-rounds-to-zero."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case
from holter.checks.measured.look import evidence, number, plain
from holter.finding import Basis, Change, Clue, Finding, Fix, Severity
from holter.run import Run
from holter.stages import Stage

SMALLEST = {"float16": 2.0**-25, "bfloat16": 2.0**-134}


class EpsilonRoundsToZero(Check):
    """The optimizer's eps is 0 in its dtype.

    What it looks for: adam_epsilon against the smallest number above zero of the dtype the moments are kept in.

    Why it hurts: where the second moment is 0 too, the update is 0 / 0: the weights become nan in the first
    step.

    How to fix it: keep trainable weights in fp32, or raise adam_epsilon to 1e-6 or more.

    When to ignore it: never.

    Threshold: half the smallest subnormal number rounds to 0: 2^-25 in fp16, 2^-134 in bf16.

    Sources: IEEE 754.
    """

    code = "NUM104"
    name = "epsilon-rounds-to-zero"
    title = "The optimizer's eps is 0 in its dtype"
    severity = Severity.ERROR
    stage = Stage.UPDATE
    needs = Needs(facts=("optimizer.epsilon", "optimizer.state_dtypes"))

    bad = (case("1e-8 in fp16", facts={"optimizer.epsilon": 1e-8, "optimizer.state_dtypes": ["float16"]}),)
    good = (
        case("1e-8 in bf16", facts={"optimizer.epsilon": 1e-8, "optimizer.state_dtypes": ["bfloat16"]}),
        case("1e-6 in fp16", facts={"optimizer.epsilon": 1e-6, "optimizer.state_dtypes": ["float16"]}),
    )
    not_enough = (case("no step was made", facts={"optimizer.epsilon": 1e-8}),)

    def detect(self, run: Run) -> Iterator[Finding]:
        epsilon = number(run, "optimizer.epsilon") or 0.0
        lost = [d for d in plain(run, "optimizer.state_dtypes") or [] if epsilon <= SMALLEST.get(d, -1.0)]
        if lost:
            yield self.finding(
                f"eps {epsilon:g} is 0 in {lost[0]}, the dtype of the moments",
                evidence=[evidence(run, "optimizer.epsilon"), evidence(run, "optimizer.state_dtypes")],
                clues=[Clue(cause="optimizer-eps-underflow", bits=8.0, why="both were read from the optimizer")],
                fix=Fix(summary="raise adam_epsilon", changes=(Change(key="adam_epsilon", old=epsilon, new=1e-6),)),
                basis=Basis.MEASURED,
            )
