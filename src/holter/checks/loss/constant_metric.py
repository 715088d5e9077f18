"""LOS016 one-answer-for-everything."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise

from holter.checks.base import Check, Needs, case, clues
from holter.checks.context import count_of, uniform_loss
from holter.checks.evaluation._one_answer import thrown_off_clues
from holter.checks.shape import point, shape
from holter.checks.symptoms import broken
from holter.finding import Clue, Finding, Severity
from holter.run import Run, Series
from holter.stages import Stage

SCORES = ("acc", "accuracy", "f1", "mcc", "matthews", "precision", "recall", "kappa")
"""Parts of names of classification scores; a name that ends in one of them counts."""

ZERO_FOR_ONE_ANSWER = ("mcc", "matthews", "kappa")
"""Scores that are exactly 0.0 when one class is given to every input."""

MIN_SAME = 3
"""Evaluations with exactly the same score. Two may agree by chance on a small set."""

LEARNT = 0.7
"""Times the first loss; a constant answer can fit the frequencies of the classes, which gains a tenth or two."""

MANY_SAME = 5
"""Evaluations with the same score after a first one that differs: the model went over to one answer."""

DIGITS, FELL = 4, 0.8
"""Digits of a held-out loss, which rounding does not make alike, and what is left of the first training loss."""

MIN_ZERO = 2
"""Evaluations of a score that is exactly 0.0 only for one answer."""


class OneAnswerForEverything(Check):
    """The model gives the same answer to every input.

    What it looks for: a classification score that is the same to the last digit at each evaluation, or a score like MCC
    or kappa that is exactly 0.0, while the loss is finite and does not come down.

    Why it hurts: the loss may still fall a little, to the frequencies of the classes, but the input has no effect.
    Large encoders end there when the first steps were too large; some seeds do and others do not.

    How to fix it: lower the rate three to ten times with warmup over a tenth of the run, and try other seeds.

    When to ignore it: on evaluation sets of a few rows, and for scores that have reached their maximum.

    Threshold: `MIN_SAME` equal scores, `MIN_ZERO` zeros; for a held-out loss `DIGITS` while training falls to `FELL`.

    Sources: Mosbach et al. 2021, section 4 (failed runs); Devlin et al. 2019, section 4.1 (unstable large models);
    Chicco and Jurman 2020 on MCC.
    """

    code = "LOS016"
    name = "one-answer-for-everything"
    title = "The evaluation score never changes"
    severity = Severity.WARNING
    stage = Stage.EVAL
    needs = Needs(
        any_of=tuple(
            (name,) for name in ("loss", "eval_loss", "accuracy", "eval_accuracy", "eval_f1", "mcc", "eval_mcc")
        )
    )

    def detect(self, run: Run) -> Iterator[Finding]:
        if broken(run) is not None:
            return
        yield from self._same_loss(run)
        scores = {name: s for name, s in sorted(run.series.items()) if _is_score(name) and not _of_batches(name, s)}
        telling = {name: series for name, series in scores.items() if _is_zero_for_one_answer(name)}
        still = {name: series for name, series in scores.items() if _stuck(name, series)}
        if not any(name in still for name in telling):
            moves = any(shape(series).low < shape(series).high for series in scores.values() if len(series) >= MIN_SAME)
            if _learns(run, next(iter(still.values()), None)) or (moves and not _repeats(still)):
                return
        for name, series in sorted(still.items(), key=lambda item: item[0] not in telling):
            yield self.finding(
                f"{name} is exactly {series[0]:g} at all {len(series)} evaluations: one answer for every input",
                evidence=[point(series, 0), point(series, len(series) - 1)],
                clues=list(_clues(run)),
            )
            return

    def _same_loss(self, run: Run) -> Iterator[Finding]:
        """A held-out loss that is the same to the last of four digits at each evaluation while training goes on."""
        held_out, loss = run.series.get("eval_loss"), run.series.get("loss") or run.series.get("train_loss")
        if held_out is None or loss is None or not MIN_SAME <= len(held_out) <= len(loss) or len(set(held_out)) > 1:
            return
        digits = len(f"{held_out[0]:.10g}".replace(".", "").lstrip("0"))
        if not math.isfinite(held_out[0]) or digits < DIGITS or not 0.0 < loss[len(loss) - 1] < FELL * loss[0]:
            return
        yield self.finding(
            f"eval_loss is exactly {held_out[0]:g} at all {len(held_out)} evaluations while the training loss falls",
            evidence=[point(held_out, 0), point(held_out, len(held_out) - 1), point(loss, len(loss) - 1)],
            clues=clues(
                "what is evaluated is not what is trained",
                weights_loaded_wrong=2.5,
                framework_bug=1.5,
                metric_decoding=1.5,
                head_not_trained_or_saved=1.5,
                eval_leak=-2.0,
                overfitting=-2.0,
            ),
        )

    bad = [
        case("the same held-out loss", series={"loss": [2.3, 1.4, 0.9, 0.6], "eval_loss": [2.3471] * 4}),
        case("the same accuracy", series={"eval_loss": [4.97, 4.95, 4.96], "eval_accuracy": [0.036, 0.036, 0.036]}),
        case("MCC of zero", series={"eval_loss": [0.54, 0.51], "mcc": [0.0, 0.0]}),
        case(
            "MCC of zero, now for one class and now for the other",
            series={"eval_loss": [0.71, 0.7, 0.7], "eval_mcc": [0.0, 0.0, 0.0], "eval_accuracy": [0.48, 0.52, 0.48]},
        ),
        case(
            "after a first evaluation, and the loss of batches scatters",
            series={"loss": [1.1, 0.7, 0.6, 0.9, 0.4, 0.7], "eval_accuracy": [0.613] + [0.6204] * 5},
        ),
    ]
    good = [
        case("a held-out loss in two digits", series={"loss": [2.3, 1.4, 0.9, 0.6], "eval_loss": [0.81] * 4}),
        case(
            "the mean of an epoch, from batch to batch",
            series={"loss": [0.869] * 4, "accuracy": [0.6] * 4},
            steps=[16295, 16296, 16297, 16298],
        ),
        case("it moves", series={"eval_loss": [0.9, 0.8, 0.7], "eval_accuracy": [0.60, 0.61, 0.60]}),
        case("at its best", series={"eval_loss": [0.1, 0.05, 0.01], "eval_accuracy": [1.0, 1.0, 1.0]}),
        case(
            "another score moves",
            series={"eval_loss": [0.9, 0.9, 0.9], "eval_accuracy": [0.6, 0.6, 0.6], "eval_f1": [0.40, 0.45, 0.43]},
        ),
        case("converged", series={"eval_loss": [0.5, 0.2, 0.1, 0.09], "eval_accuracy": [0.96, 0.96, 0.96, 0.96]}),
        case(
            "the commonest class and a loss that only knowledge reaches",
            series={"loss": [0.9, 0.5, 0.2, 0.1, 0.1, 0.1], "eval_accuracy": [0.83] * 6},
        ),
        case("two evaluations", series={"eval_loss": [0.9, 0.8], "eval_accuracy": [0.60, 0.60]}),
        case("a BLEU of zero", series={"eval_loss": [0.9, 0.8], "eval_bleu": [0.0, 0.0]}),
    ]
    not_enough = [case("no evaluation", series={"learning_rate": [1e-4]})]


def _learns(run: Run, score: Series | None) -> bool:
    """Whether a loss of the evaluation, or of training where that is all there is, comes down clearly.

    A constant answer cannot have a loss below the entropy of the frequencies of the classes, so a training loss, which
    scatters from batch to batch, has to end below that of the commonest class.
    """
    for name in ("eval_loss", "loss"):
        series = run.series.get(name)
        if series is not None and len(series) >= MIN_SAME and shape(series).bins:
            if name == "loss" and score is not None and shape(series).tail >= _entropy(score[len(score) - 1]):
                return False
            return shape(series).low < LEARNT * series[0]
    return False


def _entropy(score: float) -> float:
    """Least mean loss, nats, of a constant answer that is right in this share (or percentage) of the rows."""
    share = score / (100.0 if score > 1.0 else 1.0)
    if not 0.0 < share < 1.0:
        return 0.0
    return -share * math.log(share) - (1.0 - share) * math.log(1.0 - share)


def _repeats(still: Mapping[str, Series]) -> bool:
    """Whether a score stands still for so long that chance cannot be the reason."""
    return any(len(series) >= MANY_SAME for series in still.values())


def _of_batches(name: str, series: Series) -> bool:
    """Whether a score stands in the lines of batches that follow each other: a mean since long before, which moves too
    slowly to be seen."""
    steps = [step for index in range(len(series)) if (step := series.step(index)) is not None]
    together = len(steps) == len(series) > 1 and all(after - before == 1 for before, after in pairwise(steps))
    return together and steps[0] > len(series) and not name.startswith(("eval", "val", "test", "dev"))


def _is_zero_for_one_answer(name: str) -> bool:
    return any(part in name.lower() for part in ZERO_FOR_ONE_ANSWER)


def _is_score(name: str) -> bool:
    last = name.lower().replace("/", "_").rsplit("_", 1)[-1]
    evaluation = name.startswith(("eval", "val", "test", "dev")) or last in (*ZERO_FOR_ONE_ANSWER, "accuracy")
    known = last in SCORES or last == "ac" or name.lower().endswith(SCORES)
    return (evaluation and known) or _is_zero_for_one_answer(name)


def _stuck(name: str, series: Series) -> bool:
    found = shape(series)
    if found.nonfinite or not found.bins:
        return False
    last = series[len(series) - 1]
    same = sum(value == last for value in series)
    if len(series) - same > (1 if same >= MANY_SAME else 0):
        return False
    if last == 0.0:
        return same >= (MIN_ZERO if _is_zero_for_one_answer(name) else MIN_SAME)
    return same >= MIN_SAME and last not in (1.0, 100.0)


def _clues(run: Run) -> Iterator[Clue]:
    why = "the input has no effect on the answer"
    yield from clues(why, seed_instability=3.0, lr_too_high=2.5, warmup_missing=1.0, no_trainable_params=0.5)
    yield from clues(why, lr_too_low=0.5, head_not_trained_or_saved=0.5, metric_decoding=0.5, overfitting=-3)
    yield from thrown_off_clues(run)
    level, loss = uniform_loss(run), run.series.get("loss")
    if level is not None and loss is not None and count_of(run, "num_labels") and shape(loss).tail > 0.9 * level[0]:
        yield from clues(f"the loss stays near {level[1]}", seed_instability=0.5, lr_too_high=0.5)
