"""DAT105 text-garbled."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case
from holter.checks.measured.look import evidence, number, plain
from holter.finding import Basis, Finding, Severity
from holter.run import Run
from holter.stages import Stage

MANY = 0.01  # one text in a hundred is a property of a source; less is a stray character
SHOWN = 3  # kinds that the message names


class TextGarbled(Check):
    """Texts hold characters that do not belong there.

    What it looks for: control characters (line ends and tabs aside), invisible and replacement characters, and
    mojibake: UTF-8 that was read as Windows-1252.

    Why it hurts: the model learns the damage, and the tokenizer spends several tokens or an unknown one on each
    such character.

    How to fix it: read the files as UTF-8 and write them again; remove control characters; the facts
    data.train.dirt and data.eval.dirt name them.

    When to ignore it: when the damage is what the model will also meet in use.

    Threshold: `MANY` of the texts; fewer are a note.

    Sources: `holter.recipes.data.report.characters`, over the first 5,000 texts.
    """

    code = "DAT105"
    name = "text-garbled"
    title = "Texts hold characters that do not belong there"
    severity = Severity.WARNING
    stage = Stage.DATA
    needs = Needs(any_of=(("data.train.dirty_share",), ("data.eval.dirty_share",)))

    bad = (case("a fifth", facts={"data.train.dirty_share": 0.2, "data.train.dirt": {"mojibake": 900}}),)
    good = (
        case("clean", facts={"data.train.dirty_share": 0.0, "data.train.dirt": {}}),
        case("clean in both", facts={"data.train.dirty_share": 0.0, "data.eval.dirty_share": 0.0}),
    )
    not_enough = (case("no text", facts={"data.train.rows": 100}),)

    def detect(self, run: Run) -> Iterator[Finding]:
        for split in ("train", "eval"):
            share = number(run, f"data.{split}.dirty_share") or 0.0
            if share:
                dirt = plain(run, f"data.{split}.dirt") or {}
                yield self.finding(
                    f"{share:.1%} of the {split} texts hold {', '.join(list(dirt)[:SHOWN]) or 'stray characters'}",
                    evidence=[evidence(run, f"data.{split}.dirt"), evidence(run, f"data.{split}.dirty_share")],
                    severity=Severity.WARNING if share >= MANY else Severity.NOTE,
                    basis=Basis.MEASURED,
                )
