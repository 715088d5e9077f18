"""NUM012 activation-beyond-limit."""

from __future__ import annotations

import math
from collections.abc import Iterator

from holter.checks.base import Check, Needs, case, clues
from holter.checks.context import Compute, precision
from holter.checks.look import known
from holter.checks.symptoms import numbers
from holter.finding import Evidence, Finding, Severity
from holter.knowledge.families import FP16_MAX
from holter.run import Run
from holter.stages import Stage

MEASURES = (
    "output_max",
    "activation_max",
    "abs_max",
    "max_abs",
    "hidden_max",
    "hidden_states_max",
    "attention_scores_max",
    "logits_max",
    "input_max",
    "max_activation",
    "max_output",
)
"""Names under which probes, guards and people write down the largest number inside a model."""

NEAR = 0.5
"""Half the limit: one bit of headroom, which a longer or rarer input uses up."""


class ActivationBeyondLimit(Check):
    """A number inside the model does not fit float16, or hardly.

    What it looks for: a measured largest activation above 65504, the largest float16 number, or within a factor of two
    of it, while training runs in fp16 or nobody says in what.

    Why it hurts: beyond the limit the number becomes inf, and inf minus inf is NaN. Where it was measured names the
    module at fault.

    How to fix it: bf16 or fp32, or an exact rescale of the residual stream.

    When to ignore it: in bf16 or fp32 runs; there it is not reported.

    Threshold: 65504, and half of it as a note.

    Sources: IEEE 754 half precision.
    """

    code = "NUM012"
    name = "activation-beyond-limit"
    title = "An activation does not fit float16"
    severity = Severity.ERROR
    stage = Stage.FORWARD
    needs = Needs(any_of=tuple((name,) for name in MEASURES))

    def detect(self, run: Run) -> Iterator[Finding]:
        used = precision(run)
        if used.compute is Compute.BF16:
            return
        for name in MEASURES:
            found = known(run, name)
            if found is None:
                continue
            value = max((abs(v) for v in numbers(found.plain)), default=0.0)
            if value <= NEAR * FP16_MAX:
                continue
            beyond = value > FP16_MAX
            module = known(run, "module")
            inside = f" in {module.plain}" if module is not None else ""
            evidence = [Evidence(text=f"{name} is {value:g}{inside}", source=found.value.source, value=value)]
            evidence += [module.evidence] if module is not None else []
            room = "" if not math.isfinite(value) else f" ({math.log2(FP16_MAX / value):+.1f} bits of headroom)"
            yield self.finding(
                f"The largest number{inside} is {value:g}; float16 ends at 65504{room}",
                evidence=evidence,
                severity=Severity.ERROR if beyond else Severity.NOTE,
                clues=clues("a measured activation does not fit float16", fp16_overflow=6.0 if beyond else 1.5),
            )

    bad = [
        case("beyond", facts={"output_max": 66246.4, "module": "T5DenseReluDense.wo"}),
        case("near", facts={"abs_max": 40000.0}, config={"fp16": True}),
    ]
    good = [
        case("small", facts={"abs_max": 900.0}),
        case("bf16 reaches further", facts={"abs_max": 2e5}, config={"bf16": True}),
    ]
    not_enough = [case("nothing measured", config={"fp16": True})]
