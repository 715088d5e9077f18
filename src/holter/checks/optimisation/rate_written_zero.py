"""OPT012 written-rate-zero."""

from __future__ import annotations

import re
from collections.abc import Iterable

from holter.checks.base import Check, Needs, case, clues
from holter.checks.evaluation._written import bare
from holter.checks.numerics._suspects import overflow_clues
from holter.checks.optimisation._rate import last_step
from holter.checks.shape import point
from holter.checks.symptoms import broken, number
from holter.checks.verdicts import tells_bad
from holter.finding import Evidence, Finding, Severity
from holter.patterns import regex
from holter.run import Run
from holter.stages import Stage

LATER = regex(
    r"\b(?:from|after|since|once)\b(?! the (?:start|beginning|first step|very first))"
    r"|\balready\b|\bwithin (?:the )?(?:first|\d+)|\bbefore (?:the )?(?:end|half|epoch \d)|\bhalf-?way\b"
)
"""Words beside the rate that say that it was above 0 before."""

RATE = regex(
    r"(?:^|[._ ])(?:lr|learning_?rate)(?:[._ ](?:printed|logged|shown|reported|displayed|seen|observed|actual|current"
    r"|now|in_(?:the_)?\w+|during_\w+|value))?$",
    re.I,
)
AT_AN_END = regex(r"first|initial|start|final|last|end|min|warmup|eta|before|step_?[01]\b", re.I)

ROUNDED = regex(r"0\.0{2,6}")
"""What ``%.4f`` makes of a rate of 1e-5."""

FALLS = 0.2
"""A loss that fell by this share was trained: batches differ by less."""

FEW, FAR = 4, 100
"""Noted rates, and the steps between them: the first steps of a warmup are over by then."""


class WrittenRateZero(Check):
    """What it looks for
        A learning rate of 0 that somebody wrote down as the rate of the run, without a step.

    Why it hurts
        At a rate of 0 nothing is trained.

    How to fix it
        Print the rate for some steps: always 0 means a schedule with a wrong start or length; 0 early on means that the
        scheduler is stepped too often, or that every optimizer step is skipped by a loss scaler.

    When to ignore it
        When it is the value at the very end of a decay.

    Threshold
        Exactly 0, with a finite loss.

    Sources
        transformers schedules (0 at the first step of a warmup and at the last of a decay).
    """

    code = "OPT012"
    name = "written-rate-zero"
    title = "The rate that was written down is 0"
    severity = Severity.WARNING
    stage = Stage.SCHEDULE
    factor = "learning_rate"
    needs = Needs(any_of=(("learning_rate",), ("facts",), ("variants",)))
    bad = (
        case("written down", files={"observed.yaml": "learning_rate: 0.0\n"}),
        case("noted twice", files={"observed.yaml": "lr_step_5: 0.0\nlr_step_900: 0.0\n"}),
        case("in one row", variants=[{"data": "a", "learning_rate": 0}, {"data": "b", "learning_rate": "as set"}]),
        case("measured", facts={"optimizer.param_groups[0].lr": 0.0}),
        case("printed", facts={"lr_printed": 0.0}),
        case("too soon", files={"observed.yaml": "learning_rate: 0  # in the first epoch already\n"}),
        case("from some point on", files={"observed.yaml": "learning_rate: 0  # after a third of the steps\n"}),
    )
    good = (
        case(
            "a test without updates",
            variants=[{"learning_rate": 1e-4, "loss": "diverges"}, {"learning_rate": 0, "loss": "stable"}],
        ),
        case(
            "a small rate with few decimals",
            files={"train.log": "train/loss 5.5021\ntrain/learning_rate 0.0000\n\ntrain/loss 2.2328\n"},
        ),
        case("in no row", variants=[{"data": "a", "learning_rate": 1e-5}, {"data": "b", "learning_rate": 2e-5}]),
        case("a rate", files={"observed.yaml": "learning_rate: 2.0e-5\n"}),
        case("measured at the end", facts={"final.lr": 0.0}),
        case("the end of a log", series={"learning_rate": [0.0]}, steps=[500]),
        case("a NaN skips every step", files={"observed.yaml": "learning_rate: 0.0\nloss: nan\n"}),
    )
    not_enough = (case("no rate", series={"loss": [2.0]}),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """Fires on a bare 0."""
        rate = run.series.get("learning_rate")
        if rate is None:
            yield from self._measured(run)
            yield from self._row(run)
            return
        if not any(rate) and 2 <= len(rate) <= FEW and (last_step(rate) or 0.0) - (rate.step(0) or 0) >= FAR:
            yield self.finding(
                f"the learning rate is 0 at step {rate.steps[0]:g} and still at step {rate.steps[-1]:g}",
                evidence=[point(rate, 0), point(rate, len(rate) - 1)],
                clues=clues("the rate is 0 at every step that was noted", lr_zero=5.0, scheduler_step_mismatch=1.5),
            )
            return
        if not bare(rate) or any(rate) or broken(run) is not None or _rounded(run):
            return
        why = "the rate is 0 where somebody looked"
        later = LATER.search(rate.raw.get(0, "").partition("#")[2].lower()) is not None
        skipped = [clue for clue in overflow_clues(run) if clue.cause == "fp16-overflow" and clue.bits > 1]
        yield self.finding(
            "the learning rate is 0",
            evidence=[point(rate, 0)],
            clues=[
                *clues(
                    "the rate becomes 0 within the run" if later else why,
                    lr_zero=0.5 if later else 3.5,
                    scheduler_step_mismatch=5.0 if later else 2.0,
                    warmup_too_long=0.0 if later else 1.0,
                    loss_scale_exhausted=0.5,
                ),
                *([] if later else skipped[:1]),
            ],
        )

    def _row(self, run: Run) -> Iterable[Finding]:
        """A rate of 0 in one row of a table whose other rows have one; beside a failed run it is a test."""
        cells = [row["learning_rate"] for row in run.variants if "learning_rate" in row]
        zero = next((cell for cell in cells if number(cell.value) == 0.0), None)
        tried = any(tells_bad(str(v.value)) for row in run.variants for v in row.values() if isinstance(v.value, str))
        if zero is not None and not tried and any(number(cell.value) != 0.0 for cell in cells):
            yield self.finding(
                "the learning rate is 0 in one run of the table",
                evidence=[Evidence(text="learning_rate is 0", source=zero.source, value=0.0)],
                clues=clues("one run has no rate", lr_zero=4.0, scheduler_step_mismatch=1.5, resume_state_lost=1.0),
            )

    def _measured(self, run: Run) -> Iterable[Finding]:
        """A rate of 0 among what was measured of the optimizer; not one of the end, where schedules are at 0."""
        for name, values in run.facts.items():
            if RATE.search(name) and not AT_AN_END.search(name) and number(values[0].value) == 0.0:
                yield self.finding(
                    f"{name} is 0",
                    evidence=[Evidence(text=f"{name} is 0", source=values[0].source, value=0.0)],
                    clues=clues("the optimizer holds a rate of 0", lr_zero=4.5, scheduler_step_mismatch=1.5),
                )
                return


def _rounded(run: Run) -> bool:
    """Whether the zeros are those of a small rate printed with few decimals: the loss falls beside them."""
    rate, loss = run.series["learning_rate"], run.series.get("loss")
    texts = rate.raw.values()
    few = len(texts) == len(rate) and all(ROUNDED.fullmatch(text) for text in texts)
    return few and loss is not None and len(loss) > 1 and loss[-1] < (1 - FALLS) * loss[0]
