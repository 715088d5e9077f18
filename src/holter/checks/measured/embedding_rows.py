"""TOK102 tokens-beyond-embeddings."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case
from holter.checks.measured.look import evidence, number
from holter.finding import Basis, Clue, Finding, Fix, Severity
from holter.run import Run
from holter.stages import Stage


class TokensBeyondEmbeddings(Check):
    """The tokenizer has more tokens than the model has embedding rows.

    What it looks for: len(tokenizer) against the rows of the input embedding.

    Why it hurts: an id beyond the table is an index error, on a GPU a device assertion.

    How to fix it: call model.resize_token_embeddings(len(tokenizer)) after adding tokens.

    When to ignore it: when the tokens beyond the table never occur.

    Threshold: one token; a table with more rows than tokens is ordinary (rounded up for speed).

    Sources: torch.nn.Embedding.
    """

    code = "TOK102"
    name = "tokens-beyond-embeddings"
    title = "The tokenizer has more tokens than the model has embedding rows"
    severity = Severity.ERROR
    stage = Stage.FORWARD
    needs = Needs(facts=("tokenizer.length", "model.embedding_rows"))

    bad = (case("eight added", facts={"tokenizer.length": 32008, "model.embedding_rows": 32000}),)
    good = (
        case("the same", facts={"tokenizer.length": 32000, "model.embedding_rows": 32000}),
        case("rows rounded up", facts={"tokenizer.length": 151669, "model.embedding_rows": 151936}),
    )
    not_enough = (case("no tokenizer", facts={"model.embedding_rows": 9}),)

    def detect(self, run: Run) -> Iterator[Finding]:
        tokens, rows = number(run, "tokenizer.length") or 0.0, number(run, "model.embedding_rows") or 0.0
        if tokens <= rows:
            return
        yield self.finding(
            f"the tokenizer has {tokens:.0f} tokens, the embedding {rows:.0f} rows",
            evidence=[evidence(run, "tokenizer.length"), evidence(run, "model.embedding_rows")],
            clues=[Clue(cause="embeddings-not-resized", bits=8.0, why="both were counted")],
            step=0,
            fix=Fix(summary="call model.resize_token_embeddings(len(tokenizer)) after adding tokens"),
            basis=Basis.MEASURED,
        )
