"""NUM004 non-finite-evaluation."""

from __future__ import annotations

import math
from collections.abc import Iterator

from holter.checks.base import Check, Needs, case, clues
from holter.checks.context import Compute, precision
from holter.checks.look import switched_on
from holter.checks.numerics._suspects import overflow_clues
from holter.checks.shape import point, shape
from holter.checks.symptoms import EVAL_LOSSES, TRAIN_LOSSES, exactly_zero, nonfinite
from holter.finding import Clue, Evidence, Finding, Severity
from holter.run import Run
from holter.stages import Stage

FEWEST = 4
WORSE = 1.15
"""A loss of four lines and more whose last two lie 15 % above the first did not get better by training."""


class NonFiniteEvaluation(Check):
    """The evaluation loss is NaN or infinite while training is finite.

    What it looks for: non-finite values of eval_loss, with training losses and gradients that are finite or not known.

    Why it hurts: the best checkpoint is chosen by this number, and early stopping never sees an improvement.

    How to fix it: evaluate the rows one by one and look at the first that gives NaN. A row whose labels are all -100
    after truncation has a mean over nothing. If no row does, the evaluation runs in a lower precision than training
    (fp16_full_eval, bf16_full_eval): switch that off.

    When to ignore it: when a metric other than the loss decides, and the rows are known to hold no labels.

    Threshold: one value is enough.

    Sources: torch ``CrossEntropyLoss`` (mean over zero counted targets is NaN); transformers ``fp16_full_eval``.
    """

    code = "NUM004"
    name = "non-finite-evaluation"
    title = "The evaluation loss is not finite while training is"
    severity = Severity.ERROR
    stage = Stage.EVAL
    needs = Needs(any_of=(*((name,) for name in EVAL_LOSSES), ("variants",)))

    def detect(self, run: Run) -> Iterator[Finding]:
        if nonfinite(run, *TRAIN_LOSSES, "grad_norm") is not None or exactly_zero(run, *TRAIN_LOSSES) is not None:
            return
        found = _first(run)
        if found is None:
            return
        broken, always = found
        times = "at every evaluation" if always else "at some evaluations"
        yield self.finding(
            f"eval_loss is not finite {times}, and no training loss is",
            evidence=[broken],
            clues=[*_clues(run, always)],
        )

    bad = [
        case("every time", series={"loss": [2.0, 1.5], "eval_loss": [math.nan, math.nan]}),
        case("once of two", series={"loss": [2.0], "eval_loss": [1.8, math.inf]}),
        case("no training loss known", series={"eval_loss": [math.nan]}),
    ]
    good = [
        case("training broke first", series={"loss": [math.nan], "eval_loss": [math.nan]}),
        case("hidden behind 0.0", series={"loss": [0.0], "eval_loss": [math.nan]}),
        case("large but finite", series={"loss": [2.0], "eval_loss": [1e6]}),
    ]
    not_enough = [case("never evaluated", series={"loss": [2.0]})]


def _first(run: Run) -> tuple[Evidence, bool] | None:
    """The first non-finite evaluation, and whether all of them are."""
    series = run.series.get("eval_loss")
    if series is not None and (index := shape(series).first_nonfinite) is not None:
        note = f"the first of {shape(series).nonfinite} among {len(series)}"
        return point(series, index, note), shape(series).nonfinite == len(series)
    written = nonfinite(run, *EVAL_LOSSES)
    return None if written is None else (written, True)


def _clues(run: Run, always: bool) -> Iterator[Clue]:
    why = "the weights and the training passes are finite, so it is the rows or the mode of evaluation"
    yield from clues(why, labels_all_masked=3.5, eval_only_nan=2.0, lr_too_high=-3, fully_masked_attention_nan=0.5)
    yield from clues(why, grad_clip_disabled=-3, low_precision_weights=-2, loss_scale_exhausted=-3)
    lowered = switched_on(run, "fp16_full_eval", "bf16_full_eval")
    if lowered is not None:
        yield from clues(f"{lowered.name} is on, so evaluation runs in half precision", eval_only_nan=4.0)
    elif precision(run).compute is Compute.FP16:
        yield from clues("evaluation under fp16 has no loss scaler", eval_only_nan=1.0)
        if any(name in run.series for name in TRAIN_LOSSES):
            yield from clues("longer rows overflow fp16 first, and training may hide its own NaN", fp16_overflow=2.5)
    elif precision(run).compute is not Compute.UNKNOWN:
        yield from clues("evaluation runs in the precision of training", eval_only_nan=-2.0)
    loss = run.series.get("loss")
    if loss is not None and len(loss) >= FEWEST and min(list(loss)[-2:]) > WORSE * loss[0]:
        yield from clues("the training loss ends above its first line", lr_too_high=6.0, labels_all_masked=-1.0)
    if not always:
        yield from clues("only some evaluations are hit, as with single empty rows", labels_all_masked=0.5)
    if not any(name in run.series for name in TRAIN_LOSSES):
        yield from (clue for clue in overflow_clues(run) if clue.cause == "fp16-overflow")
