"""LAB103 padding-counted-in-loss."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case
from holter.checks.measured.look import evidence, number
from holter.finding import Basis, Clue, Finding, Severity
from holter.run import Run
from holter.stages import Stage

MANY = 0.01
"""Share of counted labels that are padding from which it is no stray token but a rule of the collator."""


class PaddingInLabels(Check):
    """Padding positions are counted in the loss.

    What it looks for: labels equal to the pad id at positions that the attention mask, or the end of the target,
    marks as padding.

    Why it hurts: the model learns to predict padding, and the loss looks better than it is.

    How to fix it: replace the pad id by -100 in the labels (DataCollatorForSeq2Seq does).

    When to ignore it: when pad and eos share an id and only the end token is meant.

    Threshold: `MANY` of the counted labels.

    Sources: `holter.probes.labels`.
    """

    code = "LAB103"
    name = "padding-counted-in-loss"
    title = "Padding positions are counted in the loss"
    severity = Severity.WARNING
    stage = Stage.COLLATE
    needs = Needs(facts=("batch.labels.padding_counted", "batch.labels.counted"))

    bad = (case("a third", facts={"batch.labels.padding_counted": 300, "batch.labels.counted": 900}),)
    good = (
        case("none", facts={"batch.labels.padding_counted": 0, "batch.labels.counted": 900}),
        case("nothing counts", facts={"batch.labels.padding_counted": 0, "batch.labels.counted": 0}),
    )
    not_enough = (case("labels per row", facts={"batch.labels.rows": 16}),)

    def detect(self, run: Run) -> Iterator[Finding]:
        padding, counted = (
            number(run, "batch.labels.padding_counted") or 0.0,
            number(run, "batch.labels.counted") or 0.0,
        )
        if not counted or padding / counted < MANY:
            return
        yield self.finding(
            f"{padding / counted:.0%} of the labels that count are padding",
            evidence=[evidence(run, "batch.labels.padding_counted"), evidence(run, "batch.labels.counted")],
            clues=[Clue(cause="labels-not-masked", bits=8.0, why="labels at padded positions were counted")],
            step=0,
            basis=Basis.MEASURED,
        )
