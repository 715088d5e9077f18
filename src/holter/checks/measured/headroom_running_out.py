"""GRD011 headroom-running-out."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case, clues
from holter.checks.measured.replayed import evidence, fact, number
from holter.finding import Basis, Finding, Severity
from holter.run import Run
from holter.stages import Stage

SOON = 10_000.0  # optimizer steps; most fine-tuning runs end before


class HeadroomRunningOut(Check):
    """What it looks for
        A module whose largest fp16 output grows steadily towards 65504.

    Why it hurts
        When it gets there the output is inf, and the step is lost or the weights are.

    How to fix it
        Change to bf16 before it happens.

    When to ignore it
        When training ends well before.

    Threshold
        A slope of at least three standard errors over at least four looks, and an end within 10,000 steps.

    Sources
        The guard's looks at every module's largest output, and a straight line through them.
    """

    code = "GRD011"
    name = "headroom-running-out"
    title = "A module's headroom in fp16 is running out"
    severity = Severity.WARNING
    stage = Stage.FORWARD
    needs = Needs(facts=("headroom.forecast_steps",))
    bad = (case("600 steps left", facts={"headroom.forecast_steps": 600.0, "headroom.forecast_module": "wo"}),)
    good = (
        case("a long way", facts={"headroom.forecast_steps": 200000.0, "headroom.forecast_module": "wo"}),
        case("just beyond", facts={"headroom.forecast_steps": 10001.0, "headroom.forecast_module": "wo"}),
    )
    not_enough = (case("nothing was measured"),)

    def detect(self, run: Run) -> Iterator[Finding]:
        """One finding."""
        left, module = number(run, "headroom.forecast_steps"), fact(run, "headroom.forecast_module")
        if not left <= SOON:
            return
        yield self.finding(
            f"{module} will overflow fp16 in about {left:.0f} steps",
            evidence=[evidence(run, "headroom.forecast_steps", f"steps until overflow at this rate: {left:.0f}")],
            clues=clues("the headroom was measured", fp16_overflow=5),
            basis=Basis.MEASURED,
        )
