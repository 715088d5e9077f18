"""LOS006 loss-diverges."""

from __future__ import annotations

import math
from collections.abc import Iterator

from holter.checks.base import Check, Needs, case, clues
from holter.checks.context import has_plain_loss
from holter.checks.look import is_off, known
from holter.checks.loss._course import Rise, rise_to_the_end, steps_restart
from holter.checks.optimisation._rate import peak_index
from holter.checks.optimisation.rate_above_practice import practice_of
from holter.checks.shape import at_step, point, shape, updates_before
from holter.finding import Clue, Evidence, Finding, Severity
from holter.run import Run, Series
from holter.stages import Stage

RATIO = 1.5
"""End over best. A run that overfits or whose data get harder drifts by a tenth or two."""

NATS = 0.5
"""End minus best. Below it the ratio of small losses is noise."""

LATER_POINTS = 3
"""Lines after the lowest that must all be twice as high and a nat above."""

OUT_OF_NOISE = 3.0
"""Standard deviations of neighbouring points by which the end must lie above the best level."""


class LossDiverges(Check):
    """The training loss rises for good.

    What it looks for: a loss that ends half as high again as its best level, by half a nat and three times the noise,
    with the rise lasting to the end of the log; and what the learning rate was doing when it began.

    Why it hurts: what was learnt before the rise is gone. More steps do not bring it back.

    How to fix it: go back to the checkpoint before the rise, and lower the rate three to ten times; set max_grad_norm
    if it is off.

    When to ignore it: when the data change there (a curriculum, another data set).

    Threshold: `RATIO`, `NATS` and `OUT_OF_NOISE` together.

    Sources: Goodfellow et al. 2016, section 8.2; Zhang et al. 2022 (OPT), section 2.5, on restarts after divergence.
    """

    code = "LOS006"
    name = "loss-diverges"
    title = "The training loss rises and stays up"
    severity = Severity.ERROR
    stage = Stage.LOSS
    needs = Needs(series={"loss": 6})

    def detect(self, run: Run) -> Iterator[Finding]:
        loss = run.series["loss"]
        found = shape(loss)
        if not has_plain_loss(run) or found.nonfinite or found.low < 0.0 or loss[len(loss) - 1] == 0.0:
            return
        rise = rise_to_the_end(loss)
        if rise is None or steps_restart(loss) or found.high >= 1000.0 * max(1.0, rise.from_level):
            return
        if rise.ratio < RATIO or rise.amount < NATS:
            return
        if rise.amount < OUT_OF_NOISE * rise.noise and not _left_for_good(loss):
            return
        turn = _turn(loss, rise)
        yield self.finding(
            f"The loss rises from {rise.from_level:.4g} to {rise.to_level:.4g} and stays up",
            evidence=[
                point(loss, rise.best.start),
                point(loss, turn, "the rise"),
                point(loss, len(loss) - 1),
                *_rate_there(run, loss, turn),
            ],
            step=updates_before(loss, turn),
            clues=list(_clues(run, loss, turn)),
        )

    bad = [
        case("after a good start", series={"loss": [2.0, 1.6, 1.4, 3.3, 6.4, 5.5, 4.9, 4.9, 4.6]}),
        case("in few lines", series={"loss": [14.0, 12.0, 4.0, 2.2, 1.5, 5.5, 7.2, 9.8]}),
        case("slowly", series={"loss": [2.0, 1.2, 1.0, 1.1, 1.4, 1.8, 2.2, 2.6, 2.9, 3.0]}),
    ]
    good = [
        case("a spike that recovers", series={"loss": [2.0, 1.6, 6.0, 1.7, 1.5, 1.4, 1.3, 1.3]}),
        case("a tenth of drift", series={"loss": [2.0, 1.6, 1.4, 1.45, 1.5, 1.5, 1.55, 1.5]}),
        case("small losses are noisy", series={"loss": [2.0, 0.5, 0.01, 0.03, 0.02, 0.05, 0.04, 0.05]}),
        case("a policy loss", series={"loss": [0.0, 0.1, 0.5, 1.0, 1.5, 2.0], "reward": [0.1] * 6}),
    ]
    not_enough = [case("five points", series={"loss": [1.0, 2.0, 3.0, 4.0, 5.0]})]


def _left_for_good(loss: Series) -> bool:
    """Whether every point after the lowest is far above it and its neighbour, which needs no estimate of noise."""
    best = min(range(len(loss)), key=lambda index: loss[index])
    after = list(loss)[best + 1 :]
    if best == 0 or len(after) < LATER_POINTS:
        return False
    return min(after) > max(2.0 * loss[best], loss[best] + 2.0 * NATS, loss[best - 1])


def _turn(loss: Series, rise: Rise) -> int:
    """Index of the first point after the best stretch that is above the middle between best and end."""
    middle = (rise.from_level + rise.to_level) / 2
    return next((i for i in range(rise.best.start, len(loss)) if loss[i] > middle), len(loss) - 1)


def _rate_there(run: Run, loss: Series, turn: int) -> list[Evidence]:
    rate, step = run.series.get("learning_rate"), loss.steps[turn]
    if rate is None or math.isnan(step) or steps_restart(rate):
        return []
    value = at_step(rate, step)
    return [Evidence(text=f"learning_rate there is {value:.3g}", value=value)] if math.isfinite(value) else []


def _clues(run: Run, loss: Series, turn: int) -> Iterator[Clue]:
    why = "the loss was falling and then left for good, finite throughout"
    yield from clues(why, lr_too_high=4.0, grad_clip_disabled=1.5, fp16_overflow=-1, labels_all_masked=-3)
    yield from clues(why, overfitting=-2, low_precision_weights=0.5, missing_zero_grad=1.0)
    clip = known(run, "max_grad_norm")
    if clip is not None and is_off(clip.plain):
        yield from clues("max_grad_norm is off", grad_clip_disabled=1.5, lr_too_high=-0.5)
    elif clip is not None:
        yield from clues(f"max_grad_norm is {clip.plain}", grad_clip_disabled=-3)
    rate = run.series.get("learning_rate")
    if rate is not None and len(rate) > 2 and not steps_restart(rate):
        peak = peak_index(rate) or 0
        if not math.isnan(loss.steps[turn]) and rate.steps[peak] <= loss.steps[turn] and rate[peak] > 0.0:
            yield from clues("it began at or after the highest rate", lr_too_high=1.0)
    if practice_of(run) is not None and known(run, "learning_rate") is None:
        yield from clues("the rate itself was not given", lr_too_high=-0.5)
