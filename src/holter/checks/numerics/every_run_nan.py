"""NUM041 every-run-breaks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from holter.checks.base import Check, Needs, case, clues
from holter.checks.configuration._outcome_words import WORDS
from holter.checks.look import known, written
from holter.checks.symptoms import numbers
from holter.checks.verdicts import NOT_BAD
from holter.finding import Clue, Evidence, Finding, Severity
from holter.patterns import regex
from holter.run import Run, Value
from holter.stages import Stage

BREAKS = regex(r"\b(?:nans?|infs?|infinity|non-?finite)\b")
LATER = regex(
    r"\b(?:after|at (?:about )?(?:step|iter\w*|epoch)?) ?\d{2,}|\bsuddenly\b|\bfirst (?:stable|fine|falls)|\bstable\b"
)
"""Words for a run that went well for a while."""

FEWEST = 2
"""Runs; one alone is read like any run."""


class EveryRunBreaks(Check):
    """What it looks for
        A table of runs that differ in their settings, and every one of them ends in a NaN or an infinity, as told in a
        column of words.

    Why it hurts
        What they share is at fault: no setting that was tried matters.

    How to fix it
        Clip the gradients (max_grad_norm 1.0), and look for the first value that is not finite: forward, loss or
        gradient.

    When to ignore it
        When the table lists only the runs that failed.

    Threshold
        Two runs.

    Sources
        Mill's method of agreement.
    """

    code = "NUM041"
    name = "every-run-breaks"
    title = "Every run of the table ends in a NaN"
    severity = Severity.ERROR
    stage = Stage.LOSS
    needs = Needs(any_of=(("variants",),))
    bad = (
        case(
            "two rates",
            variants=[
                {"learning_rate": 1e-5, "result": "nan at step 400 after a stable start"},
                {"learning_rate": 5e-6, "result": "nan at step 10"},
            ],
        ),
    )
    good = (
        case("one is fine", variants=[{"lr": 1e-5, "result": "nan"}, {"lr": 1e-6, "result": "fine"}]),
        case("denied", variants=[{"lr": 1e-5, "result": "no nan"}, {"lr": 1e-6, "result": "no nan"}]),
        case("one run", variants=[{"lr": 1e-5, "result": "nan"}]),
    )
    not_enough = (case("no table", series={"loss": [2.0]}),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """Fires when no row is without it."""
        broken = [shown for row in run.variants if (shown := _breaks(row)) is not None]
        if len(broken) >= FEWEST and len(broken) == len(run.variants):
            yield self.finding(
                f"all {len(broken)} runs end in a value that is not finite",
                evidence=broken[:3],
                clues=list(_clues(run, broken)),
            )


def _breaks(row: Mapping[str, Value]) -> Evidence | None:
    for name, value in row.items():
        told = name in WORDS and isinstance(value.value, str)
        text = NOT_BAD.sub(" ", str(value.value).lower()) if told else ""
        if BREAKS.search(text) or ("loss" in name and any(not math.isfinite(n) for n in numbers(value.value))):
            return Evidence(text=f"{name}: {written(value.value)}", source=value.source, value=value.value)
    return None


def _clues(run: Run, broken: list[Evidence]) -> Iterator[Clue]:
    why = "whatever was changed, it breaks"
    yield from clues(why, framework_bug=1.5, loss_formula_instability=1.0, fp16_overflow=1.5, bad_batch=1.0)
    if any(LATER.search(shown.text.lower()) for shown in broken):
        yield from clues("it goes well for a while", lr_too_high=2.0, grad_clip_disabled=2.0, labels_all_masked=-2.0)
    else:
        yield from clues("nothing goes well before", labels_all_masked=1.5, fully_masked_attention_nan=1.0)
    if known(run, "max_grad_norm") is None and not any("max_grad_norm" in row for row in run.variants):
        yield from clues("nothing says that gradients are clipped", grad_clip_disabled=1.0)
