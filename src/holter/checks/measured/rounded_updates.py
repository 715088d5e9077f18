"""MOD103 most-updates-rounded-away."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case
from holter.checks.measured.look import evidence, number
from holter.finding import Basis, Clue, Finding, Severity
from holter.run import Run
from holter.stages import Stage

MANY = 0.5
"""Share of half-precision weights that did not change in two steps at the full rate: from here on most of the training
is lost to rounding."""


class UpdatesRoundedAway(Check):
    """Most updates are smaller than the spacing of the weights.

    What it looks for: weights held in bf16 or fp16 that are bit for bit the same after two real steps at the full
    rate.

    Why it hurts: the update is rounded away, so a small learning rate learns nothing however long it runs.

    How to fix it: keep trainable weights in fp32 (bf16=True instead of torch_dtype=bfloat16), or raise the rate.

    When to ignore it: with optimizers that carry the rounding error along (Kahan summation, stochastic rounding).

    Threshold: `MANY` of the elements.

    Sources: bfloat16 has 8 significant bits: a weight of 1.0 moves in steps of 0.0078.
    """

    code = "MOD103"
    name = "most-updates-rounded-away"
    title = "Most updates are smaller than the spacing of the weights"
    severity = Severity.WARNING
    stage = Stage.UPDATE
    needs = Needs(facts=("update.rounded_share",))

    bad = (case("nine in ten", facts={"update.rounded_share": 0.9}),)
    good = (
        case("few", facts={"update.rounded_share": 0.1}),
        case("none", facts={"update.rounded_share": 0.0}),
    )
    not_enough = (case("fp32 weights", facts={"update.tensors": 5}),)

    def detect(self, run: Run) -> Iterator[Finding]:
        share = number(run, "update.rounded_share") or 0.0
        if share >= MANY:
            yield self.finding(
                f"{share:.0%} of the half-precision weights did not change in two steps at the full rate",
                evidence=[evidence(run, "update.rounded_share"), evidence(run, "model.trainable_dtypes")],
                clues=[
                    Clue(cause="low-precision-weight-update", bits=8.0, why="the weights were compared bit for bit")
                ],
                basis=Basis.MEASURED,
            )
