"""TOK103 special-token-doubled."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case
from holter.checks.measured.look import evidence, number
from holter.finding import Basis, Clue, Finding, Severity
from holter.run import Run
from holter.stages import Stage

MANY = 0.5
"""Share of rows from which it is a rule of the pipeline and no property of a text."""


class SpecialTokenDoubled(Check):
    """A begin or end mark stands twice in a row.

    What it looks for: real rows that begin with two begin marks or end with two end marks.

    Why it hurts: the model never saw that in pre-training; quality falls a little everywhere.

    How to fix it: let the template or the tokenizer add the mark, not both (add_special_tokens=False).

    When to ignore it: when the template of the checkpoint really writes it twice.

    Threshold: `MANY` of the rows.

    Sources: `holter.probes.tokenizer`.
    """

    code = "TOK103"
    name = "special-token-doubled"
    title = "A begin or end mark stands twice in a row"
    severity = Severity.WARNING
    stage = Stage.TOKENIZE
    needs = Needs(facts=("tokenizer.doubled_special_share",))

    bad = (case("every row", facts={"tokenizer.doubled_special_share": 1.0}),)
    good = (
        case("none", facts={"tokenizer.doubled_special_share": 0.0}),
        case("one in ten", facts={"tokenizer.doubled_special_share": 0.1}),
    )
    not_enough = (case("no rows", facts={"tokenizer.length": 9}),)

    def detect(self, run: Run) -> Iterator[Finding]:
        share = number(run, "tokenizer.doubled_special_share") or 0.0
        if share >= MANY:
            yield self.finding(
                f"{share:.0%} of the rows carry a begin or end mark twice",
                evidence=[evidence(run, "tokenizer.doubled_special_share")],
                clues=[Clue(cause="double-special-tokens", bits=8.0, why="the ids of real rows were counted")],
                basis=Basis.MEASURED,
            )
