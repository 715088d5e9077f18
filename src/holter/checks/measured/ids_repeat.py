"""DAT106 row-ids-repeat."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case
from holter.checks.measured.look import evidence, number, plain
from holter.finding import Basis, Finding, Severity
from holter.run import Run
from holter.stages import Stage

MANY = 0.01  # one row in a hundred: a join that went wrong, no accident


class RowIdsRepeat(Check):
    """A column of row ids repeats ids.

    What it looks for: columns named like an id (id, guid, uuid, ..._id) in which most values are different but
    some come again.

    Why it hurts: rows that were joined or appended twice weigh double, and predictions written back by id land
    on the wrong row.

    How to fix it: remove the repeated rows before splitting.

    When to ignore it: when the column groups rows on purpose, such as several answers to one question.

    Threshold: `MANY` of the rows repeat an id; fewer are a note. A column in which half of the values repeat is
    a group, not an id.

    Sources: `holter.probes.rows`.
    """

    code = "DAT106"
    name = "row-ids-repeat"
    title = "A column of row ids repeats ids"
    severity = Severity.WARNING
    stage = Stage.DATA
    needs = Needs(any_of=(("data.train.duplicate_ids",), ("data.eval.duplicate_ids",)))

    bad = (case("a tenth", facts={"data.train.duplicate_ids": {"doc_id": 100}, "data.train.rows": 1000}),)
    good = (
        case("none", facts={"data.train.duplicate_ids": {"doc_id": 0}, "data.train.rows": 1000}),
        case("no id column", facts={"data.train.duplicate_ids": {}, "data.train.rows": 1000}),
    )
    not_enough = (case("not looked at", facts={"data.train.rows": 100}),)

    def detect(self, run: Run) -> Iterator[Finding]:
        for split in ("train", "eval"):
            rows = number(run, f"data.{split}.rows") or 0.0
            for column, again in (plain(run, f"data.{split}.duplicate_ids") or {}).items():
                if again and rows:
                    yield self.finding(
                        f"{again} of {rows:.0f} {split} rows repeat an id of the column {column}",
                        evidence=[evidence(run, f"data.{split}.duplicate_ids"), evidence(run, f"data.{split}.rows")],
                        severity=Severity.WARNING if again / rows >= MANY else Severity.NOTE,
                        basis=Basis.MEASURED,
                    )
