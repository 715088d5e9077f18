"""GRD008 rate-stays-zero."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case, clues
from holter.checks.measured.replayed import evidence, number
from holter.finding import Basis, Finding, Severity
from holter.run import Run
from holter.stages import Stage

LEAST = 10  # a warmup passes through 0 once


class RateStaysZero(Check):
    """What it looks for
        A learning rate of exactly 0 in each of ten optimizer steps in a row, read from the optimizer.

    Why it hurts
        No weight moves.

    How to fix it
        Look at learning_rate, at warmup, and at the order of scheduler and optimizer.

    When to ignore it
        After the planned end of a schedule.

    Threshold
        Ten steps: a warmup passes through 0 once, a decay ends in it once.

    Sources
        The optimizer's parameter groups.
    """

    code = "GRD008"
    name = "rate-stays-zero"
    title = "The learning rate in effect stays at 0"
    severity = Severity.ERROR
    stage = Stage.SCHEDULE
    needs = Needs(facts=("guard.zero_rate_steps",))
    bad = (case("ten steps", facts={"guard.zero_rate_steps": 10}),)
    good = (
        case("none", facts={"guard.zero_rate_steps": 0}),
        case("the first step of a warmup", facts={"guard.zero_rate_steps": 1}),
    )
    not_enough = (case("nothing was measured"),)

    def detect(self, run: Run) -> Iterator[Finding]:
        """One finding."""
        steps = number(run, "guard.zero_rate_steps")
        if not steps >= LEAST:
            return
        yield self.finding(
            f"The learning rate was 0 in {steps:.0f} optimizer steps in a row",
            evidence=[evidence(run, "guard.zero_rate_steps", f"steps at a rate of 0: {steps:.0f}")],
            clues=clues("the optimizer's rate was read", lr_zero=8),
            basis=Basis.MEASURED,
        )
