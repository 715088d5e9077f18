"""SYS103 tf32-off."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case
from holter.checks.measured.look import evidence, plain
from holter.finding import Basis, Finding, Severity
from holter.run import Run
from holter.stages import Stage


class Tf32Off(Check):
    """Matrix products in fp32 run without TF32.

    What it looks for: a card that has TF32, computation in fp32, and the switch off.

    Why it hurts: matrix products take several times as long for 13 bits of mantissa that training rarely needs.

    How to fix it: set tf32=True in TrainingArguments, or train in bf16.

    When to ignore it: when results must match another machine to the last digits.

    Threshold: none: it is a note.

    Sources: NVIDIA, Ampere architecture white paper; PyTorch, numerical accuracy notes.
    """

    code = "SYS103"
    name = "tf32-off"
    title = "Matrix products in fp32 run without TF32"
    severity = Severity.NOTE
    stage = Stage.FORWARD
    needs = Needs(facts=("environment.tf32", "environment.tf32_possible", "model.compute_dtype"))

    bad = (
        case(
            "off",
            facts={"environment.tf32": False, "environment.tf32_possible": True, "model.compute_dtype": "float32"},
        ),
    )
    good = (
        case(
            "on", facts={"environment.tf32": True, "environment.tf32_possible": True, "model.compute_dtype": "float32"}
        ),
        case(
            "bf16",
            facts={"environment.tf32": False, "environment.tf32_possible": True, "model.compute_dtype": "bfloat16"},
        ),
    )
    not_enough = (case("a CPU", facts={"environment.device": "cpu"}),)

    def detect(self, run: Run) -> Iterator[Finding]:
        possible = plain(run, "environment.tf32_possible") is True and plain(run, "environment.tf32") is False
        if possible and plain(run, "model.compute_dtype") == "float32":
            yield self.finding(
                "the card has TF32 and it is off, while the model computes in fp32",
                evidence=[evidence(run, "environment.tf32"), evidence(run, "model.compute_dtype")],
                basis=Basis.MEASURED,
            )
