"""LOS020 loss-spikes-recover."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from holter.checks.base import Check, Needs, case, clues
from holter.checks.context import has_plain_loss
from holter.checks.loss._course import rise_to_the_end
from holter.checks.loss.divergence import NATS, OUT_OF_NOISE, RATIO
from holter.checks.shape import point, shape
from holter.finding import Finding, Severity
from holter.run import Run
from holter.stages import Stage

MIN_POINTS = 10
"""Log lines, so that before and after a spike can be told."""

SPIKE = 2.0
"""Times the level around it. Batches of mixed difficulty scatter by half."""

SPIKE_NATS = 0.5
"""And by this much; small losses scatter by more than their own size."""


class LossSpikesRecover(Check):
    """The loss spikes now and then, and comes back.

    What it looks for: values twice as high as the level around them, by half a nat, after which the loss returns.

    Why it hurts: usually not at all: hard or odd batches. Each spike moves the weights a little, and with clipping off
    a larger one may not come back.

    How to fix it: keep max_grad_norm on; look at the rows of the batch if spikes come at the same place every epoch.

    When to ignore it: when the trend is down, which is why this is only a note.

    Threshold: `SPIKE` and `SPIKE_NATS` above the median of the neighbouring stretches.

    Sources: Chowdhery et al. 2022 (PaLM), section 5.1, on spikes and their recovery.
    """

    code = "LOS020"
    name = "loss-spikes-recover"
    title = "The loss spikes and comes back"
    severity = Severity.NOTE
    stage = Stage.LOSS
    needs = Needs(series={"loss": MIN_POINTS})

    def detect(self, run: Run) -> Iterator[Finding]:
        loss = run.series["loss"]
        found = shape(loss)
        if not has_plain_loss(run) or found.nonfinite or found.low < 0.0 or found.high >= 1000.0:
            return
        rise = rise_to_the_end(loss)
        lasting = OUT_OF_NOISE * rise.noise if rise is not None else 0.0
        if rise is not None and rise.ratio >= RATIO and rise.amount >= max(NATS, lasting):
            return
        spikes = [
            b
            for a, b in pairwise(found.bins)
            if b.high > SPIKE * max(a.middle, b.middle if b.stop - b.start > 2 else a.middle)
            and b.high - a.middle > max(SPIKE_NATS, OUT_OF_NOISE * found.noise)
        ]
        if not spikes:
            return
        worst = max(spikes, key=lambda b: b.high)
        index = next(i for i in range(worst.start, worst.stop) if loss[i] == worst.high)
        times = "once" if len(spikes) == 1 else f"{len(spikes)} times"
        yield self.finding(
            f"The loss spikes {times}, up to {worst.high:.4g}, and comes back",
            evidence=[point(loss, index), point(loss, len(loss) - 1)],
            clues=clues("the loss recovers", bad_batch=1.0, lr_too_high=0.3, grad_clip_disabled=0.3),
        )

    bad = [case("one", series={"loss": [2.0, 1.8, 1.6, 5.0, 1.6, 1.5, 1.4, 1.4, 1.3, 1.3]})]
    good = [
        case("smooth", series={"loss": [2.0 - 0.1 * i for i in range(12)]}),
        case("small losses", series={"loss": [0.5, 0.1, 0.05, 0.2, 0.04, 0.1, 0.03, 0.05, 0.02, 0.03]}),
        case("a divergence", series={"loss": [2.0, 1.6, 1.4, 1.3, 6.0, 6.1, 6.0, 5.9, 6.0, 6.1]}),
    ]
    not_enough = [case("a short log", series={"loss": [2.0, 5.0, 1.9]})]
