"""NUM101 headroom-small."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case
from holter.checks.measured.look import evidence, plain
from holter.finding import Basis, Change, Clue, Finding, Fix, Severity
from holter.run import Run
from holter.stages import Stage

LEAST_BITS = 1.0
"""Bits left to the limit: one bit is a factor of two, and dropout with p = 0.5 alone can use it up."""


class HeadroomSmall(Check):
    """Activations come near the limit of the dtype.

    What it looks for: the module with the largest output, computed in fp32, against the limit of the dtype the run
    will compute in.

    Why it hurts: beyond the limit an output is inf, the loss nan, and the step is skipped or the weights are lost.

    How to fix it: train in bf16 or fp32, or rescale the weights exactly before fp16.

    When to ignore it: where the model clamps the output itself.

    Threshold: `LEAST_BITS`; none left is an error.

    Sources: IEEE 754: fp16 ends at 65504.
    """

    code = "NUM101"
    name = "headroom-small"
    title = "Activations come near the limit of the dtype"
    severity = Severity.WARNING
    stage = Stage.FORWARD
    needs = Needs(facts=("headroom.activation.bits", "model.compute_dtype"))

    bad = (
        case(
            "beyond", facts={"headroom.activation.bits": {"encoder.block.2.wo": -0.4}, "model.compute_dtype": "float16"}
        ),
        case(
            "half a bit",
            facts={"headroom.activation.bits": {"encoder.block.2.wo": 0.5}, "model.compute_dtype": "float16"},
        ),
    )
    good = (
        case(
            "plenty", facts={"headroom.activation.bits": {"encoder.block.2.wo": 9.0}, "model.compute_dtype": "float16"}
        ),
        case("two bits", facts={"headroom.activation.bits": {"a": 2.0}, "model.compute_dtype": "float16"}),
    )
    not_enough = (case("not measured", facts={"model.compute_dtype": "float16"}),)

    def detect(self, run: Run) -> Iterator[Finding]:
        bits = plain(run, "headroom.activation.bits")
        dtype = plain(run, "model.compute_dtype")
        if not isinstance(bits, dict) or not bits:
            return
        module, left = min(bits.items(), key=lambda item: item[1])
        if left >= LEAST_BITS:
            return
        half = dtype == "float16"
        yield self.finding(
            f"the output of {module} is {left:.2g} bits below the limit of {dtype}"
            if left > 0
            else f"the output of {module} is beyond the limit of {dtype}",
            evidence=[evidence(run, "headroom.activation.bits"), evidence(run, "model.compute_dtype")],
            clues=[
                Clue(cause="fp16-overflow" if half else "lr-too-high", bits=8.0 if half else 1.0, why="it was measured")
            ],
            step=0,
            severity=Severity.WARNING if left > 0 else Severity.ERROR,
            fix=Fix(
                summary="train in bf16 where the card has it, else in fp32",
                changes=(Change(key="fp16", old=True, new=False),),
            )
            if half
            else None,
            basis=Basis.MEASURED,
        )
