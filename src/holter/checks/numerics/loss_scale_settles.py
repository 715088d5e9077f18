"""NUM009 loss-scale-overflows."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case, clues
from holter.checks.numerics._scaler import overflows, skipped_share
from holter.checks.numerics.loss_scale_floor import _falls, _overflow, is_exhausted
from holter.finding import Evidence, Finding, Severity
from holter.run import Run
from holter.stages import Stage

MANY = 0.05
"""Share of skipped steps. A scaler at its level probes a doubled scale once in 2000 steps (window of DeepSpeed and
torch), so one step in twenty is a hundred times too often."""

ENOUGH_STEPS = 200
"""Below this the halvings of the search itself, up to 30, make up a large share of the steps."""


class LossScaleOverflows(Check):
    """The loss scaler skipped steps.

    What it looks for: overflow lines of a dynamic loss scale that does not fall to its floor. A few in a row at the
    start and rare ones later are the scaler at work and only noted; a share of skipped steps above one in twenty over
    a long run is a warning.

    Why it hurts: a skipped step trains nothing and does not advance the learning rate schedule. A few do no harm.

    How to fix it: nothing, as long as they are rare. Lower initial_scale_power to shorten the search.

    When to ignore it: nearly always. The scheduler's warning about the order of calls has the same origin.

    Threshold: `MANY` of at least `ENOUGH_STEPS` steps.

    Sources: torch.amp.GradScaler ``growth_interval`` 2000; DeepSpeed ``loss_scale_window``; transformers issue 10362.
    """

    code = "NUM009"
    name = "loss-scale-overflows"
    title = "The loss scaler skips steps"
    severity = Severity.WARNING
    stage = Stage.UNSCALE
    needs = Needs(any_of=(("events",), ("loss_scale",)))

    def detect(self, run: Run) -> Iterator[Finding]:
        lines = overflows(run)
        if not lines or is_exhausted(run):
            return
        count = sum(event.count for event in lines)
        share = skipped_share(run)
        steps = max((s.steps[-1] for s in run.series.values() if len(s)), default=0.0)
        often = share is not None and share > MANY and steps >= ENOUGH_STEPS
        last = lines[-1]
        evidence = [Evidence(text=last.text[:160], source=last.source, step=last.step)]
        if often:
            yield self.finding(
                f"{count} of about {steps:.0f} steps overflowed and were skipped",
                evidence=evidence,
                clues=clues(
                    "steps overflow far more often than a scaler probes", fp16_overflow=2, loss_scale_exhausted=2
                ),
            )
            return
        plural = "step was" if count == 1 else "steps were"
        yield self.finding(
            f"{count} {plural} skipped while the loss scale found its level; that is how it works",
            evidence=evidence,
            severity=Severity.NOTE,
            clues=clues("the scale settles well above its floor", loss_scale_exhausted=-4),
        )

    bad = [
        case("one", events=[_overflow(65536.0, 32768.0)]),
        case("settling", events=_falls(65536.0, 4)),
        case("a tenth of a long run", events=[_overflow(2048.0, 1024.0)] * 40, series={"loss": [2.0] * 400}),
    ]
    good = [
        case("no overflow", series={"loss_scale": [65536.0] * 3}),
        case("the floor is NUM008's", events=_falls(65536.0, 16)),
    ]
    not_enough = [case("no log", config={"fp16": True})]
