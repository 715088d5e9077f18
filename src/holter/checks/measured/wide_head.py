"""MOD105 logits-wide."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case
from holter.checks.measured.look import evidence, number
from holter.finding import Basis, Clue, Finding, Severity
from holter.run import Run
from holter.stages import Stage

WIDE = 4.0
"""Standard deviation of the logits of an untrained head from which the first loss is more than twice ln C for a few
hundred classes (s^2/2 = 8 against ln 280 = 5.6)."""


class LogitsWide(Check):
    """The logits of the head scatter widely.

    What it looks for: the standard deviation of the logits of a classification head whose first loss is above ln C.

    Why it hurts: the first steps are spent on shrinking the head, with large gradients.

    How to fix it: initialise the head with a standard deviation of about 0.02.

    When to ignore it: for heads that were trained already: their loss is below ln C.

    Threshold: `WIDE` while the loss is above twice ln C.

    Sources: expected first loss is about ln C + s^2/2.
    """

    code = "MOD105"
    name = "logits-wide"
    title = "The logits of the head scatter widely"
    severity = Severity.WARNING
    stage = Stage.FORWARD
    needs = Needs(facts=("logits.std", "first_loss", "first_loss.yardstick", "logits.classes"), config=("num_labels",))

    bad = (
        case(
            "standard deviation 10",
            facts={"logits.std": 10.0, "first_loss": 32.0, "first_loss.yardstick": 5.6, "logits.classes": 280},
            config={"num_labels": 280},
        ),
    )
    good = (
        case(
            "ordinary",
            facts={"logits.std": 0.3, "first_loss": 5.7, "first_loss.yardstick": 5.6, "logits.classes": 280},
            config={"num_labels": 280},
        ),
        case(
            "a trained head",
            facts={"logits.std": 6.0, "first_loss": 0.2, "first_loss.yardstick": 5.6, "logits.classes": 280},
            config={"num_labels": 280},
        ),
    )
    not_enough = (case("no logits", facts={"first_loss": 5.0}),)

    def detect(self, run: Run) -> Iterator[Finding]:
        std, loss = number(run, "logits.std") or 0.0, number(run, "first_loss") or 0.0
        uniform = number(run, "first_loss.yardstick") or 0.0
        if std < WIDE or loss <= 2 * uniform or number(run, "logits.classes") != run.get("num_labels"):
            return
        yield self.finding(
            f"the logits scatter by {std:.3g}, so the first loss is {loss:.4g} instead of about {uniform:.3g}",
            evidence=[evidence(run, "logits.std"), evidence(run, "first_loss"), evidence(run, "first_loss.yardstick")],
            clues=[Clue(cause="head-initialisation", bits=7.0, why="the logits were measured")],
            step=0,
            basis=Basis.MEASURED,
        )
