"""LAB104 end-token-never-supervised."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case
from holter.checks.measured.look import evidence, number, plain
from holter.finding import Basis, Clue, Finding, Severity
from holter.run import Run
from holter.stages import Stage


class EndTokenNeverSupervised(Check):
    """The end token is never among the labels that count.

    What it looks for: rows of the first batches whose labels hold the end token, against rows whose text holds
    it.

    Why it hurts: a model that is never shown where a text ends does not stop: generation runs to the length
    limit.

    How to fix it: give the tokenizer a padding token of its own, mask labels by attention mask and not by id,
    and end each answer with the end token.

    When to ignore it: when nothing is generated, or texts are cut from a running stream.

    Threshold: no row at all has it. It is a fault where the text has it and the label has not, or where an
    encoder-decoder lacks it; otherwise a note.

    Sources: `holter.probes.labels`; DataCollatorForLanguageModeling of transformers masks every pad id.
    """

    code = "LAB104"
    name = "end-token-never-supervised"
    title = "The end token is never among the labels that count"
    severity = Severity.ERROR
    stage = Stage.COLLATE
    needs = Needs(facts=("batch.labels.rows_with_end", "batch.labels.rows"))

    bad = (
        case(
            "masked with the padding",
            facts={
                "batch.labels.rows_with_end": 0,
                "batch.rows_with_end": 16,
                "batch.labels.rows": 16,
                "tokenizer.pad_token_id": 2,
                "tokenizer.eos_token_id": 2,
            },
        ),
        case(
            "targets without an end",
            facts={
                "batch.labels.rows_with_end": 0,
                "batch.labels.rows": 16,
                "tokenizer.pad_token_id": 0,
                "tokenizer.eos_token_id": 1,
            },
        ),
    )
    good = (
        case("every row", facts={"batch.labels.rows_with_end": 16, "batch.labels.rows": 16}),
        case("some rows are cut", facts={"batch.labels.rows_with_end": 3, "batch.labels.rows": 16}),
    )
    not_enough = (case("labels per row", facts={"batch.labels.rows": 16}),)

    def detect(self, run: Run) -> Iterator[Finding]:
        if number(run, "batch.labels.rows_with_end") or not number(run, "batch.labels.rows"):
            return
        in_text = number(run, "batch.rows_with_end")
        shared = plain(run, "tokenizer.pad_token_id") == plain(run, "tokenizer.eos_token_id") is not None
        hidden = in_text is None or in_text > 0
        yield self.finding(
            "no row of the first batches has the end token among the labels that count"
            + (": it shares its id with the padding and is masked with it" if shared else ""),
            evidence=[
                evidence(run, "batch.labels.rows_with_end"),
                evidence(run, "batch.rows_with_end"),
                evidence(run, "tokenizer.pad_token_id"),
                evidence(run, "tokenizer.eos_token_id"),
            ],
            clues=[Clue(cause="pad-equals-eos", bits=7.0, why="the end token is masked with the padding")]
            if shared
            else [],
            severity=Severity.ERROR if hidden else Severity.NOTE,
            step=0,
            basis=Basis.MEASURED,
        )
