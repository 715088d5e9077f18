"""LOS022 written-losses-rise."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues
from holter.checks.context import Compute, has_plain_loss, precision
from holter.checks.evaluation._written import bare
from holter.checks.look import brain_weights, is_off, known
from holter.checks.shape import point
from holter.checks.symptoms import number
from holter.finding import Clue, Finding, Severity
from holter.run import Run
from holter.stages import Stage

RATIO = 1.5
"""Last over first. Batches of one data set differ by less."""

NATS = 0.5
"""And last minus first."""


class WrittenLossesRise(Check):
    """What it looks for
        Two to four losses that somebody wrote down in order, the last well above the first.

    Why it hurts
        The run diverges: what the model knew is being lost.

    How to fix it
        Lower the rate three to ten times, warm up, and set max_grad_norm to 1.0. Log every step to see where the rise
        begins.

    When to ignore it
        When the numbers belong to different runs.

    Threshold
        `RATIO` and `NATS` together.

    Sources
        Goodfellow et al. 2016, section 8.2.
    """

    code = "LOS022"
    name = "written-losses-rise"
    title = "The losses written down rise"
    severity = Severity.WARNING
    stage = Stage.LOSS
    needs = Needs(series={"loss": 2})
    bad = (
        case("two", files={"observed.yaml": "loss: [1.2, 9.8]\n"}),
        case("no clipping", files={"observed.yaml": "loss: [1.2, 3.1, 7.0]\n"}, config={"max_grad_norm": 0.0}),
    )
    good = (
        case("falling", files={"observed.yaml": "loss: [2.2, 1.1]\n"}),
        case("noise", files={"observed.yaml": "loss: [1.9, 2.1]\n"}),
        case("a step of a run", series={"loss": [1.2, 9.8]}, steps=[10, 20]),
        case("a policy", files={"observed.yaml": "loss: [0.1, 1.2]\nreward: [0.1, 0.4]\n"}),
    )
    not_enough = (case("one", series={"loss": [2.0]}),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """Fires on the ends of the list."""
        loss = run.series["loss"]
        first, last = loss[0], loss[len(loss) - 1]
        if not bare(loss) or not has_plain_loss(run) or not all(math.isfinite(v) for v in loss):
            return
        if first <= 0.0 or last < RATIO * first or last - first < NATS or last < max(loss):
            return
        yield self.finding(
            f"the loss goes from {first:g} to {last:g}",
            evidence=[point(loss, 0), point(loss, len(loss) - 1)],
            clues=_clues(run),
        )


def _clues(run: Run) -> Iterator[Clue]:
    why = "the loss rises from one number to the next"
    yield from clues(why, lr_too_high=3.0, grad_clip_disabled=1.5, warmup_missing=1.5, framework_bug=1.0)
    yield from clues(why, resume_state_lost=0.5)
    clip, warmup = known(run, "max_grad_norm"), known(run, "warmup_steps", "warmup_ratio")
    if clip is not None and not clip.value.is_default and (is_off(clip.plain) or number(clip.plain) == 0.0):
        yield from clues("clipping is off", grad_clip_disabled=2.5)
    if warmup is not None and not warmup.value.is_default and (is_off(warmup.plain) or number(warmup.plain) == 0.0):
        yield from clues("there is no warmup", warmup_missing=2.0)
    if brain_weights(run) is not None or precision(run).half_weights:
        yield from clues("the weights themselves are held in 16 bits", low_precision_weights=3.0)
    elif precision(run).compute is Compute.FP16:
        yield from clues("the run computes in fp16", fp16_overflow=0.5)
