"""SYS102 padding-in-every-row."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case
from holter.checks.measured.look import evidence, number
from holter.finding import Basis, Finding, Severity
from holter.run import Run
from holter.stages import Stage

MUCH = 0.25
"""A quarter of the positions: more than rounding up to a multiple of 8 or 64 leaves in rows of ordinary length."""


class PaddingInEveryRow(Check):
    """Batches are padded further than their longest row.

    What it looks for: the share of positions at the end or the beginning of the first batches that are padding
    in every row.

    Why it hurts: they are computed and thrown away: time and memory grow with them, attention with their
    square.

    How to fix it: pad to the longest row of a batch: padding=True in the collator instead of
    padding="max_length" when tokenising.

    When to ignore it: with compiled graphs or TPUs, which want one shape.

    Threshold: `MUCH` of the positions.

    Sources: `holter.probes.batch`.
    """

    code = "SYS102"
    name = "padding-in-every-row"
    title = "Batches are padded further than their longest row"
    severity = Severity.WARNING
    stage = Stage.COLLATE
    needs = Needs(facts=("batch.needless_padding_share",))

    bad = (case("padded to max_length", facts={"batch.needless_padding_share": 0.8, "batch.padding_share": 0.9}),)
    good = (
        case("to the longest row", facts={"batch.needless_padding_share": 0.0}),
        case("to a multiple of 8", facts={"batch.needless_padding_share": 0.1}),
    )
    not_enough = (case("no mask", facts={"batch.shapes": {}}),)

    def detect(self, run: Run) -> Iterator[Finding]:
        share = number(run, "batch.needless_padding_share") or 0.0
        if share >= MUCH:
            yield self.finding(
                f"{share:.0%} of the positions of the first batches are padding in every row",
                evidence=[evidence(run, "batch.needless_padding_share"), evidence(run, "batch.shapes")],
                basis=Basis.MEASURED,
            )
