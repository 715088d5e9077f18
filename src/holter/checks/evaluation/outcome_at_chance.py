"""EVL005 outcome-at-chance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues
from holter.checks.look import is_off, known, plain
from holter.checks.symptoms import number
from holter.finding import Clue, Evidence, Finding, Severity
from holter.run import Run
from holter.stages import Stage

NEAR = 0.005
"""Distance of a reported share or loss from its chance level: reports round to two or three digits."""

LIKELY = 0.0015
"""Distance from a half or a third where the number of classes is not known: three digits of the share agree."""

CORRELATIONS = ("mcc", "matthews_correlation", "eval_mcc", "eval_matthews_correlation")
SHARES = ("accuracy", "acc", "eval_accuracy", "test_accuracy", "val_accuracy", "valid_accuracy")
LOSSES = ("loss", "train_loss", "eval_loss")


class OutcomeAtChance(Check):
    """What it looks for
        A result that somebody wrote down and that is exactly what guessing gives: a Matthews correlation of 0, an
        accuracy of one in the number of classes, a loss of ln(number of classes).

    Why it hurts
        The model gives one answer for all rows. It has learnt nothing, or has lost what it knew.

    How to fix it
        Lower the rate to 1e-5 or 2e-5 and warm up for a tenth of the steps; run other seeds.

    When to ignore it
        For a value from before training.

    Threshold
        `NEAR`, or `LIKELY` where the number of classes is not known; a loss alone counts only beside such a score.

    Sources
        Mosbach, Andriushchenko and Klakow 2021, on fine-tuning runs that fail.
    """

    code = "EVL005"
    name = "outcome-at-chance"
    title = "The reported result is that of guessing"
    severity = Severity.WARNING
    stage = Stage.EVAL
    needs = Needs(any_of=tuple((name,) for name in (*CORRELATIONS, *SHARES)))
    bad = (
        case("no correlation", facts={"mcc": 0.0}),
        case("a half, number of classes not known", facts={"accuracy": 0.4999}),
        case("one in three", facts={"accuracy": 0.3333, "loss": 1.0986}, config={"num_labels": 3}),
    )
    good = (
        case("learnt", facts={"accuracy": 0.91}, config={"num_labels": 3}),
        case("near chance, but above", facts={"accuracy": 0.36}, config={"num_labels": 3}),
        case("near a half, number of classes not known", facts={"accuracy": 0.52}),
    )
    not_enough = (case("not reported", config={"num_labels": 3}),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """Scores first; a loss at its chance level is added as evidence."""
        found = list(_at_chance(run))
        if not found:
            return
        classes, loss = number(plain(run, "num_labels")), _reported(run, *LOSSES)
        if loss is not None and classes and abs(loss.value - math.log(classes)) <= NEAR:
            found.append(loss)
        why = "the reported result is that of guessing"
        yield self.finding(
            "the reported result is what guessing gives",
            evidence=found,
            clues=[
                *clues(why, lr_too_high=3.5, seed_instability=3.5, warmup_missing=2.0, no_trainable_params=0.5),
                *clues(why, weights_loaded_wrong=0.5, head_not_trained_or_saved=0.5),
                *_padding_clues(run),
            ],
        )


def _at_chance(run: Run) -> Iterator[Evidence]:
    correlation, share = _reported(run, *CORRELATIONS), _reported(run, *SHARES)
    if correlation is not None and correlation.value == 0.0:
        yield correlation
    classes = number(plain(run, "num_labels"))
    if share is None:
        return
    amount = share.value / (100.0 if share.value > 1.0 else 1.0)
    if classes and classes > 1:
        if abs(amount - 1.0 / classes) <= NEAR:
            yield share
    elif min(abs(amount - 1.0 / 2), abs(amount - 1.0 / 3)) <= LIKELY:
        yield share


def _padding_clues(run: Run) -> Iterator[Clue]:
    """A classifier reads the last token that is no padding; without a pad id it reads padding."""
    found = known(run, "pad_token_id", "tokenizer.pad_token", "pad_token")
    if found is not None and is_off(found.plain) and found.plain != 0:
        yield from clues("no pad token is set, so the score is read from padding", pad_token_missing=4.0)


def _reported(run: Run, *names: str) -> Evidence | None:
    """A single number that was written down without a step, so a result and no course."""
    for name in names:
        series = run.series.get(name)
        if series is not None and len(series) == 1 and series.step(0) is None and series.epoch(0) is None:
            return Evidence(text=f"{name} is {series[0]:g}", source=series.place(0), value=series[0])
        fact = run.fact(name)
        value = None if fact is None else number(fact.value)
        if fact is not None and value is not None:
            return Evidence(text=f"{name} is {value:g}", source=fact.source, value=value)
    return None
