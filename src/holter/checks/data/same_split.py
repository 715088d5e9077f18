"""DAT002 evaluates-on-training-data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues
from holter.checks.look import known, seen, written
from holter.finding import Evidence, Finding, Fix, Severity
from holter.run import Call, Run
from holter.stages import Stage

PAIRS = (
    ("train_file", "validation_file"),
    ("train_data", "eval_data"),
    ("train_dataset", "eval_dataset"),
    ("train_split", "eval_split"),
)


class EvaluatesOnTrainingData(Check):
    """What it looks for
        One data set given for training and for evaluation.

    Why it hurts
        The evaluation measures memory: overfitting cannot be seen, and the best checkpoint is the last.

    How to fix it
        Split before training, and give the part that was held out.

    When to ignore it
        In a deliberate overfitting test of a few samples.

    Threshold
        The two names are the same.

    Sources
        None needed.
    """

    code = "DAT002"
    name = "evaluates-on-training-data"
    title = "Training and evaluation use one data set"
    severity = Severity.WARNING
    stage = Stage.DATA
    needs = Needs(any_of=(("code",), *PAIRS))
    bad = (
        case("arguments", files={"a.py": "t = Trainer(model=m, args=a, train_dataset=data, eval_dataset=data)\n"}),
        case("files", config={"train_file": "all.json", "validation_file": "all.json"}),
    )
    good = (
        case(
            "split", files={"a.py": "t = Trainer(model=m, args=a, train_dataset=d['train'], eval_dataset=d['test'])\n"}
        ),
        case("files", config={"train_file": "train.json", "validation_file": "dev.json"}),
    )
    not_enough = (case("not said"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """The first pair that is one and the same."""
        for evidence in _same(run):
            yield self.finding(
                "the same data are used for training and for evaluation",
                evidence=evidence,
                clues=clues("evaluation on the training data", eval_leak=6),
                fix=Fix(summary="Hold out a part of the data for evaluation."),
            )
            return


def _same(run: Run) -> Iterator[list[Evidence]]:
    for code in run.code:
        for call in code.calls:
            if _one_set(call):
                yield [seen(call)]
    for train, held_out in PAIRS:
        first, second = known(run, train), known(run, held_out)
        if first is not None and second is not None and isinstance(first.plain, str) and first.plain == second.plain:
            yield [first.evidence, second.evidence]


def _one_set(call: Call) -> bool:
    train, held_out = call.kwargs.get("train_dataset"), call.kwargs.get("eval_dataset")
    return train is not None and held_out is not None and written(train) == written(held_out)
