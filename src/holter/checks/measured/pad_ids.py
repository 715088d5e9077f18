"""TOK101 pad-ids-disagree."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case
from holter.checks.measured.look import evidence, number, plain
from holter.finding import Basis, Change, Clue, Finding, Fix, Severity
from holter.run import Run
from holter.stages import Stage


class PadIdsDisagree(Check):
    """Tokenizer and model disagree about the pad id.

    What it looks for: the pad id of the tokenizer against the model's, and rows whose head reads a padding position
    because of it.

    Why it hurts: a classification head pools from the last token that is not the model's pad id: with another id it
    reads padding.

    How to fix it: set model.config.pad_token_id = tokenizer.pad_token_id.

    When to ignore it: when the model never looks for its pad id (encoders with a mask, batches of one).

    Threshold: any difference; an error where a row was pooled from padding.

    Sources: transformers, GenericForSequenceClassification.forward.
    """

    code = "TOK101"
    name = "pad-ids-disagree"
    title = "Tokenizer and model disagree about the pad id"
    severity = Severity.WARNING
    stage = Stage.FORWARD
    needs = Needs(facts=("tokenizer.pad_token_id",))

    bad = (
        case(
            "rows read at padding",
            facts={"tokenizer.pad_token_id": 0, "model.pad_token_id": 7, "batch.rows_pooled_from_padding": 5},
        ),
        case("ids differ", facts={"tokenizer.pad_token_id": 0, "model.pad_token_id": 7}),
    )
    good = (
        case("the same", facts={"tokenizer.pad_token_id": 0, "model.pad_token_id": 0}),
        case("an encoder without one", facts={"tokenizer.pad_token_id": 0, "model.pad_token_id": None}),
    )
    not_enough = (case("no tokenizer", facts={"model.pad_token_id": 0}),)

    def detect(self, run: Run) -> Iterator[Finding]:
        own, models = plain(run, "tokenizer.pad_token_id"), plain(run, "model.pad_token_id")
        pooled = number(run, "batch.rows_pooled_from_padding") or 0.0
        if own == models or (own is None and not pooled):
            return
        if models is None and not pooled:
            return
        yield self.finding(
            f"the tokenizer pads with {own}, the model's pad id is {models}"
            + (f"; {pooled:.0f} rows of the first batch are read at a padding position" if pooled else ""),
            evidence=[evidence(run, "tokenizer.pad_token_id"), evidence(run, "model.pad_token_id")],
            clues=[Clue(cause="pad-token-wrong", bits=8.0 if pooled else 2.0, why="the ids were read off both")],
            step=0,
            severity=Severity.ERROR if pooled else Severity.WARNING,
            fix=Fix(
                summary="set model.config.pad_token_id = tokenizer.pad_token_id",
                changes=(Change(key="model.config.pad_token_id", old=models, new=own),),
            ),
            basis=Basis.MEASURED,
        )
