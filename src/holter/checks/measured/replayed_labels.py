"""GRD004 no-counted-label."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case, clues
from holter.checks.measured.replayed import evidence, fact, step
from holter.finding import Basis, Finding, Severity
from holter.run import Run
from holter.stages import Stage


class NoCountedLabel(Check):
    """What it looks for
        A failing step in which every module is finite, the loss is not, and every label is -100.

    Why it hurts
        A mean over no targets is 0/0. With logging_nan_inf_filter it shows as a loss of 0.0 and trains nothing.

    How to fix it
        Raise max_length or truncate the prompt instead of the answer, and drop rows without a target.

    When to ignore it
        Never.

    Threshold
        None: the count is 0.

    Sources
        A guard's replay of the failing step.
    """

    code = "GRD004"
    name = "no-counted-label"
    title = "No label of the failing batch counts"
    severity = Severity.ERROR
    stage = Stage.LOSS
    needs = Needs(facts=("replay.phase",))
    bad = (case("all masked", facts={"replay.phase": "loss", "replay.targets": 0}),)
    good = (
        case("targets there", facts={"replay.phase": "loss", "replay.targets": 31}),
        case("a module", facts={"replay.phase": "forward", "replay.targets": 0}),
    )
    not_enough = (case("nothing was measured"),)

    def detect(self, run: Run) -> Iterator[Finding]:
        """One finding."""
        if fact(run, "replay.phase") != "loss" or fact(run, "replay.targets") != 0:
            return
        yield self.finding(
            "All labels of the failing batch are -100, so its loss is 0/0",
            evidence=[evidence(run, "replay.targets", "labels that count in the batch: 0")],
            clues=[
                *clues("no label of the batch counts", labels_all_masked=10),
                *clues("every module's output was finite", fp16_overflow=-6),
            ],
            step=step(run),
            basis=Basis.MEASURED,
        )
