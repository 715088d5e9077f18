"""MOD104 first-loss-above-yardstick."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case
from holter.checks.measured.look import evidence, number
from holter.finding import Basis, Clue, Finding, Severity
from holter.run import Run
from holter.stages import Stage

TIMES = 2.0
"""Times the expected first loss: the expectation is exact for small spreads and an upper bound for large ones, and a
batch of eight rows scatters by less than a third."""


class FirstLossAboveYardstick(Check):
    """The first loss is far above what its logits explain.

    What it looks for: the loss of the first batch against ln C + s^2/2, for C outputs whose logits scatter with
    standard deviation s.

    Why it hurts: labels that do not fit the outputs, shifted labels or a head that was loaded wrongly start above it.

    How to fix it: look at one decoded row with its labels, and at the list of newly initialised weights.

    When to ignore it: for losses that are no cross entropy.

    Threshold: `TIMES` the expectation.

    Sources: mean of a lognormal sum; for large s the loss grows like s sqrt(2 ln C).
    """

    code = "MOD104"
    name = "first-loss-above-yardstick"
    title = "The first loss is far above what its logits explain"
    severity = Severity.WARNING
    stage = Stage.LOSS
    needs = Needs(facts=("first_loss", "first_loss.yardstick", "first_loss.expected"))

    bad = (
        case(
            "three times",
            facts={"first_loss": 20.0, "first_loss.yardstick": 5.6, "first_loss.expected": 6.1, "logits.std": 1.0},
        ),
    )
    good = (
        case("as expected", facts={"first_loss": 6.2, "first_loss.yardstick": 5.6, "first_loss.expected": 6.1}),
        case("a trained model", facts={"first_loss": 0.4, "first_loss.yardstick": 5.6, "first_loss.expected": 9.0}),
    )
    not_enough = (case("no loss", facts={"logits.std": 1.0}),)

    def detect(self, run: Run) -> Iterator[Finding]:
        loss, expected = number(run, "first_loss") or 0.0, number(run, "first_loss.expected") or 0.0
        if loss <= TIMES * expected:
            return
        yield self.finding(
            f"the first loss is {loss:.4g}, its logits explain {expected:.4g}",
            evidence=[evidence(run, "first_loss"), evidence(run, "first_loss.expected"), evidence(run, "logits.std")],
            clues=[
                Clue(cause="label-shift-error", bits=1.5, why="targets and logits do not belong together"),
                Clue(cause="weights-loaded-wrong", bits=1.5, why="a confident wrong answer needs trained weights"),
            ],
            step=0,
            basis=Basis.MEASURED,
        )
