"""EVL007 train-eval-gap."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from statistics import median

from holter.checks.base import Check, Needs, case, clues
from holter.checks.context import has_plain_loss
from holter.checks.reported import Result, results, scale_of
from holter.checks.shape import point
from holter.finding import Evidence, Finding, Severity
from holter.patterns import regex
from holter.quantity import BEST, ERROR, EVAL, LAST, LOSS, SCORE, TRAIN, quantity
from holter.run import Run
from holter.stages import Stage

RATIO = 3.0
"""Reported evaluation loss over training loss. Dropout and averaging over the run make the second the larger one."""

NATS = 0.5
"""And the difference; a ratio of small losses is nothing."""

SHARE = 0.2
"""Difference of two scores between 0 and 1: far beyond the error of a test set of a hundred rows."""

LEARNT, LOST = 0.9, 0.35
"""Training score of a course that has learnt its rows, and the gap to its twin on held-out rows from where on it is no
usual one: small sets of images and speech end near 1.0 and 0.8."""

ENDS = 3
"""Points at the end of a course whose middle is its outcome: a score of one batch scatters."""

TRAINED = ("train_loss", "loss", "accuracy")
"""Names of quantities that are those of training without saying so."""


class TrainEvalGap(Check):
    """What it looks for
        Results at the end of a run that were written down for training and for held-out rows, and that lie far apart.

    Why it hurts
        What was learnt does not carry over. Mostly the rows were learnt by heart; else evaluation prepares the rows in
        another way than training does.

    How to fix it
        Evaluate some rows of the training set with the code of the evaluation: if they are as bad, it is that code.
        Otherwise train fewer epochs, and keep the best checkpoint.

    When to ignore it
        When the two sets are of different kinds on purpose.

    Threshold
        `RATIO` with `NATS` for losses, `SHARE` for scores; for the ends of two courses of a score `LEARNT` and `LOST`,
        a smaller gap of `SHARE` is noted.

    Sources
        Goodfellow et al. 2016, section 5.2.
    """

    code = "EVL007"
    name = "train-eval-gap"
    title = "Reported results of training and evaluation lie far apart"
    severity = Severity.WARNING
    stage = Stage.EVAL
    needs = Needs(any_of=(("facts",), ("eval_loss",), ("eval_accuracy",), ("eval_f1",)))
    bad = (
        case("losses", facts={"train_loss": 0.02, "eval_loss": 1.4}),
        case("scores", facts={"train_accuracy": 0.99, "test_accuracy": 0.62}),
        case("spelt the other way round", facts={"acc_train": 0.97, "acc_heldout": 0.58}),
        case("at the end", facts={"final_val_loss": 1.9, "train_loss": 0.05}),
        case("on rows from elsewhere", facts={"eval_accuracy": 0.99, "accuracy_on_new_rows": 0.6}),
        case("written in per cent", facts={"train_accuracy": "100%", "test_accuracy": "55 %"}),
        case("in per cent", facts={"train_accuracy": 99.1, "val_accuracy": 70.0}),
        case(
            "two lines of a log",
            files={"train.log": "epoch 9: train loss 0.11. train accuracy 0.97\nepoch 9: test accuracy 0.49\n"},
        ),
        case("courses", series={"accuracy": [0.71, 0.93, 0.99], "eval_accuracy": [0.5, 0.53, 0.52]}),
    )
    good = (
        case("ordinary", facts={"train_loss": 0.21, "eval_loss": 0.34}),
        case("the other way", facts={"train_loss": 1.9, "eval_loss": 0.4}),
        case("scores alike", facts={"train_accuracy": 0.95, "test_accuracy": 0.91}),
        case(
            "courses with an ordinary gap", series={"accuracy": [0.9, 0.97, 0.98], "eval_accuracy": [0.8, 0.84, 0.86]}
        ),
        case("a batch that was all right", series={"accuracy": [0.5, 0.6, 1.0], "eval_accuracy": [0.52, 0.58, 0.6]}),
        case("two different scores", facts={"accuracy": 0.9, "eval_f1": 0.4}),
        case("a course is judged by its shape", series={"loss": [1.0, 0.5, 0.2, 0.1, 0.02], "eval_loss": [1.4]}),
    )
    not_enough = (case("training only", series={"loss": [0.02]}),)

    def _elsewhere(self, run: Run) -> Iterator[Finding]:
        """The same score on two sets of rows, of which one may have been seen in training."""
        for here, there in _evaluations(run):
            why = "the evaluation is nearly perfect, and rows from elsewhere are not"
            yield self.finding(
                f"{here.text} and {there.text}",
                evidence=[here, there],
                clues=clues(why, eval_leak=4.0, overfitting=2.5, metric_decoding=0.5),
            )
            return

    def detect(self, run: Run) -> Iterable[Finding]:
        """Losses first, then scores."""
        pair: Sequence[Evidence] | None = next(_pairs(run), None)
        severity = Severity.WARNING
        if pair is None and (ends := _ends(run)) is not None:
            *pair, severity = ends
        if pair is None:
            yield from self._elsewhere(run)
            return
        yield self.finding(
            f"{pair[0].text} and {pair[1].text}",
            evidence=pair,
            severity=severity,
            clues=clues(
                "what was learnt does not carry over to the held-out rows",
                overfitting=4.0,
                head_not_trained_or_saved=0.5,
                template_mismatch=0.5,
                metric_decoding=0.5,
                lr_too_high=0.5,
                weights_loaded_wrong=0.5,
            ),
        )


ELSEWHERE = regex(r"new|unseen|real|production|external|leaderboard|kaggle|wild|own|other|fresh|held")
"""Words for rows that nothing of the training set can have reached."""

NEARLY_PERFECT = 0.95
"""Share of right answers on the evaluation set that hardly any task allows."""


def _evaluations(run: Run) -> Iterator[tuple[Evidence, Evidence]]:
    """A nearly perfect evaluation, and the same score on rows from elsewhere, far below."""
    found = [r for r in results(run) if r.what.kind == SCORE and r.what.split != TRAIN and math.isfinite(r.value)]
    for here in (r for r in found if not r.what.rest):
        for there in (r for r in found if ELSEWHERE.search(r.what.condition)):
            scale = scale_of(here.value, there.value)
            if here.value >= NEARLY_PERFECT * scale and here.value - there.value >= SHARE * scale:
                yield here.evidence, there.evidence


def _ends(run: Run) -> tuple[Evidence, Evidence, Severity] | None:
    """The ends of two courses of one score, on training and on held-out rows, where they lie far apart."""
    for name, held_out in run.series.items():
        what = quantity(name)
        bare = name.removeprefix("eval_")
        trained = run.series.get(bare) or run.series.get(f"train_{bare}")
        if what is None or what.kind != SCORE or name == bare or trained is None or not len(held_out):
            continue
        here, there = median(list(trained)[-ENDS:]), max(list(held_out)[-2:])
        scale = scale_of(*trained, *held_out)
        if not (math.isfinite(here) and math.isfinite(there)) or here < LEARNT * scale or here - there < SHARE * scale:
            continue
        severity = Severity.WARNING if here - there >= LOST * scale else Severity.NOTE
        return point(trained, len(trained) - 1), point(held_out, len(held_out) - 1), severity
    return None


def _pairs(run: Run) -> Iterator[tuple[Evidence, Evidence]]:
    found = [r for r in results(run) if math.isfinite(r.value) and r.what.moment in ("", LAST, BEST)]
    trained = [r for r in found if r.what.split == TRAIN or r.name in TRAINED]
    for held_out in (r for r in found if r.what.split == EVAL and r.what.moment != BEST):
        for other in (r for r in trained if _same_quantity(r, held_out)):
            if _far(run, other, held_out):
                yield other.evidence, held_out.evidence


def _same_quantity(one: Result, other: Result) -> bool:
    """Losses are of one kind; an accuracy and an F1 are not."""
    if one.what.kind != other.what.kind:
        return False
    return one.what.kind == LOSS or SHORT.get(one.what.base, one.what.base) == SHORT.get(
        other.what.base, other.what.base
    )


SHORT = {"acc": "accuracy"}


def _far(run: Run, trained: Result, held_out: Result) -> bool:
    if held_out.what.kind == LOSS:
        return has_plain_loss(run) and _apart(trained.value, held_out.value)
    if held_out.what.kind not in (SCORE, ERROR):
        return False
    gap = trained.value - held_out.value if held_out.what.kind == SCORE else held_out.value - trained.value
    return gap >= SHARE * scale_of(trained.value, held_out.value)


def _apart(trained: float, held_out: float) -> bool:
    return trained > 0.0 and held_out >= RATIO * trained and held_out - trained >= NATS
