"""GRD005 loss-alone-breaks."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case, clues
from holter.checks.measured.replayed import evidence, fact, row_words, step
from holter.finding import Basis, Finding, Severity
from holter.run import Run
from holter.stages import Stage


class LossAloneBreaks(Check):
    """What it looks for
        A failing step in which every module's output is finite, labels count, and the loss is NaN or infinite.

    Why it hurts
        The expression of the loss is unsafe for legal inputs: a logarithm of 0, a division by 0, exp of a large
        number, or logits masked with -inf at the label.

    How to fix it
        Use the fused functions (cross_entropy, logsigmoid, logsumexp) on logits in fp32.

    When to ignore it
        When a label was meant to be impossible.

    Threshold
        None.

    Sources
        A guard's replay of the failing step.
    """

    code = "GRD005"
    name = "loss-alone-breaks"
    title = "Every module is finite and the loss is not"
    severity = Severity.ERROR
    stage = Stage.LOSS
    needs = Needs(facts=("replay.phase",))
    bad = (
        case("with targets", facts={"replay.phase": "loss", "replay.targets": 31}),
        case("targets unknown", facts={"replay.phase": "loss", "replay.targets": -1}),
    )
    good = (
        case("no target", facts={"replay.phase": "loss", "replay.targets": 0}),
        case("a module", facts={"replay.phase": "forward", "replay.dtype": "float16"}),
    )
    not_enough = (case("nothing was measured"),)

    def detect(self, run: Run) -> Iterator[Finding]:
        """One finding."""
        if fact(run, "replay.phase") != "loss" or fact(run, "replay.targets") == 0:
            return
        yield self.finding(
            f"Every module's output is finite and the loss is not{row_words(run)}",
            evidence=[evidence(run, "replay.phase", "the loss is the first number that is not finite")],
            clues=[
                *clues("only the loss expression broke", loss_formula_instability=7),
                *clues("every module's output was finite", fp16_overflow=-4),
            ],
            step=step(run),
            basis=Basis.MEASURED,
        )
