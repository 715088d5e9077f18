"""LAB101 label-beyond-outputs."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case
from holter.checks.measured.look import evidence, number
from holter.finding import Basis, Change, Clue, Finding, Fix, Severity
from holter.run import Run
from holter.stages import Stage


class LabelBeyondOutputs(Check):
    """A label id has no output of the head.

    What it looks for: label ids of the first batches and of the training data against the number of outputs of the
    head.

    Why it hurts: the loss raises an index error, or a device assertion that kills the process far from the cause.

    How to fix it: set num_labels to the number of classes and map labels to 0 ... num_labels - 1.

    When to ignore it: never.

    Threshold: any id below 0 or not below num_labels.

    Sources: torch.nn.CrossEntropyLoss.
    """

    code = "LAB101"
    name = "label-beyond-outputs"
    title = "A label id has no output of the head"
    severity = Severity.ERROR
    stage = Stage.LOSS
    needs = Needs(facts=("batch.labels.max", "batch.labels.outputs"))

    bad = (
        case("one too many", facts={"batch.labels.max": 5, "batch.labels.min": 0, "batch.labels.outputs": 5}),
        case("negative", facts={"batch.labels.max": 1, "batch.labels.min": -1, "batch.labels.outputs": 2}),
    )
    good = (
        case("the last output", facts={"batch.labels.max": 4, "batch.labels.min": 0, "batch.labels.outputs": 5}),
        case("a class missing", facts={"batch.labels.max": 2, "batch.labels.outputs": 5}),
    )
    not_enough = (case("labels per token", facts={"batch.labels.max": 300}),)

    def detect(self, run: Run) -> Iterator[Finding]:
        outputs = number(run, "batch.labels.outputs") or 0.0
        highest = max(v for n in ("batch.labels.max", "data.train.label_max") if (v := number(run, n)) is not None)
        lowest = min(
            (v for n in ("batch.labels.min", "data.train.label_min") if (v := number(run, n)) is not None), default=0.0
        )
        if lowest >= 0 and highest < outputs:
            return
        yield self.finding(
            f"label ids run from {lowest:.0f} to {highest:.0f}, the head has {outputs:.0f} outputs",
            evidence=[evidence(run, "batch.labels.max"), evidence(run, "batch.labels.outputs")],
            clues=[Clue(cause="label-out-of-range", bits=9.0, why="the ids were counted")],
            step=0,
            fix=Fix(
                summary=f"set num_labels to {highest + 1:.0f}",
                changes=(Change(key="num_labels", old=int(outputs), new=int(highest) + 1),) if lowest >= 0 else (),
            ),
            basis=Basis.MEASURED,
        )
