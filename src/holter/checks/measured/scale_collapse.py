"""GRD009 loss-scale-collapses."""

from __future__ import annotations

import math
from collections.abc import Iterator

from holter.checks.base import Check, Needs, case, clues
from holter.checks.measured.replayed import evidence, number, step
from holter.finding import Basis, Finding, Severity
from holter.run import Run
from holter.stages import Stage


class LossScaleCollapses(Check):
    """What it looks for
        A gradient scaler whose scale fell to 1, or that skipped twenty steps in a row.

    Why it hurts
        No step was taken all that while; whatever the scale, the gradients are not finite.

    How to fix it
        bf16, or fp32; the replay names the module.

    When to ignore it
        Never; a few skips at the start are how a scale is found and are not reported.

    Threshold
        From 65536 down to 1 takes 16 halvings.

    Sources
        The scaler itself. torch.amp.GradScaler: initial scale 65536, halved at each overflow.
    """

    code = "GRD009"
    name = "loss-scale-collapses"
    title = "The loss scale collapses"
    severity = Severity.ERROR
    stage = Stage.UNSCALE
    needs = Needs(facts=("scaler.skipped_steps",))
    bad = (case("at its floor", facts={"scaler.skipped_steps": 17, "scaler.collapsed_at": 1.0}),)
    good = (
        case("finding its scale", facts={"scaler.skipped_steps": 5}),
        case("no skip", facts={"scaler.skipped_steps": 0}),
    )
    not_enough = (case("nothing was measured"),)

    def detect(self, run: Run) -> Iterator[Finding]:
        """One finding."""
        scale = number(run, "scaler.collapsed_at")
        if math.isnan(scale):
            return
        skips = number(run, "scaler.skipped_steps")
        yield self.finding(
            f"The loss scale fell to {scale:g} and {skips:.0f} steps were skipped",
            evidence=[evidence(run, "scaler.collapsed_at", f"loss scale {scale:g} after {skips:.0f} skipped steps")],
            clues=clues("the scaler was watched", loss_scale_exhausted=8, fp16_overflow=4),
            step=step(run),
            basis=Basis.MEASURED,
        )
