"""TOK012 attention-mask-asked-for."""

from __future__ import annotations

from holter.checks.base import case
from holter.checks.messages import MessageCheck, phrase, said
from holter.finding import Fix, Severity
from holter.stages import Stage

ASKED = "We strongly recommend passing in an `attention_mask` since your input_ids may be padded."


class AttentionMaskAskedFor(MessageCheck):
    """What it looks for
        A model saying that it got padded ids without an attention mask.

    Why it hurts
        Without a mask an encoder attends to padding, so a result depends on the longest neighbour in the batch. A
        decoder does so when padding stands on the left.

    How to fix it
        Pass the ``attention_mask`` that the tokenizer returns, through the collator and into the model.

    When to ignore it
        Causal attention with padding on the right: real tokens never see what follows them.

    Threshold
        None: the wording is that of the libraries. The first wording is only printed when padding ids were seen; the
        others are printed for every call of ``generate`` and are therefore notes.

    Sources
        Messages of transformers.
    """

    code = "TOK012"
    name = "attention-mask-asked-for"
    title = "Padded input came without an attention mask"
    severity = Severity.WARNING
    stage = Stage.COLLATE
    summary = "padded ids were given to the model without an attention mask"
    cure = Fix(summary="Pass the tokenizer's attention_mask to the model.")
    phrases = (
        phrase(
            "strongly recommend passing in an `attention_mask` since your input_ids may be padded",
            attention_mask_missing=6,
        ),
        phrase(
            "the attention mask and the pad token id were not set", attention_mask_missing=2, severity=Severity.NOTE
        ),
        phrase(
            "attention mask is not set and cannot be inferred",
            attention_mask_missing=2,
            pad_equals_eos=1.5,
            severity=Severity.NOTE,
        ),
        phrase("please pass your input's `attention_mask`", attention_mask_missing=2, severity=Severity.NOTE),
    )
    bad = (case("padding seen", events=[said(ASKED, "warning")]),)
    good = (
        case("a shape of a mask", events=[said("attention_mask: torch.Size([8, 128])", "message")]),
        case("another recommendation", events=[said("We strongly recommend using bf16", "message")]),
    )
    not_enough = (case("nothing was said"),)
