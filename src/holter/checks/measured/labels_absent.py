"""LAB102 rows-without-labels."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case
from holter.checks.measured.look import evidence, number
from holter.finding import Basis, Clue, Finding, Severity
from holter.run import Run
from holter.stages import Stage

MANY = 0.1
"""Share of rows from which a batch of eight is more likely than not to hold one: 1 - 0.9^8 = 57 %."""


class RowsWithoutLabels(Check):
    """Rows have no supervised token left.

    What it looks for: rows of the first batches in which every label is -100.

    Why it hurts: such a row adds nothing; a batch of them gives nan, which the Trainer logs as loss 0.0.

    How to fix it: raise max_length, cut the prompt instead of the answer, or mend the template that marks the answer.

    When to ignore it: when unlabelled rows are part of the data by design. A masked language model draws its labels,
    so short rows go without by chance: there only all of them count.

    Threshold: `MANY` of the rows; all of them is an error.

    Sources: torch.nn.CrossEntropyLoss: a mean over no element is nan.
    """

    code = "LAB102"
    name = "rows-without-labels"
    title = "Rows have no supervised token left"
    severity = Severity.WARNING
    stage = Stage.COLLATE
    needs = Needs(facts=("batch.labels.rows_without", "batch.labels.rows"))

    bad = (
        case("all", facts={"batch.labels.rows_without": 16, "batch.labels.rows": 16}),
        case("a quarter", facts={"batch.labels.rows_without": 4, "batch.labels.rows": 16}),
    )
    good = (
        case("none", facts={"batch.labels.rows_without": 0, "batch.labels.rows": 16}),
        case(
            "drawn by chance",
            facts={"batch.labels.rows_without": 4, "batch.labels.rows": 16},
            config={"architectures": "BertForMaskedLM"},
        ),
        case("one in sixty-four", facts={"batch.labels.rows_without": 1, "batch.labels.rows": 64}),
    )
    not_enough = (case("no labels", facts={"batch.padding_share": 0.1}),)

    def detect(self, run: Run) -> Iterator[Finding]:
        without, rows = number(run, "batch.labels.rows_without") or 0.0, number(run, "batch.labels.rows") or 0.0
        everything = without == rows
        by_chance = "MaskedLM" in str(run.get("architectures", ""))
        if not rows or without / rows < MANY or (by_chance and not everything):
            return
        yield self.finding(
            f"{without:.0f} of {rows:.0f} rows of the first batches have no supervised token",
            evidence=[evidence(run, "batch.labels.rows_without"), evidence(run, "batch.labels.rows")],
            clues=[Clue(cause="labels-all-masked", bits=9.0 if everything else 5.0, why="labels were counted")],
            step=0,
            severity=Severity.ERROR if everything else Severity.WARNING,
            basis=Basis.MEASURED,
        )
