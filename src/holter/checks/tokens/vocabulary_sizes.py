"""TOK009 vocabularies-differ."""

from __future__ import annotations

from collections.abc import Iterable

from holter.checks.base import Check, Needs, case, clues
from holter.checks.look import known
from holter.checks.symptoms import number
from holter.finding import Finding, Fix, Severity
from holter.run import Run
from holter.stages import Stage

TOKENS = (
    "tokenizer_length",
    "len_tokenizer",
    "tokenizer_size",
    "tokenizer_vocab_size",
    "tokenizer.vocab_size",
    "num_tokens",
)
LARGEST = ("max_input_id", "max_token_id", "largest_token_id", "input_ids_max", "max_input_ids")
ROWS = ("embedding_rows", "num_embeddings", "embedding_size", "input_embeddings", "vocab_size")
OUTPUTS = ("lm_head_rows", "output_embeddings", "lm_head_size", "output_rows")


class VocabulariesDiffer(Check):
    """What it looks for
        A tokenizer with more tokens than the embedding table has rows, an id beyond the table, or input and output
        tables of different length.

    Why it hurts
        An id without a row stops the run, on a GPU with an assertion that names no line.

    How to fix it
        ``model.resize_token_embeddings(len(tokenizer))``, or the tokenizer that belongs to the model.

    When to ignore it
        More rows than tokens are normal: tables are padded to round numbers.

    Threshold
        None: one id too many is enough.

    Sources
        transformers' documentation of ``resize_token_embeddings``.
    """

    code = "TOK009"
    name = "vocabularies-differ"
    title = "The tokenizer has more tokens than the model has rows"
    severity = Severity.ERROR
    stage = Stage.FORWARD
    needs = Needs(any_of=tuple((name, rows) for name in (*TOKENS, *LARGEST, *OUTPUTS) for rows in ROWS))
    bad = (
        case("more tokens", facts={"tokenizer_length": 32005}, config={"vocab_size": 32000}),
        case("id beyond", facts={"max_input_id": 50260, "embedding_rows": 50257}),
    )
    good = (
        case("spare rows", facts={"tokenizer_length": 32100}, config={"vocab_size": 32128}),
        case("last id", facts={"max_input_id": 50256, "embedding_rows": 50257}),
    )
    not_enough = (case("one size", config={"vocab_size": 32000}),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """The first disagreement is enough."""
        rows = known(run, *ROWS)
        size = None if rows is None else number(rows.plain)
        if rows is None or size is None:
            return
        for names, slack in ((TOKENS, 0), (LARGEST, -1), (OUTPUTS, 0)):
            found = known(run, *names)
            amount = None if found is None else number(found.plain)
            if found is None or amount is None:
                continue
            if amount > size + slack or (names is OUTPUTS and amount != size):
                yield self.finding(
                    f"{found.name} is {amount:g}, {rows.name} is {size:g}",
                    evidence=[found.evidence, rows.evidence],
                    clues=clues("token ids and embedding rows do not fit", embeddings_not_resized=8),
                    fix=Fix(summary="Call model.resize_token_embeddings(len(tokenizer))."),
                )
                return
