"""TOK105 new-token-rows-frozen."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case
from holter.checks.measured.look import evidence, plain
from holter.finding import Basis, Change, Clue, Finding, Fix, Severity
from holter.run import Run
from holter.stages import Stage


class NewTokenRowsFrozen(Check):
    """New tokens have untrained rows that will not train.

    What it looks for: added tokens that occur in the training data and whose embedding row is zero or the mean
    of the table, as resizing leaves it, while the table does not train.

    Why it hurts: all new tokens look the same to the model and stay so.

    How to fix it: train their rows: trainable_token_indices or modules_to_save=["embed_tokens", "lm_head"] of
    the LoraConfig.

    When to ignore it: when the rows were set by hand to what they should mean.

    Threshold: one token. A trained row lies about the median distance from the mean; a resized one within a
    thousandth of it.

    Sources: transformers, resize_token_embeddings (mean_resizing); PEFT, trainable_token_indices.
    """

    code = "TOK105"
    name = "new-token-rows-frozen"
    title = "New tokens have untrained rows that will not train"
    severity = Severity.ERROR
    stage = Stage.UPDATE
    needs = Needs(facts=("tokenizer.added_untrained", "model.embeddings_train"))

    bad = (case("two", facts={"tokenizer.added_untrained": [32000, 32001], "model.embeddings_train": False}),)
    good = (
        case("they train", facts={"tokenizer.added_untrained": [32000], "model.embeddings_train": True}),
        case("trained before", facts={"tokenizer.added_untrained": [], "model.embeddings_train": False}),
    )
    not_enough = (case("no tokenizer", facts={"model.embeddings_train": True}),)

    def detect(self, run: Run) -> Iterator[Finding]:
        tokens = plain(run, "tokenizer.added_untrained") or []
        if not tokens or plain(run, "model.embeddings_train") is not False:
            return
        yield self.finding(
            f"{len(tokens)} added tokens that the data uses have untrained rows, and the embeddings do not train",
            evidence=[evidence(run, "tokenizer.added_untrained"), evidence(run, "model.embeddings_train")],
            clues=[Clue(cause="new-tokens-frozen", bits=8.0, why="the rows were compared with the rest of the table")],
            fix=Fix(
                summary="train the rows of the new tokens",
                changes=(Change(key="trainable_token_indices", new=list(tokens)),),
            ),
            basis=Basis.MEASURED,
        )
