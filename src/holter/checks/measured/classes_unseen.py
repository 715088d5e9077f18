"""DAT102 class-missing-in-training."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case
from holter.checks.measured.look import evidence, number
from holter.finding import Basis, Finding, Severity
from holter.run import Run
from holter.stages import Stage


class ClassMissingInTraining(Check):
    """A class of the evaluation data never occurs in training.

    What it looks for: label ids that occur in the evaluation split only.

    Why it hurts: the model cannot learn them, and macro-F1 counts each as a zero.

    How to fix it: stratify the split, or drop or merge classes with a single row.

    When to ignore it: when unseen classes are part of the task.

    Threshold: one class.

    Sources: `holter.probes.data`.
    """

    code = "DAT102"
    name = "class-missing-in-training"
    title = "A class of the evaluation data never occurs in training"
    severity = Severity.WARNING
    stage = Stage.DATA
    needs = Needs(facts=("data.classes_only_in_eval",))

    bad = (case("three", facts={"data.classes_only_in_eval": 3}),)
    good = (
        case("none", facts={"data.classes_only_in_eval": 0}),
        case("classes only in training", facts={"data.classes_only_in_eval": 0, "data.classes_only_in_train": 9}),
    )
    not_enough = (case("no classes", facts={"data.eval.rows": 9}),)

    def detect(self, run: Run) -> Iterator[Finding]:
        missing = number(run, "data.classes_only_in_eval") or 0.0
        if missing:
            yield self.finding(
                f"{missing:.0f} classes of the evaluation data never occur in training",
                evidence=[evidence(run, "data.classes_only_in_eval")],
                basis=Basis.MEASURED,
            )
