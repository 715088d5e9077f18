"""DAT104 rows-cut-at-limit."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case
from holter.checks.measured.look import evidence, number
from holter.finding import Basis, Finding, Severity
from holter.run import Run
from holter.stages import Stage

MANY = 0.2  # a row in five: quality then depends on what was cut
SOME = 0.02  # fewer are outliers, which a limit is for


class RowsCutAtLimit(Check):
    """Many rows end exactly at the length limit.

    What it looks for: the share of training rows whose length is the limit: truncation leaves them there, and
    few texts end there by themselves.

    Why it hurts: what stood behind the limit is never learnt; when labels are at the end they are what is lost.

    How to fix it: raise max_length, or split long texts into several rows.

    When to ignore it: when the beginning of a text is enough for the task.

    Threshold: `MANY` of the rows; from `SOME` on it is a note.

    Sources: `holter.probes.data`.
    """

    code = "DAT104"
    name = "rows-cut-at-limit"
    title = "Many rows end exactly at the length limit"
    severity = Severity.WARNING
    stage = Stage.TOKENIZE
    needs = Needs(facts=("data.train.share_at_limit", "data.train.limit"))

    bad = (case("a third", facts={"data.train.share_at_limit": 0.33, "data.train.limit": 256}),)
    good = (
        case("outliers", facts={"data.train.share_at_limit": 0.01, "data.train.limit": 256}),
        case("none", facts={"data.train.share_at_limit": 0.0, "data.train.limit": 256}),
    )
    not_enough = (case("no limit is known", facts={"data.train.rows": 100}),)

    def detect(self, run: Run) -> Iterator[Finding]:
        share, limit = number(run, "data.train.share_at_limit") or 0.0, number(run, "data.train.limit") or 0.0
        if share < SOME:
            return
        yield self.finding(
            f"{share:.1%} of the training rows end exactly at the limit of {limit:.0f} tokens",
            evidence=[evidence(run, "data.train.share_at_limit"), evidence(run, "data.train.length.median")],
            severity=Severity.WARNING if share >= MANY else Severity.NOTE,
            basis=Basis.MEASURED,
        )
