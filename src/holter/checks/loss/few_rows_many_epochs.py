"""LOS009 few-rows-many-epochs."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case, clues
from holter.checks.context import count_of
from holter.checks.look import known, plain
from holter.checks.symptoms import number
from holter.finding import Finding, Severity
from holter.run import Run
from holter.stages import Stage

FEW_ROWS = 20_000
"""Rows of a small fine-tuning set; larger ones are rarely seen more than three times."""

MANY_EPOCHS = 30
"""Passes. Fine-tunes use 1 to 10; a model of hundreds of millions of weights has each row by heart long before 30."""


class FewRowsManyEpochs(Check):
    """A small data set is passed over very many times.

    What it looks for: fewer than 20,000 rows and more than 30 epochs.

    Why it hurts: the rows are learnt by heart, and the loss on other rows rises; with a high rate all the sooner.

    How to fix it: 3 to 10 epochs, an evaluation set, and load_best_model_at_end.

    When to ignore it: for small models trained from scratch, and when memorising is what is wanted.

    Threshold: `FEW_ROWS` and `MANY_EPOCHS`.

    Sources: Devlin et al. 2019, appendix A.3 (2 to 4 epochs); Muennighoff et al. 2023 (repeated data).
    """

    code = "LOS009"
    name = "few-rows-many-epochs"
    title = "Very many passes over few rows"
    severity = Severity.WARNING
    stage = Stage.DATA
    factor = "num_train_epochs"
    needs = Needs(config=["num_train_epochs"], any_of=(("train_samples",),))

    def detect(self, run: Run) -> Iterator[Finding]:
        rows, epochs = count_of(run, "train_samples"), number(plain(run, "num_train_epochs"))
        counted, passes = known(run, "train_samples"), known(run, "num_train_epochs")
        if rows is None or epochs is None or counted is None or passes is None:
            return
        if rows > FEW_ROWS or not MANY_EPOCHS < epochs < 1e6:
            return
        falls = "loss" in run.series or "eval_loss" in run.series
        yield self.finding(
            f"{epochs:g} passes over {rows} rows: they are learnt by heart",
            evidence=[counted.evidence, passes.evidence],
            severity=Severity.NOTE if falls else Severity.WARNING,
            clues=clues("so many passes over so few rows", overfitting=4.0),
        )

    bad = [case("1,300 rows, 150 times", config={"train_samples": 1300, "num_train_epochs": 150})]
    good = [
        case("three times", config={"train_samples": 1300, "num_train_epochs": 3}),
        case("many rows", config={"train_samples": 500_000, "num_train_epochs": 40}),
        case(
            "no limit given as a huge number", config={"train_samples": 1300, "num_train_epochs": 9223372036854775807}
        ),
    ]
    not_enough = [case("rows not known", config={"num_train_epochs": 150})]
