"""GRD003 input-not-finite."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case, clues
from holter.checks.measured.replayed import evidence, fact, row_words, step
from holter.finding import Basis, Finding, Severity
from holter.run import Run
from holter.stages import Stage


class InputNotFinite(Check):
    """What it looks for
        A failing step whose batch itself holds NaN or infinity, masks aside.

    Why it hurts
        Everything computed from it is NaN, and one optimizer step spreads it to all weights.

    How to fix it
        Repair or drop the rows; the capsule holds the batch.

    When to ignore it
        Never.

    Threshold
        None.

    Sources
        A guard's replay of the failing step.
    """

    code = "GRD003"
    name = "input-not-finite"
    title = "An input of the failing step holds NaN or infinity"
    severity = Severity.ERROR
    stage = Stage.DATA
    needs = Needs(facts=("replay.phase",))
    bad = (
        case("a corrupt image", facts={"replay.phase": "data", "replay.module": "pixel_values", "replay.rows": [2]}),
    )
    good = (
        case("a module", facts={"replay.phase": "forward", "replay.dtype": "float16"}),
        case("the weights", facts={"replay.phase": "weights"}),
    )
    not_enough = (case("nothing was measured"),)

    def detect(self, run: Run) -> Iterator[Finding]:
        """One finding, with the row."""
        if fact(run, "replay.phase") != "data":
            return
        module = fact(run, "replay.module")
        yield self.finding(
            f"The input {module} holds NaN or infinity{row_words(run)}",
            evidence=[evidence(run, "replay.module", f"input that is not finite: {module}")],
            clues=[
                *clues("a row of the batch is corrupt", bad_batch=10),
                *clues("the input was broken before any arithmetic", fp16_overflow=-8, labels_all_masked=-6),
            ],
            step=step(run),
            basis=Basis.MEASURED,
        )
