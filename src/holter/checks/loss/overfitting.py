"""LOS008 evaluation-loss-rises."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case, clues
from holter.checks.context import has_plain_loss
from holter.checks.look import known, plain
from holter.checks.shape import point, shape, tabled
from holter.checks.symptoms import number
from holter.finding import Finding, Severity
from holter.run import Run
from holter.stages import Stage

RISE = 1.1
"""Last evaluation over the best one. The scatter of evaluations on a fixed set is a few per cent."""

STRONG = 1.5
"""Last over best from where on the last checkpoint is clearly worse than an earlier one."""

STRONG_NATS = 0.3
"""And by this much; a ratio of small losses alone is nothing."""

MANY_EPOCHS = 10
"""Passes over the data beyond which rows are learnt by heart in most fine-tunes."""

FEW_POINTS = 3
"""Evaluations; with two, one unlucky set decides."""


class EvaluationLossRises(Check):
    """The evaluation loss rises while the training loss falls.

    What it looks for: a last eval_loss above the best one by a tenth, with a training loss that fell over the same
    stretch. A rise by half and 0.3 nats is a warning, less is noted.

    Why it hurts: the model learns the training rows by heart. The last checkpoint is worse than an earlier one.

    How to fix it: keep the best checkpoint (load_best_model_at_end), train fewer epochs, add data or dropout.

    When to ignore it: when the metric that counts still improves; accuracy often does while the loss rises.

    Threshold: `RISE`, and `STRONG` with `STRONG_NATS` for a warning.

    Sources: Goodfellow et al. 2016, section 7.8 (early stopping); Guo et al. 2017 (loss rises while accuracy does not).
    """

    code = "LOS008"
    name = "evaluation-loss-rises"
    title = "The evaluation loss rises while the training loss falls"
    severity = Severity.WARNING
    stage = Stage.EVAL
    factor = "num_train_epochs"
    needs = Needs(any_of=(("eval_loss",), ("variants",)))

    def detect(self, run: Run) -> Iterator[Finding]:
        held_out, loss = tabled(run, "eval_loss"), tabled(run, "loss", "train_loss")
        if held_out is None or len(held_out) < FEW_POINTS or not has_plain_loss(run):
            return
        found = shape(held_out)
        if found.nonfinite or found.low <= 0.0:
            return
        best = min(range(len(held_out)), key=lambda i: held_out[i])
        last = len(held_out) - 1
        ratio = held_out[last] / held_out[best]
        recent = min(held_out[i] for i in range(max(best + 1, last - 1), last + 1)) if last > best else 0.0
        if ratio < RISE or recent < held_out[best] * (1 + (RISE - 1) / 2):
            return
        if loss is not None and len(loss) >= 2 and shape(loss).tail > shape(loss).head:
            return
        strong = ratio >= STRONG and held_out[last] - held_out[best] >= STRONG_NATS
        epochs = number(plain(run, "num_train_epochs"))
        setting = known(run, "num_train_epochs")
        yield self.finding(
            f"eval_loss was best at {held_out[best]:.4g} and ends at {held_out[last]:.4g} while the loss falls",
            evidence=[
                point(held_out, best, "the best"),
                point(held_out, last, "the last"),
                *([point(loss, len(loss) - 1)] if loss else []),
                *([setting.evidence] if setting is not None and (epochs or 0.0) > MANY_EPOCHS else []),
            ],
            severity=Severity.WARNING if strong else Severity.NOTE,
            clues=clues(
                "training and evaluation loss part",
                overfitting=5.0 if strong else 4.0,
                lr_too_high=0.5,
                eval_leak=-3,
            ),
        )

    bad = [
        case("twice the best", series={"loss": [1.0, 0.4, 0.1, 0.02], "eval_loss": [0.9, 0.8, 1.3, 1.7]}),
        case(
            "a table by epoch",
            variants=[
                {"epoch": 1, "train_loss": 1.0, "eval_loss": 0.9},
                {"epoch": 2, "train_loss": 0.4, "eval_loss": 1.2},
                {"epoch": 3, "train_loss": 0.1, "eval_loss": 1.6},
            ],
        ),
        case("a third, noted", series={"loss": [0.3, 0.1, 0.01, 0.001], "eval_loss": [0.32, 0.36, 0.40, 0.42]}),
    ]
    good = [
        case("levels out", series={"loss": [1.0, 0.4, 0.3, 0.25], "eval_loss": [0.9, 0.8, 0.79, 0.80]}),
        case("two evaluations", series={"loss": [1.0, 0.1], "eval_loss": [0.9, 1.7]}),
        case("one bad evaluation", series={"loss": [1.0, 0.6, 0.5, 0.4], "eval_loss": [0.73, 0.95, 0.70, 0.56]}),
        case("training diverges too", series={"loss": [1.0, 2.0, 3.0, 4.0], "eval_loss": [0.9, 1.5, 2.5, 3.0]}),
    ]
    not_enough = [case("never evaluated", series={"loss": [1.0, 0.1]})]
