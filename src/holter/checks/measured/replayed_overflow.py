"""GRD001 module-overflows-half."""

from __future__ import annotations

import math
from collections.abc import Iterator

from holter.checks.base import Check, Needs, case, clues
from holter.checks.measured.replayed import HALF, evidence, fact, number, row_words, step
from holter.finding import Basis, Change, Finding, Fix, Severity
from holter.run import Run
from holter.stages import Stage


class ModuleOverflowsHalf(Check):
    """What it looks for
        A failing step, run again with hooks on every module, whose first non-finite number is an fp16 output or
        gradient of a module that got finite ones.

    Why it hurts
        Nothing larger than 65504 exists in fp16. What is larger becomes inf, then NaN, and one such step spoils every
        weight.

    How to fix it
        bf16 on cards that have it, fp32 otherwise. For the T5 family an exact rescale of the weights exists too.

    When to ignore it
        When the replay in fp32 breaks as well: then the number is not merely too large for fp16.

    Threshold
        None: inf is inf. The headroom says by how many powers of two the output misses the range.

    Sources
        A guard's replay of the failing step. IEEE 754 half precision: largest finite number 65504.
    """

    code = "GRD001"
    name = "module-overflows-half"
    title = "A module's output or gradient leaves the range of fp16"
    severity = Severity.ERROR
    stage = Stage.FORWARD
    needs = Needs(facts=("replay.phase",))
    bad = (
        case("forward", facts={"replay.phase": "forward", "replay.dtype": "float16", "replay.module": "wo"}),
        case(
            "backward, and fine in fp32",
            facts={
                "replay.phase": "backward",
                "replay.dtype": "float16",
                "replay.loss": "nan",
                "replay.fp32_loss": 2.0,
            },
        ),
    )
    good = (
        case("in fp32", facts={"replay.phase": "forward", "replay.dtype": "float32"}),
        case("the labels", facts={"replay.phase": "loss", "replay.targets": 0}),
        case(
            "broken in fp32 too",
            facts={"replay.phase": "forward", "replay.dtype": "float16", "replay.fp32_loss": "nan"},
        ),
    )
    not_enough = (case("nothing was measured"),)

    def detect(self, run: Run) -> Iterator[Finding]:
        """One finding, confirmed where the same batch is finite in fp32."""
        phase, module = fact(run, "replay.phase"), fact(run, "replay.module")
        in_fp32 = run.fact("replay.fp32_loss")
        cured = in_fp32 is not None and math.isfinite(number(run, "replay.fp32_loss"))
        if phase not in ("forward", "backward") or fact(run, "replay.dtype") != HALF or (in_fp32 and not cured):
            return
        bits = number(run, "replay.headroom_bits")
        by = "" if math.isnan(bits) else f", {-bits:.2f} bits beyond the limit"
        what = "output" if phase == "forward" else "gradient"
        seen = [evidence(run, "replay.module", f"first module that broke: {module}")]
        if cured:
            seen.append(
                evidence(run, "replay.fp32_loss", f"the same batch in fp32: loss {number(run, 'replay.fp32_loss'):.4g}")
            )
        yield self.finding(
            f"The {what} of {module} overflows fp16{by}{row_words(run)}",
            evidence=seen,
            clues=[
                *clues("the first number beyond fp16's range was found by replay", fp16_overflow=10 if cured else 8),
                *clues("a module broke before the loss was formed", labels_all_masked=-6, loss_formula_instability=-4),
            ],
            step=step(run),
            stage=Stage.FORWARD if phase == "forward" else Stage.BACKWARD,
            fix=Fix(
                summary="Train in bf16, or in fp32 where the card has no bf16.",
                changes=(Change(key="fp16", old=True, new=False), Change(key="bf16", new=True)),
            ),
            basis=Basis.CONFIRMED if cured else Basis.MEASURED,
        )
