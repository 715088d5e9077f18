"""OPT009 gradient-norm-out-of-scale."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from holter.checks.base import Check, Needs, case, clues
from holter.checks.shape import point, shape
from holter.finding import Finding, Severity
from holter.run import Run
from holter.stages import Stage

OUT_OF_SCALE = 1000.0
"""Norm of a mean cross-entropy's gradient. Healthy public fine-tunes stay below 300 even in their first steps; a loss
scale of 2**10 and more, summed losses, or squared errors of large values lie above."""

MIN_POINTS = 3
"""Log lines that all have to be out of scale, so that one spike does not count."""


class GradientNormOutOfScale(Check):
    """Every logged gradient norm is in the thousands while the loss is ordinary.

    What it looks for: a grad_norm whose smallest value is above 1000, with a loss that learns.

    Why it hurts: such norms come from gradients that were not unscaled before they were measured and clipped, or from a
    summed loss. If clipping works on scaled gradients it cuts each step by the loss scale.

    How to fix it: unscale before clipping; take the mean of the loss. Under AdamW the step itself hardly changes.

    When to ignore it: for losses in large units, where the gradient is large by nature.

    Threshold: `OUT_OF_SCALE` at each of at least `MIN_POINTS` points.

    Sources: PyTorch AMP examples, "Gradient clipping" (unscale_ first); public logs of healthy runs.
    """

    code = "OPT009"
    name = "gradient-norm-out-of-scale"
    title = "Every gradient norm is in the thousands"
    severity = Severity.NOTE
    stage = Stage.BACKWARD
    needs = Needs(series={"grad_norm": MIN_POINTS})

    def detect(self, run: Run) -> Iterator[Finding]:
        norms = run.series["grad_norm"]
        found = shape(norms)
        if not found.bins or found.low < OUT_OF_SCALE:
            return
        typical = median(b.middle for b in found.bins)
        yield self.finding(
            f"grad_norm is between {found.low:.4g} and {found.high:.4g} at every point: unscaled or summed",
            evidence=[point(norms, 0), point(norms, len(norms) - 1)],
            clues=clues(f"a typical norm of {typical:.3g}", grad_accum_loss_scale=1.0, grad_clip_disabled=0.5),
        )

    bad = [case("thousands throughout", series={"grad_norm": [11187.0, 8042.0, 61651.0, 8774.0]})]
    good = [
        case("large at the start", series={"grad_norm": [5000.0, 200.0, 3.0, 1.0]}),
        case("hundreds", series={"grad_norm": [286.0, 200.0, 190.0]}),
    ]
    not_enough = [case("two points", series={"grad_norm": [1e4, 1e4]})]
