"""NUM103 optimizer-state-in-half."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case
from holter.checks.measured.look import evidence, plain
from holter.finding import Basis, Clue, Finding, Severity
from holter.run import Run
from holter.stages import Stage

HALF = ("bfloat16", "float16")


class OptimizerStateInHalf(Check):
    """The optimizer keeps its moments in half precision.

    What it looks for: the dtype of the moments after two real steps.

    Why it hurts: with beta2 = 0.999 the second moment changes by a thousandth a step, and bf16 keeps 8 bits, a
    spacing of 1/256: it can rise but hardly fall, so the steps shrink. In fp16 squares of gradients below
    2.4e-4 are 0.

    How to fix it: keep trainable weights in fp32 and use bf16=True (the moments take the dtype of the weights),
    or an 8-bit optimizer that is made for it.

    When to ignore it: with optimizers that round stochastically or carry the rounding error along.

    Threshold: none: any moment in bf16 or fp16.

    Sources: IEEE 754; Adam, section 2.
    """

    code = "NUM103"
    name = "optimizer-state-in-half"
    title = "The optimizer keeps its moments in half precision"
    severity = Severity.WARNING
    stage = Stage.UPDATE
    needs = Needs(facts=("optimizer.state_dtypes",))

    bad = (case("bf16", facts={"optimizer.state_dtypes": ["bfloat16"]}),)
    good = (
        case("fp32", facts={"optimizer.state_dtypes": ["float32"]}),
        case("8 bits by design", facts={"optimizer.state_dtypes": ["uint8"]}),
    )
    not_enough = (case("no step was made", facts={"trainable.parameters": 9}),)

    def detect(self, run: Run) -> Iterator[Finding]:
        half = [dtype for dtype in plain(run, "optimizer.state_dtypes") or [] if dtype in HALF]
        if half and plain(run, "optimizer.divides_by_size") is not False:
            yield self.finding(
                f"the moments of the optimizer are kept in {half[0]}",
                evidence=[evidence(run, "optimizer.state_dtypes"), evidence(run, "model.trainable_dtypes")],
                clues=[Clue(cause="low-precision-weight-update", bits=3.0, why="moments and weights share the dtype")],
                basis=Basis.MEASURED,
            )
